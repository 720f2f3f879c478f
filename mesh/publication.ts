/** When to publish our own record after something in it changed: soon, but ever more rarely while it keeps changing. */
import { type Millis, millis, seconds } from './base/brand.ts'

/** Connections come and go in bursts: one record tells of all that happened in this time. */
const INTERVAL_MIN: Millis = millis(200)
/** What makes no difference to the others yet waits for what does. */
const UNHURRIED: Millis = seconds(2)
/** Every record of ours costs the whole cluster a message. */
const INTERVAL_MAX: Millis = seconds(5)

export interface Publication {
  readonly lastAt: Millis
  /** The least time from the last one to the next. */
  readonly interval: Millis
}

export function firstPublication(now: Millis): Publication {
  return { lastAt: now, interval: INTERVAL_MIN }
}

/**
 * When to publish a change that happened `now`.
 * @param isUrgent whether others decide something by it: a second path to a living peer changes nothing for anybody.
 */
export function publishAt({ lastAt, interval }: Publication, now: Millis, isUrgent: boolean): Millis {
  return millis(Math.max(now + (isUrgent ? INTERVAL_MIN : UNHURRIED), lastAt + interval))
}

/** After publishing `now`: the interval doubles, unless it has been quiet for long enough. */
export function published({ lastAt, interval }: Publication, now: Millis): Publication {
  const wasQuiet = now - lastAt > 2 * interval + INTERVAL_MIN
  return { lastAt: now, interval: wasQuiet ? INTERVAL_MIN : millis(Math.min(2 * interval, INTERVAL_MAX)) }
}
