/** Meshes on a simulated network: the real code of every peer, with cheap cryptography, in virtual time. */
import { formatIpv4, type Ipv4, ipv4 } from '../../../mesh/base/address.ts'
import { type Millis, type PeerName, seconds } from '../../../mesh/base/brand.ts'
import { silentLog } from '../../../mesh/base/log.ts'
import { type Random, seededRandom } from '../../../mesh/base/random.ts'
import { SEED_BYTES } from '../../../mesh/crypto.ts'
import { MESH_PORT } from '../../../mesh/endpoint.ts'
import { identityFromSeed } from '../../../mesh/identity.ts'
import { Mesh } from '../../../mesh/mesh.ts'
import type { MeshOptions } from '../../../mesh/options.ts'
import { parseRecord, type RecordReader } from '../../../mesh/record.ts'
import { keyringOf } from '../keyrings.ts'
import { TestClock } from '../test-clock.ts'
import { simCrypto } from './crypto.ts'
import { SimHost } from './host.ts'
import { type LinkQuality, SimNetwork } from './network.ts'

export interface SimPeer {
  readonly index: number
  readonly address: Ipv4
  readonly host: SimHost
  readonly mesh: Mesh
}

/** 1 ms there and back. */
export const LAN: LinkQuality = { latencyMs: [0.3, 0.7], loss: 0 }
/** Clouds apart: 80 ms there and back, one piece in a hundred lost. */
export const WAN: LinkQuality = { latencyMs: [38, 42], loss: 0.01 }

export class SimCluster {
  readonly clock: TestClock = new TestClock()
  readonly network: SimNetwork
  readonly random: Random
  readonly #seed: number
  readonly #read: RecordReader = sharedReader()

  constructor(seed: number, quality: LinkQuality = { latencyMs: [0.5, 5], loss: 0 }) {
    this.#seed = seed
    this.random = seededRandom(seed)
    this.network = new SimNetwork({ clock: this.clock, random: seededRandom(seed + 1), quality })
  }

  /** Starts the peer with this index, from 1, at its address. Again after a kill: its next life. `identity`: as a copy of that one. */
  async start(
    index: number,
    targets: readonly number[],
    more: Partial<MeshOptions> & { readonly identityOf?: number } = {},
  ): Promise<SimPeer> {
    const address = simAddress(index)
    const host = this.network.host(address) ?? new SimHost(this.network, address)
    const { identityOf = index, ...options } = more
    const own = seededRandom(this.#seed + 7_919 * index + Math.floor(this.clock.now()))
    const crypto = simCrypto(own)
    const mesh = await Mesh.start({
      identity: identityFromSeed(seedOf(identityOf), crypto),
      nickname: `node-${index}`,
      cluster: 'simulated',
      keyring: keyringOf(1, crypto),
      listen: { host: '0.0.0.0', port: MESH_PORT },
      targets: targets.map((target) => ({ host: formatIpv4(simAddress(target)), port: MESH_PORT })),
      transport: host.transport(),
      crypto,
      clock: host.clock(),
      random: own,
      log: silentLog,
      readRecord: this.#read,
      addresses: [address],
      mtuBytes: 1_500,
      zone: undefined,
      ...options,
    })
    return { index, address, host, mesh }
  }

  /** Lets time pass until `condition` holds; returns how long it took, give or take `step`. @throws {Error} when it does not within `limit`. */
  until(condition: () => boolean, limit: Millis, step: Millis = seconds(0.25)): Millis {
    const start = this.clock.now()
    while (!condition()) {
      if (this.clock.now() >= start + limit) throw new Error(`not within ${limit} ms of simulated time`)
      this.clock.advance(step)
    }
    return (this.clock.now() - start) as Millis
  }
}

/** As many versions of records as are about at a time. */
const READ_MAX = 16_384

/** Reads the same bytes once for all meshes, which would each spend most of their time and memory on copies of the same records. */
function sharedReader(): RecordReader {
  const known = new Map<string, ReturnType<RecordReader>>()
  return (signed, signature, crypto) => {
    const key = `${latin1(signature)}${latin1(signed)}`
    const read = known.get(key) ?? parseRecord(signed, signature, crypto)
    if (known.size >= READ_MAX) known.clear()
    known.set(key, read)
    return read
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

/** 198.18.0.0/15 is for tests of networks (RFC 2544). */
export function simAddress(index: number): Ipv4 {
  return ipv4(0xc612_0000 + index)
}

/** The name of the peer with this index: that of its key. */
export function simPeerName(index: number): PeerName {
  return identityFromSeed(seedOf(index), simCrypto(seededRandom(index))).name
}

function seedOf(index: number): Uint8Array {
  const seed = new Uint8Array(SEED_BYTES)
  new DataView(seed.buffer).setUint32(0, index)
  return seed
}

/** All peers hold the same records, of each of them. */
export function agree(peers: readonly SimPeer[]): boolean {
  const [first] = peers
  if (first === undefined) return true
  const digest = first.mesh.status().digests['peers']
  return peers.every(({ mesh }) => mesh.peers().length === peers.length && mesh.status().digests['peers'] === digest)
}

export function degree({ mesh }: SimPeer): number {
  return mesh.connections().filter(({ state }) => state === 'established').length
}

/** Every peer takes every other one for alive. */
export function allAlive(peers: readonly SimPeer[]): boolean {
  return peers.every(({ mesh }) => peers.every((other) => mesh.livenessOf(other.mesh.name) === 'alive'))
}
