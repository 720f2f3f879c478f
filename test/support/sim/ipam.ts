/** Meshes with their IPAM on a simulated network: the product's code of both, from the streams up, in virtual time. */
import { Ipam } from '../../../ipam/ipam.ts'
import type { IpamInit } from '../../../ipam/seed.ts'
import { type Cidr, type Ipv4, parseCidr } from '../../../mesh/base/address.ts'
import type { PeerName } from '../../../mesh/base/brand.ts'
import { toHex } from '../../../mesh/base/bytes.ts'
import { silentLog } from '../../../mesh/base/log.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { MemoryDisk } from '../memory-disk.ts'
import type { SimCluster, SimPeer } from './mesh.ts'

export interface SimNode extends SimPeer {
  readonly name: PeerName
  readonly disk: MemoryDisk
  readonly ipam: Ipam
}

/** Small, so that halves that began apart have addresses in common. */
export const UNIVERSE: Cidr = parseCidr('10.32.0.0/24')

export interface NodeOptions {
  /** `seed`: of itself alone. */
  readonly init: IpamInit | 'seed'
  /** Indexes of other nodes. */
  readonly targets: readonly number[]
  /** Of an earlier life. */
  readonly disk?: MemoryDisk
}

export async function startNode(
  cluster: SimCluster,
  index: number,
  { init, targets, disk = new MemoryDisk() }: NodeOptions,
): Promise<SimNode> {
  const peer = await cluster.start(index, targets)
  const { mesh, host } = peer
  const random = seededRandom(index)
  const ipam = Ipam.onDisk(disk.open(), {
    self: mesh.name,
    universe: UNIVERSE,
    init: init === 'seed' ? { kind: 'seed', peers: [mesh.name] } : init,
    clock: host.clock(),
    random,
    log: silentLog,
  })
  ipam.attach(mesh.register(ipam.part))
  return { ...peer, name: mesh.name, disk, ipam }
}

export function addressesOf(nodes: readonly SimNode[]): readonly Ipv4[] {
  return nodes.map(({ address }) => address)
}

/** All have a ring, and the same. */
export function haveOneRing(nodes: readonly SimNode[]): boolean {
  return nodes.every(({ ipam }) => ipam.ranges().length > 0) && new Set(nodes.map(({ ipam }) => toHex(ipam.part.digest()))).size === 1
}

/** kill -9, and another life from the same disk. */
export async function restartNode(cluster: SimCluster, node: SimNode, options: Omit<NodeOptions, 'disk'>): Promise<SimNode> {
  node.host.kill()
  node.disk.kill()
  return await startNode(cluster, node.index, { ...options, disk: node.disk })
}
