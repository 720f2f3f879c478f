/** What a mesh of a given size does, measured in virtual time from one seed: the table of the README, and the tests of it. */
import { type Millis, millis, seconds } from '../../../mesh/base/brand.ts'
import { pick, randomBelow } from '../../../mesh/base/random.ts'
import { agree, allAlive, degree, LAN, SimCluster, type SimPeer, WAN } from './mesh.ts'
import type { LinkQuality } from './network.ts'

export interface Measured {
  readonly degreeAverage: number
  readonly degreeMax: number
  /** Seconds until every living peer has seen a change of one: one figure per change. */
  readonly changeLan: readonly number[]
  readonly changeWan: readonly number[]
  /** Seconds until every living peer takes one that lost power for dead: one figure per crash. */
  readonly crash: readonly number[]
  /** Peers that somebody took for dead while a quarter of them got hardly any processor. */
  readonly falseDeaths: number
  /** Bytes that the mesh sends and receives, per peer and second, at rest. */
  readonly restBytesPerSecond: number
  /** Seconds from the start of all at once until all agree, and take each other for alive. */
  readonly coldStart: number
  /** Seconds from the end of a partition of 10 minutes until the same. */
  readonly healed: number
}

export type Progress = (what: string) => void

const CHANGES = 5
const CRASHES = 2
/** Fine enough for the shortest time in the table. */
const STEP: Millis = millis(10)
const SEEDS = [1, 2, 3]

/** All scenarios, one after the other, on one mesh of `size` peers. */
export async function measure(size: number, seed: number, progress: Progress): Promise<Measured> {
  const cluster = new SimCluster(seed, LAN)
  progress('cold start')
  const peers = await startAll(cluster, size)
  const coldStart = cluster.until(() => isWhole(peers), seconds(120)) / 1_000
  progress('coming to rest')
  cluster.clock.advance(seconds(90))
  const degrees = peers.map(degree)
  const restBytesPerSecond = rest(cluster, peers)
  progress('changes')
  const changeLan = changes(cluster, peers)
  const changeWan = withQuality(cluster, WAN, () => changes(cluster, peers))
  progress('a quarter without processor')
  const falseDeaths = starve(cluster, peers)
  progress('a partition of 10 minutes')
  const healed = partition(cluster, peers)
  progress('crashes')
  cluster.clock.advance(seconds(60))
  const crash = crashes(cluster, peers)
  return {
    degreeAverage: degrees.reduce((sum, one) => sum + one, 0) / size,
    degreeMax: Math.max(...degrees),
    changeLan,
    changeWan,
    crash,
    falseDeaths,
    restBytesPerSecond,
    coldStart,
    healed,
  }
}

async function startAll(cluster: SimCluster, size: number): Promise<SimPeer[]> {
  const peers: SimPeer[] = []
  for (let index = 1; index <= size; index += 1)
    peers.push(
      await cluster.start(
        index,
        SEEDS.filter((other) => other !== index),
      ),
    )
  return peers
}

function isWhole(peers: readonly SimPeer[]): boolean {
  return agree(peers) && allAlive(peers)
}

function rest(cluster: SimCluster, peers: readonly SimPeer[]): number {
  const bytes = (): number => peers.reduce((sum, { host }) => sum + host.bytesIn + host.bytesOut, 0)
  const before = bytes()
  cluster.clock.advance(seconds(60))
  return (bytes() - before) / 60 / peers.length
}

function withQuality<T>(cluster: SimCluster, quality: LinkQuality, task: () => T): T {
  const old = cluster.network.quality
  cluster.network.quality = quality
  cluster.clock.advance(seconds(5))
  const result = task()
  cluster.network.quality = old
  cluster.clock.advance(seconds(5))
  return result
}

function changes(cluster: SimCluster, peers: readonly SimPeer[]): readonly number[] {
  return Array.from({ length: CHANGES }, (_, number) => {
    const teller = some(cluster, peers)
    const zone = `zone ${number} ${cluster.clock.now()}`
    teller.mesh.publish({ zone })
    const took = cluster.until(() => peers.every(({ mesh }) => mesh.peer(teller.mesh.name)?.zone === zone), seconds(30), STEP)
    cluster.clock.advance(seconds(10))
    return took / 1_000
  })
}

/** Some stop for the whole time; the others get a moment of processor now and then. */
function starve(cluster: SimCluster, peers: readonly SimPeer[]): number {
  const starved = peers.filter((_, index) => index % 4 === 0)
  const confirmed = (): number => peers.reduce((sum, { mesh }) => sum + mesh.status().living.confirmed, 0)
  const before = confirmed()
  const end = cluster.clock.now() + seconds(30)
  for (const [index, { host }] of starved.entries()) if (index % 2 === 0) host.pause(seconds(30))
  while (cluster.clock.now() < end) {
    for (const [index, { host }] of starved.entries()) if (index % 2 === 1) host.pause(millis(500 + 2_500 * cluster.random()))
    cluster.clock.advance(seconds(3))
  }
  cluster.clock.advance(seconds(30))
  return confirmed() - before
}

function partition(cluster: SimCluster, peers: readonly SimPeer[]): number {
  const half = Math.floor(peers.length / 2)
  const [left, right] = [peers.slice(0, half), peers.slice(half)]
  cluster.network.partition(
    left.map(({ address }) => address),
    right.map(({ address }) => address),
  )
  cluster.clock.advance(seconds(300))
  left[0]?.mesh.publish({ zone: 'left' })
  right[0]?.mesh.publish({ zone: 'right' })
  cluster.clock.advance(seconds(300))
  cluster.network.healAll()
  return cluster.until(() => isWhole(peers), seconds(120)) / 1_000
}

function crashes(cluster: SimCluster, peers: SimPeer[]): readonly number[] {
  return Array.from({ length: CRASHES }, () => {
    const victim = some(cluster, peers)
    peers.splice(peers.indexOf(victim), 1)
    victim.host.crash()
    const took = cluster.until(() => peers.every(({ mesh }) => mesh.livenessOf(victim.mesh.name) === 'dead'), seconds(60), millis(50))
    cluster.clock.advance(seconds(10 + randomBelow(cluster.random, 5)))
    return took / 1_000
  })
}

function some(cluster: SimCluster, peers: readonly SimPeer[]): SimPeer {
  const peer = pick(cluster.random, peers)
  if (peer === undefined) throw new Error('a mesh without peers')
  return peer
}
