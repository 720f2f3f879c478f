/** Many nodes that join at once: each asks somebody for space as soon as it knows the ring, and is answered at once. */
import { expect, test } from 'vitest'
import { millis, type PeerName, seconds } from '../../mesh/base/brand.ts'
import { ok } from '../../mesh/base/result.ts'
import type { GossipPart, GossipPort } from '../../mesh/gossip.ts'
import { key } from '../support/ipam.ts'
import { type SimNode, startNode } from '../support/sim/ipam.ts'
import { SimCluster, type SimPeer } from '../support/sim/mesh.ts'

const NEVER = new AbortController().signal

/** From when it knew the ring until it had an address. */
async function waited(cluster: SimCluster, { ipam }: SimNode): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>()
  using _ = ipam.onChange(() => (ipam.ranges().length > 0 ? resolve() : undefined))
  if (ipam.ranges().length === 0) await promise
  const from = cluster.clock.now()
  const result = await ipam.allocate(key(1), NEVER)
  expect(result.ok).toBe(true)
  return cluster.clock.now() - from
}

/** One begins the ring; eleven more dial those before them, some tens of milliseconds apart. The longest of them waited so long. */
async function longest(seed: number, targetsOf: (index: number) => readonly number[]): Promise<number> {
  const cluster = new SimCluster(seed)
  const waits: Promise<number>[] = []
  for (let index = 1; index <= 12; index++) {
    const init = index === 1 ? 'seed' : ({ kind: 'await' } as const)
    waits.push(waited(cluster, await startNode(cluster, index, { init, targets: targetsOf(index) })))
    await cluster.clock.advanceAsync(millis(cluster.random() * 100))
  }
  const all = Promise.all(waits)
  await cluster.clock.advanceAsync(seconds(20))
  return Math.max(...(await all))
}

test.each([1, 2, 3, 4, 5])('who dials the first node waits for no time-out, seed %i', async (seed) => {
  expect(await longest(seed, (index) => (index === 1 ? [] : [1]))).toBeLessThan(500)
})

test.each([1, 2, 3, 4, 5])('who dials all that are there waits for no time-out, seed %i', async (seed) => {
  expect(await longest(seed, (index) => Array.from({ length: index - 1 }, (_, other) => other + 1))).toBeLessThan(500)
})

/** A part that only counts what comes. */
class Letters implements GossipPart {
  readonly channel = 'letters'
  readonly from: PeerName[] = []
  digest = (): Uint8Array => new Uint8Array(16)
  summary = (): Uint8Array => new Uint8Array(0)
  missing = () => ok([])
  merge = () => ok({ news: [], held: [], faults: [] })
  receive(_message: Uint8Array, from: PeerName): void {
    this.from.push(from)
  }
}

interface Correspondent extends SimPeer {
  readonly letters: Letters
  readonly port: GossipPort
  readonly written: Set<PeerName>
}

test('whoever can be reached can be written to, and gets the letter, from the first moment on', async () => {
  const cluster = new SimCluster(1)
  const peers: Correspondent[] = []
  for (let index = 1; index <= 6; index++) {
    const peer = await cluster.start(index, index === 1 ? [] : [index - 1])
    const letters = new Letters()
    peers.push({ ...peer, letters, port: peer.mesh.register(letters), written: new Set() })
  }
  for (let time = 0; time < 5_000; time++) {
    for (const { port, written } of peers) {
      const reached = port.reachable().filter((name) => !written.has(name))
      for (const name of reached) written.add(name)
      expect(reached.filter((name) => !port.send(name, Uint8Array.of(1)))).toEqual([])
    }
    cluster.clock.advance(millis(0.5))
  }
  cluster.clock.advance(seconds(1))
  const names = peers.map(({ mesh }) => mesh.name)
  expect(peers.map(({ letters }) => letters.from.toSorted())).toEqual(names.map((own) => names.filter((name) => name !== own).toSorted()))
})
