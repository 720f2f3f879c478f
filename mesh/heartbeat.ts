/**
 * When each neighbour is told that we live, and when the other side of a connection is in doubt.
 *
 * A beat says when the next one comes, at the latest: who sends decides how often. Beats to several neighbours are
 * spread evenly over the interval, so that one of them misses ours soon after we are gone, whatever the interval is; and
 * it tells those that are neighbours of both.
 *
 * A process that gets no processor is silent as a dead one is: so a missed beat ends nothing. It raises a doubt, and
 * whoever asked finds out whether the other side's host still answers; if so, it is vouched for, for a while.
 *
 *     quiet ──a beat is late──▶ doubted
 *       ▲                        │ │  ▲
 *       └────────heard───────────┘ │  └───────in time───────┐
 *       ▲                          └──vouched──▶ vouched ───┘
 *       └──────────────────heard──────────────────┘
 */
import { type Millis, millis, seconds } from './base/brand.ts'
import { LATENESS } from './base/clock.ts'

/** What may come later than promised: two packets lost in a row, or a busy moment. */
const TOLERANCE: Millis = millis(750)
/** Who has just spoken lives, whatever others have missed. */
const SPOKEN_JUST_NOW: Millis = millis(750)
/** A host that answers for a process that does not is asked again after this time. */
const VOUCHED_FOR: Millis = seconds(5)
/** However lively its host: a process that is silent for so long does not work. */
const SILENCE_MAX: Millis = seconds(60)

const INTERVAL_MIN: Millis = seconds(3)
/** The longest that we promise, and the longest promise that is believed. */
export const INTERVAL_MAX: Millis = seconds(7)
/** Among neighbours that all know each other somebody misses a beat this soon. */
const WATCHED_EVERY: Millis = millis(900)

/**
 * How often to beat to each neighbour.
 * @param watchers how many neighbours of ours can tell each other at once that they miss us, at least: one when none can.
 */
export function beatInterval(watchers: number): Millis {
  return millis(Math.min(INTERVAL_MAX, Math.max(INTERVAL_MIN, WATCHED_EVERY * watchers)))
}

export interface Beats<Key> {
  /** Until when each neighbour was promised the next beat. */
  readonly promises: ReadonlyMap<Key, Millis>
  /** When the last one went out, to whomever. */
  readonly lastAt: Millis
}

/** Who is to get the next beat, and when; undefined when there is nobody. Promises are kept; otherwise beats are spread evenly. */
export function nextBeat<Key>({ promises, lastAt }: Beats<Key>, interval: Millis): { readonly to: Key; readonly at: Millis } | undefined {
  let first: { readonly to: Key; readonly promisedAt: Millis } | undefined
  for (const [to, promisedAt] of promises) if (first === undefined || promisedAt < first.promisedAt) first = { to, promisedAt }
  if (first === undefined) return undefined
  return { to: first.to, at: millis(Math.min(first.promisedAt, lastAt + interval / promises.size)) }
}

type Phase = 'quiet' | 'doubted' | 'vouched'

export interface Pulse {
  readonly phase: Phase
  /** When we last heard anything. */
  readonly heardAt: Millis
  /** Unless doubted: when to doubt, if nothing is heard until then. */
  readonly doubtAt: Millis
  /** When to look again. */
  readonly dueAt: Millis
}

/** What is to be done; nothing when all is well. */
export type PulseVerdict = 'doubt' | 'dead'

export function startPulse(now: Millis): Pulse {
  const doubtAt = millis(now + INTERVAL_MAX + TOLERANCE)
  return { phase: 'quiet', heardAt: now, doubtAt, dueAt: doubtAt }
}

/** Anything was heard. @param promise when it was a beat: the next one comes within this time. */
export function heard(pulse: Pulse, now: Millis, promise?: Millis): Pulse {
  const isKept = promise === undefined && pulse.phase === 'quiet'
  const doubtAt = isKept ? pulse.doubtAt : millis(now + Math.min(promise ?? INTERVAL_MAX, INTERVAL_MAX) + TOLERANCE)
  return { phase: 'quiet', heardAt: now, doubtAt, dueAt: millis(Math.min(pulse.dueAt, doubtAt)) }
}

/** It was doubted, and neither heard nor vouched for since. */
export function isDoubted({ phase }: Pulse): boolean {
  return phase === 'doubted'
}

/** The doubt was unfounded, as far as the other side's host goes. */
export function vouched(pulse: Pulse, now: Millis): Pulse {
  const doubtAt = millis(now + VOUCHED_FOR)
  return { ...pulse, phase: 'vouched', doubtAt, dueAt: millis(Math.min(pulse.dueAt, doubtAt)) }
}

/** Somebody else doubts it: the pulse after doubting at once, or undefined when we know better, or doubt it ourselves. */
export function challenged(pulse: Pulse, now: Millis): Pulse | undefined {
  const isQuiet = pulse.phase === 'quiet' && now >= pulse.heardAt + SPOKEN_JUST_NOW
  return isQuiet ? { ...pulse, phase: 'doubted' } : undefined
}

/** Looks at the pulse at, or after, `pulse.dueAt`. A doubt comes once until something is heard, or the other side vouched for. */
export function checkPulse(pulse: Pulse, now: Millis): { readonly verdict: PulseVerdict | undefined; readonly pulse: Pulse } {
  const asleep = now - pulse.dueAt > LATENESS ? now - pulse.dueAt : 0
  const heardAt = millis(Math.min(now, pulse.heardAt + asleep))
  if (now >= heardAt + SILENCE_MAX) return { verdict: 'dead', pulse: { ...pulse, heardAt } }
  const deadAt = millis(heardAt + SILENCE_MAX)
  if (isDoubted(pulse)) return { verdict: undefined, pulse: { ...pulse, heardAt, dueAt: deadAt } }
  // What came while we slept may lie unread; and who has said something just now has only forgotten to beat.
  const grace = asleep > 0 ? now + LATENESS : pulse.phase === 'quiet' ? heardAt + SPOKEN_JUST_NOW : 0
  const doubtAt = millis(Math.max(pulse.doubtAt, grace))
  if (now >= doubtAt) return { verdict: 'doubt', pulse: { ...pulse, phase: 'doubted', heardAt, doubtAt, dueAt: deadAt } }
  return { verdict: undefined, pulse: { ...pulse, heardAt, doubtAt, dueAt: millis(Math.min(doubtAt, deadAt)) } }
}
