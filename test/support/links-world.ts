/**
 * A world of link engines: every pair of nodes has links of several kinds, each with its loss, delay and largest packet
 * in either direction. Probes travel as packets of pods do, and pods talk. Time passes only here, a run is the same
 * every time, and what must always hold is checked after every step.
 */
import { type Millis, millis, type PeerName, parsePeerName } from '../../mesh/base/brand.ts'
import { type Random, seededRandom } from '../../mesh/base/random.ts'
import { type LinkEffects, LinkEngine } from '../../router/links/engine.ts'
import { isSealed, LINK_KINDS, type LinkKind, overheadBytes } from '../../router/links/kind.ts'
import type { LinkWant, PeerPlan } from '../../router/links/peer.ts'
import { candidates, type PolicyFacts } from '../../router/links/policy.ts'
import type { Probe } from '../../router/links/probe-codec.ts'

/** One direction of a link. */
export interface Way {
  /** Share of packets that are lost, 0 to 1. */
  readonly loss: number
  /** Milliseconds. */
  readonly delay: number
  /** The largest packet on the underlay, with what the link adds. */
  readonly mtuBytes: number
}

export const GOOD_WAY: Way = { loss: 0, delay: 2, mtuBytes: 1_500 }
export const CUT_WAY: Way = { ...GOOD_WAY, loss: 1 }

export interface WorldNode {
  readonly facts: PolicyFacts
  readonly engine: LinkEngine
  /** What it uses to each peer. */
  readonly wants: Map<PeerName, LinkWant>
  /** Of probes and answers that it sent or got, with all headers. */
  wireBytes: number
  probesSent: number
  switches: number
  /** Its process sleeps until then; its kernel does not. */
  asleepUntil: number
}

/** Pods of `from` send a packet to pods of `to` five times a second. */
export interface Flow {
  readonly from: PeerName
  readonly to: PeerName
  /** Whether pods there answer each of them. */
  readonly isAnswered: boolean
  readonly sizeBytes: number
  /** When the last answer, or else the last packet, arrived. */
  arrivedAt: Millis
  /** The longest that nothing arrived, in milliseconds, since it was set to 0. */
  gap: number
}

interface Event {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

const PACKET_PACE = 200
const COUNT_PACE = 1_000
const ETHERNET_BYTES = 14

/** `1` is 0000000000000001. */
export function nodeName(index: number): PeerName {
  return parsePeerName(index.toString(16).padStart(16, '0'))
}

export class LinksWorld {
  readonly nodes: Map<PeerName, WorldNode> = new Map()
  readonly flows: Flow[] = []
  readonly #random: Random
  readonly #ways = new Map<string, Way>()
  readonly #counts = new Map<string, { sent: number; received: number }>()
  /** A binary heap. */
  readonly #events: Event[] = []
  #made = 0
  #now: Millis = millis(0)
  /** When each engine is to be woken, as far as it is known. */
  readonly #wakes = new Map<PeerName, number>()

  constructor(seed: number) {
    this.#random = seededRandom(seed)
  }

  now(): Millis {
    return this.#now
  }

  add(facts: PolicyFacts, seed: number): WorldNode {
    const engine = new LinkEngine({ self: facts.name, random: seededRandom(seed), firstId: 1 }, this.#now)
    const node: WorldNode = { facts, engine, wants: new Map(), wireBytes: 0, probesSent: 0, switches: 0, asleepUntil: 0 }
    this.nodes.set(facts.name, node)
    return node
  }

  /** Both learn of each other, or of what has changed. */
  introduce(
    a: WorldNode,
    b: WorldNode,
    { place = '', isAlive = true, lastKind = undefined }: Partial<Pick<PeerPlan, 'place' | 'isAlive' | 'lastKind'>> = {},
  ): void {
    for (const [self, peer] of [
      [a, b],
      [b, a],
    ] as const) {
      const plan = {
        name: peer.facts.name,
        candidates: candidates(self.facts, peer.facts),
        underlayMtuBytes: 1_500,
        place,
        isAlive,
        lastKind,
      }
      this.#perform(self, self.engine.setPeer(plan, this.#now))
    }
  }

  /** How packets go from one to the other by a link of this kind; in both directions unless told otherwise. */
  set(from: PeerName, to: PeerName, kind: LinkKind, way: Way, isOneWay = false): void {
    this.#ways.set(`${from} ${to} ${kind}`, way)
    if (!isOneWay) this.#ways.set(`${to} ${from} ${kind}`, way)
  }

  hint(self: WorldNode, peer: PeerName): void {
    this.#perform(self, self.engine.hint(peer, this.#now))
  }

  /** Adds a flow that begins now. */
  talk(from: PeerName, to: PeerName, { isAnswered = true, sizeBytes = 500 }: { isAnswered?: boolean; sizeBytes?: number } = {}): Flow {
    const flow = { from, to, isAnswered, sizeBytes, arrivedAt: this.#now, gap: 0 }
    this.flows.push(flow)
    const first = this.#random() * PACKET_PACE
    const tick = (): void => {
      if (!this.flows.includes(flow)) return
      this.#packet(flow)
      this.#after(PACKET_PACE, tick)
    }
    this.#after(first, tick)
    for (const [self, peer] of [
      [from, to],
      [to, from],
    ] as const)
      this.#count(self, peer)
    return flow
  }

  /** Lets so many milliseconds pass. */
  run(duration: number): void {
    const until = this.#now + duration
    for (let event = this.#events[0]; event !== undefined && event.at <= until; event = this.#events[0]) {
      this.#pop()
      this.#now = millis(Math.max(this.#now, event.at))
      event.run()
    }
    this.#now = millis(until)
  }

  /** What is used between the two, from one side; undefined: nothing. */
  kindOf(from: PeerName, to: PeerName): LinkKind | undefined {
    return this.nodes.get(from)?.wants.get(to)?.kind
  }

  #packet(flow: Flow): void {
    this.#podPacket(flow.from, flow.to, flow.sizeBytes, () => {
      if (flow.isAnswered) this.#podPacket(flow.to, flow.from, 60, () => this.#arrived(flow))
      else this.#arrived(flow)
    })
    flow.gap = Math.max(flow.gap, this.#now - flow.arrivedAt)
  }

  #arrived(flow: Flow): void {
    flow.gap = Math.max(flow.gap, this.#now - flow.arrivedAt)
    flow.arrivedAt = this.#now
  }

  #podPacket(from: PeerName, to: PeerName, sizeBytes: number, arrived: () => void): void {
    const want = this.nodes.get(from)?.wants.get(to)
    if (want?.kind === undefined) return
    const { kind } = want
    this.#checkSealed(from, to, kind)
    this.#counter(from, to, kind).sent += 1
    // A packet that is too big gets its ICMP, and comes again in smaller ones.
    this.#carry(from, to, kind, Math.min(sizeBytes, want.mtuBytes), () => {
      this.#counter(to, from, kind).received += 1
      arrived()
    })
  }

  #counter(self: PeerName, peer: PeerName, kind: LinkKind): { sent: number; received: number } {
    const key = `${self} ${peer} ${kind}`
    const counter = this.#counts.get(key) ?? { sent: 0, received: 0 }
    this.#counts.set(key, counter)
    return counter
  }

  /** Tells an engine once a second what went to a peer and came from it. */
  #count(self: PeerName, peer: PeerName): void {
    const key = `count ${self} ${peer}`
    if (this.#counts.has(key)) return
    this.#counts.set(key, { sent: 0, received: 0 })
    const tick = (): void => {
      if (!this.flows.some(({ from, to }) => (from === self && to === peer) || (from === peer && to === self))) {
        this.#counts.delete(key)
        return
      }
      const node = this.nodes.get(self)
      for (const kind of LINK_KINDS) {
        const counter = this.#counts.get(`${self} ${peer} ${kind}`)
        if (node === undefined || counter === undefined) continue
        const count = { ...counter }
        this.#awake(node, () => this.#perform(node, node.engine.counted(peer, kind, count, this.#now)))
        counter.sent = 0
        counter.received = 0
      }
      this.#after(COUNT_PACE, tick)
    }
    this.#after(this.#random() * COUNT_PACE, tick)
  }

  #perform(node: WorldNode, effects: LinkEffects): void {
    for (const want of effects.wants) this.#take(node, want)
    for (const probe of effects.probes) this.#sendProbe(node, probe)
    const wakeAt = node.engine.wakeAt()
    if (wakeAt === undefined) return
    if ((this.#wakes.get(node.facts.name) ?? Number.POSITIVE_INFINITY) <= wakeAt) return
    this.#wakes.set(node.facts.name, wakeAt)
    this.#after(Math.max(0, wakeAt - this.#now), () => {
      if (this.#wakes.get(node.facts.name) !== wakeAt) return
      this.#wakes.delete(node.facts.name)
      this.#awake(node, () => this.#perform(node, node.engine.wake(this.#now)))
    })
  }

  /** Now, or when the node wakes up. */
  #awake(node: WorldNode, run: () => void): void {
    if (this.#now < node.asleepUntil) this.#after(node.asleepUntil - this.#now, run)
    else run()
  }

  #take(node: WorldNode, want: LinkWant): void {
    if (want.kind !== undefined) this.#checkSealed(node.facts.name, want.peer, want.kind)
    if (node.wants.get(want.peer)?.kind !== want.kind) node.switches += 1
    node.wants.set(want.peer, want)
  }

  /** No plain link where either end wants it sealed. */
  #checkSealed(from: PeerName, to: PeerName, kind: LinkKind): void {
    const [a, b] = [this.nodes.get(from)?.facts, this.nodes.get(to)?.facts]
    if (a === undefined || b === undefined) throw new Error(`a link between ${from} and ${to}, which are no nodes`)
    if (!isSealed(kind) && mustSeal(a, b)) throw new Error(`${a.nickname} talks to ${b.nickname} in the clear`)
  }

  #sendProbe(node: WorldNode, probe: Probe): void {
    const { kind, sizeBytes, receiver, sender } = probe
    const bytes = sizeBytes + overheadBytes(kind, 'ipv4') + ETHERNET_BYTES
    node.wireBytes += bytes
    node.probesSent += 1
    this.#carry(sender, receiver, kind, sizeBytes, () => {
      const peer = this.nodes.get(receiver)
      if (peer === undefined) return
      peer.wireBytes += bytes
      this.#awake(peer, () => this.#perform(peer, peer.engine.received(probe, this.#now)))
    })
  }

  #carry(from: PeerName, to: PeerName, kind: LinkKind, sizeBytes: number, arrived: () => void): void {
    const way = this.#ways.get(`${from} ${to} ${kind}`) ?? CUT_WAY
    if (this.#random() < way.loss || sizeBytes + overheadBytes(kind, 'ipv4') > way.mtuBytes) return
    this.#after(way.delay * (1 + this.#random() / 10), arrived)
  }

  #after(delay: number, run: () => void): void {
    this.#made += 1
    const events = this.#events
    events.push({ at: this.#now + delay, order: this.#made, run })
    for (let at = events.length - 1; at > 0; ) {
      const above = (at - 1) >> 1
      if (!this.#swapIfSooner(at, above)) break
      at = above
    }
  }

  #pop(): void {
    const last = this.#events.pop()
    if (last === undefined || this.#events.length === 0) return
    this.#events[0] = last
    for (let at = 0; ; ) {
      const left = 2 * at + 1
      const sooner = this.#isSooner(left + 1, left) ? left + 1 : left
      if (!this.#swapIfSooner(sooner, at)) return
      at = sooner
    }
  }

  #isSooner(a: number, b: number): boolean {
    const [one, other] = [this.#events[a], this.#events[b]]
    return one !== undefined && other !== undefined && (one.at < other.at || (one.at === other.at && one.order < other.order))
  }

  #swapIfSooner(below: number, above: number): boolean {
    const [one, other] = [this.#events[below], this.#events[above]]
    if (one === undefined || other === undefined || !this.#isSooner(below, above)) return false
    this.#events[above] = one
    this.#events[below] = other
    return true
  }
}

/** What a person would say of two nodes in one subnet, apart from what the product computes. */
function mustSeal(a: PolicyFacts, b: PolicyFacts): boolean {
  if (a.mode === 'always' || b.mode === 'always') return true
  if (a.mode === 'never' && b.mode === 'never') return false
  return a.zone !== b.zone
}
