/**
 * The allocator: requests, gossip and time in; answers and messages out. It owns no timer, socket or
 * file: the ledger does the writing, the caller performs the effects and says what time it is.
 */
import { formatIpv4 } from '../mesh/base/address.ts'
import type { Millis, PeerName } from '../mesh/base/brand.ts'
import { millis, seconds } from '../mesh/base/brand.ts'
import type { Random } from '../mesh/base/random.ts'
import { err, ok, type Result, unreachable } from '../mesh/base/result.ts'
import type { GossipFault, Merged } from '../mesh/gossip.ts'
import type { AttachmentKey } from './attachment.ts'
import { type ClaimMessage, encodeClaim } from './claims.ts'
import { Answers, Asking, type Prospects } from './donation.ts'
import type { Ledger, LedgerMerge } from './ledger.ts'
import { encodeSpaceMessage, FREE_UNKNOWN, type SpaceMessage } from './messages.ts'
import { namesOf } from './names.ts'
import { gapsOf, ownedRanges, type Ring, type RingItem } from './ring.ts'
import { encodeDelta, type RingDelta } from './ring-codec.ts'
import { chunksOf } from './ring-digest.ts'
import type { StoreError } from './store.ts'
import { retirementText } from './takeover.ts'
import { hostAddress } from './universe.ts'

/**
 * Why an address was not given:
 * - `no-ring`: nobody has told us of a ring yet
 * - `retired`: this peer's name was retired; it must join as a new peer
 * - `exhausted`: every owner of addresses was asked twice and has none free; said a quarter of a second after the call
 * - `unreachable`: some owners cannot be reached, do not answer or cannot give any now, and the others have none free
 * - `cancelled`: the caller went away, the attachment was freed meanwhile, or we are closing
 * - `store`: the allocation could not be written to disk
 * - `busy`: too many are waiting already
 * - `in-doubt`: some of our past is lost, and the others have not told us yet what became of our ranges
 */
export interface AllocateError {
  readonly code: 'no-ring' | 'retired' | 'exhausted' | 'unreachable' | 'cancelled' | 'store' | 'busy' | 'in-doubt'
  readonly text: string
}

export type AllocatorEffect =
  | { readonly kind: 'broadcast'; readonly delta: Uint8Array }
  /** Call `unsent` when it cannot be sent. */
  | { readonly kind: 'send'; readonly to: PeerName; readonly message: Uint8Array }
  /** The answer to a call of `allocate`: a host number. */
  | { readonly kind: 'settle'; readonly request: number; readonly result: Result<number, AllocateError> }
  /** The ring or the allocations are not what they were. */
  | { readonly kind: 'changed' }
  | { readonly kind: 'trouble'; readonly text: string }

/** No caller waits longer than this. Runtimes give a pod's network far more, and try again. */
const ALLOCATE_TIMEOUT: Millis = seconds(10)
/** While somebody waits: how often to look for owners that became reachable, or may have space again. */
const RETRY: Millis = seconds(1)
/**
 * Space that moves between two others while we ask one after the other is with neither of them. Once those who wait
 * there have been served it rests: all are asked once more this much later, before we say that there is none.
 */
const SPACE_RESTS_AFTER: Millis = millis(250)
/** Some times the most pods a node runs: whatever waits beyond these is a loop gone wild. */
const WAITING_MAX = 1_024

interface Waiting {
  readonly request: number
  readonly key: AttachmentKey
  readonly since: Millis
  readonly deadline: Millis
}

export interface AllocatorPorts {
  /** The peers that a message can be sent to now. */
  reachable(): readonly PeerName[]
  /** Whether nothing new may be given out or asked for now: those who wait go on waiting. Call `serve` when that ends. */
  isHeld(): boolean
}

export class Allocator {
  readonly #ledger: Ledger
  readonly #ports: AllocatorPorts
  readonly #asking: Asking
  readonly #answers = new Answers()
  readonly #waiting = new Map<number, Waiting>()
  /** How many host numbers we owned when we asked last. */
  #sizeAtAsk = 0
  /** When it was last seen to whom to ask; a moment that has come since then has not been heeded yet. */
  #lookedAt: Millis = millis(0)
  #effects: AllocatorEffect[] = []

  constructor(ledger: Ledger, random: Random, ports: AllocatorPorts) {
    this.#ledger = ledger
    this.#asking = new Asking(random)
    this.#ports = ports
  }

  /** What is to be done since the last call, in order. */
  drain(): readonly AllocatorEffect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  /** When to call `tick`, at the latest; undefined when nobody waits. */
  wakeAt(now: Millis): Millis | undefined {
    if (this.#waiting.size === 0) return undefined
    const due = [...this.#waiting.values()].map(({ since, deadline }) => (isRested(since, this.#lookedAt) ? deadline : restedAt(since)))
    return millis(Math.min(...due, this.#asking.wakeAt() ?? now + RETRY))
  }

  /** Keys that wait for an address, in order of arrival. */
  pending(): readonly AttachmentKey[] {
    return [...new Set([...this.#waiting.values()].map(({ key }) => key))]
  }

  /** Settled by an effect, at once or within 10 s. @param request a number not used before. */
  allocate(request: number, key: AttachmentKey, now: Millis): void {
    if (this.#waiting.size >= WAITING_MAX) {
      this.#settle(request, err({ code: 'busy', text: `${WAITING_MAX} allocations are waiting already` }))
      return
    }
    this.#waiting.set(request, { request, key, since: now, deadline: millis(now + ALLOCATE_TIMEOUT) })
    this.serve(now)
  }

  cancel(request: number): void {
    if (this.#waiting.has(request)) this.#settle(request, err({ code: 'cancelled', text: 'the caller went away' }))
  }

  /** Idempotent. Whoever waits for an address of `key` gets none any more. */
  free(key: AttachmentKey, now: Millis): number | undefined {
    for (const waiting of this.#waiting.values()) {
      if (waiting.key === key) this.#settle(waiting.request, err({ code: 'cancelled', text: 'the attachment was removed meanwhile' }))
    }
    const { host, unwritten } = this.#ledger.release(key)
    if (unwritten !== undefined) this.#trouble(unwritten.text)
    if (host !== undefined) {
      this.#effects.push({ kind: 'changed' })
      this.serve(now)
    }
    return host
  }

  /** Begins the ring. The others begin with the same, or hear of it by anti-entropy. */
  seed(ring: Ring, now: Millis): Result<void, StoreError> {
    const seeded = this.#ledger.seed(ring)
    if (seeded.ok) {
      this.#effects.push({ kind: 'changed' })
      this.serve(now)
    }
    return seeded
  }

  /** Takes another ring in the place of ours. */
  adopt(ring: Ring, now: Millis): Result<void, StoreError> {
    const adopted = this.#ledger.adopt(ring)
    if (adopted.ok) {
      this.#effects.push({ kind: 'changed' })
      this.serve(now)
    }
    return adopted
  }

  /** `from` claims these host numbers. */
  claimed(from: PeerName, { hosts, seedId }: ClaimMessage & { kind: 'claim' }): void {
    // Who gets no answer asks again.
    if (seedId !== this.#ledger.ring?.seedId || this.#ports.isHeld()) return
    const yielded = this.#ledger.yieldHosts(from, hosts)
    if (!yielded.ok) this.#trouble(yielded.error.text)
    if (!yielded.ok || yielded.value === undefined) return
    const { used, isNews, delta } = yielded.value
    if (isNews) this.#effects.push({ kind: 'changed' }, { kind: 'broadcast', delta: encodeDelta(delta) })
    this.#effects.push({ kind: 'send', to: from, message: encodeClaim({ kind: 'answer', used, delta }) })
  }

  merge(delta: RingDelta, now: Millis): Result<Merged, GossipFault> {
    const merged = this.#ledger.merge(delta)
    if (!merged.ok) return merged
    const { news, faults } = merged.value
    this.#react(merged.value)
    this.serve(now)
    const deltas = chunksOf(news).map((chunk) => encodeDelta({ ...delta, ...chunk }))
    return ok({ news: deltas.map((bytes) => ({ key: undefined, delta: bytes })), held: [], faults })
  }

  receive(from: PeerName, message: SpaceMessage, now: Millis): Result<void, GossipFault> {
    switch (message.kind) {
      case 'ask':
        // Of another ring it would refuse what we give, and we would have lost it.
        if (message.seedId === this.#ledger.ring?.seedId) this.#answer(from, message.id)
        else this.#send(from, { kind: 'denial', id: message.id, free: FREE_UNKNOWN })
        return ok(undefined)
      case 'grant':
        return this.#granted(from, message, now)
      case 'denial':
        this.#asking.answered(from, message.id, message.free === 0 ? 'none' : 'withheld', now)
        this.#ask(now)
        return ok(undefined)
      default:
        return unreachable(message)
    }
  }

  /** A message to `to` could not be sent. */
  unsent(to: PeerName, now: Millis): void {
    this.#asking.unsent(to, now)
    this.#ask(now)
  }

  tick(now: Millis): void {
    for (const { request, deadline } of this.#waiting.values()) {
      if (deadline <= now) this.#settle(request, err(this.#reason()))
    }
    this.#ask(now)
  }

  /** Nobody gets an answer but this any more. */
  close(): void {
    for (const request of this.#waiting.keys()) this.#settle(request, err({ code: 'cancelled', text: 'the router is shutting down' }))
  }

  /** How matters stand for those who wait. */
  prospects(): Prospects {
    return this.#asking.prospects(this.#otherOwners(), this.#ports.reachable())
  }

  /** To be called when there may be free addresses that were not there before. */
  serve(now: Millis): void {
    if (this.#ledger.retiredBy !== undefined) {
      for (const request of this.#waiting.keys()) this.#settle(request, err(this.#reason()))
    }
    for (const { request, key } of this.#waiting.values()) {
      if (this.#ports.isHeld() && !this.#ledger.allocations.has(key)) continue
      const allocated = this.#ledger.allocate(key)
      if (!allocated.ok) {
        this.#trouble(allocated.error.text)
        this.#settle(request, err({ code: 'store', text: allocated.error.text }))
      } else if (allocated.value !== undefined) {
        this.#settle(request, ok(allocated.value))
        this.#effects.push({ kind: 'changed' })
      }
    }
    this.#ask(now)
  }

  #ask(now: Millis): void {
    this.#asking.tick(now)
    this.#lookedAt = now
    const { ring } = this.#ledger
    if (this.#waiting.size === 0 || ring === undefined || this.#ledger.inDoubt || this.#ports.isHeld()) return
    const owners = this.#otherOwners()
    if (isAllOwned(ring)) this.#giveUp(this.#asking.emptySince(owners.keys()))
    if (this.#waiting.size === 0) return
    const since = [...this.#waiting.values()].map(({ since: came }) => (isRested(came, now) ? restedAt(came) : came))
    const ask = this.#asking.next(owners, this.#ports.reachable(), { now, since: millis(Math.max(...since)) })
    if (ask === undefined) return
    this.#sizeAtAsk = this.#size()
    this.#send(ask.peer, { kind: 'ask', id: ask.id, seedId: ring.seedId })
  }

  /** Nobody had an address when asked since that moment: who has waited for long enough by then waits for nothing. */
  #giveUp(emptySince: number | undefined): void {
    for (const { request, since } of this.#waiting.values()) {
      if (emptySince !== undefined && restedAt(since) <= emptySince) this.#settle(request, err(this.#reason()))
    }
  }

  #answer(from: PeerName, id: number): void {
    const repeated = this.#answers.recall(from, id)
    const granted = repeated !== undefined || this.#ports.isHeld() ? ok(repeated) : this.#ledger.grant(from)
    if (!granted.ok) this.#trouble(granted.error.text)
    const delta = granted.ok ? granted.value : undefined
    if (delta === undefined) {
      this.#send(from, { kind: 'denial', id, free: this.#ledger.inDoubt ? FREE_UNKNOWN : this.#ledger.free })
      return
    }
    this.#answers.remember(from, id, delta)
    if (repeated === undefined) this.#effects.push({ kind: 'changed' }, { kind: 'broadcast', delta: encodeDelta(delta) })
    this.#send(from, { kind: 'grant', id, free: this.#ledger.free, delta })
  }

  #granted(from: PeerName, { id, free, delta }: SpaceMessage & { kind: 'grant' }, now: Millis): Result<void, GossipFault> {
    const merged = this.#ledger.merge(delta)
    // The broadcast of the same grant may have been here before it.
    const gained = this.#size() > this.#sizeAtAsk
    this.#asking.answered(from, id, free === 0 ? 'none' : gained ? 'more' : 'withheld', now)
    if (!merged.ok) {
      this.#ask(now)
      return merged
    }
    this.#react(merged.value)
    this.serve(now)
    return ok(undefined)
  }

  /** To what a merge has changed. */
  #react({ news, own, lost, unwritten, forgotten }: LedgerMerge): void {
    if (unwritten !== undefined) this.#trouble(unwritten.text)
    if (forgotten !== undefined) this.#trouble(forgotten)
    if (news.items.length + news.retired.length > 0) this.#effects.push({ kind: 'changed' })
    if (own.length > 0) this.#broadcast(own)
    if (lost.length > 0) this.#trouble(`allocated here, but taken by another peer: ${this.#texts(lost)}`)
  }

  #texts(hosts: readonly number[]): string {
    return hosts.map((host) => formatIpv4(hostAddress(this.#ledger.universe, host))).join(', ')
  }

  #broadcast(items: readonly RingItem[]): void {
    const { ring, universe } = this.#ledger
    if (ring === undefined) return
    for (const chunk of chunksOf({ items, retired: [] })) {
      this.#effects.push({ kind: 'broadcast', delta: encodeDelta({ universe, seedId: ring.seedId, ...chunk }) })
    }
  }

  #send(to: PeerName, message: SpaceMessage): void {
    this.#effects.push({ kind: 'send', to, message: encodeSpaceMessage(message) })
  }

  #settle(request: number, result: Result<number, AllocateError>): void {
    this.#waiting.delete(request)
    this.#effects.push({ kind: 'settle', request, result })
  }

  #trouble(text: string): void {
    this.#effects.push({ kind: 'trouble', text })
  }

  /** How many host numbers we own. */
  #size(): number {
    const own = this.#ledger.ring?.entries.filter(({ owner }) => owner === this.#ledger.self) ?? []
    return own.reduce((sum, { token, end }) => sum + end - token, 0)
  }

  /** How many host numbers each other peer owns. */
  #otherOwners(): ReadonlyMap<PeerName, number> {
    const owners = new Map<PeerName, number>()
    if (this.#ledger.ring === undefined) return owners
    for (const { owner, range } of ownedRanges(this.#ledger.ring)) {
      if (owner !== this.#ledger.self && !this.#ledger.ring.retired.has(owner))
        owners.set(owner, (owners.get(owner) ?? 0) + range.end - range.start)
    }
    return owners
  }

  #reason(): AllocateError {
    if (this.#ledger.ring === undefined)
      return { code: 'no-ring', text: 'no ring of IP ranges is known yet: no other peer has told us of one' }
    const by = this.#ledger.retiredBy
    if (by !== undefined) return { code: 'retired', text: retirementText(this.#ledger.self, by) }
    if (this.#ledger.inDoubt) return { code: 'in-doubt', text: 'some of our journal is lost' }
    const { denied, withheld, silent, unreachable: gone, open } = this.prospects()
    const parts = [
      { peers: denied, what: 'have none free' },
      { peers: [...silent, ...open], what: 'did not answer' },
      { peers: withheld, what: 'may have some and cannot give it now' },
      { peers: gone, what: 'own more of the range and cannot be reached' },
    ].filter(({ peers }) => peers.length > 0)
    const code = parts.every(({ peers }) => peers === denied) ? 'exhausted' : 'unreachable'
    const here = code === 'exhausted' ? 'range exhausted: no address is free here' : 'no address is free here'
    return { code, text: [here, ...parts.map(({ peers, what }) => `${namesOf(peers)} ${what}`)].join('; ') }
  }
}

/** What is of nobody yet, or of a peer that is gone, may be somebody's soon. */
function isAllOwned(ring: Ring): boolean {
  return gapsOf(ring).length === 0 && ring.entries.every(({ owner }) => !ring.retired.has(owner))
}

function restedAt(since: Millis): Millis {
  return millis(since + SPACE_RESTS_AFTER)
}

function isRested(since: Millis, now: Millis): boolean {
  return restedAt(since) <= now
}
