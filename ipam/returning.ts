/**
 * Finding out whether one still belongs to the cluster, as a name may have been retired while its router was away, or in
 * the ring that one takes in place of one's own. Owns no timer: the caller says what time it is and performs the effects.
 *
 * Whoever starts with ranges from its disk asks the peers that it reaches, and gives out no new address until one that
 * has the same ring has answered, or for 3 s when none does. After that it counts as cut off, and goes on with what it
 * has: who wants its ranges has a person's word that it is gone. One answer is enough, although a peer that was left out
 * of the takeover, and has been back for no longer, may not know better: the ring that follows tells it a moment later.
 */
import { type Millis, millis, type PeerName, seconds } from '../mesh/base/brand.ts'
import { randomBelow } from '../mesh/base/random.ts'
import { ok, type Result } from '../mesh/base/result.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import { encodeTakeoverMessage, type TakeoverMessage } from './takeover-messages.ts'
import { membersInReach, type TakeoverEffect, type TakeoverPorts } from './takeovers.ts'

/** A handshake and an exchange of digests take well under a second. */
const UNSURE_MAX: Millis = seconds(3)
const INQUIRE_EVERY: Millis = millis(300)
/** One that is overloaded must not keep a node from its pods. */
const ASKED_AT_ONCE = 3

interface Inquiry {
  readonly id: number
  readonly until: Millis
  askAt: Millis
}

export class Returning {
  readonly #ports: TakeoverPorts
  /** Undefined when we have no reason to ask. */
  #inquiry: Inquiry | undefined
  #effects: TakeoverEffect[] = []

  constructor(ports: TakeoverPorts) {
    this.#ports = ports
  }

  /** No new address or range may be given out now, nor asked for. */
  get isUnsure(): boolean {
    return this.#inquiry !== undefined
  }

  drain(): readonly TakeoverEffect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  /** When to call `tick`, at the latest; undefined when nothing is under way. */
  wakeAt(): Millis | undefined {
    return this.#inquiry === undefined ? undefined : millis(Math.min(this.#inquiry.askAt, this.#inquiry.until))
  }

  /**
   * We have a ring in which something may have become of us while we were away, and others can be asked from now on.
   * @param known all peers of which the mesh knows: they may have taken over from us although all of our ring was ours.
   */
  begin(known: readonly PeerName[], now: Millis): void {
    const { ring, self, retiredBy } = this.#ports.ledger
    const hasOthers = [...known, ...(ring?.entries ?? []).map(({ owner }) => owner)].some((name) => name !== self)
    const isOwner = ring?.entries.some(({ owner }) => owner === self) ?? false
    if (!(hasOthers && isOwner) || retiredBy !== undefined) return
    this.#inquiry = { id: randomBelow(this.#ports.random, 2 ** 32), until: millis(now + UNSURE_MAX), askAt: now }
    this.tick(now)
  }

  receive(from: PeerName, message: TakeoverMessage, now: Millis): Result<void, GossipFault> {
    if (message.kind === 'inquiry') this.#answer(from, message.id)
    return message.kind === 'answer' && message.id === this.#inquiry?.id ? this.#answered(message, now) : ok(undefined)
  }

  tick(now: Millis): void {
    const inquiry = this.#inquiry
    if (inquiry === undefined) return
    if (inquiry.until <= now) this.#end()
    else if (inquiry.askAt <= now) {
      inquiry.askAt = millis(now + INQUIRE_EVERY)
      for (const peer of membersInReach(this.#ports).slice(0, ASKED_AT_ONCE)) this.#send(peer, { kind: 'inquiry', id: inquiry.id })
    }
  }

  #answer(to: PeerName, id: number): void {
    const { ring, universe } = this.#ports.ledger
    const by = ring?.retired.get(to)
    const retired = by === undefined ? [] : [{ peer: to, by }]
    if (ring !== undefined) this.#send(to, { kind: 'answer', id, delta: { universe, seedId: ring.seedId, items: [], retired } })
  }

  #answered({ delta }: TakeoverMessage & { kind: 'answer' }, now: Millis): Result<void, GossipFault> {
    // Of another ring it says nothing about us in ours.
    if (this.#ports.ledger.foreign(delta) !== undefined) return ok(undefined)
    const merged = this.#ports.merge(delta, now)
    if (!merged.ok) return merged
    this.#end()
    return ok(undefined)
  }

  #end(): void {
    this.#inquiry = undefined
    this.#effects.push({ kind: 'changed' })
  }

  #send(to: PeerName, message: TakeoverMessage): void {
    this.#effects.push({ kind: 'send', to, message: encodeTakeoverMessage(message) })
  }
}
