/**
 * Sends and carries parcels. Each goes to the neighbour that the shortest path begins with, loses one of its hops on
 * every connection, and never goes back where it came from; so it is gone after `HOPS_MAX` connections at most, also
 * while peers have different views of the mesh. Parcels of others get a bounded share of what we send.
 *
 * A parcel overtakes the record of its sender, which waits in a queue at every neighbour on the way. Who joins asks for
 * things as soon as it knows whom to ask: so what comes from somebody unknown is held for a while.
 */
import { type Millis, millis, type PeerName, seconds } from './base/brand.ts'
import { type Budget, type BudgetPolicy, fullBudget, spend } from './budget.ts'
import type { CryptoSuite } from './crypto.ts'
import type { FaultCode } from './faults.ts'
import type { Identity } from './identity.ts'
import { type GossipMessage, HOPS_MAX } from './messages.ts'
import { isParcelGenuine, parseParcel, type SealedParcel, sealParcel } from './parcel.ts'
import type { PeerRecord } from './record.ts'
import { ReplayWindow } from './replay.ts'

export interface PostPorts {
  readonly identity: Identity
  readonly crypto: CryptoSuite
  readonly now: () => Millis
  /** Our own included. */
  readonly recordOf: (name: PeerName) => PeerRecord | undefined
  /** The neighbour that the way to a peer begins with. */
  readonly nextHop: (name: PeerName) => PeerName | undefined
  /** False when it is no neighbour, or too slow. */
  readonly send: (to: PeerName, message: GossipMessage) => boolean
  readonly deliver: (channel: string, body: Uint8Array, from: PeerName) => void
  readonly fault: (from: PeerName, code: FaultCode, detail: string) => void
}

export interface PostStatus {
  readonly carried: number
  /** Parcels of others that had no way on, too many hops behind them, or no budget left; and of strangers that found no room. */
  readonly dropped: number
}

/** What one neighbour may have us carry: control messages are rare and small; data never comes this way. */
const CARRY: BudgetPolicy = { perSecond: 64 * 1024, burst: 1024 * 1024 }
/** Parcels of one sender that overtake each other by more than this are lost. */
const WINDOW = 128
/** News is everywhere sooner; and who waits for an answer waits no longer. */
const HELD_FOR: Millis = seconds(2)
/** Of what one neighbour brought: a few newcomers behind it, who ask one thing at a time. */
const HELD_MAX = 16
const HELD_BYTES_MAX: number = 64 * 1024

/** A parcel of somebody whose record has not come yet. */
interface Held {
  readonly from: PeerName
  readonly sealed: SealedParcel
  readonly until: Millis
}

export class Post {
  readonly #ports: PostPorts
  /** Parcels seen of each sender, in its present life. */
  readonly #seen = new Map<PeerName, { readonly incarnation: number; readonly window: ReplayWindow }>()
  readonly #budgets = new Map<PeerName, Budget>()
  #held: readonly Held[] = []
  #sent = 0
  #carried = 0
  #dropped = 0

  constructor(ports: PostPorts) {
    this.#ports = ports
  }

  get status(): PostStatus {
    return { carried: this.#carried, dropped: this.#dropped }
  }

  /** False when there is no way to it, or the first neighbour on the way is too slow. */
  send(to: PeerName, channel: string, body: Uint8Array): boolean {
    const { identity, crypto, recordOf, nextHop, send } = this.#ports
    const [own, theirs, next] = [recordOf(identity.name), recordOf(to), nextHop(to)]
    if (own === undefined || theirs === undefined || next === undefined) return false
    this.#sent += 1
    const parcel = {
      from: identity.name,
      to,
      fromIncarnation: own.incarnation,
      toIncarnation: theirs.incarnation,
      number: this.#sent,
      channel,
      body,
    }
    return send(next, { kind: 'parcel', hops: HOPS_MAX, bytes: sealParcel(parcel, identity, crypto) })
  }

  receive(from: PeerName, { hops, bytes }: GossipMessage & { kind: 'parcel' }): void {
    const sealed = parseParcel(bytes)
    if (!sealed.ok) this.#ports.fault(from, 'message', sealed.error)
    else if (sealed.value.parcel.to === this.#ports.identity.name)
      this.#open({ from, sealed: sealed.value, until: millis(this.#ports.now() + HELD_FOR) })
    else this.#carry(from, sealed.value.parcel.to, { kind: 'parcel', hops: hops - 1, bytes })
  }

  /** There are new records: of senders of what is held, perhaps. */
  recordsCame(): void {
    const [held, now] = [this.#held, this.#ports.now()]
    this.#held = []
    for (const item of held) if (item.until > now) this.#open(item)
  }

  /** A neighbour is gone. */
  forget(name: PeerName): void {
    this.#budgets.delete(name)
  }

  #open(item: Held): void {
    const { identity, crypto, recordOf, deliver, fault } = this.#ports
    const { parcel } = item.sealed
    // One for another life of ours is nobody's fault.
    if (parcel.toIncarnation !== recordOf(identity.name)?.incarnation) return
    const sender = recordOf(parcel.from)
    if (sender === undefined) this.#hold(item)
    else if (!isParcelGenuine(item.sealed, sender.publicKey, crypto))
      fault(item.from, 'signature', `a parcel of ${parcel.from} that it has not signed`)
    else if (this.#isNew(parcel.from, parcel.fromIncarnation, parcel.number)) deliver(parcel.channel, parcel.body, parcel.from)
  }

  #hold(item: Held): void {
    const now = this.#ports.now()
    this.#held = this.#held.filter(({ until }) => until > now)
    const same = this.#held.filter(({ from }) => from === item.from)
    const bytes = [item, ...same].reduce((sum, { sealed }) => sum + sealed.signed.length, 0)
    if (same.length < HELD_MAX && bytes <= HELD_BYTES_MAX) this.#held = [...this.#held, item]
    else this.#dropped += 1
  }

  #isNew(from: PeerName, incarnation: number, number: number): boolean {
    const seen = this.#seen.get(from)
    if (seen !== undefined && incarnation < seen.incarnation) return false
    const current = seen?.incarnation === incarnation ? seen : { incarnation, window: new ReplayWindow(WINDOW) }
    this.#seen.set(from, current)
    return current.window.accept(number)
  }

  #carry(from: PeerName, to: PeerName, message: GossipMessage & { kind: 'parcel' }): void {
    const { nextHop, send } = this.#ports
    const next = nextHop(to)
    const isCarried =
      message.hops > 0 && next !== undefined && next !== from && this.#mayCarry(from, message.bytes.length) && send(next, message)
    if (isCarried) this.#carried += 1
    else this.#dropped += 1
  }

  #mayCarry(from: PeerName, bytes: number): boolean {
    const now = this.#ports.now()
    const budget = spend(this.#budgets.get(from) ?? fullBudget(CARRY, now), CARRY, bytes, now)
    if (budget !== undefined) this.#budgets.set(from, budget)
    return budget !== undefined
  }
}
