/**
 * Whom to dial, and when: the targets that people gave, until there is a way to the peer behind each; peers drawn at
 * random, while we want more connections; each place again after a growing pause when it failed.
 */
import { type BackoffPolicy, backoff } from './base/backoff.ts'
import { type Millis, millis, type PeerName, seconds } from './base/brand.ts'
import { formatIp } from './base/ip.ts'
import type { Random } from './base/random.ts'
import { unreachable } from './base/result.ts'
import { formatEndpoint, formatTarget, type Target } from './endpoint.ts'
import type { Liveness } from './liveness.ts'
import { candidates, DEGREE_TARGET } from './overlay.ts'
import type { PeerRecord } from './record.ts'

const DIAL_BACKOFF: BackoffPolicy = { first: seconds(1), max: seconds(60) }
/** A connection that held this long was good: after it we start again with a short pause. */
const GOOD_AFTER: Millis = seconds(60)
/** Enough to join a big cluster in seconds; few enough not to look like a flood. */
export const DIALS_AT_ONCE_MAX = 16
/** Of two peers that want each other, one dials first; the other only when nothing has come of that. */
const SECOND_TO_DIAL_AFTER: Millis = seconds(2)
/** While there is nobody to dial and we want somebody: when to look again, as pauses end and records come. */
const LOOK_AGAIN_AFTER: Millis = seconds(1)
/** What is known of a place is forgotten when it was of no use for so long. */
const REMEMBERED: Millis = seconds(600)

/** What has become of a place so far. */
type Attempt =
  | {
      readonly kind: 'waiting'
      readonly failures: number
      readonly retryAt: Millis
      readonly reason: string | undefined
      readonly peer: PeerName | undefined
    }
  | {
      readonly kind: 'dialing'
      readonly failures: number
      readonly since: Millis
      readonly reason: string | undefined
      readonly peer: PeerName | undefined
    }
  | { readonly kind: 'connected'; readonly failures: number; readonly since: Millis; readonly peer: PeerName }
  | { readonly kind: 'ourself'; readonly since: Millis }

/** By place, as `formatTarget` writes it. */
export type Attempts = ReadonlyMap<string, Attempt>

export type DialEvent =
  /** @param peer whom we expect there. */
  | { readonly kind: 'started'; readonly peer: PeerName | undefined }
  | { readonly kind: 'failed'; readonly reason: string }
  /** What answered there was this very process. */
  | { readonly kind: 'ourself' }
  /** What answered there is a peer that we have another connection with, or none with since one of us has enough. */
  | { readonly kind: 'duplicate' | 'declined'; readonly peer: PeerName }
  | { readonly kind: 'established'; readonly peer: PeerName }
  /** It was established, and is not any more. */
  | { readonly kind: 'ended'; readonly reason: string }

/** The present, and chance. */
export interface Now {
  readonly now: Millis
  readonly random: Random
}

export interface DialView {
  readonly self: PeerName
  readonly targets: readonly Target[]
  /** All but our own. */
  readonly records: readonly PeerRecord[]
  readonly connected: ReadonlySet<PeerName>
  readonly livenessOf: (name: PeerName) => Liveness
  /** How many more connections we want; none or less when there are enough. */
  readonly wanted: number
}

export interface Dial {
  readonly key: string
  readonly target: Target
  /** Whom we expect there. */
  readonly peer: PeerName | undefined
}

export interface DialPlan {
  readonly attempts: Attempts
  readonly dials: readonly Dial[]
  /** When to plan again, if nothing happens before. */
  readonly wakeAt: Millis | undefined
}

export function planDials(attempts: Attempts, view: DialView, at: Now): DialPlan {
  const kept = new Map([...attempts].filter(([, attempt]) => !isStale(attempt, at.now)))
  const dialing = [...kept.values()].filter(({ kind }) => kind === 'dialing').length
  const free = Math.max(0, DIALS_AT_ONCE_MAX - dialing)
  const targets = planTargets(kept, view, at.now)
  const toTargets = targets.due.slice(0, free)
  const wanted = Math.min(view.wanted - dialing, free) - toTargets.length
  const busy = toTargets.reduce<Attempts>((sum, { key }) => withStarted(sum, key, at), kept)
  const toPeers = wanted > 0 ? planPeers(busy, view, wanted, at) : { dials: [], deferred: new Map<string, Attempt>() }
  const isLacking = view.wanted > 0 || targets.due.length > toTargets.length
  const lookAgain = isLacking ? millis(at.now + LOOK_AGAIN_AFTER) : undefined
  return {
    attempts: new Map([...kept, ...toPeers.deferred]),
    dials: [...toTargets, ...toPeers.dials],
    wakeAt: earlier(targets.wakeAt, lookAgain),
  }
}

/** Where a peer can be dialled next: of its addresses that are due, the first. Undefined when none is, or one is being dialled. */
export function dialOf(attempts: Attempts, { name, addresses, port }: PeerRecord, now: Millis): Dial | undefined {
  const dials = addresses.map((address): Dial => {
    const target = { host: formatIp(address), port }
    return { key: formatTarget(target), target, peer: name }
  })
  if (dials.some(({ key }) => attempts.get(key)?.kind === 'dialing')) return undefined
  return dials.find(({ key }) => {
    const attempt = attempts.get(key)
    return attempt === undefined || (attempt.kind === 'waiting' && attempt.retryAt <= now) || attempt.kind === 'connected'
  })
}

/** The attempts after `event` at the place `key`. */
export function recordDial(attempts: Attempts, key: string, event: DialEvent, at: Now): Attempts {
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

/** These peers have given a sign of life: they are due after the first pause, however often they failed. */
export function hasten(attempts: Attempts, records: readonly PeerRecord[], { now, random }: Now): Attempts {
  const next = new Map(attempts)
  for (const { addresses, port } of records) {
    for (const address of addresses) {
      const key = formatEndpoint({ address, port })
      const attempt = next.get(key)
      const soon = millis(now + backoff(DIAL_BACKOFF, 1, random))
      if (attempt?.kind === 'waiting' && attempt.retryAt > soon) next.set(key, { ...attempt, retryAt: soon })
    }
  }
  return next
}

function planTargets(
  attempts: Attempts,
  view: DialView,
  now: Millis,
): { readonly due: readonly Dial[]; readonly wakeAt: Millis | undefined } {
  const due: Dial[] = []
  let wakeAt: Millis | undefined
  for (const target of view.targets) {
    const key = formatTarget(target)
    const dueAt = targetDueAt(attempts.get(key), view)
    if (dueAt === undefined) continue
    if (dueAt <= now) due.push({ key, target, peer: undefined })
    else wakeAt = earlier(wakeAt, dueAt)
  }
  return { due, wakeAt }
}

/** Undefined while a target is not to be dialled: it is being, or there is a way to the peer behind it. */
function targetDueAt(attempt: Attempt | undefined, { connected, livenessOf }: DialView): Millis | undefined {
  if (attempt === undefined) return millis(0)
  if (attempt.kind !== 'waiting') return undefined
  if (attempt.peer === undefined) return attempt.retryAt
  return connected.has(attempt.peer) || livenessOf(attempt.peer) === 'alive' ? undefined : attempt.retryAt
}

function planPeers(
  attempts: Attempts,
  view: DialView,
  wanted: number,
  at: Now,
): { readonly dials: readonly Dial[]; readonly deferred: ReadonlyMap<string, Attempt> } {
  const dials: Dial[] = []
  const deferred = new Map<string, Attempt>()
  let busy = attempts
  const isEligible = ({ name, hasLeft }: PeerRecord): boolean => !(hasLeft || view.connected.has(name))
  for (const record of candidates(view.records, isEligible, view.livenessOf, at.random)) {
    if (dials.length >= wanted) break
    const dial = dialOf(busy, record, at.now)
    if (dial === undefined) continue
    if (attempts.has(dial.key) || isFirst(record.name, view)) {
      dials.push(dial)
      busy = withStarted(busy, dial.key, at)
    } else deferred.set(dial.key, deferredAttempt(at.now))
  }
  return { dials, deferred }
}

/** A place that is about to be dialled is not dialled for somebody else as well. */
function withStarted(attempts: Attempts, key: string, at: Now): Attempts {
  return recordDial(attempts, key, { kind: 'started', peer: undefined }, at)
}

/** Whether it is for us to dial, not for the other one. In a mesh in which not all want each other, it always is. */
function isFirst(other: PeerName, { self, records }: DialView): boolean {
  return records.length > DEGREE_TARGET || self < other
}

function deferredAttempt(now: Millis): Attempt {
  return { kind: 'waiting', failures: 0, retryAt: millis(now + SECOND_TO_DIAL_AFTER), reason: undefined, peer: undefined }
}

function nextAttempt(attempt: Attempt | undefined, event: DialEvent, { now, random }: Now): Attempt {
  const failures = attempt === undefined || attempt.kind === 'ourself' ? 0 : attempt.failures
  const peer = attempt === undefined || attempt.kind === 'ourself' ? undefined : attempt.peer
  const waitFor = (count: number, what: { readonly reason: string | undefined; readonly peer: PeerName | undefined }): Attempt => {
    return { kind: 'waiting', failures: count, retryAt: millis(now + backoff(DIAL_BACKOFF, Math.max(count, 1), random)), ...what }
  }
  switch (event.kind) {
    case 'started':
      return {
        kind: 'dialing',
        failures,
        since: now,
        reason: attempt?.kind === 'waiting' ? attempt.reason : undefined,
        peer: event.peer ?? peer,
      }
    case 'failed':
      return waitFor(failures + 1, { reason: event.reason, peer: undefined })
    case 'ourself':
      return { kind: 'ourself', since: now }
    case 'duplicate':
      return waitFor(0, { reason: undefined, peer: event.peer })
    case 'declined':
      return waitFor(failures + 1, { reason: undefined, peer: event.peer })
    case 'established':
      return { kind: 'connected', failures, since: now, peer: event.peer }
    case 'ended': {
      const wasGood = attempt?.kind === 'connected' && now - attempt.since >= GOOD_AFTER
      return waitFor(wasGood ? 1 : failures + 1, { reason: event.reason, peer })
    }
    default:
      return unreachable(event)
  }
}

/** A place that was of no use for long. `ourself` may be another peer's address by now. */
function isStale(attempt: Attempt, now: Millis): boolean {
  return (
    (attempt.kind === 'waiting' && now - attempt.retryAt > REMEMBERED) || (attempt.kind === 'ourself' && now - attempt.since > REMEMBERED)
  )
}

function earlier(a: Millis | undefined, b: Millis | undefined): Millis | undefined {
  if (a === undefined) return b
  return b === undefined ? a : millis(Math.min(a, b))
}
