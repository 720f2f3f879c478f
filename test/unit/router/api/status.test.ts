/** The text of `weft status` and its parts, character by character: scripts read it. */
import { describe, expect, test } from 'vitest'
import type { Snapshot } from '../../../../router/api/contract.ts'
import { renderConnections, renderIpam, renderPeers, renderStatus, renderTargets } from '../../../../router/api/status.ts'
import { REJOIN_HINT } from '../../../../router/membership.ts'

const snapshot: Snapshot = {
  ready: true,
  waitingFor: [],
  version: '0.1.0',
  router: {
    protocol: { min: 1, max: 1 },
    name: 'aaaaaaaaaaaaaaaa',
    nickname: 'a',
    encryption: { key: '1a2b3c4d', open: false },
    peerDiscovery: true,
    port: 6783,
    targets: ['198.18.0.2', 'node-c:7000'],
    connections: [
      { address: '198.18.0.9:6783', outbound: true, state: 'retrying', info: 'connection refused, next try in 4 s' },
      { address: '198.18.0.3:41000', outbound: false, state: 'established', name: 'cccccccccccccccc', nickname: 'c' },
      { address: '198.18.0.2:6783', outbound: true, state: 'established', name: 'bbbbbbbbbbbbbbbb', nickname: 'b' },
    ],
    peers: [
      {
        name: 'bbbbbbbbbbbbbbbb',
        nickname: 'b',
        state: 'alive',
        incarnation: 1,
        version: 2,
        addresses: ['198.18.0.2'],
        port: 6783,
        mtuBytes: 1500,
        connections: [{ name: 'aaaaaaaaaaaaaaaa', nickname: 'a', address: '198.18.0.1:40000', outbound: false }],
      },
      {
        name: 'aaaaaaaaaaaaaaaa',
        nickname: 'a',
        state: 'alive',
        incarnation: 1,
        version: 3,
        addresses: ['198.18.0.1'],
        port: 6783,
        mtuBytes: 1500,
        connections: [
          { name: 'cccccccccccccccc', nickname: 'c', address: '198.18.0.3:41000', outbound: false },
          { name: 'bbbbbbbbbbbbbbbb', nickname: 'b', address: '198.18.0.2:6783', outbound: true },
        ],
      },
    ],
    faults: {},
  },
  ipam: {
    status: 'ready',
    ready: true,
    range: '10.32.0.0/12',
    rangeSize: 1_048_576,
    activeIps: 2,
    owners: [
      { name: '0000000000000000', nickname: 'gone', addresses: 349_525, share: 1 / 3, reachable: false, retired: false },
      { name: 'bbbbbbbbbbbbbbbb', nickname: 'b', addresses: 52_428, share: 0.05, reachable: true, retired: false },
      { name: 'aaaaaaaaaaaaaaaa', nickname: 'a', addresses: 524_288, share: 0.5, reachable: true, retired: false, active: 2 },
    ],
    entries: [],
    allocations: [],
    pending: [],
    faults: [],
  },
  datapath: {
    link: 'weft-vx',
    port: 6784,
    underlay: '198.18.0.1',
    underlayMtuBytes: 1500,
    podMtuBytes: 1450,
    hostAddress: '10.32.0.1',
    routesWanted: 4,
    routesPresent: 4,
    repairs: 0,
    pods: 1,
    unknownOwners: [],
  },
}

describe('the status text', () => {
  test('has right-aligned labels, sections apart, and counts by state', () => {
    expect(renderStatus(snapshot)).toBe(`
        Version: 0.1.0

        Service: router
       Protocol: weft 1
           Name: aaaaaaaaaaaaaaaa(a)
     Encryption: enabled between routers (key 1a2b3c4d)
  PeerDiscovery: enabled
        Targets: 2
    Connections: 3 (2 established, 1 retrying)
          Peers: 2 (with 3 established connections)

        Service: ipam
         Status: ready
          Range: 10.32.0.0/12
  DefaultSubnet: 10.32.0.0/12

        Service: datapath
         Status: ready
           Link: vxlan (weft-vx, UDP 6784) from 198.18.0.1
            MTU: 1450 for pods, 1500 underneath
         Routes: 4 of 4 present, 0 repaired
           Pods: 1
    HostAddress: 10.32.0.1

`)
  })

  test('says what an unready router waits for and what the kernel refused', () => {
    const text = renderStatus({
      ...snapshot,
      ready: false,
      waitingFor: ['a ring of address ranges'],
      datapath: { ...snapshot.datapath, error: 'ip link add weft-vx: EPERM' },
    })
    expect(text).toContain('         Status: waiting for a ring of address ranges\n')
    expect(text).toContain('          Error: ip link add weft-vx: EPERM\n')
  })

  test('lists connections by state, then address, with the peer or the reason', () => {
    expect(renderConnections(snapshot.router.connections)).toBe(
      [
        '-> 198.18.0.2:6783       established bbbbbbbbbbbbbbbb(b)',
        '<- 198.18.0.3:41000      established cccccccccccccccc(c)',
        '-> 198.18.0.9:6783       retrying    connection refused, next try in 4 s',
        '',
      ].join('\n'),
    )
  })

  test('says how a connection travels, and keeps its columns', () => {
    const [, plain] = snapshot.router.connections
    if (plain === undefined) throw new Error('there are connections')
    const addresses = ['wss://mesh.example:443', '[2001:db8::1]:6783', '198.18.0.3:41000']
    expect(renderConnections(addresses.map((address) => ({ ...plain, address })))).toBe(
      [
        '<- 198.18.0.3:41000       established cccccccccccccccc(c)',
        '<- [2001:db8::1]:6783     established cccccccccccccccc(c)',
        '<- wss://mesh.example:443 established cccccccccccccccc(c)',
        '',
      ].join('\n'),
    )
  })

  test('lists peers by name with their connections', () => {
    expect(renderPeers(snapshot.router.peers)).toBe(
      [
        'aaaaaaaaaaaaaaaa(a)',
        '   -> 198.18.0.2:6783       bbbbbbbbbbbbbbbb(b)                   established',
        '   <- 198.18.0.3:41000      cccccccccccccccc(c)                   established',
        'bbbbbbbbbbbbbbbb(b)',
        '   <- 198.18.0.1:40000      aaaaaaaaaaaaaaaa(a)                   established',
        '',
      ].join('\n'),
    )
  })

  test('says of a lost peer what has become of it, not with whom it was connected', () => {
    const [b, a] = snapshot.router.peers
    if (a === undefined || b === undefined) throw new Error('there are peers')
    const peers = [a, { ...b, state: 'dead' as const }, { ...b, name: 'cccccccccccccccc', nickname: 'c', state: 'left' as const }]
    expect(renderPeers(peers)).toContain('bbbbbbbbbbbbbbbb(b) - dead\ncccccccccccccccc(c) - left\n')
    expect(renderStatus({ ...snapshot, router: { ...snapshot.router, peers } })).toContain(
      'Peers: 3 (with 2 established connections, 1 dead, 1 left)\n',
    )
  })

  test('says first that this node was removed, and whose addresses others may have now', () => {
    const { ipam } = snapshot
    const retired = { ...ipam, status: 'a was removed', retiredBy: 'b', allocations: [{ attachment: 'c1/eth0', address: '10.32.0.5' }] }
    const owners = ipam.owners.map((owner) => ({ ...owner, retired: owner.nickname === 'gone' }))
    const rows = renderIpam({ ...snapshot, ipam: { ...retired, owners } }).split('\n')
    expect(rows.slice(0, 4)).toEqual(['a was removed', REJOIN_HINT, '10.32.0.5 of c1/eth0 may be given to another pod', ''])
    expect(rows[5]).toContain('0000000000000000(gone)')
    expect(rows[5]).toContain('- removed: run `weft rmpeer` again to have these')
  })

  test('lists owners with our own first, and says which are out of reach', () => {
    expect(renderIpam(snapshot)).toBe(
      [
        'aaaaaaaaaaaaaaaa(a)                     524288 IPs (50.0% of total) (2 active)',
        '0000000000000000(gone)                  349525 IPs (33.3% of total) - unreachable!',
        'bbbbbbbbbbbbbbbb(b)                      52428 IPs (05.0% of total)',
        '',
      ].join('\n'),
    )
  })

  test('lists targets as they were given', () => {
    expect(renderTargets(snapshot.router.targets)).toBe('198.18.0.2\nnode-c:7000\n')
  })
})
