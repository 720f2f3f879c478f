/**
 * Leaving the cluster in good order (`weft reset`), and finding out after a start whether one still
 * belongs to it. Owns no timer: the caller says what time it is and performs the effects.
 *
 * Leaving: what no pod uses is given to a peer that lives, by an ordinary grant. Then the whole ring is
 * handed to it, and only when it says that this is on its disk our own name is retired. So whatever fails
 * in between, the ranges are somebody's, and the command can be given again. Addresses in use stay ours
 * until a takeover; without force they are a reason not to leave.
 *
 * Coming back: a name may have been retired while its router was away. Whoever starts with ranges from its
 * disk asks the peers that it reaches, and gives out no new address until one has answered, or for 3 s when
 * it reaches none. After that it counts as cut off, and goes on with what it has: who wants its ranges has
 * a person's word that it is gone. One answer is enough, although a peer that was left out of the takeover,
 * and has been back for no longer, may not know better: the ring that follows tells it a moment later.
 */
import { type Millis, millis, type PeerName, seconds } from '../mesh/base/brand.ts'
import { pick, randomBelow } from '../mesh/base/random.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import type { AttachmentKey } from './attachment.ts'
import { grantItems, type RingItem, ringNews } from './ring.ts'
import { encodeDelta, type RingDelta } from './ring-codec.ts'
import { chunksOf } from './ring-digest.ts'
import type { StoreError } from './store.ts'
import { retirementText } from './takeover.ts'
import { encodeTakeoverMessage, type TakeoverMessage } from './takeover-messages.ts'
import type { TakeoverEffect, TakeoverPorts } from './takeovers.ts'

/**
 * Why this peer did not leave:
 * - `pods`: some still have addresses
 * - `alone`: nobody can be reached who could take its ranges
 * - `silent`: the peer that was given them did not say that it has them
 * - `retired`, `no-ring`, `store`: its name is retired already; it has no ring; the disk failed
 */
export interface LeaveError {
  readonly code: 'pods' | 'alone' | 'silent' | 'retired' | 'no-ring' | 'store'
  readonly text: string
  readonly hint?: string
}

export interface Left {
  readonly heir: PeerName
  /** Host numbers handed over, and kept for pods that run. */
  readonly given: number
  readonly kept: number
}

export interface LeaveOptions {
  /** The attachment of the node itself, which no pod needs. */
  readonly own: AttachmentKey
  /** Leave although pods run. */
  readonly force: boolean
}

export type LeavingEffect = TakeoverEffect | { readonly kind: 'left'; readonly request: number; readonly result: Result<Left, LeaveError> }

const TIMEOUT: Millis = seconds(8)
const RETRY: Millis = seconds(1)
/** A handshake and an exchange of digests take well under a second. */
const DOUBT_MAX: Millis = seconds(3)
const INQUIRE_EVERY: Millis = millis(300)
/** One that is overloaded must not keep a node from its pods. */
const ASKED_AT_ONCE = 3

interface Departure {
  readonly request: number
  readonly left: Left
  readonly deadline: Millis
  /** By id: what the heir has not confirmed yet. */
  readonly waiting: Map<number, RingDelta>
  askAt: Millis
}

export class Leaving {
  readonly #ports: TakeoverPorts
  #departure: Departure | undefined
  /** Until when we doubt that we belong to the cluster; undefined when we do not. */
  #doubtUntil: Millis | undefined
  #inquireAt: Millis | undefined
  #inquiry: number | undefined
  #effects: LeavingEffect[] = []

  constructor(ports: TakeoverPorts) {
    this.#ports = ports
  }

  /** No new address or range may be given out now, nor asked for. */
  get isHeld(): boolean {
    return this.#doubtUntil !== undefined || this.#departure !== undefined
  }

  drain(): readonly LeavingEffect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  /** When to call `tick`, at the latest; undefined when nothing is under way. */
  wakeAt(): Millis | undefined {
    const moments = [this.#departure?.askAt, this.#departure?.deadline, this.#doubtUntil, this.#inquireAt].filter((at) => at !== undefined)
    return moments.length === 0 ? undefined : millis(Math.min(...moments))
  }

  /** We had a ring before we started, and others can be asked from now on. */
  comeBack(now: Millis): void {
    const { ring, self } = this.#ports.ledger
    const isOfOthersToo = ring?.entries.some(({ owner }) => owner !== self) ?? false
    const isOwner = ring?.entries.some(({ owner }) => owner === self) ?? false
    if (!(isOfOthersToo && isOwner) || this.#ports.ledger.retiredBy !== undefined) return
    this.#doubtUntil = millis(now + DOUBT_MAX)
    this.#inquireAt = now
    this.tick(now)
  }

  /** Settled by an effect, at once or within 8 s. @param request a number not used before. */
  leave(request: number, options: LeaveOptions, now: Millis): void {
    const result = this.#depart(request, options, now)
    if (!result.ok) this.#effects.push({ kind: 'left', request, result })
  }

  receive(from: PeerName, message: TakeoverMessage, now: Millis): Result<void, GossipFault> {
    switch (message.kind) {
      case 'handover':
        return this.#handedOver(from, message, now)
      case 'inquiry':
        this.#answer(from, message.id)
        return ok(undefined)
      case 'answer':
        return this.#answered(message, now)
      case 'consent':
        this.#confirmed(from, message.id)
        return ok(undefined)
      default:
        return ok(undefined)
    }
  }

  tick(now: Millis): void {
    if (this.#doubtUntil !== undefined && this.#doubtUntil <= now) this.#trust()
    if (this.#inquireAt !== undefined && this.#inquireAt <= now) this.#inquire(now)
    const departure = this.#departure
    if (departure === undefined) return
    if (departure.deadline <= now) this.#end(err(silent(departure.left.heir)))
    else if (departure.askAt <= now) this.#handOver(departure, now)
  }

  #depart(request: number, { own, force }: LeaveOptions, now: Millis): Result<void, LeaveError> {
    const { ledger, random } = this.#ports
    const refusal = this.#refusal(own, force)
    const heir = pick(random, this.#candidates())
    if (refusal !== undefined || heir === undefined) return err(refusal ?? alone())
    const released = ledger.release(own)
    if (!released.ok) return err(storeError(released.error))
    const items = this.#spare(heir)
    const written = ledger.write({ items, retired: [] })
    if (!written.ok) return err(storeError(written.error))
    const given = items.reduce((sum, { token, end }) => sum + end - token, 0)
    const deltas = this.#deltas(items)
    for (const delta of deltas) this.#effects.push({ kind: 'broadcast', delta: encodeDelta(delta) })
    this.#effects.push({ kind: 'changed' })
    const waiting = new Map(this.#whole().map((delta) => [randomBelow(random, 2 ** 32), delta]))
    const left = { heir, given, kept: ledger.allocations.size }
    this.#departure = { request, left, deadline: millis(now + TIMEOUT), waiting, askAt: now }
    this.#handOver(this.#departure, now)
    return ok(undefined)
  }

  #refusal(own: AttachmentKey, force: boolean): LeaveError | undefined {
    const { ring, self, retiredBy, allocations } = this.#ports.ledger
    if (ring === undefined) return { code: 'no-ring', text: 'this node has no ring: there is nothing to hand over' }
    if (retiredBy !== undefined) return { code: 'retired', text: retirementText(self, retiredBy) }
    if (this.#departure !== undefined) return { code: 'silent', text: 'this node is leaving already', hint: 'wait a few seconds' }
    const pods = [...allocations.keys()].filter((key) => key !== own).length
    if (pods === 0 || force) return undefined
    return {
      code: 'pods',
      text: `${pods} ${pods === 1 ? 'pod has an address' : 'pods have addresses'} of this node`,
      hint: 'drain the node first; with --force the addresses in use are lost to the cluster until `weft rmpeer` elsewhere',
    }
  }

  #candidates(): readonly PeerName[] {
    return this.#ports.reachable().filter((name) => !this.#ports.ledger.ring?.retired.has(name))
  }

  /** What gives all of ours that is not in use to `heir`. A block that cannot be given stays ours. */
  #spare(heir: PeerName): readonly RingItem[] {
    const { ring, self } = this.#ports.ledger
    return ring === undefined ? [] : this.#ports.ledger.unused().flatMap((block) => grantItems(ring, self, block, heir) ?? [])
  }

  #deltas(items: readonly RingItem[]): readonly RingDelta[] {
    const { ring, universe } = this.#ports.ledger
    return ring === undefined ? [] : chunksOf({ items, retired: [] }).map((chunk) => ({ universe, seedId: ring.seedId, ...chunk }))
  }

  #whole(): readonly RingDelta[] {
    const { ring, universe } = this.#ports.ledger
    return ring === undefined ? [] : chunksOf(ringNews(ring)).map((chunk) => ({ universe, seedId: ring.seedId, ...chunk }))
  }

  #handOver(departure: Departure, now: Millis): void {
    departure.askAt = millis(now + RETRY)
    for (const [id, delta] of departure.waiting) this.#send(departure.left.heir, { kind: 'handover', id, delta })
  }

  #handedOver(from: PeerName, { id, delta }: TakeoverMessage & { kind: 'handover' }, now: Millis): Result<void, GossipFault> {
    const merged = this.#ports.merge(delta, now)
    if (!merged.ok) return merged
    // A write of ours, even of nothing, puts on the device whatever is in memory only.
    const written = this.#ports.ledger.write({ items: [], retired: [] })
    if (written.ok) this.#send(from, { kind: 'consent', id })
    return ok(undefined)
  }

  #confirmed(from: PeerName, id: number): void {
    const departure = this.#departure
    if (departure?.left.heir !== from || !departure.waiting.delete(id) || departure.waiting.size > 0) return
    const { ledger } = this.#ports
    const retired = [{ peer: ledger.self, by: ledger.self }]
    const written = ledger.write({ items: [], retired })
    if (!written.ok) {
      this.#end(err(storeError(written.error)))
      return
    }
    const { ring, universe } = ledger
    this.#effects.push(
      { kind: 'broadcast', delta: encodeDelta({ universe, seedId: ring?.seedId, items: [], retired }) },
      { kind: 'changed' },
    )
    this.#end(ok(departure.left))
  }

  #end(result: Result<Left, LeaveError>): void {
    const request = this.#departure?.request
    this.#departure = undefined
    if (request !== undefined) this.#effects.push({ kind: 'left', request, result })
  }

  #inquire(now: Millis): void {
    this.#inquireAt = millis(now + INQUIRE_EVERY)
    this.#inquiry ??= randomBelow(this.#ports.random, 2 ** 32)
    for (const peer of this.#candidates().slice(0, ASKED_AT_ONCE)) this.#send(peer, { kind: 'inquiry', id: this.#inquiry })
  }

  #answer(to: PeerName, id: number): void {
    const { ring, universe } = this.#ports.ledger
    const by = ring?.retired.get(to)
    const retired = by === undefined ? [] : [{ peer: to, by }]
    if (ring !== undefined) this.#send(to, { kind: 'answer', id, delta: { universe, seedId: ring.seedId, items: [], retired } })
  }

  #answered({ id, delta }: TakeoverMessage & { kind: 'answer' }, now: Millis): Result<void, GossipFault> {
    if (id !== this.#inquiry) return ok(undefined)
    const merged = this.#ports.merge(delta, now)
    if (!merged.ok) return merged
    this.#trust()
    return ok(undefined)
  }

  #trust(): void {
    if (this.#doubtUntil === undefined) return
    this.#doubtUntil = undefined
    this.#inquireAt = undefined
    this.#effects.push({ kind: 'changed' })
  }

  #send(to: PeerName, message: TakeoverMessage): void {
    this.#effects.push({ kind: 'send', to, message: encodeTakeoverMessage(message) })
  }
}

function alone(): LeaveError {
  return {
    code: 'alone',
    text: 'no other peer can be reached to take the addresses of this node',
    hint: 'start one, or see `weft status peers`',
  }
}

function silent(heir: PeerName): LeaveError {
  return {
    code: 'silent',
    text: `${heir} was given the addresses, but did not confirm that it has them`,
    hint: 'this node still belongs to the cluster; run the command again',
  }
}

function storeError({ text }: StoreError): LeaveError {
  return { code: 'store', text }
}
