/** Two live peers with one identity key, as when a machine was cloned with its state: nobody else suffers, and it is named. */
import { describe, expect, test } from 'vitest'
import { seconds } from '../../mesh/base/brand.ts'
import { type SimPeer, simCluster } from '../support/sim/mesh.ts'

function messages(peers: readonly SimPeer[]): number {
  return peers.reduce((sum, { mesh }) => sum + mesh.status().traffic.messagesOut, 0)
}

describe.each([1, 5])('a copy of a peer, seed %i', (seed) => {
  test('is found out, and costs the others little', async () => {
    const cluster = simCluster(seed)
    const others = [await cluster.start(1, []), await cluster.start(2, [1]), await cluster.start(3, [1])]
    const original = await cluster.start(4, [1])
    cluster.clock.advance(seconds(20))
    expect(original.mesh.status().faults).toEqual({})
    const quiet = messages(others)
    cluster.clock.advance(seconds(120))
    const atRest = messages(others) - quiet

    const copy = await cluster.start(5, [1, 2, 4], 4)
    cluster.clock.advance(seconds(20))
    const before = messages(others)
    cluster.clock.advance(seconds(120))
    const withCopy = messages(others) - before

    const all = [...others, original, copy]
    expect(all.some(({ mesh }) => (mesh.status().faults.collision ?? 0) > 0)).toBe(true)
    // Each of the others has one connection with that name, never two.
    for (const { mesh } of others) {
      const names = mesh.connections().map((connection) => (connection.state === 'established' ? connection.name : connection.state))
      expect(names.filter((name) => name === copy.mesh.name)).toHaveLength(1)
      expect(mesh.peers()).toHaveLength(4)
    }
    expect(withCopy).toBeLessThan(5 * atRest)
  })
})
