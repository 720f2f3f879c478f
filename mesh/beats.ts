/** Tells each neighbour in turn that we live, as `heartbeat.ts` says when. */
import { Alarm } from './base/alarm.ts'
import { type Millis, millis } from './base/brand.ts'
import type { Clock } from './base/clock.ts'
import type { Connection } from './connection.ts'
import { INTERVAL_MAX, nextBeat } from './heartbeat.ts'

export interface BeatsPorts {
  readonly clock: Clock
  /** How often to beat to each neighbour, now. */
  readonly interval: () => Millis
}

export class Beats implements Disposable {
  readonly #ports: BeatsPorts
  /** Until when each neighbour was promised the next one. */
  readonly #promises = new Map<Connection, Millis>()
  readonly #alarm: Alarm
  #lastAt: Millis

  constructor(ports: BeatsPorts) {
    this.#ports = ports
    this.#alarm = new Alarm(ports.clock, () => this.#beatDue())
    this.#lastAt = ports.clock.now()
  }

  /** A new connection: until its first beat its other side waits as long as for any. */
  up(connection: Connection): void {
    this.#promises.set(connection, millis(this.#ports.clock.now() + INTERVAL_MAX))
    this.#setAlarm(this.#ports.interval())
  }

  down(connection: Connection): void {
    this.#promises.delete(connection)
  }

  /** A beat out of turn. */
  beat(connection: Connection, wantsAnswer: boolean): void {
    this.#beat(connection, this.#ports.interval(), wantsAnswer)
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

  #beat(connection: Connection, interval: Millis, wantsAnswer: boolean): void {
    this.#lastAt = this.#ports.clock.now()
    this.#promises.set(connection, millis(this.#lastAt + interval))
    connection.beat(interval, wantsAnswer)
  }
}
