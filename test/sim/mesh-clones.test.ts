/** Live peers with one identity key, as when a machine was copied with its state: the copy takes a new name by itself, and nobody else does. */
import { describe, expect, test } from 'vitest'
import { type Millis, seconds } from '../../mesh/base/brand.ts'
import type { MeshOptions } from '../../mesh/options.ts'
import { SimHost } from '../support/sim/host.ts'
import { agree, allAlive, SimCluster, type SimPeer, simAddress } from '../support/sim/mesh.ts'

/** From the start of a copy until all agree again: two seconds here, if nothing is lost. */
const HEALED_WITHIN: Millis = seconds(20)
const SEEDS = Array.from({ length: 50 }, (_, index) => index + 1)

/** Peers that take a new name when they are told to, as routers do, and a note of who did. */
class Cluster extends SimCluster {
  readonly yielded: number[] = []
  readonly peers = new Map<number, SimPeer>()

  async run(
    index: number,
    targets: readonly number[],
    more: Partial<MeshOptions> & { readonly identityOf?: number } = {},
  ): Promise<SimPeer> {
    const peer = await this.start(index, targets, { ...more, yields: () => this.yielded.push(index) })
    this.peers.set(index, peer)
    return peer
  }

  /** The next process on a host that has crashed. */
  restart(index: number, targets: readonly number[], more: Partial<MeshOptions> = {}): Promise<SimPeer> {
    this.network.host(simAddress(index))?.boot()
    return this.run(index, targets, more)
  }

  get all(): readonly SimPeer[] {
    return [...this.peers.values()]
  }

  /** Lets time pass; whoever has been told to starts anew, as somebody else. */
  async heal(isDone: () => boolean, within: Millis = HEALED_WITHIN): Promise<Millis> {
    const start = this.clock.now()
    const handled = new Set<number>()
    for (;;) {
      this.until(() => isDone() || this.yielded.some((index) => !handled.has(index)), within)
      const copies = this.yielded.filter((index) => !handled.has(index))
      if (copies.length === 0) return (this.clock.now() - start) as Millis
      for (const index of copies) {
        handled.add(index)
        await this.peers.get(index)?.mesh[Symbol.asyncDispose]()
        await this.run(index, [1], { identityOf: 100 + index })
      }
    }
  }

  isWhole(): boolean {
    const { all } = this
    return agree(all) && allAlive(all) && new Set(all.map(({ mesh }) => mesh.name)).size === all.length
  }

  async grow(size: number, more: Partial<MeshOptions> = {}): Promise<void> {
    for (let index = 1; index <= size; index += 1) await this.run(index, index === 1 ? [] : [1], more)
    this.until(() => this.isWhole(), seconds(60))
    expect(this.all.map(({ mesh }) => mesh.status().faults)).toEqual(this.all.map(() => ({})))
  }
}

/** Up to 9 are connected all to all; among more the two need never have a neighbour in common. */
function sizeOf(seed: number): number {
  return 3 + (seed % 12)
}

describe.each(SEEDS)('a copy of a peer, seed %i', (seed) => {
  test('takes a new name, the original keeps its own, and all agree', async () => {
    const cluster = new Cluster(seed)
    const size = sizeOf(seed)
    // Which of the two clocks is ahead does not matter to one with pods.
    const ahead = (seed % 3) * 600_000 - 600_000
    await cluster.grow(size, { hadPods: ahead !== 0 })
    const original = cluster.peers.get(size) as SimPeer
    const copy = size + 1
    new SimHost(cluster.network, simAddress(copy)).jumpClock(ahead)
    const target = seed % 2 === 0 ? 1 : size
    await cluster.run(copy, [target], { identityOf: size })
    await cluster.heal(() => cluster.isWhole())
    expect(cluster.yielded).toEqual([copy])
    expect(cluster.peers.get(size)?.mesh).toBe(original.mesh)
  })

  test.each([
    { name: 'is the copy still when the original, with its pods, is started again', hadPods: true, yielding: (size: number) => size + 1 },
    { name: 'keeps the name when the machine it was moved from is switched on again', hadPods: false, yielding: (size: number) => size },
  ])('$name', async ({ hadPods, yielding }) => {
    const cluster = new Cluster(seed)
    const size = sizeOf(seed)
    await cluster.grow(size)
    const { name } = (cluster.peers.get(size) as SimPeer).mesh
    cluster.peers.get(size)?.host.crash()
    cluster.peers.delete(size)
    await cluster.run(size + 1, [1], { identityOf: size })
    cluster.clock.advance(seconds(20))
    // Alone it has the name, as one has that was moved here on purpose.
    expect(cluster.yielded).toEqual([])
    await cluster.restart(size, [1], { hadPods })
    await cluster.heal(() => cluster.isWhole())
    const keeping = yielding(size) === size ? size + 1 : size
    expect([cluster.yielded, cluster.peers.get(keeping)?.mesh.name]).toEqual([[yielding(size)], name])
  })
})

test.each(SEEDS.slice(0, 25))('of three that were copied from one, both copies take new names, seed %i', async (seed) => {
  const cluster = new Cluster(seed)
  const size = sizeOf(seed)
  await cluster.grow(size)
  await cluster.run(size + 1, [1], { identityOf: size })
  await cluster.run(size + 2, [2], { identityOf: size })
  await cluster.heal(() => cluster.isWhole())
  expect(cluster.yielded.toSorted((a, b) => a - b)).toEqual([size + 1, size + 2])
})

/** One process at a time has the key: whatever others remember of an earlier one, it keeps its name. */
describe.each(SEEDS)('nobody takes a new name, seed %i', (seed) => {
  test.each([
    { name: 'that was killed and starts again at once', end: ({ host }: SimPeer) => host.kill() },
    { name: 'whose machine was reset, so that nobody has noticed', end: ({ host }: SimPeer) => host.crash() },
    {
      name: 'that was rolled back to a state of long ago',
      end: ({ host }: SimPeer) => {
        host.crash()
        host.jumpClock(-86_400_000)
      },
    },
  ])('$name', async ({ end }) => {
    const cluster = new Cluster(seed)
    const size = sizeOf(seed)
    await cluster.grow(size)
    const { mesh } = cluster.peers.get(size) as SimPeer
    const known = seed % 2 === 0 ? mesh.records() : []
    for (let life = 0; life < 3; life += 1) {
      end(cluster.peers.get(size) as SimPeer)
      await cluster.restart(size, [1 + (seed % 2)], { known, hadPods: life !== 1 })
      cluster.clock.advance(seconds(seed % 7))
    }
    await cluster.heal(() => cluster.isWhole())
    cluster.clock.advance(seconds(60))
    expect([cluster.yielded, cluster.peers.get(size)?.mesh.name]).toEqual([[], mesh.name])
  })

  test('that was moved to another host while the old one is off', async () => {
    const cluster = new Cluster(seed)
    const size = sizeOf(seed)
    await cluster.grow(size)
    const old = cluster.peers.get(size) as SimPeer
    old.host.crash()
    cluster.peers.delete(size)
    await cluster.run(size + 1, [1], { identityOf: size, known: old.mesh.records() })
    await cluster.heal(() => cluster.isWhole())
    cluster.clock.advance(seconds(60))
    expect(cluster.yielded).toEqual([])
  })
})

function messages(peers: readonly SimPeer[]): number {
  return peers.reduce((sum, { mesh }) => sum + mesh.status().traffic.messagesOut, 0)
}

test.each(SEEDS.slice(0, 10))(
  'two that cannot reach each other go on as they are, are named, and cost the others little, seed %i',
  async (seed) => {
    const cluster = new Cluster(seed)
    await cluster.grow(4)
    const others = cluster.all.slice(0, 3)
    const rest = (): number => {
      cluster.clock.advance(seconds(20))
      const before = messages(others)
      cluster.clock.advance(seconds(120))
      return messages(others) - before
    }
    const atRest = rest()
    cluster.network.cut(simAddress(4), simAddress(5))
    const copy = await cluster.run(5, [1, 2, 4], { identityOf: 4 })
    expect(rest()).toBeLessThan(5 * atRest)
    expect(cluster.all.some(({ mesh }) => (mesh.status().faults.collision ?? 0) > 0)).toBe(true)
    // Each of the others has one connection with that name, never two.
    for (const { mesh } of others) {
      const names = mesh.connections().map((connection) => (connection.state === 'established' ? connection.name : connection.state))
      expect(names.filter((name) => name === copy.mesh.name)).toHaveLength(1)
      expect(mesh.peers()).toHaveLength(4)
    }
    expect(cluster.yielded).toEqual([])
    cluster.network.healAll()
    // They try each other's places again after pauses of up to a minute.
    await cluster.heal(() => cluster.isWhole(), seconds(120))
    expect(cluster.yielded).toEqual([5])
  },
)
