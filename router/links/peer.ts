/** What an engine knows of one peer and of the links to it, and what each of these is to it at the moment. */
import { type Millis, millis, type PeerName } from '../../mesh/base/brand.ts'
import { betterThan, type Choice, firstTrial, isFirst, type Links, type Trials, triesMax } from './choice.ts'
import { type Family, type LinkKind, overheadBytes } from './kind.ts'
import { carried as carriedLink, expire, inherited, type LinkState, unanswered, untested, withoutFailure } from './link-state.ts'
import type { Candidates } from './policy.ts'
import { isActive, noTraffic, type Role, type Traffic } from './schedule.ts'

/** What is to be known of a peer before it is probed. */
export interface PeerPlan {
  readonly name: PeerName
  readonly candidates: Candidates
  /** The smaller of the two underlay MTUs. */
  readonly underlayMtuBytes: number
  /** What packets between the two depend on, above all the underlay addresses, as text: all is tried anew when it changes. */
  readonly place: string
  /**
   * Its router runs, as gossip says. Nobody answers probes of one that does not, and its pods may be well all the same:
   * what is used then stays.
   */
  readonly isAlive: boolean
  /** What we used in an earlier life, as the kernel still has it: it stays until it fails. Counts only for a peer that is new. */
  readonly lastKind: LinkKind | undefined
}

export interface Candidate {
  state: LinkState
  /** The highest id of a probe that came by it. */
  lastId: number
  /** Probes in this trial while it was down. */
  tries: number
}

export interface Peer {
  readonly plan: PeerPlan
  /** Of the kinds that are allowed, best first. */
  readonly links: ReadonlyMap<LinkKind, Candidate>
  traffic: Traffic
  choice: Choice
  trials: Trials
  /** The last in use that was answered. */
  provenKind: LinkKind | undefined
  /** The link in use is to be asked once. */
  isAsked: boolean
  /** When a hint was last followed. */
  hintedAt: Millis | undefined
  /** What was last said of what to use. */
  told: LinkWant | undefined
  dueAt: Millis
}

export interface LinkWant {
  readonly peer: PeerName
  /** Undefined: no link leads there, maybe a relay does. */
  readonly kind: LinkKind | undefined
  /** The largest packet of a pod that may go there. */
  readonly mtuBytes: number
}

/** So many lost or waiting probes of the link in use call for others to stand in: half a second of silence. */
const DOUBTS_MAX = 3

/** Between one kind and the next in a first trial without traffic. */
const TURN: Millis = millis(250)

/** @param firstAt when to try its links; at once, if it was known before. */
export function makePeer(plan: PeerPlan, old: Peer | undefined, firstAt: Millis, now: Millis): Peer {
  const isMoved = old?.plan.place !== plan.place
  const links = plan.candidates.allowed.map((kind) => {
    const candidate = makeCandidate(plan, kind, isMoved ? undefined : old?.links.get(kind))
    const isInherited = old === undefined && kind === plan.lastKind
    return [kind, isInherited ? { ...candidate, state: inherited(candidate.state.mtu.fullBytes, now) } : candidate] as const
  })
  const lastKind = plan.candidates.allowed.find((kind) => kind === plan.lastKind)
  const choice = { kind: lastKind, since: now }
  const fresh = { choice, provenKind: lastKind, traffic: noTraffic, hintedAt: undefined, told: undefined }
  const trials = firstTrial(old === undefined ? firstAt : now)
  return { ...fresh, ...old, plan, links: new Map(links), trials, isAsked: old !== undefined, dueAt: now }
}

function makeCandidate(plan: PeerPlan, kind: LinkKind, old: Candidate | undefined): Candidate {
  const fresh = untested(plan.underlayMtuBytes - overheadBytes(kind, familyOf(plan)))
  if (old === undefined) return { state: fresh, lastId: 0, tries: 0 }
  return { ...old, state: old.state.mtu.fullBytes === fresh.mtu.fullBytes ? old.state : { ...old.state, mtu: fresh.mtu } }
}

/** Whether all that was found out still holds. */
export function isSamePlan(a: PeerPlan, b: PeerPlan): boolean {
  const isSameWay = a.place === b.place && familyOf(a) === familyOf(b) && a.underlayMtuBytes === b.underlayMtuBytes
  return isSameWay && a.candidates.allowed.join() === b.candidates.allowed.join()
}

/** Of the outer packets. A stream of those that have no family in common goes by IPv4, as it does mostly. */
export function familyOf({ candidates }: PeerPlan): Family {
  return candidates.family ?? 'ipv4'
}

export function statesOf({ links }: Peer): Links {
  return new Map([...links].map(([kind, { state }]) => [kind, state]))
}

/** The link in use. */
export function usedOf({ choice, links }: Peer): Candidate | undefined {
  return choice.kind === undefined ? undefined : links.get(choice.kind)
}

/** Those that would be better than the one in use. */
export function targetsOf({ choice, links }: Peer): readonly Candidate[] {
  return betterThan(choice.kind, [...links.keys()]).flatMap((kind) => links.get(kind) ?? [])
}

export function isBetter({ choice, links }: Peer, kind: LinkKind): boolean {
  return betterThan(choice.kind, [...links.keys()]).includes(kind)
}

/** Others might have to take over. */
function isFailing(peer: Peer): boolean {
  const used = usedOf(peer)
  return used !== undefined && unanswered(used.state) >= DOUBTS_MAX
}

/** Undefined: nothing, so it is not probed. */
export function roleOf(peer: Peer, kind: LinkKind, { state, tries }: Candidate, now: Millis): Role | undefined {
  const { choice, trials, traffic, plan } = peer
  const { standing } = state
  if (!plan.isAlive) return undefined
  // One that is used and was never asked waits for the first trial as others do.
  const isTooSoon = state.probedAt === undefined && !isActive(traffic, now) && trials.phase.kind === 'waiting' && isFirst(trials)
  if (kind === choice.kind) return isTooSoon ? undefined : 'used'
  if (isBetter(peer, kind)) {
    const isHopeless = standing.kind === 'down' && tries >= triesMax(isActive(traffic, now))
    if (trials.phase.kind === 'running' && !isHopeless) return 'tried'
  } else if (isFailing(peer)) return 'standing in'
  return undefined
}

/** When a kind may be tried in this trial: without traffic the better ones have time to answer, and spare us the others. */
export function turnOf({ links, trials: { phase }, traffic }: Peer, kind: LinkKind, now: Millis): Millis {
  const isUntested = links.get(kind)?.state.standing.kind === 'untested'
  if (phase.kind !== 'running' || !isUntested || isActive(traffic, now)) return now
  return millis(phase.since + TURN * [...links.keys()].indexOf(kind))
}

export function wantOf(peer: Peer): LinkWant {
  return { peer: peer.plan.name, kind: peer.choice.kind, mtuBytes: usedOf(peer)?.state.mtu.usedBytes ?? 0 }
}

/** What has happened by itself: probes are lost, and old failures of links that are not tried say nothing any more. */
export function refresh(peer: Peer, now: Millis): void {
  for (const [kind, candidate] of peer.links) {
    const state = expire(candidate.state, now)
    const isTried = kind === peer.choice.kind || isBetter(peer, kind)
    candidate.state = isTried ? state : withoutFailure(state, now)
  }
}

/** Its router has gone, so its silence of late said nothing of links: the last one that was answered is used, and stays. */
export function withoutRouter(peer: Peer, now: Millis): void {
  const candidate = peer.provenKind === undefined ? undefined : peer.links.get(peer.provenKind)
  if (candidate === undefined) return
  const { mtu } = candidate.state
  candidate.state = { ...inherited(mtu.fullBytes, now), mtu }
  if (peer.choice.kind !== peer.provenKind) peer.choice = { kind: peer.provenKind, since: now }
}

/** The peer does not hear us, or looks for another link, and says so four times a second: what comes from it proves one way only. */
export function doubted(peer: Peer): void {
  const used = usedOf(peer)
  if (used !== undefined) used.state = carriedLink(used.state, undefined)
}

/** Packets of pods went both ways. */
export function carried(peer: Peer, now: Millis): void {
  const used = usedOf(peer)
  if (used !== undefined) used.state = carriedLink(used.state, now)
}
