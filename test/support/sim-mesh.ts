/** Meshes on a simulated network: the real code of every peer, with cheap cryptography, in virtual time. */
import { formatIpv4, type Ipv4, parseIpv4 } from '../../mesh/base/address.ts'
import { type Millis, seconds } from '../../mesh/base/brand.ts'
import { silentLog } from '../../mesh/base/log.ts'
import { type Random, seededRandom } from '../../mesh/base/random.ts'
import { SEED_BYTES } from '../../mesh/crypto.ts'
import { MESH_PORT } from '../../mesh/endpoint.ts'
import { identityFromSeed } from '../../mesh/identity.ts'
import { Mesh } from '../../mesh/mesh.ts'
import { keyringOf } from './keyrings.ts'
import { simCrypto } from './sim-crypto.ts'
import { SimNetwork } from './sim-network.ts'
import { TestClock } from './test-clock.ts'

export interface SimPeer {
  readonly address: Ipv4
  readonly mesh: Mesh
}

/** Peers have indices from 1 to 255. */
export interface SimCluster {
  readonly clock: TestClock
  readonly network: SimNetwork
  readonly random: Random
  /** Starts the peer with this index, at its address; as a copy of another one when `identity` says which. */
  start(index: number, targets: readonly number[], identity?: number): Promise<SimPeer>
  /** Lets time pass until `condition` holds. @throws {Error} when it does not within `limit`. */
  until(condition: () => boolean, limit: Millis): void
}

export function simCluster(seed: number): SimCluster {
  const random = seededRandom(seed)
  const clock = new TestClock()
  const network = new SimNetwork({ clock, random: seededRandom(seed + 1), latencyMs: [0.5, 5] })
  return {
    clock,
    network,
    random,
    async start(index, targets, identityIndex = index) {
      const address = simAddress(index)
      const own = seededRandom(seed + 1_000 * index + Math.floor(clock.now()))
      const crypto = simCrypto(own)
      const identity = identityFromSeed(new Uint8Array(SEED_BYTES).fill(identityIndex), crypto)
      const mesh = await Mesh.start({
        identity,
        nickname: `node-${index}`,
        cluster: 'simulated',
        keyring: keyringOf(1, crypto),
        listen: { host: '0.0.0.0', port: MESH_PORT },
        targets: targets.map((target) => ({ host: formatIpv4(simAddress(target)), port: MESH_PORT })),
        transport: network.host(address),
        crypto,
        clock,
        random: own,
        log: silentLog,
        addresses: [address],
        mtuBytes: 1_500,
        zone: undefined,
      })
      return { address, mesh }
    },
    until(condition, limit) {
      const end = clock.now() + limit
      while (!condition()) {
        if (clock.now() >= end) throw new Error(`not within ${limit} ms of simulated time`)
        clock.advance(seconds(0.25))
      }
    },
  }
}

function simAddress(index: number): Ipv4 {
  return parseIpv4(`198.18.0.${index}`)
}

/** All peers hold the same records, of each of them. */
export function agree(peers: readonly SimPeer[]): boolean {
  const digests = new Set(peers.map(({ mesh }) => mesh.status().digests['peers']))
  return digests.size === 1 && peers.every(({ mesh }) => mesh.peers().length === peers.length)
}

/** Every peer has exactly one connection with each other, and with nobody else. */
export function fullyConnected(peers: readonly SimPeer[]): boolean {
  return peers.every(({ mesh }) => {
    const names = mesh.connections().map((connection) => (connection.state === 'established' ? connection.name : ''))
    return names.length === peers.length - 1 && new Set(names).size === names.length && !names.includes('')
  })
}
