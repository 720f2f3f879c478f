/**
 * When a connection must say that it lives, and when its other side is in doubt. A process that gets no processor is
 * silent as a dead one is: so silence alone ends nothing but very late. It raises a doubt, and whoever asked finds out
 * whether the other side's host still answers; if so, it is vouched for, for a while.
 */
import { type Millis, millis, seconds } from './base/brand.ts'
import { LATENESS } from './base/clock.ts'

/** A connection that has sent nothing for this long sends a heartbeat. */
const HEARTBEAT_INTERVAL: Millis = millis(1_200)
/** Two heartbeats lost and one late. */
const DOUBT_AFTER: Millis = seconds(3)
/** A host that answers for a process that does not is asked again after this time. */
const VOUCHED_FOR: Millis = seconds(5)
/** However lively its host: a process that is silent for so long does not work. */
const SILENCE_MAX: Millis = seconds(60)
const NEVER = millis(Number.MAX_SAFE_INTEGER)

export interface Pulse {
  /** When we last sent anything. */
  readonly sentAt: Millis
  /** When we last heard anything. */
  readonly heardAt: Millis
  /** When to doubt, if nothing is heard until then. */
  readonly doubtAt: Millis
  /** When to look again. */
  readonly dueAt: Millis
}

/** What is to be done; nothing when all is well. */
export type PulseVerdict = 'beat' | 'doubt' | 'dead'

export function startPulse(now: Millis): Pulse {
  return { sentAt: now, heardAt: now, doubtAt: millis(now + DOUBT_AFTER), dueAt: millis(now + HEARTBEAT_INTERVAL) }
}

export function heard(pulse: Pulse, now: Millis): Pulse {
  return { ...pulse, heardAt: now, doubtAt: millis(now + DOUBT_AFTER) }
}

/** It was doubted, and neither heard nor vouched for since. */
export function isDoubted({ doubtAt }: Pulse): boolean {
  return doubtAt === NEVER
}

/** The doubt was unfounded, as far as the other side's host goes. */
export function vouched(pulse: Pulse, now: Millis): Pulse {
  const doubtAt = millis(now + VOUCHED_FOR)
  return { ...pulse, doubtAt, dueAt: millis(Math.min(pulse.dueAt, doubtAt)) }
}

/** Looks at the pulse at, or after, `pulse.dueAt`. After `beat` a heartbeat is to be sent; `doubt` comes once until heard or vouched. */
export function checkPulse(pulse: Pulse, now: Millis): { readonly verdicts: readonly PulseVerdict[]; readonly pulse: Pulse } {
  const asleep = now - pulse.dueAt > LATENESS ? now - pulse.dueAt : 0
  const heardAt = millis(Math.min(now, pulse.heardAt + asleep))
  // No later than after being vouched for now: what was heard after the sleep needs no time on top.
  const doubtAt = pulse.doubtAt === NEVER ? NEVER : millis(Math.min(pulse.doubtAt + asleep, now + VOUCHED_FOR))
  const verdicts: PulseVerdict[] = []
  const isBeatDue = now >= pulse.sentAt + HEARTBEAT_INTERVAL
  if (isBeatDue) verdicts.push('beat')
  const isDoubtDue = now >= doubtAt
  if (now >= heardAt + SILENCE_MAX) verdicts.push('dead')
  else if (isDoubtDue) verdicts.push('doubt')
  const sentAt = isBeatDue ? now : pulse.sentAt
  const nextDoubtAt = isDoubtDue ? NEVER : doubtAt
  const dueAt = millis(Math.min(sentAt + HEARTBEAT_INTERVAL, heardAt + SILENCE_MAX, nextDoubtAt))
  return { verdicts, pulse: { sentAt, heardAt, doubtAt: nextDoubtAt, dueAt } }
}
