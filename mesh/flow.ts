/** When news leaves: what comes from several neighbours in a moment is sent on once. */
import { Alarm } from './base/alarm.ts'
import { type Millis, millis, type PeerName } from './base/brand.ts'
import type { Clock } from './base/clock.ts'
import type { Channels } from './channels.ts'
import type { ChannelMessage } from './messages.ts'

/** News waits this long for more. */
const DELAY: Millis = millis(40)
/** And from one time to the next for each peer that there is: where much changes, it travels in fewer, longer messages. */
const PAUSE_PER_PEER: Millis = millis(0.1)
/** While a neighbour is too slow to take news, or has not answered. */
const RETRY: Millis = millis(250)

export interface FlowPorts {
  readonly clock: Clock
  readonly channels: Channels
  /** How many peers there are. */
  readonly peers: () => number
  /** Whether a neighbour would take news now. */
  readonly isReady: (name: PeerName) => boolean
  readonly send: (to: PeerName, message: ChannelMessage) => void
}

export class Flow implements Disposable {
  readonly #ports: FlowPorts
  readonly #alarm: Alarm
  #flushedAt: Millis = millis(0)

  constructor(ports: FlowPorts) {
    this.#ports = ports
    this.#alarm = new Alarm(ports.clock, () => this.flush())
  }

  /** Sends what waits for each neighbour, after a moment in which more may come. */
  soon(): void {
    this.#within(DELAY)
  }

  /** Sends it now. */
  flush(): void {
    const { clock, channels, isReady, send } = this.#ports
    const now = clock.now()
    this.#flushedAt = now
    for (const { to, message } of channels.chase(now)) send(to, message)
    for (const name of channels.waiting()) {
      if (!isReady(name)) continue
      for (const message of channels.take(name)) send(name, message)
    }
    this.#within(RETRY)
  }

  [Symbol.dispose](): void {
    this.#alarm[Symbol.dispose]()
  }

  #within(delay: Millis): void {
    const { clock, channels, peers } = this.#ports
    if (!(channels.isWaiting || channels.waiting().length > 0)) return
    this.#alarm.at(millis(Math.max(clock.now() + delay, this.#flushedAt + PAUSE_PER_PEER * peers())))
  }
}
