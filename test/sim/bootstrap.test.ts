/** How whole meshes come to one ring: cut in two at the start, with voters that die and come back, and with observers among them. */
import { describe, expect, test } from 'vitest'
import type { Ipam } from '../../ipam/ipam.ts'
import { decodeSummary } from '../../ipam/ring-digest.ts'
import type { IpamInit } from '../../ipam/seed.ts'
import type { Ipv4 } from '../../mesh/base/address.ts'
import { type Millis, seconds } from '../../mesh/base/brand.ts'
import { randomBelow } from '../../mesh/base/random.ts'
import { key } from '../support/ipam.ts'
import { addressesOf, haveOneRing, restartNode, type SimNode, startNode } from '../support/sim/ipam.ts'
import { SimCluster } from '../support/sim/mesh.ts'

const NEVER = new AbortController().signal
const FIVE = { kind: 'consensus', voters: 5 } as const

/** What has been allocated on which node, for the whole of a test. */
class Pods {
  readonly held = new Map<Ipv4, string>()
  refused = 0
  #keys = 0

  ask({ name, ipam }: { readonly name: string; readonly ipam: Ipam }): void {
    void ipam.allocate(key(this.#keys++), NEVER).then((result) => {
      if (!result.ok) {
        this.refused += 1
        return
      }
      if (this.held.has(result.value)) throw new Error(`${result.value} is of ${name} and of ${this.held.get(result.value)}`)
      this.held.set(result.value, name)
    })
  }
}

async function pass(cluster: SimCluster, duration: Millis): Promise<void> {
  const end = cluster.clock.now() + duration
  while (cluster.clock.now() < end) await cluster.clock.advanceAsync(seconds(0.25))
}

async function until(cluster: SimCluster, condition: () => boolean, limit: Millis): Promise<void> {
  const end = cluster.clock.now() + limit
  while (!condition() && cluster.clock.now() < end) await cluster.clock.advanceAsync(seconds(0.25))
  expect(condition()).toBe(true)
}

describe.each([1, 2, 3, 4])('five that begin with consensus, seed %i', (seed) => {
  test('and are cut in two before they agree: the two never allocate, and get the ring of the three after the cut', async () => {
    const cluster = new SimCluster(seed)
    const nodes: SimNode[] = []
    const pods = new Pods()
    for (let index = 1; index <= 5; index++)
      nodes.push(await startNode(cluster, index, { init: FIVE, targets: [1, 2, 3, 4].filter((other) => other < index) }))
    const [few, many] = [nodes.slice(0, 2), nodes.slice(2)]
    cluster.network.partition(addressesOf(few), addressesOf(many))
    await until(cluster, () => haveOneRing(many), seconds(60))
    for (const node of nodes) pods.ask(node)
    await pass(cluster, seconds(60))
    expect(few.map(({ ipam }) => [ipam.ranges().length, ipam.allocations().size])).toEqual([
      [0, 0],
      [0, 0],
    ])
    expect([pods.held.size, pods.refused]).toEqual([3, 2])
    expect(few[0]?.ipam.status().status).toBe('awaiting consensus (quorum: 3, known: 2)')
    cluster.network.healAll()
    await until(cluster, () => haveOneRing(nodes), seconds(90))
    for (const node of nodes) pods.ask(node)
    await pass(cluster, seconds(15))
    expect(pods.held.size).toBe(8)
  })
})

test('four that begin with consensus and are cut in halves: neither begins, and all have one ring after the cut', async () => {
  const cluster = new SimCluster(5)
  const nodes: SimNode[] = []
  const init = { kind: 'consensus', voters: 4 } as const
  for (let index = 1; index <= 4; index++)
    nodes.push(await startNode(cluster, index, { init, targets: [1, 2, 3].filter((other) => other < index) }))
  cluster.network.partition(addressesOf(nodes.slice(0, 2)), addressesOf(nodes.slice(2)))
  await pass(cluster, seconds(120))
  expect(nodes.map(({ ipam }) => ipam.ranges().length)).toEqual([0, 0, 0, 0])
  cluster.network.healAll()
  await until(cluster, () => haveOneRing(nodes), seconds(90))
})

/** Voters 1 to `count` of a cluster, all cut off from each other at first, to which things happen. */
class Chaos {
  readonly cluster: SimCluster
  readonly nodes: SimNode[] = []
  readonly rings: Set<string> = new Set()
  restartsBefore = 0
  rounds = 0
  #isCalm = false
  #restarting = new Set<number>()
  readonly #init: IpamInit

  private constructor(seed: number, voters: number) {
    // Slow enough that things happen in the midst of a ballot.
    this.cluster = new SimCluster(seed, { latencyMs: [50, 600], loss: 0.05 })
    this.#init = { kind: 'consensus', voters }
  }

  static async begin(seed: number, voters: number): Promise<Chaos> {
    const chaos = new Chaos(seed, voters)
    const { cluster, nodes } = chaos
    for (let index = 1; index <= voters; index++)
      nodes.push(await startNode(cluster, index, { init: chaos.#init, targets: chaos.#targets(index, voters) }))
    for (const [at, node] of nodes.entries()) chaos.#watch(node, at)
    cluster.network.partition(addressesOf(nodes), addressesOf(nodes))
    return chaos
  }

  async step(): Promise<void> {
    const { network, random } = this.cluster
    const chance = random()
    if (chance < 0.35) this.#cutInTwo()
    else if (chance < 0.6) network.healAll()
    else if (chance < 0.7) await this.#restart(randomBelow(random, this.nodes.length))
    await pass(this.cluster, seconds(random() * 2))
    this.look()
  }

  /** Nothing happens any more. */
  calm(): void {
    this.#isCalm = true
    this.cluster.network.healAll()
  }

  #cutInTwo(): void {
    if (this.#isCalm) return
    const { network, random } = this.cluster
    const some = new Set(this.nodes.filter(() => random() < 0.5))
    network.healAll()
    network.partition(addressesOf([...some]), addressesOf(this.nodes.filter((node) => !some.has(node))))
  }

  async #restart(at: number): Promise<void> {
    const node = this.nodes[at]
    if (node === undefined || this.#isCalm || this.#restarting.has(at)) return
    this.#restarting.add(at)
    if (ringOf(node) === undefined) this.restartsBefore += 1
    const next = await restartNode(this.cluster, node, { init: this.#init, targets: this.#targets(node.index, this.nodes.length) })
    this.nodes[at] = next
    this.#restarting.delete(at)
    this.#watch(next, at)
  }

  /** Something may happen soon after each vote, when it does most harm. */
  #watch(node: SimNode, at: number): void {
    const { clock, random } = this.cluster
    node.disk.beside('ipam.vote').fault = () => {
      const [chance, delay] = [random(), seconds(random() * 0.8)]
      if (chance < 0.3) clock.after(delay, () => this.#cutInTwo())
      if (chance > 0.1 && chance < 0.5) clock.after(delay, () => void this.#restart(at))
    }
  }

  look(): void {
    for (const node of this.nodes) {
      const ring = ringOf(node)
      if (ring !== undefined) this.rings.add(ring)
      const { bootstrap } = node.ipam.status()
      if (bootstrap.mode === 'consensus') this.rounds = Math.max(this.rounds, bootstrap.round)
    }
    expect(this.rings.size).toBeLessThan(2)
  }

  #targets(index: number, voters: number): readonly number[] {
    return Array.from({ length: voters }, (_, at) => at + 1).filter((other) => other !== index)
  }
}

/** Which ring it has; undefined when it has none. */
function ringOf({ ipam }: SimNode): string | undefined {
  const summary = decodeSummary(ipam.part.summary())
  return summary.ok ? summary.value.seedId : undefined
}

const seen = { restartsBefore: 0, severalBallots: 0 }

describe.each(Array.from({ length: 24 }, (_, index) => 100 + index))(
  'voters that are cut off, killed and started again all the time, seed %i',
  (seed) => {
    test('make one ring at most, and one in the end', async () => {
      const chaos = await Chaos.begin(seed, 3 + (seed % 3))
      for (let step = 0; step < 60; step++) await chaos.step()
      chaos.calm()
      await until(chaos.cluster, () => haveOneRing(chaos.nodes), seconds(180))
      chaos.look()
      seen.restartsBefore += chaos.restartsBefore
      if (chaos.rounds > 1) seen.severalBallots += 1
    })
  },
)

test('the runs above went through what they are for', () => {
  expect(seen.restartsBefore).toBeGreaterThan(200)
  expect(seen.severalBallots).toBeGreaterThan(15)
})

test('sixty that begin with consensus at once need a handful of ballots and no storm; ten observers get the ring', {
  timeout: 120_000,
}, async () => {
  const cluster = new SimCluster(7)
  const nodes: SimNode[] = []
  for (let index = 1; index <= 70; index++) {
    const init = index <= 60 ? ({ kind: 'consensus', voters: 60 } as const) : ({ kind: 'await' } as const)
    nodes.push(
      await startNode(cluster, index, { init, targets: [1 + randomBelow(cluster.random, index - 1)].filter((other) => other < index) }),
    )
  }
  await until(cluster, () => haveOneRing(nodes), seconds(30))
  const [first] = nodes
  const status = first?.ipam.status()
  expect(status?.owners.length).toBeGreaterThan(30)
  expect(status?.bootstrap).toMatchObject({ mode: 'consensus', quorum: 31 })
  expect(status?.bootstrap.mode === 'consensus' && status.bootstrap.round).toBeLessThan(8)
  const pods = new Pods()
  for (const node of nodes) pods.ask(node)
  await pass(cluster, seconds(15))
  expect([pods.held.size, pods.refused]).toEqual([70, 0])
})
