/** More peers than one may have connections, and all know but three addresses: nobody is left out, and it comes to rest. */
import { expect, test } from 'vitest'
import { millis, seconds } from '../../mesh/base/brand.ts'
import { agree, type SimPeer, simCluster } from '../support/sim-mesh.ts'

const PEERS = 66

function degrees(peers: readonly SimPeer[]): readonly number[] {
  return peers.map(({ mesh }) => mesh.connections().filter(({ state }) => state === 'established').length)
}

test('a crowd shares the connections that there are', async () => {
  const cluster = simCluster(3)
  const peers: SimPeer[] = []
  for (let index = 1; index <= PEERS; index += 1) {
    peers.push(await cluster.start(index, [1 + (index % 3)]))
    cluster.clock.advance(millis(2))
  }
  cluster.until(() => agree(peers), seconds(40))
  cluster.until(() => Math.min(...degrees(peers)) >= 56, seconds(40))
  expect(Math.max(...degrees(peers))).toBeLessThanOrEqual(64)
  cluster.clock.advance(seconds(10))
  const settled = peers.map(({ mesh }) => mesh.connections().map((connection) => connection.address))
  cluster.clock.advance(seconds(60))
  expect(peers.map(({ mesh }) => mesh.connections().map((connection) => connection.address))).toEqual(settled)
}, 120_000)
