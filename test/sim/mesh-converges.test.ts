/** Thirty peers from three seeds, cut apart, healed and shaken: they end with the same records and one connection per pair. */
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { seconds } from '../../mesh/base/brand.ts'
import { agree, fullyConnected, type SimCluster, type SimPeer, simCluster } from '../support/sim-mesh.ts'

const PEERS = 30

async function startAll(cluster: SimCluster): Promise<readonly SimPeer[]> {
  const peers: SimPeer[] = []
  for (let index = 1; index <= PEERS; index += 1) {
    peers.push(await cluster.start(index, [1 + (index % 3)]))
    cluster.clock.advance(seconds(cluster.random() / 5))
  }
  return peers
}

/** Everything that a peer can tell, of all peers. */
function hashOf(peers: readonly SimPeer[]): string {
  return createHash('sha256')
    .update(JSON.stringify(peers.map(({ mesh }) => mesh.status())))
    .digest('hex')
}

async function run(seed: number): Promise<{ readonly hash: string; readonly joinedWithinMs: number }> {
  const cluster = simCluster(seed)
  const { clock, network } = cluster
  const peers = await startAll(cluster)
  const settled = () => fullyConnected(peers) && agree(peers)
  const began = clock.now()
  cluster.until(settled, seconds(30))
  const joinedWithinMs = clock.now() - began

  const addresses = peers.map(({ address }) => address)
  network.partition(addresses.slice(0, 10), addresses.slice(10))
  clock.advance(seconds(90))
  expect(fullyConnected(peers)).toBe(false)
  peers[3]?.mesh.publish({ zone: 'left' })
  peers[20]?.mesh.publish({ zone: 'right' })
  clock.advance(seconds(10))
  expect(peers[12]?.mesh.peers().map(({ zone }) => zone)).not.toContain('left')
  network.healAll()
  // Long before every pair has waited out its pause between dials: the first news across hastens the rest.
  cluster.until(settled, seconds(20))
  expect(new Set(peers[12]?.mesh.peers().map(({ zone }) => zone))).toEqual(new Set([undefined, 'left', 'right']))

  for (let shake = 0; shake < 5; shake += 1) {
    expect(network.resetSome(0.3)).toBeGreaterThan(0)
    clock.advance(seconds(1 + cluster.random()))
  }
  cluster.until(settled, seconds(90))
  const hash = hashOf(peers)
  for (const { mesh } of peers) await mesh[Symbol.asyncDispose]()
  return { hash, joinedWithinMs }
}

describe.each([1, 7])('a mesh of 30 peers, seed %i', (seed) => {
  test('converges after joining, after a partition and after lost connections, the same way each time', async () => {
    const first = await run(seed)
    expect(first.joinedWithinMs).toBeLessThan(15_000)
    expect(await run(seed)).toEqual(first)
  }, 120_000)
})
