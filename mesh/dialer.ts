/**
 * Whom to dial, and when: the targets that people gave and the addresses that records tell, tried again and again
 * with growing pauses until there is a connection with the peer behind each.
 */

import { type BackoffPolicy, backoff } from './base/backoff.ts'
import { type Millis, millis, type PeerName, seconds } from './base/brand.ts'
import { formatIp } from './base/ip.ts'
import type { Random } from './base/random.ts'
import { unreachable } from './base/result.ts'
import { formatTarget, type Target } from './endpoint.ts'
import type { PeerRecord } from './record.ts'

const DIAL_BACKOFF: BackoffPolicy = { first: seconds(1), max: seconds(60) }
/** A connection that held this long was good: after it we start again with a short pause. */
const GOOD_AFTER: Millis = seconds(60)
/** Enough to join a big cluster in seconds; few enough not to look like a flood. */
export const DIALS_AT_ONCE_MAX = 16
/** Of two peers that learn of each other at once, one dials first; the other only when nothing has come of that. */
const SECOND_TO_DIAL_AFTER: Millis = seconds(2)

/** A place worth a connection. */
export interface Goal {
  readonly target: Target
  /** A person gave it; otherwise a record told it. */
  readonly isGiven: boolean
  /** Who lives there, according to its record. */
  readonly peer: PeerName | undefined
  /** How long to wait before the first try. */
  readonly delay: Millis
}

/** What has become of a goal so far. */
type Attempt =
  | {
      readonly kind: 'waiting'
      readonly failures: number
      readonly retryAt: Millis
      readonly reason: string | undefined
      readonly peer: PeerName | undefined
    }
  | { readonly kind: 'dialing'; readonly failures: number; readonly since: Millis; readonly reason: string | undefined }
  | { readonly kind: 'connected'; readonly failures: number; readonly since: Millis; readonly peer: PeerName }
  | { readonly kind: 'ourself'; readonly since: Millis }

/** By the goal's place, as `formatTarget` writes it. */
export type Attempts = ReadonlyMap<string, Attempt>

export type DialEvent =
  | { readonly kind: 'started' }
  | { readonly kind: 'failed'; readonly reason: string }
  /** What answered there was this very process. */
  | { readonly kind: 'ourself' }
  /** What answered there is a peer that we have another connection with. */
  | { readonly kind: 'duplicate'; readonly peer: PeerName }
  | { readonly kind: 'established'; readonly peer: PeerName }
  /** It was established, and is not any more. */
  | { readonly kind: 'ended'; readonly reason: string }

/** Goals by place: given ones first, then the addresses in every record but our own. */
export function goalsOf(targets: readonly Target[], records: readonly PeerRecord[], self: PeerName): ReadonlyMap<string, Goal> {
  const goals = new Map<string, Goal>()
  for (const target of targets) goals.set(formatTarget(target), { target, isGiven: true, peer: undefined, delay: millis(0) })
  for (const { name, addresses, port } of records) {
    if (name === self) continue
    const delay = self < name ? millis(0) : SECOND_TO_DIAL_AFTER
    for (const address of addresses) {
      const target = { host: formatIp(address), port }
      const key = formatTarget(target)
      const given = goals.get(key)
      goals.set(key, given === undefined ? { target, isGiven: false, peer: name, delay } : { ...given, peer: name })
    }
  }
  return goals
}

export interface DialView {
  readonly goals: ReadonlyMap<string, Goal>
  readonly connected: ReadonlySet<PeerName>
  /** How many more connections we want; less than none when there are too many. */
  readonly room: number
}

export interface DialPlan {
  readonly attempts: Attempts
  /** Places to dial now. */
  readonly dial: readonly string[]
  /** When to plan again, if nothing happens before. */
  readonly wakeAt: Millis | undefined
}

/** At most one dial per peer at a time: its addresses are tried in turn. */
export function planDials(attempts: Attempts, view: DialView, now: Millis): DialPlan {
  const next = withGoalsOnly(attempts, view.goals, now)
  const dialing = [...next].filter(([, { kind }]) => kind === 'dialing').map(([key]) => key)
  const busy = new Set(dialing.map((key) => view.goals.get(key)?.peer).filter((peer) => peer !== undefined))
  const free = Math.min(DIALS_AT_ONCE_MAX, view.room) - dialing.length
  const dial: string[] = []
  let wakeAt: Millis | undefined
  for (const [key, goal] of view.goals) {
    const dueAt = dueAtOf(next.get(key), goal, view.connected)
    if (dueAt === undefined || (goal.peer !== undefined && busy.has(goal.peer))) continue
    if (dueAt > now) wakeAt = millis(Math.min(dueAt, wakeAt ?? dueAt))
    else if (dial.length < free) {
      dial.push(key)
      if (goal.peer !== undefined) busy.add(goal.peer)
    }
  }
  return { attempts: next, dial, wakeAt }
}

/** The attempts after `event` at the goal `key`. */
export function recordDial(
  attempts: Attempts,
  key: string,
  event: DialEvent,
  at: { readonly now: Millis; readonly random: Random },
): Attempts {
  return new Map(attempts).set(key, nextAttempt(attempts.get(key), event, at))
}

/** Forgets the failures of these places: they are due at once. */
export function retryNow(attempts: Attempts, keys: Iterable<string>): Attempts {
  const next = new Map(attempts)
  for (const key of keys) {
    const kind = next.get(key)?.kind
    if (kind === 'waiting' || kind === 'ourself') next.delete(key)
  }
  return next
}

/** These places have given a sign of life: they are due after the first pause, however often they failed. */
export function hasten(
  attempts: Attempts,
  keys: Iterable<string>,
  { now, random }: { readonly now: Millis; readonly random: Random },
): Attempts {
  const next = new Map(attempts)
  for (const key of keys) {
    const attempt = next.get(key)
    const soon = millis(now + backoff(DIAL_BACKOFF, 1, random))
    if (attempt?.kind === 'waiting' && attempt.retryAt > soon) next.set(key, { ...attempt, retryAt: soon })
  }
  return next
}

function nextAttempt(
  attempt: Attempt | undefined,
  event: DialEvent,
  { now, random }: { readonly now: Millis; readonly random: Random },
): Attempt {
  const failures = attempt === undefined || attempt.kind === 'ourself' ? 0 : attempt.failures
  const waitFor = (count: number, reason: string | undefined, peer: PeerName | undefined): Attempt => {
    return { kind: 'waiting', failures: count, retryAt: millis(now + backoff(DIAL_BACKOFF, Math.max(count, 1), random)), reason, peer }
  }
  switch (event.kind) {
    case 'started':
      return { kind: 'dialing', failures, since: now, reason: attempt?.kind === 'waiting' ? attempt.reason : undefined }
    case 'failed':
      return waitFor(failures + 1, event.reason, undefined)
    case 'ourself':
      return { kind: 'ourself', since: now }
    case 'duplicate':
      return waitFor(0, undefined, event.peer)
    case 'established':
      return { kind: 'connected', failures, since: now, peer: event.peer }
    case 'ended': {
      const wasGood = attempt?.kind === 'connected' && now - attempt.since >= GOOD_AFTER
      return waitFor(wasGood ? 1 : failures + 1, event.reason, attempt?.kind === 'connected' ? attempt.peer : undefined)
    }
    default:
      return unreachable(event)
  }
}

/** When a goal is to be dialled; undefined while it is not. */
function dueAtOf(attempt: Attempt | undefined, goal: Goal, connected: ReadonlySet<PeerName>): Millis | undefined {
  if (goal.peer !== undefined && connected.has(goal.peer)) return undefined
  switch (attempt?.kind) {
    case undefined:
      return millis(0)
    case 'waiting':
      return attempt.peer !== undefined && connected.has(attempt.peer) ? undefined : attempt.retryAt
    case 'ourself':
      // A record may be old, and the address another peer's by now; a target stays ours until somebody says otherwise.
      return goal.isGiven ? undefined : millis(attempt.since + DIAL_BACKOFF.max)
    default:
      return undefined
  }
}

/** Drops what is no goal any more, unless under way, and enters new goals that have to wait. */
function withGoalsOnly(attempts: Attempts, goals: ReadonlyMap<string, Goal>, now: Millis): Attempts {
  const next = new Map<string, Attempt>()
  for (const [key, attempt] of attempts) {
    if (goals.has(key) || attempt.kind === 'dialing' || attempt.kind === 'connected') next.set(key, attempt)
  }
  for (const [key, { delay }] of goals) {
    if (delay > 0 && !next.has(key))
      next.set(key, { kind: 'waiting', failures: 0, retryAt: millis(now + delay), reason: undefined, peer: undefined })
  }
  return next
}
