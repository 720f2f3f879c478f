/** Tells each neighbour in turn that we live, as `heartbeat.ts` says when. */
import { Alarm } from './base/alarm.ts'
import { type Millis, millis } from './base/brand.ts'
import type { Clock } from './base/clock.ts'
import type { Connection } from './connection.ts'
import { nextBeat } from './heartbeat.ts'

/** As much of a connection as beats need. */
type Beatable = Pick<Connection, 'beat'>

export interface BeatsPorts {
  readonly clock: Clock
  /** How often to beat to each neighbour, now. */
  readonly interval: () => Millis
}

export class Beats implements Disposable {
  readonly #ports: BeatsPorts
  /** Until when each neighbour was promised the next one. */
  readonly #promises = new Map<Beatable, Millis>()
  readonly #alarm: Alarm
  #lastAt: Millis

  constructor(ports: BeatsPorts) {
    this.#ports = ports
    this.#alarm = new Alarm(ports.clock, () => this.#beatDue())
    this.#lastAt = ports.clock.now()
  }

  /** A new one: it takes its turn as all others. */
  up(connection: Beatable): void {
    const interval = this.#ports.interval()
    this.#promises.set(connection, millis(this.#ports.clock.now() + interval))
    this.#setAlarm(interval)
  }

  down(connection: Beatable): void {
    this.#promises.delete(connection)
  }

  /** A beat out of turn; none to one that is gone. */
  beat(connection: Beatable, wantsAnswer: boolean): void {
    if (this.#promises.has(connection)) this.#beat(connection, this.#ports.interval(), wantsAnswer)
  }

  [Symbol.dispose](): void {
    this.#alarm[Symbol.dispose]()
  }

  #beatDue(): void {
    const interval = this.#ports.interval()
    const next = nextBeat({ promises: this.#promises, lastAt: this.#lastAt }, interval)
    if (next !== undefined && next.at <= this.#ports.clock.now()) this.#beat(next.to, interval, false)
    this.#setAlarm(interval)
  }

  #setAlarm(interval: Millis): void {
    const next = nextBeat({ promises: this.#promises, lastAt: this.#lastAt }, interval)
    if (next !== undefined) this.#alarm.at(next.at)
  }

  #beat(connection: Beatable, interval: Millis, wantsAnswer: boolean): void {
    this.#lastAt = this.#ports.clock.now()
    this.#promises.set(connection, millis(this.#lastAt + interval))
    connection.beat(interval, wantsAnswer)
  }
}
