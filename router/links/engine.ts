/**
 * The links of one node to all its peers: takes what probes, counters of packets and gossip tell, and says which probes
 * to send and which link to use to whom. It owns what is known of each link; it never sends, waits or reads a clock
 * itself. The rules are in the files beside: what is allowed in `policy.ts`, what a link has shown in `link-state.ts`,
 * which one is used in `choice.ts`, and when each is probed in `schedule.ts`.
 */
import { type Millis, millis, type PeerName, seconds } from '../../mesh/base/brand.ts'
import type { Random } from '../../mesh/base/random.ts'
import { type Budget, fullBudget, spend } from '../../mesh/budget.ts'
import * as choosing from './choice.ts'
import { type Family, type LinkKind, overheadBytes } from './kind.ts'
import * as link from './link-state.ts'
import type { Candidates } from './policy.ts'
import type { Probe } from './probe-codec.ts'
import * as schedule from './schedule.ts'

/** What is to be known of a peer before it is probed. */
export interface PeerPlan {
  readonly name: PeerName
  readonly candidates: Candidates
  /** The smaller of the two underlay MTUs. */
  readonly underlayMtuBytes: number
  /** What packets between the two depend on, above all the underlay addresses, as text: all is tried anew when it changes. */
  readonly place: string
}

export interface LinkWant {
  readonly peer: PeerName
  /** Undefined: no link leads there, maybe a relay does. */
  readonly kind: LinkKind | undefined
  /** The largest packet of a pod that may go there. */
  readonly mtuBytes: number
}

export interface LinkEffects {
  /** To be sent at once, each by the link of its kind to its receiver. Those that are lost need no report. */
  readonly probes: readonly Probe[]
  /** What is used from now on, where that has changed. */
  readonly wants: readonly LinkWant[]
}

export interface LinkStatus {
  readonly kind: LinkKind | undefined
  readonly since: Millis
  /** For people: why this one, or none. */
  readonly reason: string
  readonly mtuBytes: number
  /** Whether packets of that size have come back. */
  readonly isMtuProven: boolean
  /** When better ones, or any, are tried next; undefined: there is nothing better. */
  readonly nextTrialAt: Millis | undefined
}

export interface EngineOptions {
  readonly self: PeerName
  readonly random: Random
  /** Above all ids of probes of earlier lives: the wall time in microseconds. */
  readonly firstId: number
}

interface Candidate {
  state: link.LinkState
  /** The highest id of a probe that came by it. */
  lastId: number
  /** Probes that the peer still needs to believe that we hear it. */
  confirmations: number
}

interface Peer {
  plan: PeerPlan
  links: Map<LinkKind, Candidate>
  traffic: schedule.Traffic
  choice: choosing.Choice
  trials: choosing.Trials
  /** The link in use is to be asked once. */
  isAsked: boolean
  hintedAt: Millis | undefined
  told: LinkWant | undefined
  dueAt: Millis
}

/** First trials of many peers are spread over so long, in milliseconds for each peer: 10 s where there are 1,000. */
const SPREAD_PER_PEER = 10
/** Who need not begin waits for the other end to do so. */
const FOLLOWER_DELAY: Millis = seconds(3)
/** Hints come from others, who may be wrong again and again. */
const HINT_REST: Millis = seconds(10)
const HINT_REST_WITHOUT_LINK: Millis = seconds(1)
/** What a peer needs to prove a link that has failed, twice over. */
const CONFIRMATIONS_MAX = 8
/** So many lost or waiting probes of the link in use call for others to stand in: half a second of silence. */
const DOUBTS_MAX = 3
/** A failure this old says nothing of whether a link can stand in. */
const FAILURE_MEMORY: Millis = seconds(30)
/** A probe that there was no budget for. */
const BUDGET_WAIT: Millis = seconds(2)
/** Between the two, what each says of sizes may differ for a moment. */
const SIZE_REST: Millis = seconds(10)

export class LinkEngine {
  readonly #options: EngineOptions
  readonly #peers = new Map<PeerName, Peer>()
  #nextId: number
  #budget: Budget
  #probes: Probe[] = []
  #wants: LinkWant[] = []

  constructor(options: EngineOptions, now: Millis) {
    this.#options = options
    this.#nextId = options.firstId
    this.#budget = fullBudget(schedule.PROBE_BUDGET, now)
  }

  /** A peer is known, or what is known of it has changed: only what differs is begun anew. */
  setPeer(plan: PeerPlan, now: Millis): LinkEffects {
    const old = this.#peers.get(plan.name)
    if (old !== undefined && isSamePlan(old.plan, plan)) {
      old.plan = plan
      return this.#settle(old, now)
    }
    const isMoved = old === undefined || old.plan.place !== plan.place
    const links = new Map(
      plan.candidates.allowed.map((kind) => [kind, this.#candidate(plan, kind, isMoved ? undefined : old.links.get(kind))]),
    )
    const delay =
      old !== undefined
        ? 0
        : this.#options.random() * SPREAD_PER_PEER * (this.#peers.size + 1) + (this.#isLeader(plan) ? 0 : FOLLOWER_DELAY)
    const peer: Peer = {
      choice: { kind: undefined, since: now },
      traffic: schedule.noTraffic,
      hintedAt: undefined,
      told: undefined,
      ...old,
      plan,
      links,
      trials: choosing.firstTrial(millis(now + delay)),
      isAsked: old !== undefined,
      dueAt: now,
    }
    this.#peers.set(plan.name, peer)
    return this.#settle(peer, now)
  }

  /** It is dead or has left: it gets no probes, and no answers. */
  removePeer(name: PeerName): void {
    this.#peers.delete(name)
  }

  /** Gossip, or somebody else, gives a reason to look at a peer's links now: it has come to life, or is doubted. */
  hint(name: PeerName, now: Millis): LinkEffects {
    const peer = this.#peers.get(name)
    if (peer === undefined) return this.#flush()
    this.#hasten(peer, now)
    return this.#settle(peer, now)
  }

  /** Packets of pods that went to a peer, and came from it by a link of this kind, since the last count: see `schedule.ts`. */
  counted(name: PeerName, kind: LinkKind, count: schedule.Count, now: Millis): LinkEffects {
    const peer = this.#peers.get(name)
    if (peer === undefined || count.sent + count.received === 0) return this.#flush()
    const isUsed = kind === peer.choice.kind
    const isFirst = !schedule.isActive(peer.traffic, now)
    // The peer does not use the link that we use: one of the two has noticed something.
    if (!isUsed && count.received > 0) peer.isAsked = true
    peer.traffic = isUsed ? schedule.counted(peer.traffic, count, now) : { ...peer.traffic, activeAt: now }
    if (isFirst && peer.trials.phase.kind === 'waiting') this.#hasten(peer, now)
    return this.#settle(peer, now)
  }

  /** A genuine probe came by a link of the kind that it names. */
  received(probe: Probe, now: Millis): LinkEffects {
    const peer = this.#peers.get(probe.sender)
    const candidate = peer?.links.get(probe.kind)
    // By a link that must not be used there is no answer, or the other end would use it.
    if (peer === undefined || candidate === undefined || probe.receiver !== this.#options.self) return this.#flush()
    if (probe.isReply) this.#replied(peer, candidate, probe, now)
    else this.#asked(peer, candidate, probe, now)
    return this.#settle(peer, now)
  }

  /** To be called at `wakeAt`. */
  wake(now: Millis): LinkEffects {
    for (const peer of this.#peers.values()) if (peer.dueAt <= now) this.#advance(peer, now)
    return this.#flush()
  }

  /** Undefined when there is no peer. */
  wakeAt(): Millis | undefined {
    let first: Millis | undefined
    for (const { dueAt } of this.#peers.values()) if (first === undefined || dueAt < first) first = dueAt
    return first
  }

  /** Undefined of a peer that is not known. */
  status(name: PeerName, now: Millis): LinkStatus | undefined {
    const peer = this.#peers.get(name)
    if (peer === undefined) return undefined
    const { choice, plan } = peer
    const used = choice.kind === undefined ? undefined : peer.links.get(choice.kind)?.state
    const { mtuBytes } = wantOf(peer)
    const isMtuProven = used !== undefined && used.mtu.provenBytes === mtuBytes
    const nextTrialAt = choosing.trialsDueAt(peer.trials, now)
    return { ...choice, reason: choosing.reasonOf(choice, statesOf(peer), plan.candidates), mtuBytes, isMtuProven, nextTrialAt }
  }

  /** Peers that no link leads to, in order of name, for others to know where relays are needed. */
  unreachable(now: Millis): readonly PeerName[] {
    const peers = [...this.#peers.values()].filter(
      ({ choice, trials }) => choice.kind === undefined && choosing.isFruitless(trials, choice, now),
    )
    return peers.map(({ plan }) => plan.name).toSorted()
  }

  #replied(peer: Peer, candidate: Candidate, probe: Probe, now: Millis): void {
    const before = candidate.state
    candidate.state = link.replied(before, probe.id, now)
    if (candidate.state === before) return
    if (probe.kind === peer.choice.kind) peer.isAsked = false
    // The peer has heard us, but does not know that we hear it.
    if (!probe.isDoubted) candidate.confirmations = 0
    else if (candidate.confirmations === 0) candidate.confirmations = CONFIRMATIONS_MAX
  }

  #asked(peer: Peer, candidate: Candidate, probe: Probe, now: Millis): void {
    this.#charge(peer, probe.kind, probe.sizeBytes, now)
    if (probe.id > candidate.lastId) {
      candidate.lastId = probe.id
      candidate.state = link.heard(candidate.state, now)
      this.#believe(peer, candidate, probe, now)
    }
    this.#probes.push({ ...this.#message(peer, probe.kind, now), isReply: true, id: probe.id, sizeBytes: probe.sizeBytes })
  }

  /** What a probe says beside that it came. */
  #believe(peer: Peer, candidate: Candidate, probe: Probe, now: Millis): void {
    const { choice, plan, traffic } = peer
    // Our own probes know better while they are out.
    if (probe.isHeard && link.unanswered(candidate.state) === 0) candidate.state = link.proved(candidate.state, now)
    const { provedAt, usedBytes } = candidate.state.mtu
    if (probe.provenBytes >= usedBytes) candidate.state = link.sizeProved(candidate.state, probe.provenBytes, now)
    else if (probe.provenBytes > 0 && provedAt !== undefined && now >= provedAt + SIZE_REST)
      candidate.state = link.sizeDoubted(candidate.state)
    const isUsed = probe.kind === choice.kind
    if (isUsed && probe.isDoubted && !schedule.isDoubtful(candidate.state, traffic)) peer.isAsked ||= !isFresh(candidate.state, now)
    if (choosing.betterThan(choice.kind, plan.candidates.allowed).includes(probe.kind)) this.#hasten(peer, now)
  }

  /** Looks at the link in use, and tries better ones, soon. */
  #hasten(peer: Peer, now: Millis): void {
    const rest = peer.choice.kind === undefined ? HINT_REST_WITHOUT_LINK : HINT_REST
    const at = peer.hintedAt === undefined ? now : millis(Math.max(now, peer.hintedAt + rest))
    peer.trials = choosing.hastened(peer.trials, at)
    const used = peer.choice.kind === undefined ? undefined : peer.links.get(peer.choice.kind)
    if (used !== undefined && !isFresh(used.state, now)) peer.isAsked = true
    if (at === now) peer.hintedAt = now
  }

  #settle(peer: Peer, now: Millis): LinkEffects {
    this.#advance(peer, now)
    return this.#flush()
  }

  #flush(): LinkEffects {
    const effects = { probes: this.#probes, wants: this.#wants }
    this.#probes = []
    this.#wants = []
    return effects
  }

  /** Brings a peer up to the moment, and says when to look at it again. */
  #advance(peer: Peer, now: Millis): void {
    for (const candidate of peer.links.values()) candidate.state = link.expire(candidate.state, now)
    this.#choose(peer, now)
    this.#tryOthers(peer, now)
    let dueAt = choosing.trialsDueAt(peer.trials, now)
    for (const kind of peer.links.keys()) dueAt = earlier(dueAt, this.#probe(peer, kind, now))
    for (const { state } of peer.links.values()) dueAt = earlier(dueAt, link.expiresAt(state))
    peer.dueAt = dueAt ?? millis(now + BUDGET_WAIT)
  }

  #choose(peer: Peer, now: Millis): void {
    const next = choosing.choose(peer.choice, statesOf(peer), peer.trials, schedule.isActive(peer.traffic, now), now)
    if (next.kind !== peer.choice.kind) {
      peer.trials = choosing.afterSwitch(peer.trials, peer.choice, next, this.#options.random)
      // What left by the old link says nothing of the new one.
      peer.traffic = { ...peer.traffic, unansweredAt: undefined }
      peer.isAsked = false
      peer.choice = next
    }
    const want = wantOf(peer)
    if (peer.told?.kind === want.kind && peer.told?.mtuBytes === want.mtuBytes) return
    peer.told = want
    this.#wants.push(want)
  }

  #tryOthers(peer: Peer, now: Millis): void {
    const { choice, plan, trials } = peer
    const targets = choosing.betterThan(choice.kind, plan.candidates.allowed).flatMap((kind) => peer.links.get(kind) ?? [])
    const states = targets.map(({ state }) => state)
    peer.trials = choosing.stepTrials(trials, states, choice.kind !== undefined, this.#options.random, now)
    const isBegun = peer.trials.phase.kind === 'running' && trials.phase.kind !== 'running'
    if (isBegun) for (const target of targets) target.state = link.sizeForgotten(target.state)
  }

  /** Sends the probe of a link if it is due, and says when the next one is. */
  #probe(peer: Peer, kind: LinkKind, now: Millis): Millis | undefined {
    const candidate = peer.links.get(kind)
    const role = candidate === undefined ? undefined : this.#roleOf(peer, kind, candidate, now)
    if (candidate === undefined || role === undefined) return undefined
    const situation = { role, link: candidate.state, traffic: peer.traffic, isLeader: this.#isLeader(peer.plan), isAsked: peer.isAsked }
    if (role === 'used' && schedule.isSizeOld(situation, now)) candidate.state = link.sizeDoubted(candidate.state)
    const need = schedule.nextProbe({ ...situation, link: candidate.state }, now)
    if (now < need.at) return need.at
    const sizes = need.sizeBytes === undefined ? [link.SMALL_BYTES] : [need.sizeBytes, link.SMALL_BYTES]
    const sent = sizes.filter((size) => this.#send(peer, kind, candidate, { sizeBytes: size, isUrgent: need.isUrgent }, now))
    if (sent.length === 0) return millis(now + BUDGET_WAIT * (0.5 + this.#options.random() / 2))
    candidate.confirmations = Math.max(0, candidate.confirmations - 1)
    return schedule.nextProbe({ ...situation, link: candidate.state }, now).at
  }

  #roleOf(peer: Peer, kind: LinkKind, candidate: Candidate, now: Millis): schedule.Role | undefined {
    const { choice, plan, trials } = peer
    if (kind === choice.kind) return 'used'
    const isBetter = choosing.betterThan(choice.kind, plan.candidates.allowed).includes(kind)
    if (isBetter && trials.phase.kind === 'running') return 'tried'
    const used = choice.kind === undefined ? undefined : peer.links.get(choice.kind)?.state
    if (!isBetter && used !== undefined && link.unanswered(used) >= DOUBTS_MAX) {
      const { standing } = candidate.state
      if (standing.kind === 'down' && now >= standing.since + FAILURE_MEMORY) candidate.state = link.forgetFailure(candidate.state)
      return 'standing in'
    }
    return candidate.confirmations > 0 && link.isUp(candidate.state) ? 'confirmed' : undefined
  }

  #send(
    peer: Peer,
    kind: LinkKind,
    candidate: Candidate,
    what: { readonly sizeBytes: number; readonly isUrgent: boolean },
    now: Millis,
  ): boolean {
    const { sizeBytes, isUrgent } = what
    const bytes = schedule.exchangeBytes(kind, familyOf(peer.plan), sizeBytes)
    const reserve = isUrgent ? 0 : schedule.URGENT_BYTES
    if (spend(this.#budget, schedule.PROBE_BUDGET, bytes + reserve, now) === undefined) return false
    this.#charge(peer, kind, sizeBytes, now)
    const id = this.#nextId
    this.#nextId += 1
    this.#probes.push({ ...this.#message(peer, kind, now), isReply: false, id, sizeBytes })
    candidate.state = link.sent(candidate.state, { id, sizeBytes }, now)
    return true
  }

  /** What others make us spend counts as well, as far as there is something left. */
  #charge(peer: Peer, kind: LinkKind, sizeBytes: number, now: Millis): void {
    const bytes = schedule.exchangeBytes(kind, familyOf(peer.plan), sizeBytes)
    this.#budget = spend(this.#budget, schedule.PROBE_BUDGET, bytes, now) ?? { left: 0, at: now }
  }

  /** What a probe by this link tells the peer. */
  #message(peer: Peer, kind: LinkKind, now: Millis): Omit<Probe, 'isReply' | 'id' | 'sizeBytes'> {
    const state = peer.links.get(kind)?.state
    const isHeard = state?.heardAt !== undefined && now <= state.heardAt + schedule.PROOF_FRESH
    const isDoubted =
      state === undefined || !link.isUp(state) || schedule.isDoubtful(state, kind === peer.choice.kind ? peer.traffic : schedule.noTraffic)
    const provenBytes = state?.mtu.provenBytes ?? 0
    return { isHeard, isDoubted, kind, provenBytes, sender: this.#options.self, receiver: peer.plan.name }
  }

  #candidate(plan: PeerPlan, kind: LinkKind, old: Candidate | undefined): Candidate {
    const fullBytes = plan.underlayMtuBytes - overheadBytes(kind, familyOf(plan))
    if (old === undefined) return { state: link.untested(fullBytes), lastId: 0, confirmations: 0 }
    return { ...old, state: old.state.mtu.fullBytes === fullBytes ? old.state : { ...old.state, mtu: link.untested(fullBytes).mtu } }
  }

  #isLeader({ name }: PeerPlan): boolean {
    return this.#options.self < name
  }
}

function statesOf({ links }: Peer): choosing.Links {
  return new Map([...links].map(([kind, { state }]) => [kind, state]))
}

function wantOf({ plan, choice, links }: Peer): LinkWant {
  const used = choice.kind === undefined ? undefined : links.get(choice.kind)
  return { peer: plan.name, kind: choice.kind, mtuBytes: used?.state.mtu.usedBytes ?? 0 }
}

function isSamePlan(a: PeerPlan, b: PeerPlan): boolean {
  return (
    a.place === b.place &&
    a.underlayMtuBytes === b.underlayMtuBytes &&
    familyOf(a) === familyOf(b) &&
    a.candidates.allowed.join() === b.candidates.allowed.join()
  )
}

function familyOf({ candidates }: PeerPlan): Family {
  return candidates.family ?? 'ipv4'
}

function isFresh({ standing }: link.LinkState, now: Millis): boolean {
  return standing.kind === 'up' && now < standing.provedAt + schedule.PROOF_FRESH
}

function earlier(a: Millis | undefined, b: Millis | undefined): Millis | undefined {
  return a === undefined || b === undefined ? (a ?? b) : millis(Math.min(a, b))
}
