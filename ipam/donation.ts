/**
 * Getting space from others when ours is used up, and giving it.
 *
 * Asking: one ask is outstanding at a time and serves everybody who waits for an address of one range. The donor is drawn by chance,
 * weighted by how much each owns, among those that can be reached and did not lately deny or keep silent.
 *
 * Why no message, lost, late or repeated, loses or doubles space: ownership changes only in the ring, in
 * the donor's one durable write, before anything is sent; the messages only speed up its spreading.
 *  - An ask is lost: nothing has happened. The asker goes on to another after a while.
 *  - A grant is lost: the ring says that the asker owns the block; the broadcast and anti-entropy tell it,
 *    if need be much later. Should it have got space elsewhere by then, it owns more than it needed, and
 *    gives of it when asked.
 *  - An ask comes twice: the donor remembers its last answer to each peer and repeats it; merging a grant
 *    twice changes nothing, also when the asker has given the block on (its versions are greater).
 *    Should the donor have forgotten, it grants a further block: the asker's, in the ring, as above.
 *  - The asker dies before it hears of a grant: its range waits for it in the ring, or for a takeover.
 *  - The donor dies after its write and before its broadcast: it tells when it is back.
 */
import type { Millis, PeerName } from '../mesh/base/brand.ts'
import { millis, seconds } from '../mesh/base/brand.ts'
import { type Random, randomBelow } from '../mesh/base/random.ts'
import type { RingDelta } from './ring-codec.ts'

/** A donor answers within one round trip and one fsync; one that is silent for longer has lost the ask or is overloaded. */
const ANSWER_TIMEOUT: Millis = seconds(2)
/** Long enough to ask everybody else first, short enough to find what was freed meanwhile. */
const REFUSAL_REMEMBERED: Millis = seconds(5)
/** How long a peer's last answer still explains why there is no space: longer than anybody waits. */
const OUTCOME_REMEMBERED: Millis = seconds(60)
/** A repeated ask comes soon or never: the oldest answers are forgotten, which costs no space. */
const ANSWERS_MAX = 1_024

/**
 * How an ask ended. Of one who had nothing we know when it was asked: so it cannot count against somebody who came
 * later, when an address may have become free.
 */
type Refusal =
  | { readonly kind: 'denied'; readonly at: Millis; readonly asked: Millis }
  | { readonly kind: 'withheld'; readonly at: Millis }
  /** It may still answer the ask of this id. */
  | { readonly kind: 'silent'; readonly at: Millis; readonly id: number }
type Outstanding = { readonly peer: PeerName; readonly id: number; readonly asked: Millis }

/** What a donor has left for the next ask: something, nothing, or something that it cannot give now. */
export type Left = 'more' | 'none' | 'withheld'

/** Why there is nothing to be had: each other owner, by how it answered last. */
export interface Prospects {
  /** Had nothing. */
  readonly denied: readonly PeerName[]
  /** Have some or do not know, and cannot give it now. */
  readonly withheld: readonly PeerName[]
  /** Reachable, but did not answer. */
  readonly silent: readonly PeerName[]
  readonly unreachable: readonly PeerName[]
  /** Not asked yet. */
  readonly open: readonly PeerName[]
}

/** Whom we asked, and who had nothing. Owns no timer: the caller says what time it is. */
export class Asking {
  readonly #random: Random
  readonly #refusals = new Map<PeerName, Refusal>()
  #outstanding: Outstanding | undefined

  constructor(random: Random) {
    this.#random = random
  }

  /**
   * The next peer to ask, and the ask's id; undefined when one is asked already, or nobody is worth it now.
   * @param since who had nothing before this moment is asked anew when nobody else is left.
   */
  next(
    owners: ReadonlyMap<PeerName, number>,
    reachable: readonly PeerName[],
    { now, since }: { readonly now: Millis; readonly since: Millis },
  ): { readonly peer: PeerName; readonly id: number } | undefined {
    if (this.#outstanding !== undefined) return undefined
    const near = reachable.filter((peer) => owners.has(peer))
    const worthIt = near.filter((peer) => !this.#refusedWithin(REFUSAL_REMEMBERED, peer, now))
    const peer = this.#draw(owners, worthIt) ?? this.#longestDenied(near, since)
    if (peer === undefined) return undefined
    this.#outstanding = { peer, id: randomBelow(this.#random, 2 ** 32), asked: now }
    return this.#outstanding
  }

  /** The moment since which each of `owners` was asked and had nothing: infinite for no owners, undefined when some had or did not say. */
  emptySince(owners: Iterable<PeerName>): number | undefined {
    let since = Number.POSITIVE_INFINITY
    for (const peer of owners) {
      const refusal = this.#refusals.get(peer)
      if (refusal?.kind !== 'denied') return undefined
      since = Math.min(since, refusal.asked)
    }
    return since
  }

  /** `peer` answered the ask of this id, if it was one of ours. It is skipped for a while unless more may be had from it. */
  answered(peer: PeerName, id: number, left: Left, now: Millis): void {
    const outstanding = this.#outstanding
    const refusal = this.#refusals.get(peer)
    const isAwaited = outstanding?.peer === peer && outstanding.id === id
    if (isAwaited) this.#outstanding = undefined
    else if (refusal?.kind !== 'silent' || refusal.id !== id) return
    if (left === 'more') this.#refusals.delete(peer)
    // An answer that comes late says nothing of now.
    else if (left === 'none' && isAwaited) this.#refusals.set(peer, { kind: 'denied', at: now, asked: outstanding.asked })
    else this.#refusals.set(peer, { kind: 'withheld', at: now })
  }

  /** The ask to `peer` could not be sent. */
  unsent(peer: PeerName, now: Millis): void {
    if (this.#outstanding?.peer !== peer) return
    const { id } = this.#outstanding
    this.#outstanding = undefined
    this.#refusals.set(peer, { kind: 'silent', at: now, id })
  }

  /** Gives up on a donor that is silent for too long. */
  tick(now: Millis): void {
    const until = this.wakeAt()
    if (this.#outstanding !== undefined && until !== undefined && until <= now) this.unsent(this.#outstanding.peer, now)
    for (const peer of this.#refusals.keys()) if (!this.#refusedWithin(OUTCOME_REMEMBERED, peer, now)) this.#refusals.delete(peer)
  }

  /** When to call `tick` for the ask's sake; undefined when none is outstanding. */
  wakeAt(): Millis | undefined {
    return this.#outstanding === undefined ? undefined : millis(this.#outstanding.asked + ANSWER_TIMEOUT)
  }

  prospects(owners: ReadonlyMap<PeerName, number>, reachable: readonly PeerName[]): Prospects {
    const near = new Set(reachable)
    const none = (): PeerName[] => []
    const found = { denied: none(), withheld: none(), silent: none(), unreachable: none(), open: none() }
    for (const peer of owners.keys()) {
      if (near.has(peer)) found[this.#refusals.get(peer)?.kind ?? 'open'].push(peer)
      else found.unreachable.push(peer)
    }
    return found
  }

  #refusedWithin(period: Millis, peer: PeerName, now: Millis): boolean {
    const refusal = this.#refusals.get(peer)
    return refusal !== undefined && now < refusal.at + period
  }

  /** One after the other, so that whoever waits has soon heard of all. */
  #longestDenied(peers: readonly PeerName[], since: Millis): PeerName | undefined {
    let found: { readonly peer: PeerName; readonly asked: Millis } | undefined
    for (const peer of peers) {
      const refusal = this.#refusals.get(peer)
      if (refusal?.kind === 'denied' && refusal.asked < (found?.asked ?? since)) found = { peer, asked: refusal.asked }
    }
    return found?.peer
  }

  #draw(weights: ReadonlyMap<PeerName, number>, peers: readonly PeerName[]): PeerName | undefined {
    let ticket = this.#random() * peers.reduce((sum, peer) => sum + (weights.get(peer) ?? 0), 0)
    for (const peer of peers) {
      ticket -= weights.get(peer) ?? 0
      if (ticket < 0) return peer
    }
    return peers.at(-1)
  }
}

/** What we granted last to each peer, so that a repeated ask gets the same block again. */
export class Answers {
  readonly #last = new Map<PeerName, { readonly id: number; readonly delta: RingDelta }>()

  recall(peer: PeerName, id: number): RingDelta | undefined {
    const last = this.#last.get(peer)
    return last?.id === id ? last.delta : undefined
  }

  remember(peer: PeerName, id: number, delta: RingDelta): void {
    this.#last.delete(peer)
    this.#last.set(peer, { id, delta })
    if (this.#last.size <= ANSWERS_MAX) return
    const [oldest] = this.#last.keys()
    if (oldest !== undefined) this.#last.delete(oldest)
  }
}
