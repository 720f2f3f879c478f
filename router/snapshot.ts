/** What the router tells of itself: the reports of its parts, as one. */

import type { BootstrapStatus } from '../ipam/bootstrap.ts'
import type { Ipam } from '../ipam/ipam.ts'
import { address6, type Universe } from '../ipam/universe.ts'
import { formatIpv4 } from '../mesh/base/address.ts'
import type { PeerName } from '../mesh/base/brand.ts'
import { formatIp } from '../mesh/base/ip.ts'
import { formatPrefix } from '../mesh/base/prefix.ts'
import { formatEndpoint, formatTarget } from '../mesh/endpoint.ts'
import type { Liveness } from '../mesh/liveness.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { PeerRecord } from '../mesh/record.ts'
import type { ConnectionStatus } from '../mesh/status.ts'
import type { BootstrapReport, ConnectionReport, IpamReport, PeerLabel, PeerReport, RouterReport } from './api/contract.ts'
import type { FormerName } from './former-name.ts'
import type { Secrets } from './secrets.ts'

interface RouterState extends Pick<Secrets, 'keyring' | 'isOpen'> {
  readonly former: FormerName | undefined
}

export function routerReport(mesh: Mesh, { keyring, isOpen, former }: RouterState): RouterReport {
  const status = mesh.status()
  const nicknames = nicknamesOf(mesh)
  return {
    protocol: status.protocol,
    name: status.name,
    nickname: status.nickname,
    ...(former !== undefined && { formerly: { name: former.name, until: former.at, reason: former.reason } }),
    encryption: { key: keyring.primary.id, open: isOpen },
    peerDiscovery: true,
    port: status.port,
    targets: mesh.targets().map(formatTarget),
    connections: status.connections.map(connectionReport),
    peers: mesh.peers().map((record) => peerReport(record, mesh.livenessOf(record.name), nicknames)),
    faults: status.faults,
  }
}

function connectionReport(status: ConnectionStatus): ConnectionReport {
  const { address, outbound, state } = status
  const common = { address, outbound, state }
  switch (status.state) {
    case 'established':
      return { ...common, name: status.name, nickname: status.nickname }
    case 'failed':
      return {
        ...common,
        info: `${status.reason}, retry: ${status.retryAt === 'never' ? 'never' : new Date(status.retryAt).toISOString()}`,
      }
    case 'retrying':
      return { ...common, info: status.reason }
    default:
      return common
  }
}

function peerReport(record: PeerRecord, state: Liveness, nicknames: ReadonlyMap<PeerName, string>): PeerReport {
  const { name, nickname, incarnation, version, addresses, port, mtuBytes, zone, neighbours } = record
  return {
    name,
    nickname,
    state,
    incarnation,
    version,
    addresses: addresses.map(formatIp),
    port,
    mtuBytes,
    ...(zone === undefined ? {} : { zone }),
    connections: neighbours.map((neighbour) => ({
      name: neighbour.name,
      nickname: nicknames.get(neighbour.name) ?? '',
      address: formatEndpoint(neighbour),
      outbound: neighbour.outbound,
    })),
  }
}

export function ipamReport(ipam: Ipam, mesh: Mesh, universe: Universe): IpamReport {
  const status = ipam.status()
  const nicknames = nicknamesOf(mesh)
  const total = status.owners.reduce((sum, owner) => sum + owner.addresses, 0)
  return {
    status: status.status,
    bootstrap: bootstrapReport(status.bootstrap, nicknames),
    ...(status.waiting === undefined ? {} : { waiting: status.waiting }),
    ...(status.seedId === undefined ? {} : { ring: status.seedId }),
    rivals: status.rivals.map(({ seedId, peers }) => ({ ring: seedId, peers: peers.map((name) => labelOf(name, nicknames)) })),
    notices: status.notices,
    ready: ipam.ranges().length > 0 && status.retiredBy === undefined,
    range: status.range,
    ...(universe.v6 === undefined ? {} : { range6: formatPrefix(universe.v6) }),
    rangeSize: status.rangeAddresses,
    activeIps: status.activeAddresses,
    owners: status.owners.map(({ peer, addresses, active, isRetired }) => ({
      name: peer,
      nickname: nicknames.get(peer) ?? '',
      addresses,
      share: total === 0 ? 0 : addresses / total,
      reachable: mesh.livenessOf(peer) === 'alive',
      retired: isRetired,
      ...(active === undefined ? {} : { active }),
    })),
    entries: status.entries.map(({ peer, ...entry }) => ({ ...entry, peer: peer ?? '' })),
    allocations: [...ipam.allocations()].map(([attachment, address]) => {
      const other = address6(universe, address)
      return { attachment, address: formatIpv4(address), ...(other === undefined ? {} : { address6: other }) }
    }),
    pending: status.pending,
    ...(status.journalFault === undefined ? {} : { journalFault: status.journalFault }),
    ...(status.doubt === undefined ? {} : { doubt: status.doubt }),
    faults: status.faults,
    ...(status.retiredBy === undefined ? {} : { retiredBy: status.retiredBy }),
  }
}

function bootstrapReport(status: BootstrapStatus, nicknames: ReadonlyMap<PeerName, string>): BootstrapReport {
  if (status.mode !== 'consensus') return status
  const { leader, heard, ...rest } = status
  const known = heard.map((name) => labelOf(name, nicknames))
  return { ...rest, heard: known, ...(leader === undefined ? {} : { leader: labelOf(leader, nicknames) }) }
}

function labelOf(name: PeerName, nicknames: ReadonlyMap<PeerName, string>): PeerLabel {
  return { name, nickname: nicknames.get(name) ?? '' }
}

function nicknamesOf(mesh: Mesh): ReadonlyMap<PeerName, string> {
  return new Map(mesh.peers().map(({ name, nickname }) => [name, nickname]))
}
