/** The text that people read: Weave Net's wording and columns, sorted, with attributes set apart. */
import { unreachable } from '../../mesh/base/result.ts'
import {
  type BootstrapReport,
  CONNECTION_STATES,
  type ConnectionReport,
  type OwnerReport,
  PEER_STATES,
  type PeerLabel,
  type PeerReport,
  type RouterReport,
  type Snapshot,
} from './contract.ts'

const LABEL_WIDTH = 15
/** Of an IPv4 address and a port; a column is wider when one of IPv6 or of the web is in it. */
const ADDRESS_WIDTH_MIN = 21
const STATE_WIDTH = 11
const PEER_WIDTH = 37
const COUNT_WIDTH = 8

/** `name(nickname)`, as everywhere in the output. */
function peerLabel({ name, nickname }: PeerLabel): string {
  return `${name}(${nickname})`
}

function section(rows: readonly (readonly [label: string, value: string])[]): string {
  return rows.map(([label, value]) => `${label.padStart(LABEL_WIDTH)}: ${value}`).join('\n')
}

function arrow(outbound: boolean): string {
  return outbound ? '->' : '<-'
}

function formerRows(formerly: RouterReport['formerly']): readonly (readonly [label: string, value: string])[] {
  return formerly === undefined ? [] : [['FormerName', `${formerly.name} until ${formerly.until}: ${formerly.reason}`]]
}

/** Between routers; what pods send is told with the link. */
function encryption({ key, open }: RouterReport['encryption']): string {
  return open ? 'enabled between routers, but open: anybody may join' : `enabled between routers (key ${key})`
}

/** `weft status`. */
export function renderStatus(snapshot: Snapshot): string {
  const { router, ipam, datapath } = snapshot
  const { min, max } = router.protocol
  const sections = [
    section([['Version', snapshot.version]]),
    section([
      ['Service', 'router'],
      ['Protocol', `weft ${min === max ? max : `${min}..${max}`}`],
      ['Name', peerLabel(router)],
      ...formerRows(router.formerly),
      ['Encryption', encryption(router.encryption)],
      ['PeerDiscovery', router.peerDiscovery ? 'enabled' : 'disabled'],
      ['Targets', String(router.targets.length)],
      ['Connections', connectionCounts(router.connections)],
      ['Peers', peerCounts(router.peers)],
    ]),
    section([
      ['Service', 'ipam'],
      ['Status', ipam.status],
      ...(ipam.waiting === undefined ? [] : [['Reason', ipam.waiting] as const]),
      ['Bootstrap', bootstrapText(ipam.bootstrap)],
      ['Range', ipam.range],
      ...(ipam.range6 === undefined ? [] : [['Range6', ipam.range6] as const]),
      ['DefaultSubnet', ipam.range],
      ...ipam.notices.map((notice) => ['Notice', notice] as const),
      ...(ipam.journalFault === undefined ? [] : [['Journal', ipam.journalFault] as const]),
      ...(ipam.doubt === undefined ? [] : [['Lost', ipam.doubt] as const]),
    ]),
    section([
      ['Service', 'datapath'],
      ['Status', snapshot.ready ? 'ready' : `waiting for ${snapshot.waitingFor.join(', ')}`],
      ['Link', `vxlan (${datapath.link}, UDP ${datapath.port}) from ${datapath.underlay}`],
      ['MTU', `${datapath.podMtuBytes} for pods, ${datapath.underlayMtuBytes} underneath`],
      ['Routes', `${datapath.routesPresent} of ${datapath.routesWanted} present, ${datapath.repairs} repaired`],
      ['Pods', String(datapath.pods)],
      ...(datapath.hostAddress === undefined
        ? []
        : [['HostAddress', [datapath.hostAddress, datapath.hostAddress6].filter(Boolean).join(', ')] as const]),
      ...(datapath.ipv6Fault === undefined ? [] : [['IPv6', `none for pods: ${datapath.ipv6Fault}`] as const]),
      ...(datapath.error === undefined ? [] : [['Error', datapath.error] as const]),
    ]),
  ]
  return `\n${sections.join('\n\n')}\n\n`
}

function bootstrapText(report: BootstrapReport): string {
  switch (report.mode) {
    case 'observer':
      return 'observer: joins the ring of others'
    case 'seed':
      return `seed: ${report.source}`
    case 'consensus': {
      const { voters, quorum, leader, round } = report
      const ballot = leader === undefined ? '' : `, ballot ${round} by ${peerLabel(leader)}`
      return `consensus of ${voters} (quorum ${quorum})${ballot}`
    }
    default:
      return unreachable(report)
  }
}

function connectionCounts(connections: readonly ConnectionReport[]): string {
  const counts = CONNECTION_STATES.map((state) => ({ state, count: connections.filter((connection) => connection.state === state).length }))
  const breakdown = counts.filter(({ count }) => count > 0).map(({ state, count }) => `${count} ${state}`)
  return breakdown.length === 0 ? '0' : `${connections.length} (${breakdown.join(', ')})`
}

function peerCounts(peers: readonly PeerReport[]): string {
  const established = peers.filter(({ state }) => state === 'alive').reduce((sum, peer) => sum + peer.connections.length, 0)
  const others = PEER_STATES.filter((state) => state !== 'alive').map((state) => ({ state, count: countOf(peers, state) }))
  const lost = others.filter(({ count }) => count > 0).map(({ state, count }) => `, ${count} ${state}`)
  return `${peers.length} (with ${established} established connections${lost.join('')})`
}

function countOf(peers: readonly PeerReport[], state: PeerReport['state']): number {
  return peers.filter((peer) => peer.state === state).length
}

/** `weft status connections`: established ones first, then by address. */
export function renderConnections(connections: readonly ConnectionReport[]): string {
  const width = addressWidth(connections)
  const rank = new Map(CONNECTION_STATES.map((state, index) => [state, index]))
  const rows = connections.toSorted((a, b) => (rank.get(a.state) ?? 0) - (rank.get(b.state) ?? 0) || compare(a.address, b.address))
  return lines(
    rows.map((row) => {
      const peer = row.name === undefined ? '' : `${peerLabel({ name: row.name, nickname: row.nickname ?? '' })} `
      return `${arrow(row.outbound)} ${row.address.padEnd(width)} ${row.state.padEnd(STATE_WIDTH)} ${peer}${row.info ?? ''}`
    }),
  )
}

/** `weft status peers`: every peer, and below it whom it is connected with; of one that is lost, what has become of it. */
export function renderPeers(peers: readonly PeerReport[]): string {
  const width = addressWidth(peers.flatMap(({ connections }) => connections))
  return lines(
    peers
      .toSorted((a, b) => compare(a.name, b.name))
      .flatMap((peer) => [
        peer.state === 'alive' ? peerLabel(peer) : `${peerLabel(peer)} - ${peer.state}`,
        ...(peer.state === 'alive' ? peer.connections : [])
          .toSorted((a, b) => compare(a.name, b.name))
          .map(
            (connection) =>
              `   ${arrow(connection.outbound)} ${connection.address.padEnd(width)} ${peerLabel(connection).padEnd(PEER_WIDTH)} established`,
          ),
      ]),
  )
}

/** `weft status ipam`: what became of us if we were removed; our own line first, then the others by name. */
export function renderIpam({ ipam, router }: Snapshot): string {
  const rows = ipam.owners.toSorted((a, b) => Number(b.name === router.name) - Number(a.name === router.name) || compare(a.name, b.name))
  const table = rows.map((owner) => {
    const share = `(${(owner.share * 100).toFixed(1).padStart(4, '0')}% of total)`
    return `${peerLabel(owner).padEnd(PEER_WIDTH)} ${String(owner.addresses).padStart(COUNT_WIDTH)} IPs ${share} ${ownerNote(owner)}`
  })
  if (rows.length === 0)
    return lines([ipam.status, ...(ipam.waiting === undefined ? [] : [`  ${ipam.waiting}`]), ...heardRows(ipam.bootstrap)])
  const removed = ipam.retiredBy === undefined ? [] : [ipam.status, '']
  return lines([...removed, ...table, ...ipam.notices])
}

/** With whom we could agree. */
function heardRows(report: BootstrapReport): readonly string[] {
  return report.mode === 'consensus' ? report.heard.map((peer) => `  ${peerLabel(peer)} is in reach`) : []
}

function ownerNote(owner: OwnerReport): string {
  if (owner.retired)
    return owner.active === undefined ? '- removed: run `weft rmpeer` again to have these' : `(${owner.active} active) - removed`
  if (owner.active !== undefined) return `(${owner.active} active)`
  return owner.reachable ? '' : '- unreachable!'
}

/** `weft status targets`: as they were given, one a line. */
export function renderTargets(targets: readonly string[]): string {
  return lines(targets)
}

function addressWidth(rows: readonly { readonly address: string }[]): number {
  return Math.max(ADDRESS_WIDTH_MIN, ...rows.map(({ address }) => address.length))
}

function lines(rows: readonly string[]): string {
  return rows.map((row) => `${row.trimEnd()}\n`).join('')
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}
