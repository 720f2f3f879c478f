/** What this peer makes of all records and of its own connections: paths, and who is alive. Kept up to date, at a bounded cost. */
import { Alarm } from './base/alarm.ts'
import { type Millis, millis, type PeerName } from './base/brand.ts'
import type { Clock } from './base/clock.ts'
import type { Random } from './base/random.ts'
import { type Doubts, type Liveness, nobodyDoubted, stepLiveness } from './liveness.ts'
import { DEGREE_TARGET } from './overlay.ts'
import type { Peers } from './peers.ts'
import type { PeerRecord } from './record.ts'
import { Topology } from './topology.ts'

/** A search through the graph takes time in proportion to its size: records that come in a burst are looked at together. */
const REVIEW_DELAY: Millis = millis(30)
const REVIEW_DELAY_PER_PEER: Millis = millis(0.5)
/** As many peers that come back at once, as a share of all, are a part of the mesh that was cut off. */
const REUNION_SHARE = 0.1
/** Each peer makes a new link into a part that is back with this probability: half as many links as there are peers. */
const REUNION_CHANCE = 0.5

export interface ViewPorts {
  readonly clock: Clock
  readonly random: Random
  readonly self: PeerName
  readonly peers: Peers
  /** In order of name. */
  readonly neighbours: () => readonly PeerName[]
  /** Peers that we had doubted are alive. */
  readonly revived: (records: readonly PeerRecord[]) => void
  /** A part of the mesh that was cut off is back, and a link into it is for us to make. */
  readonly reunited: (records: readonly PeerRecord[]) => void
  /** All others who were connected with this neighbour of ours have given it up, and need not know that we are connected with it. */
  readonly forsaken: (neighbour: PeerName) => void
  readonly changed: () => void
}

/** How many peers are what, this one not included; and what has become of suspicions so far. */
export interface Living {
  readonly alive: number
  readonly suspect: number
  readonly dead: number
  readonly left: number
  /** Suspicions that turned out wrong. */
  readonly refuted: number
  /** Suspicions that came true. */
  readonly confirmed: number
}

export class View implements Disposable {
  readonly #ports: ViewPorts
  readonly #topology: Topology
  #doubts: Doubts = nobodyDoubted
  #others: readonly PeerRecord[] = []
  /** Dead, and not alive since: their newest records may have come before a path to them did. */
  readonly #lost = new Set<PeerName>()
  #refuted = 0
  #confirmed = 0
  readonly #reviewing: Alarm

  constructor(ports: ViewPorts) {
    this.#ports = ports
    this.#topology = new Topology(ports.self)
    this.#reviewing = new Alarm(ports.clock, () => this.#review())
  }

  /** All records but our own, in order of name. */
  get others(): readonly PeerRecord[] {
    return this.#others
  }

  livenessOf(name: PeerName): Liveness {
    if (name === this.#ports.self) return 'alive'
    return this.#doubts.get(name)?.kind ?? (this.#topology.isReachable(name) ? 'alive' : 'suspect')
  }

  living(): Living {
    const kinds = [...this.#doubts.values()].map(({ kind }) => kind)
    const count = (kind: Liveness): number => kinds.filter((one) => one === kind).length
    const alive = this.#others.length - kinds.length
    return {
      alive,
      suspect: count('suspect'),
      dead: count('dead'),
      left: count('left'),
      refuted: this.#refuted,
      confirmed: this.#confirmed,
    }
  }

  /** The neighbour that the shortest path to a peer begins with. */
  nextHop(name: PeerName): PeerName | undefined {
    return this.#topology.nextHop(name)
  }

  /** All to whom there is a path, in order of name. */
  reachable(): readonly PeerName[] {
    return this.#topology.reachable().toSorted()
  }

  /** Our own connections have changed. */
  reviewNow(): void {
    this.#reviewing.at(this.#ports.clock.now())
  }

  /** Records have changed. */
  reviewSoon(): void {
    const delay = REVIEW_DELAY + REVIEW_DELAY_PER_PEER * this.#others.length
    this.#reviewing.at(millis(this.#ports.clock.now() + delay))
  }

  [Symbol.dispose](): void {
    this.#reviewing[Symbol.dispose]()
  }

  #review(): void {
    const { self, peers, neighbours, clock, revived, forsaken, changed } = this.#ports
    this.#others = peers.list().filter(({ name }) => name !== self)
    this.#topology.update(this.#others)
    const own = neighbours()
    this.#topology.search(own)
    const isReachable = (name: PeerName): boolean => this.#topology.isReachable(name)
    const { doubts, changes, wakeAt } = stepLiveness(this.#doubts, { records: this.#others, isReachable }, clock.now())
    this.#doubts = doubts
    if (wakeAt !== undefined) this.#reviewing.at(wakeAt)
    this.#refuted += changes.filter(({ from, to }) => from === 'suspect' && to === 'alive').length
    this.#confirmed += changes.filter(({ from, to }) => from === 'suspect' && to === 'dead').length
    const alive = new Set(changes.filter(({ to }) => to === 'alive').map(({ name }) => name))
    if (alive.size > 0) revived(this.#others.filter(({ name }) => alive.has(name)))
    for (const { name, to } of changes) if (to === 'dead') this.#lost.add(name)
    this.#reunite(new Set([...alive].filter((name) => this.#lost.delete(name))))
    for (const name of own) if (this.#topology.isForsaken(name)) forsaken(name)
    changed()
  }

  #reunite(back: ReadonlySet<PeerName>): void {
    const { random, reunited } = this.#ports
    if (this.#others.length <= DEGREE_TARGET || back.size <= REUNION_SHARE * this.#others.length) return
    if (random() < REUNION_CHANCE) reunited(this.#others.filter(({ name }) => back.has(name)))
  }
}
