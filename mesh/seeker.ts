/** Dials: owns the targets and what has become of each place, and runs the plans of `dialer.ts` at their time. */
import { Alarm } from './base/alarm.ts'
import { type Millis, millis, seconds } from './base/brand.ts'
import { type Clock, patiently } from './base/clock.ts'
import type { Logger } from './base/log.ts'
import { pick, type Random, randomBelow } from './base/random.ts'
import { err, type Result } from './base/result.ts'
import {
  type Attempts,
  type Dial,
  type DialEvent,
  type DialView,
  dialOf,
  hasten,
  type Now,
  planDials,
  recordDial,
  retryNow,
} from './dialer.ts'
import { formatTarget, type Target } from './endpoint.ts'
import type { PeerRecord } from './record.ts'
import type { Stream, Transport } from './transport.ts'

/** Two lost SYNs on a slow link; a dead address must not hold a place among the dials for minutes, as the kernel would. */
const DIAL_DEADLINE: Millis = seconds(5)
/** For a host that is asked whether it lives: its kernel answers in a round trip, or not at all. */
const ASK_DEADLINE: Millis = millis(1_000)
/**
 * So often, all peers together, somebody tries to reach one that is lost: two halves of a mesh that were parted find each
 * other again in a moment, and each peer dials rarely where there are many.
 */
const LOST_DIALS_PER_SECOND = 4
const LOST_INTERVAL_MIN: Millis = seconds(1)
/** Peers that come back all at once were parted from us: new links into their part are made when all have heard of each other, */
const REUNION_AFTER: Millis = seconds(6)
/** and not all at once. */
const REUNION: Millis = seconds(20)

export interface SeekerPorts {
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly view: () => Omit<DialView, 'targets'>
  /** A place that we dialled has answered. */
  readonly opened: (stream: Stream, place: string) => void
  /** What `attempts` tells has changed. */
  readonly changed: () => void
}

export class Seeker implements Disposable {
  readonly #ports: SeekerPorts
  /** Dials whose stream is not open yet, by place. */
  readonly #dials = new Map<string, Disposable>()
  readonly #asking = new Set<Disposable>()
  #targets: readonly Target[] = []
  #attempts: Attempts = new Map()
  readonly #planning: Alarm
  #searching: Disposable
  #isClosed = false

  constructor(ports: SeekerPorts) {
    this.#ports = ports
    this.#planning = new Alarm(ports.clock, () => this.#plan())
    this.#searching = this.#searchLater()
  }

  get targets(): readonly Target[] {
    return this.#targets
  }

  get attempts(): Attempts {
    return this.#attempts
  }

  /** Replaces what people want us to dial; what we have not reached of it is tried at once. */
  setTargets(targets: readonly Target[]): void {
    this.#attempts = retryNow(this.#attempts, [...this.#targets, ...targets].map(formatTarget))
    this.#targets = targets
    this.#ports.changed()
    this.kick()
  }

  /** What we want, or whom we know, may have changed. */
  kick(): void {
    this.#planning.at(this.#ports.clock.now())
  }

  /** These peers live after all. */
  revived(records: readonly PeerRecord[]): void {
    this.#attempts = hasten(this.#attempts, records, this.#now())
    this.kick()
  }

  /** A part of the mesh is back: sooner or later we make a link into it. */
  reunite(records: readonly PeerRecord[]): void {
    const { clock, random } = this.#ports
    const chosen = pick(random, records)
    if (chosen === undefined) return
    const timer = clock.after(millis(REUNION_AFTER + REUNION * random()), () => {
      this.#asking.delete(timer)
      this.#dialPeer(chosen)
    })
    this.#asking.add(timer)
  }

  /** Dials these places, but for those that have just failed: somebody may be there of whom no record of a peer tells. */
  visit(targets: readonly Target[]): void {
    if (this.#isClosed) return
    const { now } = this.#now()
    for (const target of targets) {
      const key = formatTarget(target)
      const attempt = this.#attempts.get(key)
      if (attempt === undefined || (attempt.kind === 'waiting' && attempt.retryAt <= now)) this.#dial({ key, target, peer: undefined })
    }
  }

  record(place: string, event: DialEvent): void {
    this.#attempts = recordDial(this.#attempts, place, event, this.#now())
  }

  /** Whether somebody listens at one of these places: a host accepts for a process that has no processor, not for one that is gone. */
  ask(targets: readonly Target[], answer: (isThere: boolean) => void): void {
    const { transport, clock } = this.#ports
    let open = targets.length
    const stack = new DisposableStack()
    const settle = (isThere: boolean): void => {
      if (stack.disposed) return
      stack[Symbol.dispose]()
      this.#asking.delete(stack)
      answer(isThere)
    }
    this.#asking.add(stack)
    stack.use(patiently(clock, ASK_DEADLINE, () => settle(false)))
    for (const target of targets) {
      const dial = transport.dial(target, (outcome) => {
        open -= 1
        if (outcome.ok) outcome.value.close()
        if (outcome.ok || open === 0) settle(outcome.ok)
      })
      stack.use(dial)
    }
    if (targets.length === 0) settle(false)
  }

  [Symbol.dispose](): void {
    this.#isClosed = true
    this.#planning[Symbol.dispose]()
    this.#searching[Symbol.dispose]()
    for (const open of [...this.#dials.values(), ...this.#asking]) open[Symbol.dispose]()
    this.#dials.clear()
    this.#asking.clear()
  }

  #now(): Now {
    return { now: this.#ports.clock.now(), random: this.#ports.random }
  }

  #plan(): void {
    const view = { ...this.#ports.view(), targets: this.#targets }
    const { attempts, dials, wakeAt } = planDials(this.#attempts, view, this.#now())
    this.#attempts = attempts
    for (const dial of dials) this.#dial(dial)
    if (wakeAt !== undefined) this.#planning.at(wakeAt)
  }

  #searchLater(): Disposable {
    const { clock, random, view } = this.#ports
    const peers = view().records.length + 1
    const interval = Math.max(LOST_INTERVAL_MIN, (peers * 1_000) / LOST_DIALS_PER_SECOND)
    return clock.after(millis(interval * (0.75 + random() / 2)), () => {
      this.#search()
      this.#searching = this.#searchLater()
    })
  }

  /** Dials one of those that are lost. */
  #search(): void {
    const { records, livenessOf } = this.#ports.view()
    const lost = records.filter(({ name }) => ['suspect', 'dead'].includes(livenessOf(name)))
    const chosen = pick(this.#ports.random, lost)
    if (chosen !== undefined) this.#dialPeer(chosen)
  }

  #dialPeer(record: PeerRecord): void {
    const { clock, random, view } = this.#ports
    // A pause after failures is no reason to wait: we come here rarely enough. So any address may be the one that answers.
    const dialing: Attempts = new Map([...this.#attempts].filter(([, { kind }]) => kind === 'dialing'))
    const first = randomBelow(random, record.addresses.length)
    const addresses = [...record.addresses.slice(first), ...record.addresses.slice(0, first)]
    const dial = dialOf(dialing, { ...record, addresses }, clock.now())
    if (dial !== undefined && !view().connected.has(record.name)) this.#dial(dial)
  }

  #dial({ key, target, peer }: Dial): void {
    const { transport, clock, changed } = this.#ports
    this.record(key, { kind: 'started', peer })
    const dial = new DisposableStack()
    dial.use(transport.dial(target, (outcome) => this.#onDialled(key, outcome)))
    dial.use(patiently(clock, DIAL_DEADLINE, () => this.#onDialled(key, err(`dial ${key}: no answer in time`))))
    this.#dials.set(key, dial)
    changed()
  }

  #onDialled(place: string, outcome: Result<Stream, string>): void {
    this.#dials.get(place)?.[Symbol.dispose]()
    this.#dials.delete(place)
    if (outcome.ok) {
      this.#ports.opened(outcome.value, place)
      return
    }
    this.record(place, { kind: 'failed', reason: outcome.error })
    this.#ports.log.debug({ address: place, reason: outcome.error }, 'dial failed')
    this.#ports.changed()
    this.kick()
  }
}
