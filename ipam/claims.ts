/**
 * Addresses of our pods that the ring gives to others: we ask their owners for exactly these. An owner that
 * has one free gives it, and the pod goes on as if nothing had been; one that has given it to a pod of its
 * own says so, and both say it to people, as one of the two pods has to go. In the same way an address is asked for that a
 * caller wants: see `address-search.ts`. Big endian:
 *
 *   claim:  | 16 | seed id 8 | host 4 | host 4 | …
 *   answer: | 17 | zero | how many are in use 2 | host 4 | … | ring delta with the entries of all that were claimed
 */
import { type Millis, millis, type PeerName, seconds } from '../mesh/base/brand.ts'
import { concatBytes, fromHex, toHex } from '../mesh/base/bytes.ts'
import { type Clock, every } from '../mesh/base/clock.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import type { AttachmentKey } from './attachment.ts'
import type { Ledger } from './ledger.ts'
import { entryOver, type SeedId } from './ring.ts'
import { decodeDelta, encodeDelta, type RingDelta } from './ring-codec.ts'

export type ClaimMessage =
  | { readonly kind: 'claim'; readonly seedId: SeedId; readonly hosts: readonly number[] }
  | { readonly kind: 'answer'; readonly used: readonly number[]; readonly delta: RingDelta }

interface ClaimPorts {
  readonly ledger: Ledger
  readonly clock: Clock
  send(to: PeerName, message: Uint8Array): boolean
  reachable(): readonly PeerName[]
  /** A peer wants these of our host numbers. */
  claimed(from: PeerName, claim: ClaimMessage & { kind: 'claim' }): void
  merge(delta: RingDelta): Result<unknown, GossipFault>
  /** `from` has answered a claim; what it gave is merged. The claim may be somebody else's than ours. */
  answered(from: PeerName, answer: ClaimMessage & { kind: 'answer' }): void
  /** The conflicts are not what they were. */
  changed(): void
}

const Kind = { claim: 16, answer: 17 } as const
const HOST_BYTES = 4
const CLAIM_HEAD_BYTES = 9
const ANSWER_HEAD_BYTES = 4
/** More pods than a node runs; all their entries are one delta. */
export const CLAIMS_MAX = 1_024
const TICK: Millis = seconds(1)
/** An answer that has not come by then was lost. */
const ANSWER_WITHIN: Millis = seconds(3)
/** The pod that has it may be gone by then. */
const ASK_AGAIN: Millis = seconds(30)

export function isClaimMessage(bytes: Uint8Array): boolean {
  return bytes[0] === Kind.claim || bytes[0] === Kind.answer
}

export function encodeClaim(message: ClaimMessage): Uint8Array {
  if (message.kind === 'claim') return concatBytes([Uint8Array.of(Kind.claim), fromHex(message.seedId), hostBytes(message.hosts)])
  const { used, delta } = message
  return concatBytes([Uint8Array.of(Kind.answer, 0, used.length >> 8, used.length & 255), hostBytes(used), encodeDelta(delta)])
}

export function decodeClaim(bytes: Uint8Array): Result<ClaimMessage, GossipFault> {
  if (bytes[0] === Kind.claim) {
    const hosts = readHosts(bytes, CLAIM_HEAD_BYTES, (bytes.length - CLAIM_HEAD_BYTES) / HOST_BYTES)
    if (hosts === undefined) return malformed(`a claim of ${bytes.length} bytes`)
    return ok({ kind: 'claim', seedId: toHex(bytes.subarray(1, CLAIM_HEAD_BYTES)) as SeedId, hosts })
  }
  const count = ((bytes[2] ?? 0) << 8) | (bytes[3] ?? 0)
  const used = bytes[0] === Kind.answer ? readHosts(bytes, ANSWER_HEAD_BYTES, count) : undefined
  if (used === undefined) return malformed(`an answer to a claim of ${bytes.length} bytes`)
  const delta = decodeDelta(bytes.subarray(ANSWER_HEAD_BYTES + count * HOST_BYTES))
  return delta.ok ? ok({ kind: 'answer', used, delta: delta.value }) : delta
}

export class Claims implements Disposable {
  readonly #ports: ClaimPorts
  /** When each was asked for, or refused, and by whom. */
  readonly #asked = new Map<number, { readonly owner: PeerName; readonly until: Millis; readonly isUsed: boolean }>()
  #timer: Disposable | undefined

  constructor(ports: ClaimPorts) {
    this.#ports = ports
  }

  /** The ring or the allocations have changed, or there is a network now. */
  poke(): void {
    if (this.#timer !== undefined || this.#ports.ledger.strays().length === 0) return
    this.#timer = every(this.#ports.clock, TICK, () => this.#tick())
    // After the present call, as the mesh may be in the midst of calling us.
    queueMicrotask(() => this.#tick())
  }

  /** What has an address here that a pod of another peer has as well, and that peer, as it says itself. */
  conflicts(): ReadonlyMap<AttachmentKey, PeerName> {
    if (this.#asked.size === 0) return new Map()
    const strays = new Set(this.#ports.ledger.strays())
    return new Map(
      [...this.#ports.ledger.allocations].flatMap(([key, host]) => {
        const asked = this.#asked.get(host)
        return asked?.isUsed === true && strays.has(host) ? [[key, asked.owner] as const] : []
      }),
    )
  }

  receive(bytes: Uint8Array, from: PeerName): Result<void, GossipFault> {
    const message = decodeClaim(bytes)
    if (!message.ok) return message
    if (message.value.kind === 'claim') {
      this.#ports.claimed(from, message.value)
      return ok(undefined)
    }
    const merged = this.#ports.merge(message.value.delta)
    const until = millis(this.#ports.clock.now() + ASK_AGAIN)
    for (const host of message.value.used)
      if (this.#asked.get(host)?.owner === from) this.#asked.set(host, { owner: from, until, isUsed: true })
    this.#ports.answered(from, message.value)
    this.#ports.changed()
    return merged.ok ? ok(undefined) : merged
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  #tick(): void {
    if (this.#timer === undefined) return
    const { ledger, clock, send } = this.#ports
    const now = clock.now()
    const strays = ledger.strays()
    const current = new Set(strays)
    for (const host of this.#asked.keys()) if (!current.has(host)) this.#asked.delete(host)
    const seedId = ledger.ring?.seedId
    if (strays.length === 0 || seedId === undefined) {
      this[Symbol.dispose]()
      return
    }
    for (const [owner, hosts] of this.#due(strays, now)) {
      if (!send(owner, encodeClaim({ kind: 'claim', seedId, hosts }))) continue
      for (const host of hosts) {
        const isUsed = this.#asked.get(host)?.isUsed === true && this.#asked.get(host)?.owner === owner
        this.#asked.set(host, { owner, until: millis(now + (isUsed ? ASK_AGAIN : ANSWER_WITHIN)), isUsed })
      }
    }
  }

  /** What to ask of whom now. */
  #due(strays: readonly number[], now: Millis): ReadonlyMap<PeerName, readonly number[]> {
    const { ledger, reachable } = this.#ports
    const { ring } = ledger
    const due = new Map<PeerName, number[]>()
    // Whose name is retired is given nothing, and has nothing to give.
    if (ring === undefined || ledger.retiredBy !== undefined) return due
    const inReach = new Set(reachable().filter((name) => !ring.retired.has(name)))
    for (const host of strays) {
      const owner = entryOver(ring, host)?.owner
      const asked = this.#asked.get(host)
      if (owner === undefined || !inReach.has(owner) || (asked !== undefined && asked.owner === owner && asked.until > now)) continue
      const hosts = due.get(owner) ?? []
      if (hosts.length < CLAIMS_MAX) hosts.push(host)
      due.set(owner, hosts)
    }
    return due
  }
}

function hostBytes(hosts: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(HOST_BYTES * hosts.length)
  const view = new DataView(bytes.buffer)
  for (const [index, host] of hosts.entries()) view.setUint32(HOST_BYTES * index, host)
  return bytes
}

function readHosts(bytes: Uint8Array, at: number, count: number): readonly number[] | undefined {
  if (!Number.isInteger(count) || count < 0 || count > CLAIMS_MAX || bytes.length < at + count * HOST_BYTES) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return Array.from({ length: count }, (_, index) => view.getUint32(at + index * HOST_BYTES))
}

function malformed(detail: string): { readonly ok: false; readonly error: GossipFault } {
  return err({ code: 'malformed', detail })
}
