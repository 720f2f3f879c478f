/**
 * The allocator: requests, gossip and time in; answers and messages out. It owns no timer, socket or
 * file: the ledger does the writing, the caller performs the effects and says what time it is.
 */
import { formatIpv4, type Range } from '../mesh/base/address.ts'

import type { Millis, PeerName } from '../mesh/base/brand.ts'
import { millis, seconds } from '../mesh/base/brand.ts'
import type { Random } from '../mesh/base/random.ts'
import { err, ok, type Result, unreachable } from '../mesh/base/result.ts'
import type { GossipFault, Merged } from '../mesh/gossip.ts'
import { AddressSearch } from './address-search.ts'
import type { AttachmentKey } from './attachment.ts'
import { type ClaimMessage, encodeClaim } from './claims.ts'
import { Answers, type Prospects } from './donation.ts'
import type { Ledger, LedgerMerge } from './ledger.ts'
import { encodeSpaceMessage, FREE_UNKNOWN, type SpaceMessage } from './messages.ts'
import type { Ring, RingItem } from './ring.ts'
import { encodeDelta, type RingDelta } from './ring-codec.ts'
import { chunksOf } from './ring-digest.ts'
import type { Search, SearchError } from './search.ts'
import { SpaceSearch } from './space-search.ts'
import type { StoreError } from './store.ts'
import { retirementText } from './takeover.ts'
import { hostAddress } from './universe.ts'
import { anyWish, isGranted, type Wish, wishText } from './wish.ts'

/**
 * Why an address was not given:
 * - `no-ring`: nobody has told us of a ring yet
 * - `retired`: this peer's name was retired; it must join as a new peer
 * - `exhausted`: every owner of addresses was asked twice and has none free; said a quarter of a second after the call
 * - `unreachable`: some owners cannot be reached, do not answer or cannot give any now, and the others have none free
 * - `taken`: exactly this address was asked for, and something else has it, here or on the node of its owner
 * - `impossible`: what was asked for is no address that a pod can get, or the attachment has another one
 * - `cancelled`: the caller went away, the attachment was freed meanwhile, or we are closing
 * - `store`: the allocation could not be written to disk
 * - `busy`: too many are waiting already
 * - `in-doubt`: some of our past is lost, and the others have not told us yet what became of our ranges
 */
export interface AllocateError {
  readonly code: SearchError['code'] | 'no-ring' | 'retired' | 'cancelled' | 'store' | 'busy' | 'in-doubt' | 'impossible'
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
/** Some times the most pods a node runs: whatever waits beyond these is a loop gone wild. */
const WAITING_MAX = 1_024

interface Waiting {
  readonly request: number
  readonly key: AttachmentKey
  readonly deadline: Millis
  readonly search: Search
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
  readonly #random: Random
  readonly #answers = new Answers()
  readonly #waiting = new Map<number, Waiting>()
  /** For any address; it remembers whom it is of no use to ask. */
  readonly #common: SpaceSearch
  /** Those for something narrower, by its range, for as long as somebody waits. */
  readonly #searches = new Map<string, SpaceSearch | AddressSearch>()
  #effects: AllocatorEffect[] = []

  constructor(ledger: Ledger, random: Random, ports: AllocatorPorts) {
    this.#ledger = ledger
    this.#random = random
    this.#ports = ports
    this.#common = new SpaceSearch(anyWish(ledger.universe), random, { ledger, reachable: () => ports.reachable() })
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
    const deadlines = [...this.#waiting.values()].map(({ deadline }) => deadline)
    return millis(Math.min(...deadlines, ...this.#active().map((search) => search.wakeAt() ?? now + RETRY)))
  }

  /** Keys that wait for an address, in order of arrival. */
  pending(): readonly AttachmentKey[] {
    return [...new Set([...this.#waiting.values()].map(({ key }) => key))]
  }

  /** Settled by an effect, at once or within 10 s. @param request a number not used before. */
  allocate(request: number, key: AttachmentKey, now: Millis, wish: Wish = this.#common.wish): void {
    if (this.#waiting.size >= WAITING_MAX) {
      this.#settle(request, err({ code: 'busy', text: `${WAITING_MAX} allocations are waiting already` }))
      return
    }
    const search = this.#searchFor(wish)
    search.waiting.set(request, now)
    this.#waiting.set(request, { request, key, deadline: millis(now + ALLOCATE_TIMEOUT), search })
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

  /** `from` has answered a claim of ours, and what it gave is merged. */
  claimAnswered(from: PeerName, answer: ClaimMessage & { kind: 'answer' }, now: Millis): void {
    for (const search of this.#searches.values()) if (search instanceof AddressSearch) search.answered(from, answer, now)
    this.#ask(now)
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
        if (message.seedId === this.#ledger.ring?.seedId) this.#answer(from, message)
        else this.#send(from, { kind: 'denial', id: message.id, free: FREE_UNKNOWN })
        return ok(undefined)
      case 'grant':
        return this.#granted(from, message, now)
      case 'denial':
        this.#answered(from, message, now)
        this.#ask(now)
        return ok(undefined)
      default:
        return unreachable(message)
    }
  }

  /** A message to `to` could not be sent. */
  unsent(to: PeerName, now: Millis): void {
    for (const search of [this.#common, ...this.#searches.values()]) search.unsent(to, now)
    this.#ask(now)
  }

  tick(now: Millis): void {
    for (const { request, deadline, search } of this.#waiting.values()) {
      if (deadline <= now) this.#settle(request, err(this.#reason(search)))
    }
    this.#ask(now)
  }

  /** Nobody gets an answer but this any more. */
  close(): void {
    for (const request of this.#waiting.keys()) this.#settle(request, err({ code: 'cancelled', text: 'the router is shutting down' }))
  }

  /** How matters stand for those who wait, or for the first of them where they would have different things. */
  prospects(): Prospects {
    return (this.#active()[0] ?? this.#common).prospects()
  }

  /** To be called when there may be free addresses that were not there before. */
  serve(now: Millis): void {
    // Who asked for one address gets it before it is given to somebody else.
    const waiting = [...this.#waiting.values()].sort((a, b) => Number(isForOne(b)) - Number(isForOne(a)))
    for (const one of waiting) {
      const result = this.#ledger.retiredBy === undefined ? this.#resultFor(one) : err(this.#reason(one.search))
      if (result === undefined) continue
      this.#settle(one.request, result)
      if (result.ok) this.#effects.push({ kind: 'changed' })
    }
    this.#ask(now)
  }

  /** Undefined while there is none. */
  #resultFor({ key, search: { wish } }: Waiting): Result<number, AllocateError> | undefined {
    const { universe, allocations } = this.#ledger
    const own = allocations.get(key)
    if (own !== undefined && !isGranted(wish, own))
      return err({ code: 'impossible', text: `${key} has ${this.#texts([own])}, and cannot get ${wishText(universe, wish)} as well` })
    const holder = own === undefined && wish.kind === 'address' ? this.#ledger.holderOf(wish.within.start) : undefined
    if (holder !== undefined) return err({ code: 'taken', text: `${wishText(universe, wish)} is in use by ${holder} on this node` })
    if (own === undefined && this.#ports.isHeld()) return undefined
    const allocated = this.#ledger.allocate(key, wish.within)
    if (allocated.ok) return allocated.value === undefined ? undefined : ok(allocated.value)
    this.#trouble(allocated.error.text)
    return err({ code: 'store', text: allocated.error.text })
  }

  #ask(now: Millis): void {
    const isAble = !(this.#ledger.inDoubt || this.#ports.isHeld())
    for (const search of [this.#common, ...this.#searches.values()]) {
      const { inVain, send } = search.step(isAble ? this.#ledger.ring : undefined, now)
      for (const { request, error } of inVain) this.#settle(request, err(error))
      if (send !== undefined) this.#effects.push({ kind: 'send', ...send })
    }
  }

  #answer(from: PeerName, { id, within }: SpaceMessage & { kind: 'ask' }): void {
    const repeated = this.#answers.recall(from, id)
    const granted = repeated !== undefined || this.#ports.isHeld() ? ok(repeated) : this.#ledger.grant(from, within)
    if (!granted.ok) this.#trouble(granted.error.text)
    const delta = granted.ok ? granted.value : undefined
    if (delta === undefined) {
      this.#send(from, { kind: 'denial', id, free: this.#ledger.inDoubt ? FREE_UNKNOWN : this.#freeIn(within) })
      return
    }
    this.#answers.remember(from, id, delta)
    if (repeated === undefined) this.#effects.push({ kind: 'changed' }, { kind: 'broadcast', delta: encodeDelta(delta) })
    this.#send(from, { kind: 'grant', id, free: this.#freeIn(within), delta })
  }

  #freeIn(within: Range | undefined): number {
    return within === undefined ? this.#ledger.free : this.#ledger.freeIn(within)
  }

  #granted(from: PeerName, grant: SpaceMessage & { kind: 'grant' }, now: Millis): Result<void, GossipFault> {
    const merged = this.#ledger.merge(grant.delta)
    this.#answered(from, grant, now)
    if (!merged.ok) {
      this.#ask(now)
      return merged
    }
    this.#react(merged.value)
    this.serve(now)
    return ok(undefined)
  }

  #answered(from: PeerName, { kind, id, free }: Exclude<SpaceMessage, { kind: 'ask' }>, now: Millis): void {
    for (const search of [this.#common, ...this.#searches.values()]) {
      if (search instanceof SpaceSearch) search.answered(from, { id, free, isGrant: kind === 'grant' }, now)
    }
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

  /** Those for which somebody waits, in order of arrival. */
  #active(): readonly Search[] {
    return [...new Set([...this.#waiting.values()].map(({ search }) => search))]
  }

  #searchFor(wish: Wish): Search {
    if (wish.kind === 'any') return this.#common
    const name = nameOf(wish)
    const ports = { ledger: this.#ledger, reachable: () => this.#ports.reachable() }
    const search =
      this.#searches.get(name) ?? (wish.kind === 'address' ? new AddressSearch(wish, ports) : new SpaceSearch(wish, this.#random, ports))
    this.#searches.set(name, search)
    return search
  }

  #settle(request: number, result: Result<number, AllocateError>): void {
    const search = this.#waiting.get(request)?.search
    this.#waiting.delete(request)
    search?.waiting.delete(request)
    if (search?.waiting.size === 0) this.#searches.delete(nameOf(search.wish))
    this.#effects.push({ kind: 'settle', request, result })
  }

  #trouble(text: string): void {
    this.#effects.push({ kind: 'trouble', text })
  }

  #reason(search: Search): AllocateError {
    if (this.#ledger.ring === undefined)
      return { code: 'no-ring', text: 'no ring of IP ranges is known yet: no other peer has told us of one' }
    const by = this.#ledger.retiredBy
    if (by !== undefined) return { code: 'retired', text: retirementText(this.#ledger.self, by) }
    if (this.#ledger.inDoubt) return { code: 'in-doubt', text: 'some of our journal is lost' }
    return search.reason()
  }
}

function isForOne({ search }: Waiting): boolean {
  return search.wish.kind === 'address'
}

function nameOf({ kind, within }: Wish): string {
  return `${kind} ${within.start} ${within.end}`
}
