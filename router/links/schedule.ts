/**
 * How often which link is probed, and what that may cost. Traffic is the cheapest probe: where it flows both ways over a
 * link, that works. Where packets leave and none come back, the link is asked at once, and four times a second until it
 * answers or is down. A peer that nobody talks to is asked every twenty minutes, by one of the two ends.
 *
 * What it costs a node, on the wire with all headers, both ways, among 1,000 of which 30 talk to it (an exchange of small
 * probes by VXLAN has 280 bytes, of large ones 3,028):
 *
 *     30 peers with traffic, every 45 s       187 B/s
 *     the sizes of these, every 10 min        151 B/s
 *     969 idle peers, every 20 min            226 B/s
 *     a flow that nobody answers, every 2 s   140 B/s
 *
 * Whatever else happens, it has a budget of 1,000 bytes a second, and a burst for when a mesh starts.
 */
import { type Millis, millis, seconds } from '../../mesh/base/brand.ts'
import type { BudgetPolicy } from '../../mesh/budget.ts'
import { type Family, type LinkKind, overheadBytes } from './kind.ts'
import { type LinkState, SMALL_BYTES, sizeToTry, unanswered } from './link-state.ts'

/** Of probes that we send and of their answers, and of those that others send us: in bytes. */
export const PROBE_BUDGET: BudgetPolicy = { perSecond: 1_000, burst: 2_000_000 }
/** What only links in doubt may spend, so that routine waits when there is too much to do. */
export const URGENT_BYTES = 500_000

/** Between probes of a link that is in doubt: four of them, and the time-out of the last, are 1.75 s. */
const DOUBT_PACE: Millis = millis(250)
/** Between probes that are to show whether a link is worth using. */
const TRIAL_PACE: Millis = seconds(1)
const ACTIVE_PACE: Millis = seconds(45)
const IDLE_PACE: Millis = seconds(1_200)
const SIZE_PACE: Millis = seconds(600)
/** The one of the two ends that does not probe waits for the other this much longer. */
const FOLLOWER_PATIENCE = 1.5
/** For so long after a packet a peer counts as one with traffic. */
const ACTIVE_TIME: Millis = seconds(60)
/** An answer this old does not speak for packets that leave now. So with a flow in one direction a link is asked every 2 s. */
export const PROOF_FRESH: Millis = millis(1_500)
/** While traffic is in doubt, the size of packets may be why. */
const SIZE_DOUBT_REST: Millis = seconds(60)

const ETHERNET_BYTES = 14

/** What an exchange of a probe and its answer costs each end, in bytes on the wire. */
export function exchangeBytes(kind: LinkKind, family: Family, sizeBytes: number): number {
  return 2 * (sizeBytes + overheadBytes(kind, family) + ETHERNET_BYTES)
}

/** What was seen of the packets of pods, of one peer. */
export interface Traffic {
  /** When some last went or came. */
  readonly activeAt: Millis | undefined
  /** When some last went and none has come since. */
  readonly unansweredAt: Millis | undefined
}

export const noTraffic: Traffic = { activeAt: undefined, unansweredAt: undefined }

/** Packets since the last count, which is to be taken once a second. Probes do not count. */
export interface Count {
  readonly sent: number
  readonly received: number
}

export function counted(traffic: Traffic, { sent, received }: Count, now: Millis): Traffic {
  if (sent === 0 && received === 0) return traffic
  return { activeAt: now, unansweredAt: received > 0 ? undefined : now }
}

export function isActive({ activeAt }: Traffic, now: Millis): boolean {
  return activeAt !== undefined && now < activeAt + ACTIVE_TIME
}

/** Packets left by this link, none came back, and no probe has told since that it works. */
export function isSuspicious({ unansweredAt }: Traffic, { standing }: LinkState): boolean {
  return unansweredAt !== undefined && standing.kind === 'up' && unansweredAt >= standing.provedAt + PROOF_FRESH
}

/** What a link is to its peer at the moment. */
export type Role =
  /** Packets go by it. */
  | 'used'
  /** It would be better than the one that is used, or there is none: it is tried just now. */
  | 'tried'
  /** The one that is used is in doubt, and this one might have to take over. */
  | 'standing in'

export interface Situation {
  readonly role: Role
  readonly link: LinkState
  readonly traffic: Traffic
  /** Of the two ends, the one that sees to it that idle links are asked. */
  readonly isLeader: boolean
  /** A hint, or the peer, asks for a probe of the link that is used; or this is the first trial of others since something has changed. */
  readonly isAsked: boolean
}

export interface ProbeNeed {
  /** When to send a small probe. */
  readonly at: Millis
  /** Together with one of this size. */
  readonly sizeBytes: number | undefined
  /** May spend what is kept for links in doubt. */
  readonly isUrgent: boolean
}

/** Which probe of a link is next, and when it is due. */
export function nextProbe(situation: Situation, now: Millis): ProbeNeed {
  const { role, link, traffic, isLeader, isAsked } = situation
  const sizeBytes = sizeNeeded(situation, now)
  const isInDoubt = isDoubtful(link, traffic)
  switch (role) {
    case 'used': {
      if (isInDoubt || isAsked) return { at: after(link.probedAt, DOUBT_PACE), sizeBytes, isUrgent: true }
      if (sizeBytes !== undefined) return { at: after(link.probedAt, TRIAL_PACE), sizeBytes, isUrgent: false }
      const pace = (isActive(traffic, now) ? ACTIVE_PACE : IDLE_PACE) * (isLeader ? 1 : FOLLOWER_PATIENCE)
      // A follower that its leader has asked knows as much.
      const since = isLeader ? link.probedAt : later(link.probedAt, link.heardAt)
      return { at: after(since, millis(pace)), sizeBytes, isUrgent: false }
    }
    case 'tried': {
      const pace = link.standing.kind === 'untested' ? DOUBT_PACE : TRIAL_PACE
      return { at: after(link.probedAt, pace), sizeBytes, isUrgent: isAsked || isActive(traffic, now) }
    }
    case 'standing in':
      return { at: after(link.probedAt, DOUBT_PACE), sizeBytes, isUrgent: true }
  }
}

/** Whether it might be down. */
function isDoubtful(link: LinkState, traffic: Traffic): boolean {
  return link.standing.kind === 'untested' || unanswered(link) > 0 || isSuspicious(traffic, link)
}

/** Whether the size in use is to be verified: nobody has done so lately, or packets that leave stay unanswered. */
export function isSizeOld({ link, traffic, isLeader }: Omit<Situation, 'role' | 'isAsked'>, now: Millis): boolean {
  const { provedAt, provenBytes } = link.mtu
  const isInSearch = provenBytes === 0
  if (isInSearch || provedAt === undefined || !isActive(traffic, now)) return false
  const age = isSuspicious(traffic, link) ? SIZE_DOUBT_REST : SIZE_PACE * (isLeader ? 1 : FOLLOWER_PATIENCE)
  return now >= provedAt + age
}

/** The MTU matters where there is traffic. One at a time, as they are large. */
function sizeNeeded({ role, link, traffic }: Situation, now: Millis): number | undefined {
  const isWanted = (role === 'used' || role === 'tried') && link.standing.kind !== 'down' && isActive(traffic, now)
  return isWanted && !link.waiting.some(({ sizeBytes }) => sizeBytes > SMALL_BYTES) ? sizeToTry(link) : undefined
}

function after(moment: Millis | undefined, pace: Millis): Millis {
  return millis(moment === undefined ? 0 : moment + pace)
}

function later(a: Millis | undefined, b: Millis | undefined): Millis | undefined {
  return a === undefined || b === undefined ? (a ?? b) : millis(Math.max(a, b))
}
