/** When a connection must say that it lives, and when its other side counts as gone. */
import { type Millis, millis, seconds } from './base/brand.ts'

/** A connection that has sent nothing for this long sends a heartbeat. */
const HEARTBEAT_INTERVAL: Millis = seconds(5)
/** Three heartbeats lost and one late: the other side is gone, or as good as. */
const SILENCE_MAX: Millis = seconds(20)

export interface Pulse {
  /** When we last sent anything. */
  readonly sentAt: Millis
  /** When we last heard anything. */
  readonly heardAt: Millis
  /** When to look again. */
  readonly dueAt: Millis
}

export function startPulse(now: Millis): Pulse {
  return { sentAt: now, heardAt: now, dueAt: millis(now + HEARTBEAT_INTERVAL) }
}

/** Looks at the pulse at, or after, `pulse.dueAt`. After `beat` a heartbeat is to be sent. */
export function checkPulse(pulse: Pulse, now: Millis): { readonly verdict: 'fine' | 'beat' | 'dead'; readonly pulse: Pulse } {
  // While this process had no processor it could not have heard: what was late for that is not silence.
  const asleep = Math.max(0, now - pulse.dueAt - HEARTBEAT_INTERVAL)
  const heardAt = millis(Math.min(now, pulse.heardAt + asleep))
  const isBeatDue = now - pulse.sentAt >= HEARTBEAT_INTERVAL
  const sentAt = isBeatDue ? now : pulse.sentAt
  const next = { sentAt, heardAt, dueAt: millis(Math.min(sentAt + HEARTBEAT_INTERVAL, heardAt + SILENCE_MAX)) }
  if (now - heardAt >= SILENCE_MAX) return { verdict: 'dead', pulse: next }
  return { verdict: isBeatDue ? 'beat' : 'fine', pulse: next }
}
