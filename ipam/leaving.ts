/**
 * Leaving the cluster in good order (`weft reset`). Owns no timer: the caller says what time it is and performs the effects.
 *
 *  1. We look for an **heir**: a peer in reach that says that it has the same ring. One of another ring would refuse what
 *     we give, and it would be lost.
 *  2. What no pod uses is given to it, by an ordinary grant. Then the whole ring is handed to it.
 *  3. Only when it says that this is on its disk our own name is retired.
 *
 * So whatever fails in between, the ranges are somebody's, and the command can be given again. Addresses in use stay ours
 * until a takeover; without force they are a reason not to leave.
 */
import { type Millis, millis, type PeerName, seconds } from '../mesh/base/brand.ts'
import { pick, randomBelow } from '../mesh/base/random.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import type { AttachmentKey } from './attachment.ts'
import { grantItems, type RingItem, type RingNews, ringNews, type SeedId } from './ring.ts'
import { encodeDelta, type RingDelta } from './ring-codec.ts'
import { chunksOf } from './ring-digest.ts'
import type { StoreError } from './store.ts'
import { retirementText } from './takeover.ts'
import { encodeTakeoverMessage, type TakeoverMessage } from './takeover-messages.ts'
import { membersInReach, type TakeoverEffect, type TakeoverPorts } from './takeovers.ts'

/**
 * Why this peer did not leave:
 * - `pods`: some still have addresses
 * - `alone`: nobody can be reached who could take its ranges
 * - `silent`: nobody with our ring answered, or the peer that was given the ranges did not say that it has them
 * - `in-doubt`: some of our past is lost: what we take for ours may have been given away
 * - `apart`: our ring was given up for another one meanwhile
 * - `retired`, `no-ring`, `store`: its name is retired already; it has no ring; the disk failed
 */
export interface LeaveError {
  readonly code: 'pods' | 'alone' | 'silent' | 'in-doubt' | 'apart' | 'retired' | 'no-ring' | 'store'
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
/** One of them has our ring, or a few seconds later one of others. */
const ASKED_AT_ONCE = 3

interface Common {
  readonly request: number
  /** Of the ring that we leave. */
  readonly seedId: SeedId
  readonly deadline: Millis
  askAt: Millis
}

type Departure =
  | (Common & { readonly kind: 'choosing'; readonly own: AttachmentKey; readonly inquiry: number })
  /** `waiting`: by id, what the heir has not confirmed yet. */
  | (Common & { readonly kind: 'handing'; readonly left: Left; readonly waiting: Map<number, RingDelta> })

export class Leaving {
  readonly #ports: TakeoverPorts
  #departure: Departure | undefined
  #effects: LeavingEffect[] = []

  constructor(ports: TakeoverPorts) {
    this.#ports = ports
  }

  /** No new address or range may be given out now, nor asked for. */
  get isUnderWay(): boolean {
    return this.#departure !== undefined
  }

  drain(): readonly LeavingEffect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  /** When to call `tick`, at the latest; undefined when nothing is under way. */
  wakeAt(): Millis | undefined {
    return this.#departure === undefined ? undefined : millis(Math.min(this.#departure.askAt, this.#departure.deadline))
  }

  /** Settled by an effect, at once or within 8 s. @param request a number not used before. */
  leave(request: number, { own, force }: LeaveOptions, now: Millis): void {
    const { ledger, random } = this.#ports
    const seedId = ledger.ring?.seedId
    const refusal = this.#refusal(own, force) ?? (membersInReach(this.#ports).length === 0 ? alone() : undefined)
    if (refusal !== undefined || seedId === undefined) {
      this.#effects.push({ kind: 'left', request, result: err(refusal ?? noRing()) })
      return
    }
    const inquiry = randomBelow(random, 2 ** 32)
    this.#departure = { kind: 'choosing', request, seedId, own, inquiry, deadline: millis(now + TIMEOUT), askAt: now }
    this.tick(now)
  }

  receive(from: PeerName, message: TakeoverMessage, now: Millis): Result<void, GossipFault> {
    switch (message.kind) {
      case 'handover':
        return this.#handedOver(from, message, now)
      case 'answer':
        this.#answered(from, message, now)
        return ok(undefined)
      case 'consent':
        this.#confirmed(from, message.id)
        return ok(undefined)
      default:
        return ok(undefined)
    }
  }

  tick(now: Millis): void {
    const departure = this.#departure
    if (departure === undefined) return
    if (this.#isOvertaken(departure)) this.#end(err(overtaken()))
    else if (departure.deadline <= now) this.#end(err(departure.kind === 'choosing' ? nobody() : silent(departure.left.heir)))
    else if (departure.askAt <= now) this.#ask(departure, now)
  }

  #refusal(own: AttachmentKey, force: boolean): LeaveError | undefined {
    const { ring, self, retiredBy, allocations, inDoubt } = this.#ports.ledger
    if (ring === undefined) return noRing()
    if (retiredBy !== undefined) return { code: 'retired', text: retirementText(self, retiredBy) }
    if (this.#departure !== undefined) return { code: 'silent', text: 'this node is leaving already', hint: 'wait a few seconds' }
    if (inDoubt) return doubtful()
    const pods = [...allocations.keys()].filter((key) => key !== own).length
    if (pods === 0 || force) return undefined
    return {
      code: 'pods',
      text: `${pods} ${pods === 1 ? 'pod has an address' : 'pods have addresses'} of this node`,
      hint: 'drain the node first; with --force the addresses in use are lost to the cluster until `weft rmpeer` elsewhere',
    }
  }

  #ask(departure: Departure, now: Millis): void {
    departure.askAt = millis(now + RETRY)
    if (departure.kind === 'handing') {
      for (const [id, delta] of departure.waiting) this.#send(departure.left.heir, { kind: 'handover', id, delta })
      return
    }
    const candidates = membersInReach(this.#ports)
    const asked = new Set(Array.from({ length: ASKED_AT_ONCE }, () => pick(this.#ports.random, candidates)))
    for (const peer of asked) if (peer !== undefined) this.#send(peer, { kind: 'inquiry', id: departure.inquiry })
  }

  #answered(from: PeerName, { id, delta }: TakeoverMessage & { kind: 'answer' }, now: Millis): void {
    const departure = this.#departure
    if (departure?.kind !== 'choosing' || departure.inquiry !== id || delta.seedId !== departure.seedId) return
    if (this.#isOvertaken(departure)) this.#end(err(overtaken()))
    else if (membersInReach(this.#ports).includes(from)) this.#give(departure, from, now)
  }

  #give({ request, seedId, own, deadline }: Departure & { kind: 'choosing' }, heir: PeerName, now: Millis): void {
    const { ledger, random } = this.#ports
    this.#effects.push({ kind: 'changed' })
    const { unwritten } = ledger.release(own)
    const items = this.#spare(heir)
    const written = unwritten === undefined ? ledger.write({ items, retired: [] }) : err(unwritten)
    if (!written.ok) {
      this.#end(err(storeError(written.error)))
      return
    }
    for (const delta of this.#deltas({ items, retired: [] })) this.#effects.push({ kind: 'broadcast', delta: encodeDelta(delta) })
    const given = items.reduce((sum, { token, end }) => sum + end - token, 0)
    const whole = ledger.ring === undefined ? [] : this.#deltas(ringNews(ledger.ring))
    const waiting = new Map(whole.map((delta) => [randomBelow(random, 2 ** 32), delta]))
    const left = { heir, given, kept: ledger.allocations.size }
    this.#departure = { kind: 'handing', request, seedId, left, deadline, waiting, askAt: now }
    this.#ask(this.#departure, now)
  }

  /** What gives all of ours that is not in use to `heir`. A block that cannot be given stays ours. */
  #spare(heir: PeerName): readonly RingItem[] {
    const { ring, self } = this.#ports.ledger
    return ring === undefined ? [] : this.#ports.ledger.unused().flatMap((block) => grantItems(ring, self, block, heir) ?? [])
  }

  #deltas(news: RingNews): readonly RingDelta[] {
    const { ring, universe } = this.#ports.ledger
    return ring === undefined ? [] : chunksOf(news).map((chunk) => ({ universe, seedId: ring.seedId, ...chunk }))
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
    if (departure?.kind !== 'handing' || departure.left.heir !== from) return
    if (!departure.waiting.delete(id) || departure.waiting.size > 0) return
    if (this.#isOvertaken(departure)) {
      this.#end(err(overtaken()))
      return
    }
    const { ledger } = this.#ports
    const retired = [{ peer: ledger.self, by: ledger.self }]
    const written = ledger.write({ items: [], retired })
    if (!written.ok) {
      this.#end(err(storeError(written.error)))
      return
    }
    for (const delta of this.#deltas({ items: [], retired })) this.#effects.push({ kind: 'broadcast', delta: encodeDelta(delta) })
    this.#effects.push({ kind: 'changed' })
    this.#end(ok(departure.left))
  }

  #isOvertaken({ seedId }: Departure): boolean {
    return this.#ports.ledger.ring?.seedId !== seedId
  }

  #end(result: Result<Left, LeaveError>): void {
    const request = this.#departure?.request
    this.#departure = undefined
    if (request !== undefined) this.#effects.push({ kind: 'left', request, result })
  }

  #send(to: PeerName, message: TakeoverMessage): void {
    this.#effects.push({ kind: 'send', to, message: encodeTakeoverMessage(message) })
  }
}

function noRing(): LeaveError {
  return { code: 'no-ring', text: 'this node has no ring: there is nothing to hand over' }
}

function alone(): LeaveError {
  return {
    code: 'alone',
    text: 'no other peer can be reached to take the addresses of this node',
    hint: 'start one, or see `weft status peers`',
  }
}

function doubtful(): LeaveError {
  return {
    code: 'in-doubt',
    text: 'some of the journal of this node is lost, so that it may have given away what it takes for its own',
    hint: 'see `weft status ipam` for whom it waits to hear; `weft ipam recover` goes on without them',
  }
}

function overtaken(): LeaveError {
  return { code: 'apart', text: 'our ring was given up for another one meanwhile', hint: 'run the command again' }
}

function nobody(): LeaveError {
  return {
    code: 'silent',
    text: 'no peer in reach has answered that it has the same ring as this node',
    hint: 'see `weft status ipam` and `weft ipam check`',
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
