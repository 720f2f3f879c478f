/**
 * Taking over from peers that are gone, because a person said so (`weft rmpeer`). Owns no timer: the caller
 * says what time it is and performs the effects.
 *
 * Two peers may be told at once to take over from the same one, and somebody may have been given some of
 * its addresses at the last moment. So whoever is told (the **taker**) asks everybody first, and writes
 * only when all agree:
 *
 *  1. The taker proposes: "P is gone, and this is its estate as I know it" to every other peer that it has
 *     ever heard of. Peers that cannot be reached must be left out by the person (see below).
 *  2. Whoever knows the same estate keeps, durably, that P is retired, and consents. From then on it gives
 *     back to the estate whatever P still gives it (lateItems). Whoever knows otherwise says what it knows;
 *     the taker learns it and proposes anew. Whoever reaches P, or is P, refuses, unless P
 *     is retired already: then it has to consent like the others. Whoever has another ring has nothing
 *     to consent to, and says so: a person decides about the rings first, or leaves it out.
 *  3. Whoever is taking over from P itself refuses if its name is the greater one; otherwise it gives up its
 *     own attempt, and consents.
 *  4. When all have consented to the same estate the taker writes it to itself with a higher epoch, durably,
 *     tells everybody, and only then uses it.
 *
 * Why no two takers get the same address (I3): suppose S and T both wrote one. Each had the other's
 * consent. When S consented it knew the address as P's still, so S had not written then, and was not taking
 * over then (3). So S began after it consented to T; and likewise T after it consented to S. Each consent
 * came after its giver's writing or before its giver's beginning, and both cannot be before the other.
 * A crash only ends an attempt, or comes after the write. Nothing here depends on time.
 *
 * Why nobody loses what P gave it rightly: it says so in step 2, and what it hears of later it gives back.
 *
 * Ranges of which no peer that is present knows the owner: it died with all who had heard of it. When nobody is
 * left out the taker guesses that they are P's, with a stamp that any true one beats. Whoever knows better
 * dissents; otherwise they are taken over with the rest.
 *
 * Whoever is in doubt about its own past consents like the others. It may have forgotten what P gave it, or that it took
 * over itself; but that was lost with its journal, not by the takeover, and it gives out nothing before it has heard the
 * taker. Otherwise it could wait for P, and P's takeover for it, for ever.
 *
 * An attempt is of one ring: it ends when we take another one in the place of ours.
 *
 * What depends on the person:
 *  - P does not run, and none of its pods does. If it does after all, its pods' addresses are given to
 *    others; it hears so as soon as it reaches anybody, and says so.
 *  - Peers that are left out (`leaveAbsent`) are not told to take over from P themselves meanwhile, and have
 *    been given nothing by P that only they know of. If they have: all agree on one owner when they meet,
 *    the greater stamp; the loser drops the range at once and says which of its pods' addresses it lost.
 */
import { type Millis, millis, type PeerName, seconds } from '../mesh/base/brand.ts'
import { type Random, randomBelow } from '../mesh/base/random.ts'
import { err, ok, type Result, unreachable } from '../mesh/base/result.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import type { Ledger } from './ledger.ts'
import { entriesWithin, gapsOf, type Retirement, type Ring, type RingItem, type SeedId } from './ring.ts'
import { DELTA_ITEMS_MAX, encodeDelta, type RingDelta } from './ring-codec.ts'
import { chunksOf } from './ring-digest.ts'
import { claimItems, estateOf, retirementText, sameEntries } from './takeover.ts'
import { absence, alive, apart, busy, noRing, overtaken, silent, type TakeoverError, tooMany } from './takeover-errors.ts'
import { encodeTakeoverMessage, type RefusalReason, type TakeoverMessage } from './takeover-messages.ts'

export interface TakeoverOptions {
  /** Peers that the mesh knows of; owners of ranges are asked in any case. */
  readonly known: readonly PeerName[]
  readonly leaveAbsent: boolean
}

export type TakeoverEffect =
  | { readonly kind: 'send'; readonly to: PeerName; readonly message: Uint8Array }
  | { readonly kind: 'broadcast'; readonly delta: Uint8Array }
  /** The ring is not what it was: there may be free addresses now. */
  | { readonly kind: 'changed' }
  | { readonly kind: 'trouble'; readonly text: string }
  /** The answer to a call of `start`: how many host numbers are ours now. */
  | { readonly kind: 'taken'; readonly request: number; readonly result: Result<number, TakeoverError> }

export interface TakeoverPorts {
  readonly ledger: Ledger
  readonly random: Random
  /** The peers that a message can be sent to now. */
  reachable(): readonly PeerName[]
  /** Takes over what another peer knows of the ring. */
  merge(delta: RingDelta, now: Millis): Result<unknown, GossipFault>
}

/** The peers that a message can be sent to now, but for those whose names are retired. */
export function membersInReach({ ledger, reachable }: Pick<TakeoverPorts, 'ledger' | 'reachable'>): readonly PeerName[] {
  return reachable().filter((name) => ledger.ring?.retired.has(name) !== true)
}

/** Shorter than a command waits for its answer. */
const TIMEOUT: Millis = seconds(8)
/** A proposal or its answer may be lost. */
const RETRY: Millis = seconds(1)
/** Answers to dissents, beyond one round to everybody: a peer that never agrees is asked once a second after these. */
const HASTY_MAX = 256

interface Attempt {
  readonly request: number
  readonly peer: PeerName
  readonly deadline: Millis
  /** Of the ring in which it is. */
  readonly seedId: SeedId
  readonly leaveAbsent: boolean
  /** Fixed at the beginning: who gets out of reach later is waited for. Only those who have another ring may be left out then. */
  readonly voters: Set<PeerName>
  id: number
  estate: readonly RingItem[]
  /** Who has not consented yet. */
  waiting: Set<PeerName>
  askAt: Millis
  hasty: number
}

export class Takeovers {
  readonly #ports: TakeoverPorts
  readonly #attempts = new Map<PeerName, Attempt>()
  #effects: TakeoverEffect[] = []

  constructor(ports: TakeoverPorts) {
    this.#ports = ports
  }

  /** What is to be done since the last call, in order. */
  drain(): readonly TakeoverEffect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  /** When to call `tick`, at the latest; undefined when nothing is under way. */
  wakeAt(): Millis | undefined {
    const moments = [...this.#attempts.values()].map(({ askAt, deadline }) => Math.min(askAt, deadline))
    return moments.length === 0 ? undefined : millis(Math.min(...moments))
  }

  /** Settled by an effect, at once or within 8 s. @param request a number not used before. */
  start(request: number, peer: PeerName, { known, leaveAbsent }: TakeoverOptions, now: Millis): void {
    const { ledger } = this.#ports
    const all = this.#voters(peer, known)
    const reachable = new Set(this.#ports.reachable())
    const voters = all.filter((name) => reachable.has(name))
    const ring = ledger.ring
    const refusal =
      this.#refusal(peer, known) ??
      (leaveAbsent || voters.length === all.length ? undefined : absence(all.filter((name) => !reachable.has(name))))
    if (refusal !== undefined || ring === undefined) {
      this.#settle(request, err(refusal ?? noRing()))
      return
    }
    if (voters.length === all.length) this.#presume(peer, ring)
    const round = { id: 0, estate: [], waiting: new Set<PeerName>(), askAt: now, hasty: HASTY_MAX }
    const fixed = { request, peer, seedId: ring.seedId, leaveAbsent, voters: new Set(voters) }
    const attempt = { ...fixed, deadline: millis(now + TIMEOUT), ...round }
    this.#attempts.set(peer, attempt)
    this.#propose(attempt, now)
  }

  receive(from: PeerName, message: TakeoverMessage, now: Millis): Result<void, GossipFault> {
    if (message.kind === 'proposal') return this.#proposed(from, message, now)
    const attempt = [...this.#attempts.values()].find(({ id, waiting }) => id === message.id && waiting.has(from))
    if (attempt === undefined) return ok(undefined)
    if (message.kind === 'consent') {
      attempt.waiting.delete(from)
      this.#completeIfAgreed(attempt, now)
    } else if (message.kind === 'refusal') {
      this.#refused(attempt, from, message.reason, now)
    } else if (message.kind === 'dissent') {
      return this.#dissented(attempt, from, message.delta, now)
    }
    return ok(undefined)
  }

  #refused(attempt: Attempt, from: PeerName, reason: RefusalReason, now: Millis): void {
    switch (reason) {
      case 'alive':
        this.#give(attempt, alive(attempt.peer, from))
        return
      case 'busy':
        this.#give(attempt, busy(attempt.peer, from))
        return
      case 'apart':
        if (!attempt.leaveAbsent) {
          this.#give(attempt, apart(from))
          return
        }
        attempt.voters.delete(from)
        attempt.waiting.delete(from)
        this.#completeIfAgreed(attempt, now)
        return
      default:
        unreachable(reason)
    }
  }

  tick(now: Millis): void {
    for (const attempt of [...this.#attempts.values()]) this.#advance(attempt, now)
  }

  #advance(attempt: Attempt, now: Millis): void {
    const { peer, deadline, askAt } = attempt
    if (this.#isOvertaken(attempt)) this.#give(attempt, overtaken())
    else if (this.#lives(peer)) this.#give(attempt, alive(peer, this.#ports.ledger.self))
    else if (attempt.waiting.size === 0) this.#completeIfAgreed(attempt, now)
    else if (deadline <= now) this.#give(attempt, silent([...attempt.waiting]))
    else if (askAt <= now) this.#ask(attempt, [...attempt.waiting], now)
  }

  #refusal(peer: PeerName, known: readonly PeerName[]): TakeoverError | undefined {
    const { ring, self, retiredBy } = this.#ports.ledger
    if (peer === self)
      return { code: 'self', text: `${peer} is this node itself`, hint: 'to leave the cluster run `weft reset`', peers: [] }
    if (ring === undefined) return noRing()
    if (retiredBy !== undefined) return { code: 'retired', text: retirementText(self, retiredBy), peers: [] }
    if (this.#lives(peer)) return alive(peer, self)
    const running = this.#attempts.get(peer)
    if (running !== undefined) return busy(peer, self)
    const isKnown = known.includes(peer) || ring.retired.has(peer) || ring.entries.some(({ owner }) => owner === peer)
    return isKnown ? undefined : { code: 'unknown', text: `no peer ${peer} is known`, hint: 'see `weft status ipam`', peers: [] }
  }

  /** It can be reached, and is not retired. */
  #lives(peer: PeerName): boolean {
    return this.#ports.reachable().includes(peer) && this.#ports.ledger.ring?.retired.has(peer) !== true
  }

  /**
   * All who might be told to take over as well, or may have been given something. And the peer itself, should it be back
   * after it was retired and before somebody took over: so it has heard of it.
   */
  #voters(peer: PeerName, known: readonly PeerName[]): readonly PeerName[] {
    const { ring, self } = this.#ports.ledger
    const owners = ring?.entries.map(({ owner }) => owner) ?? []
    const others = [...new Set([...known, ...owners])].filter((name) => name !== self && name !== peer && !ring?.retired.has(name))
    return [...others, ...this.#ports.reachable().filter((name) => name === peer)].sort()
  }

  /** What nobody present knows the owner of can only be of peers that are gone. */
  #presume(peer: PeerName, ring: Ring): void {
    const items = gapsOf(ring).map(({ start, end }) => ({ token: start, end, owner: peer, version: 0, epoch: 0 }))
    const written = items.length === 0 ? ok(undefined) : this.#ports.ledger.write({ items, retired: [] })
    if (!written.ok) this.#effects.push({ kind: 'trouble', text: written.error.text })
  }

  #isOvertaken({ seedId }: Attempt): boolean {
    return this.#ports.ledger.ring?.seedId !== seedId
  }

  /** A new round: the estate as it is now, to everybody. */
  #propose(attempt: Attempt, now: Millis): void {
    const { ledger, random } = this.#ports
    attempt.id = randomBelow(random, 2 ** 32)
    attempt.estate = estateOf(ledger.ring?.entries ?? [], attempt.peer)
    attempt.waiting = new Set(attempt.voters)
    if (attempt.estate.length > DELTA_ITEMS_MAX) this.#give(attempt, tooMany(attempt.peer))
    else if (attempt.waiting.size === 0) this.#completeIfAgreed(attempt, now)
    else this.#ask(attempt, [...attempt.waiting], now)
  }

  #ask(attempt: Attempt, peers: readonly PeerName[], now: Millis, more: readonly RingItem[] = []): void {
    const { peer, id, estate } = attempt
    attempt.askAt = millis(now + RETRY)
    const by = this.#ports.ledger.ring?.retired.get(peer)
    const delta = this.#delta([...estate, ...more].slice(0, DELTA_ITEMS_MAX), by === undefined ? [] : [{ peer, by }])
    if (delta !== undefined) for (const to of peers) this.#send(to, { kind: 'proposal', id, peer, delta })
  }

  #dissented(attempt: Attempt, from: PeerName, delta: RingDelta, now: Millis): Result<void, GossipFault> {
    const merged = this.#ports.merge(delta, now)
    const ring = this.#ports.ledger.ring
    if (!merged.ok || ring === undefined) return merged.ok ? ok(undefined) : merged
    // Beyond this many the next proposals wait for the tick.
    attempt.hasty -= 1
    if (attempt.hasty <= 0) return ok(undefined)
    if (!sameEntries(attempt.estate, estateOf(ring.entries, attempt.peer))) this.#propose(attempt, now)
    else
      this.#ask(
        attempt,
        [from],
        now,
        within(ring, delta.items).filter(({ owner }) => owner !== attempt.peer),
      )
    return ok(undefined)
  }

  #proposed(from: PeerName, message: TakeoverMessage & { kind: 'proposal' }, now: Millis): Result<void, GossipFault> {
    const { id, peer, delta } = message
    const { ledger } = this.#ports
    if (ledger.foreign(delta) !== undefined) {
      this.#send(from, { kind: 'refusal', id, reason: 'apart' })
      return ok(undefined)
    }
    const merged = this.#ports.merge(delta, now)
    const ring = ledger.ring
    if (!merged.ok || ring === undefined) return merged.ok ? ok(undefined) : merged
    const own = this.#attempts.get(peer)
    const isAlive = peer === ledger.self ? ledger.retiredBy === undefined : this.#lives(peer)
    if (isAlive || (own !== undefined && ledger.self > from)) {
      this.#send(from, { kind: 'refusal', id, reason: isAlive ? 'alive' : 'busy' })
      return ok(undefined)
    }
    if (own !== undefined) this.#give(own, busy(peer, from))
    const [ours, theirs] = [estateOf(ring.entries, peer), estateOf(delta.items, peer)]
    if (!sameEntries(ours, theirs)) this.#dissent(from, id, [...ours, ...within(ring, theirs)])
    else if (this.#retire(peer, from)) this.#send(from, { kind: 'consent', id })
    return ok(undefined)
  }

  #dissent(to: PeerName, id: number, items: readonly RingItem[]): void {
    const delta = this.#delta(items.slice(0, DELTA_ITEMS_MAX))
    if (delta !== undefined) this.#send(to, { kind: 'dissent', id, delta })
  }

  /** Keeps, durably, that `peer` is retired. False when it cannot be written. */
  #retire(peer: PeerName, by: PeerName): boolean {
    if (this.#ports.ledger.ring?.retired.has(peer)) return true
    const written = this.#ports.ledger.write({ items: [], retired: [{ peer, by }] })
    this.#effects.push(written.ok ? { kind: 'changed' } : { kind: 'trouble', text: written.error.text })
    return written.ok
  }

  #completeIfAgreed(attempt: Attempt, now: Millis): void {
    if (attempt.waiting.size > 0) return
    if (this.#isOvertaken(attempt)) {
      this.#give(attempt, overtaken())
      return
    }
    const { ledger } = this.#ports
    const estate = estateOf(ledger.ring?.entries ?? [], attempt.peer)
    if (!sameEntries(estate, attempt.estate)) {
      this.#propose(attempt, now)
      return
    }
    const items = estate.length === 0 ? [] : claimItems(estate, ledger.self)
    if (items === undefined) {
      this.#give(attempt, tooMany(attempt.peer))
      return
    }
    const news = { items, retired: [{ peer: attempt.peer, by: ledger.self }] }
    const written = ledger.write(news)
    if (!written.ok) {
      this.#give(attempt, { code: 'store', text: written.error.text, peers: [] })
      return
    }
    const { ring, universe } = ledger
    for (const chunk of ring === undefined ? [] : chunksOf(news)) {
      this.#effects.push({ kind: 'broadcast', delta: encodeDelta({ universe, seedId: ring?.seedId, ...chunk }) })
    }
    this.#effects.push({ kind: 'changed' })
    this.#attempts.delete(attempt.peer)
    this.#settle(attempt.request, ok(items.reduce((sum, { token, end }) => sum + end - token, 0)))
  }

  #delta(items: readonly RingItem[], retired: readonly Retirement[] = []): RingDelta | undefined {
    const { ring, universe } = this.#ports.ledger
    return ring === undefined ? undefined : { universe, seedId: ring.seedId, items, retired }
  }

  #send(to: PeerName, message: TakeoverMessage): void {
    this.#effects.push({ kind: 'send', to, message: encodeTakeoverMessage(message) })
  }

  #give(attempt: Attempt, error: TakeoverError): void {
    this.#attempts.delete(attempt.peer)
    this.#settle(attempt.request, err(error))
  }

  #settle(request: number, result: Result<number, TakeoverError>): void {
    this.#effects.push({ kind: 'taken', request, result })
  }
}

/** What `ring` says of the ranges of `items`. */
function within(ring: Ring, items: readonly RingItem[]): readonly RingItem[] {
  return items.flatMap(({ token, end }) => entriesWithin(ring, { start: token, end }))
}
