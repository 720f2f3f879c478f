/**
 * Which link to a peer is used, and when better ones are tried. Down at once, up with care: a link that fails is left
 * for the best one that answers; a better one is tried after 1, 2, 4 … minutes, 10 at most, and used only once it has
 * proved itself during such a trial. So however links flap, switches are few: two for each trial.
 *
 * A sealed link is used before anything is known of it, as it leaks nothing if it leads nowhere; a plain one never
 * before an answer has proved that it is the peer that gets the packets.
 */
import { type BackoffPolicy, backoff } from '../../mesh/base/backoff.ts'
import { type Millis, millis, seconds } from '../../mesh/base/brand.ts'
import type { Random } from '../../mesh/base/random.ts'
import { isSealed, type LinkKind } from './kind.ts'
import { isSizeKnown, isUp, type LinkState, unanswered } from './link-state.ts'
import type { Candidates } from './policy.ts'

/** Of the kinds that policy allows, best first. */
export type Links = ReadonlyMap<LinkKind, LinkState>

export interface Choice {
  /** Undefined: none works. */
  readonly kind: LinkKind | undefined
  readonly since: Millis
}

/** Of links that would be better than the one in use, or of all when there is none. */
export interface Trials {
  readonly phase:
    | { readonly kind: 'none' }
    | { readonly kind: 'waiting'; readonly until: Millis }
    | { readonly kind: 'running'; readonly since: Millis }
  /** Fruitless trials since another link is used. */
  readonly failures: number
  /** How often links failed that had been tried with success, since the last one that was steady. */
  readonly falls: number
  /** Fruitless trials while none was in use. */
  readonly fruitless: number
}

/** A trial comes between half and all of these after the one before. */
const UPGRADE: BackoffPolicy = { first: seconds(60), max: seconds(600) }
const SEARCH: BackoffPolicy = { first: seconds(1), max: seconds(60) }
/** A link that fails after this much use has not flapped. */
const STEADY_TIME: Millis = seconds(600)
/** The time of two probes, as one may be lost by chance, with the time-out of the second. */
const TRIAL_MIN: Millis = seconds(2)
/** For a link that must prove itself, and a search for its MTU. */
const TRIAL_MAX: Millis = seconds(30)
/** What was answered no longer ago works. */
const ANSWERED_JUST_NOW: Millis = seconds(2)

/** Those that would be better than the one in use. */
export function betterThan(kind: LinkKind | undefined, allowed: readonly LinkKind[]): readonly LinkKind[] {
  const at = kind === undefined ? -1 : allowed.indexOf(kind)
  return at < 0 ? allowed : allowed.slice(0, at)
}

/** @param isSizeNeeded there is traffic: a better link must have shown how much it carries before it gets it. */
export function choose({ kind, since }: Choice, links: Links, trials: Trials, isSizeNeeded: boolean, now: Millis): Choice {
  const current = kind === undefined ? undefined : links.get(kind)
  if (kind === undefined || current === undefined || !isUsable(kind, current)) {
    const next = standIn(links, now)
    return next === kind ? { kind, since } : { kind: next, since: now }
  }
  if (trials.phase.kind !== 'running') return { kind, since }
  const mayWait = isUp(current) && isSizeNeeded
  const better = betterThan(kind, [...links.keys()]).find((one) => isProven(links.get(one), mayWait, now))
  return better === undefined ? { kind, since } : { kind: better, since: now }
}

function isUsable(kind: LinkKind, link: LinkState): boolean {
  return isUp(link) || (isSealed(kind) && link.standing.kind === 'untested')
}

function isProven(link: LinkState | undefined, isSizeNeeded: boolean, now: Millis): boolean {
  return link !== undefined && isAnswering(link, now) && (!isSizeNeeded || isSizeKnown(link))
}

function isAnswering(link: LinkState, now: Millis): boolean {
  return link.standing.kind === 'up' && now < link.standing.provedAt + ANSWERED_JUST_NOW
}

/** The best that has just answered; else that did so once and is not in doubt; else a sealed one of which nothing is known. */
function standIn(links: Links, now: Millis): LinkKind | undefined {
  const all = [...links]
  const found =
    all.find(([, link]) => isAnswering(link, now)) ??
    all.find(([, link]) => isUp(link) && unanswered(link) <= 1) ??
    all.find(([kind, link]) => isUsable(kind, link))
  return found?.[0]
}

/** @param until when to try first. */
export function firstTrial(until: Millis): Trials {
  return { phase: { kind: 'waiting', until }, failures: 0, falls: 0, fruitless: 0 }
}

/** Nothing was tried in vain yet, since something has changed. */
export function isFirst({ failures, fruitless }: Trials): boolean {
  return failures === 0 && fruitless === 0
}

/** What follows for the trials when another link is used than before. */
export function afterSwitch(trials: Trials, from: Choice, to: Choice, random: Random): Trials {
  const now = to.since
  if (to.kind === undefined) return waiting({ ...trials, fruitless: 0 }, millis(now + backoff(SEARCH, 1, random)))
  const found = { ...trials, fruitless: 0 }
  // Found in a trial, which goes on for what is better still.
  if (from.kind === undefined || trials.phase.kind === 'running') return found
  const falls = now >= from.since + STEADY_TIME ? 1 : trials.falls + 1
  return waiting({ ...found, falls, failures: falls }, millis(now + backoff(UPGRADE, falls, random)))
}

export interface Prospects {
  /** The links that would be better than the one in use. */
  readonly targets: readonly LinkState[]
  readonly hasLink: boolean
  /** There is traffic. */
  readonly isActive: boolean
}

export function stepTrials(trials: Trials, prospects: Prospects, random: Random, now: Millis): Trials {
  const { phase, failures, fruitless } = trials
  if (prospects.targets.length === 0) return phase.kind === 'none' ? trials : { ...trials, phase: { kind: 'none' } }
  switch (phase.kind) {
    case 'none':
      return waiting(trials, millis(now + backoff(UPGRADE, Math.max(1, failures), random)))
    case 'waiting':
      return now >= phase.until ? { ...trials, phase: { kind: 'running', since: now } } : trials
    case 'running':
      if (!isOver(phase.since, prospects, now)) return trials
      if (!prospects.hasLink) return waiting({ ...trials, fruitless: fruitless + 1 }, millis(now + backoff(SEARCH, fruitless + 1, random)))
      return waiting({ ...trials, failures: failures + 1 }, millis(now + backoff(UPGRADE, failures + 1, random)))
  }
}

/** How often a link that is down is asked in a trial. Where there is no traffic nobody minds if it was lost by chance. */
export function triesMax(isActive: boolean): number {
  return isActive ? 2 : 1
}

/** Nothing is to be hoped for. */
function isOver(since: Millis, { targets, isActive }: Prospects, now: Millis): boolean {
  if (now >= since + TRIAL_MAX) return true
  const isHopeless = ({ standing, waiting: out, probedAt = millis(0) }: LinkState): boolean =>
    standing.kind === 'down' && out.length === 0 && probedAt >= since
  return (!isActive || now >= since + TRIAL_MIN) && targets.every(isHopeless)
}

/** Tries at this moment, or sooner if that was planned. */
export function hastened(trials: Trials, at: Millis): Trials {
  const { phase } = trials
  if (phase.kind !== 'waiting' || phase.until <= at) return trials
  return { ...trials, phase: { kind: 'waiting', until: at }, fruitless: 0 }
}

/** When `stepTrials` has something to do, unless a link changes. */
export function trialsDueAt({ phase }: Trials, now: Millis): Millis | undefined {
  if (phase.kind === 'waiting') return phase.until
  if (phase.kind === 'none') return undefined
  return millis(phase.since + (now < phase.since + TRIAL_MIN ? TRIAL_MIN : TRIAL_MAX))
}

function waiting(trials: Trials, until: Millis): Trials {
  return { ...trials, phase: { kind: 'waiting', until } }
}

/** Nothing has been in use for so long that others should know. */
const FRUITLESS_TIME: Millis = seconds(5)

/** Whether all was tried in vain. */
export function isFruitless({ fruitless }: Trials, { kind, since }: Choice, now: Millis): boolean {
  return kind === undefined && fruitless > 0 && now >= since + FRUITLESS_TIME
}

/** For people: why this link is used, and none that is better. */
export function reasonOf({ kind }: Choice, links: Links, { requirement, excluded }: Candidates): string {
  if (links.size === 0) return `no link is possible: ${excluded.map(({ kind: one, reason }) => `${one}: ${reason}`).join('; ')}`
  const failed = betterThan(kind, [...links.keys()]).map((one) => `${one}: ${links.get(one)?.error ?? 'not proven yet'}`)
  if (kind === undefined) return `no link works: ${failed.join('; ')}`
  const isAssumed = links.get(kind)?.standing.kind === 'untested'
  const why = failed.length === 0 ? [`best of what is allowed: ${requirement.reason}`] : failed
  return [...(isAssumed ? ['not tested yet'] : []), ...why].join('; ')
}
