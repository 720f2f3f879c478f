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
import type { LinkKind } from './kind.ts'
import * as link from './link-state.ts'
import {
  type Candidate,
  carried,
  doubted,
  familyOf,
  isBetter,
  isSamePlan,
  type LinkWant,
  makePeer,
  type Peer,
  type PeerPlan,
  refresh,
  roleOf,
  statesOf,
  targetsOf,
  turnOf,
  usedOf,
  wantOf,
  withoutRouter,
} from './peer.ts'
import type { Probe } from './probe-codec.ts'
import * as schedule from './schedule.ts'

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

/** First trials of many peers are spread over so long, in milliseconds for each peer: 10 s where there are 1,000. */
const SPREAD_PER_PEER = 10
/** Who need not begin waits for the other end to do so. */
const FOLLOWER_DELAY: Millis = seconds(3)
/** Hints come from others, who may be wrong again and again. */
const HINT_REST: Millis = seconds(10)
const HINT_REST_WITHOUT_LINK: Millis = seconds(1)
/** What many peers wait for falls together, so that one look at all of them serves many: in milliseconds. */
const WAKE_GRID = 20
/** Nothing can be tried. */
const NOTHING_DUE: Millis = seconds(3_600)
/** A probe that there was no budget for: others wait as well. */
const BUDGET_WAIT: Millis = seconds(10)
const BUDGET_WAIT_URGENT: Millis = seconds(1)
/** Between the two, what each says of sizes may differ for a moment. */
const SIZE_REST: Millis = seconds(10)

export class LinkEngine {
  readonly #options: EngineOptions
  readonly #peers = new Map<PeerName, Peer>()
  #nextId: number
  #budget: Budget
  #wakeAt: Millis | undefined
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
    const spread = this.#options.random() * SPREAD_PER_PEER * (this.#peers.size + 1)
    const firstAt = millis(now + spread + (this.#isLeader(plan) ? 0 : FOLLOWER_DELAY))
    const peer = old !== undefined && isSamePlan(old.plan, plan) ? { ...old, plan } : makePeer(plan, old, firstAt, now)
    this.#peers.set(plan.name, peer)
    if (plan.isAlive && old?.plan.isAlive === false) this.#hasten(peer, now)
    if (!plan.isAlive && old?.plan.isAlive === true) withoutRouter(peer, now)
    return this.#settle(peer, now)
  }

  /** It has left for good: it gets no probes, and no answers. */
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
    if (!isUsed && count.received > 0) this.#ask(peer, now)
    if (isUsed && count.sent > 0 && count.received > 0) carried(peer, now)
    peer.traffic = isUsed ? schedule.counted(peer.traffic, count, now) : { ...peer.traffic, activeAt: now }
    if (isFirst && peer.trials.phase.kind === 'waiting') this.#hasten(peer, now)
    return this.#settle(peer, now)
  }

  /** A genuine probe came. The caller has seen to it that it came by the very link that it names, and not by another one. */
  received(probe: Probe, now: Millis): LinkEffects {
    const peer = this.#peers.get(probe.sender)
    const candidate = peer?.links.get(probe.kind)
    // By a link that must not be used there is no answer, or the other end would use it.
    if (peer === undefined || candidate === undefined || probe.receiver !== this.#options.self) return this.#flush()
    refresh(peer, now)
    if (probe.isReply) this.#replied(peer, candidate, probe, now)
    else this.#asked(peer, candidate, probe, now)
    return this.#settle(peer, now)
  }

  /** To be called at `wakeAt`, or at any time. */
  wake(now: Millis): LinkEffects {
    this.#wakeAt = undefined
    for (const peer of this.#peers.values()) {
      if (peer.dueAt <= now) this.#advance(peer, now)
      this.#wakeAt = earlier(this.#wakeAt, peer.dueAt)
    }
    return this.#flush()
  }

  /** Undefined when there is nothing to wait for. There may turn out to be nothing to do. */
  wakeAt(): Millis | undefined {
    return this.#wakeAt
  }

  /** Undefined of a peer that is not known. */
  status(name: PeerName, now: Millis): LinkStatus | undefined {
    const peer = this.#peers.get(name)
    if (peer === undefined) return undefined
    const { choice, plan } = peer
    const { mtuBytes } = wantOf(peer)
    return {
      ...choice,
      reason: choosing.reasonOf(choice, statesOf(peer), plan.candidates),
      mtuBytes,
      isMtuProven: usedOf(peer)?.state.mtu.provenBytes === mtuBytes,
      nextTrialAt: choosing.trialsDueAt(peer.trials, now),
    }
  }

  /** Living peers that no link leads to, in order of name, for others to know where relays are needed. */
  unreachable(now: Millis): readonly PeerName[] {
    const peers = [...this.#peers.values()].filter(({ plan, choice, trials }) => plan.isAlive && choosing.isFruitless(trials, choice, now))
    return peers.map(({ plan }) => plan.name).toSorted()
  }

  #replied(peer: Peer, candidate: Candidate, probe: Probe, now: Millis): void {
    const before = candidate.state
    candidate.state = link.replied(before, probe.id, now)
    if (candidate.state === before) return
    if (probe.kind !== peer.choice.kind) return
    peer.isAsked = false
    peer.provenKind = probe.kind
  }

  #asked(peer: Peer, candidate: Candidate, probe: Probe, now: Millis): void {
    this.#charge(peer, probe.kind, probe.sizeBytes, now)
    if (probe.id > candidate.lastId) {
      candidate.lastId = probe.id
      candidate.state = link.heard(candidate.state, now)
      this.#believe(peer, candidate, probe, now)
    }
    this.#probes.push({ ...this.#message(peer, probe.kind), isReply: true, id: probe.id, sizeBytes: probe.sizeBytes })
  }

  /** What a probe says beside that it came. */
  #believe(peer: Peer, candidate: Candidate, probe: Probe, now: Millis): void {
    const { provedAt, usedBytes } = candidate.state.mtu
    if (probe.provenBytes >= usedBytes) candidate.state = link.sizeProved(candidate.state, probe.provenBytes, now)
    else if (probe.provenBytes > 0 && provedAt !== undefined && now >= provedAt + SIZE_REST)
      candidate.state = link.sizeDoubted(candidate.state, now)
    if (isBetter(peer, probe.kind)) this.#hasten(peer, now)
    // It has no proof of the link in use, or looks for one that could take over.
    else if (probe.kind !== peer.choice.kind || probe.isDoubted) {
      doubted(peer)
      this.#ask(peer, now)
    }
  }

  /** Looks at the link in use, and tries better ones, soon. */
  #hasten(peer: Peer, now: Millis): void {
    const rest = peer.choice.kind === undefined ? HINT_REST_WITHOUT_LINK : HINT_REST
    const at = peer.hintedAt === undefined ? now : millis(Math.max(now, peer.hintedAt + rest))
    peer.trials = choosing.hastened(peer.trials, at)
    if (at > now) return
    peer.hintedAt = now
    this.#ask(peer, now)
    const used = usedOf(peer)
    if (used?.state.mtu.refusedBytes !== undefined) used.state = link.sizeForgotten(used.state)
  }

  /** Looks at the link in use, unless it has just been proved. */
  #ask(peer: Peer, now: Millis): void {
    const used = usedOf(peer)
    if (used !== undefined && !isFresh(used.state, now)) peer.isAsked = true
  }

  #settle(peer: Peer, now: Millis): LinkEffects {
    this.#advance(peer, now)
    this.#wakeAt = earlier(this.#wakeAt, peer.dueAt)
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
    refresh(peer, now)
    this.#choose(peer, now)
    this.#tryOthers(peer, now)
    let dueAt = choosing.trialsDueAt(peer.trials, now)
    for (const kind of peer.links.keys()) dueAt = earlier(dueAt, this.#probe(peer, kind, now))
    for (const { state } of peer.links.values()) dueAt = earlier(dueAt, link.expiresAt(state))
    peer.dueAt = millis(Math.ceil((dueAt ?? now + NOTHING_DUE) / WAKE_GRID) * WAKE_GRID)
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
    const targets = targetsOf(peer)
    const prospects = {
      targets: targets.map(({ state }) => state),
      hasLink: peer.choice.kind !== undefined,
      isActive: schedule.isActive(peer.traffic, now),
    }
    const before = peer.trials
    peer.trials = choosing.stepTrials(before, prospects, this.#options.random, now)
    const isBegun = peer.trials.phase.kind === 'running' && before.phase.kind !== 'running'
    if (!isBegun) return
    for (const target of targets) {
      target.tries = 0
      target.state = link.sizeForgotten(target.state)
    }
  }

  /** Sends the probe of a link if it is due, and says when the next one is. */
  #probe(peer: Peer, kind: LinkKind, now: Millis): Millis | undefined {
    const candidate = peer.links.get(kind)
    const role = candidate === undefined ? undefined : roleOf(peer, kind, candidate, now)
    if (candidate === undefined || role === undefined) return undefined
    const situation = {
      role,
      link: candidate.state,
      traffic: peer.traffic,
      isLeader: this.#isLeader(peer.plan),
      isAsked: isAskedFor(peer, role),
    }
    if (role === 'used' && schedule.isSizeOld(situation, now)) candidate.state = link.sizeDoubted(candidate.state, now)
    const need = schedule.nextProbe({ ...situation, link: candidate.state }, now)
    const at = Math.max(need.at, turnOf(peer, kind, now))
    if (now < at) return millis(at)
    if (!this.#sendAll(peer, kind, candidate, need, now))
      return millis(now + (need.isUrgent ? BUDGET_WAIT_URGENT : BUDGET_WAIT) * (0.5 + this.#options.random() / 2))
    if (candidate.state.standing.kind === 'down') candidate.tries += 1
    return schedule.nextProbe({ ...situation, link: candidate.state }, now).at
  }

  /** The small one first where it is urgent; else none without the other one, which would be asked for again and again. */
  #sendAll(peer: Peer, kind: LinkKind, candidate: Candidate, { sizeBytes, isUrgent }: schedule.ProbeNeed, now: Millis): boolean {
    const sizes = sizeBytes === undefined ? [] : [sizeBytes]
    const order = isUrgent ? [link.SMALL_BYTES, ...sizes] : [...sizes, link.SMALL_BYTES]
    const denied = order.findIndex((size) => !this.#send(peer, kind, candidate, { sizeBytes: size, isUrgent }, now))
    return denied !== 0
  }

  #send(
    peer: Peer,
    kind: LinkKind,
    candidate: Candidate,
    what: Pick<schedule.ProbeNeed, 'isUrgent'> & { sizeBytes: number },
    now: Millis,
  ): boolean {
    const { sizeBytes, isUrgent } = what
    const bytes = schedule.exchangeBytes(kind, familyOf(peer.plan), sizeBytes)
    const reserve = isUrgent ? 0 : schedule.URGENT_BYTES
    if (spend(this.#budget, schedule.PROBE_BUDGET, bytes + reserve, now) === undefined) return false
    this.#charge(peer, kind, sizeBytes, now)
    const id = this.#nextId
    this.#nextId += 1
    this.#probes.push({ ...this.#message(peer, kind), isReply: false, id, sizeBytes })
    candidate.state = link.sent(candidate.state, { id, sizeBytes }, now)
    return true
  }

  /** What others make us spend counts as well, as far as there is something left. */
  #charge(peer: Peer, kind: LinkKind, sizeBytes: number, now: Millis): void {
    const bytes = schedule.exchangeBytes(kind, familyOf(peer.plan), sizeBytes)
    this.#budget = spend(this.#budget, schedule.PROBE_BUDGET, bytes, now) ?? { left: 0, at: now }
  }

  /** What a probe by this link tells the peer. */
  #message(peer: Peer, kind: LinkKind): Omit<Probe, 'isReply' | 'id' | 'sizeBytes'> {
    const state = peer.links.get(kind)?.state
    const isDoubted = state === undefined || !link.isUp(state) || link.unanswered(state) > 0
    const provenBytes = state?.mtu.provenBytes ?? 0
    return { isDoubted, kind, provenBytes, sender: this.#options.self, receiver: peer.plan.name }
  }

  #isLeader({ name }: PeerPlan): boolean {
    return this.#options.self < name
  }
}

function isAskedFor({ isAsked, trials }: Peer, role: schedule.Role): boolean {
  return role === 'used' ? isAsked : role === 'tried' && choosing.isFirst(trials)
}

function isFresh({ standing }: link.LinkState, now: Millis): boolean {
  return standing.kind === 'up' && now < standing.provedAt + schedule.PROOF_FRESH
}

function earlier(a: Millis | undefined, b: Millis | undefined): Millis | undefined {
  return a === undefined || b === undefined ? (a ?? b) : millis(Math.min(a, b))
}
