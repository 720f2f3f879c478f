/** The text of `weft status` and its parts, character by character: scripts read it. */
import { describe, expect, test } from 'vitest'
import type { Snapshot } from '../../../../router/api/contract.ts'
import { renderConnections, renderIpam, renderPeers, renderStatus, renderTargets } from '../../../../router/api/status.ts'

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
    bootstrap: {
      mode: 'consensus',
      voters: 3,
      quorum: 2,
      heard: [{ name: 'bbbbbbbbbbbbbbbb', nickname: 'b' }],
      leader: { name: 'aaaaaaaaaaaaaaaa', nickname: 'a' },
      round: 4,
    },
    rivals: [],
    notices: [],
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
      Bootstrap: consensus of 3 (quorum 2), ballot 4 by aaaaaaaaaaaaaaaa(a)
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

  test('tells the range of IPv6 and the second address of the node, or why pods get none of it here', () => {
    const ipam = { ...snapshot.ipam, range6: 'fd00:77:65::/64' }
    const whole = renderStatus({ ...snapshot, ipam, datapath: { ...snapshot.datapath, hostAddress6: 'fd00:77:65::1' } })
    expect(whole).toContain('          Range: 10.32.0.0/12\n         Range6: fd00:77:65::/64\n')
    expect(whole).toContain('    HostAddress: 10.32.0.1, fd00:77:65::1\n\n')
    const without = renderStatus({ ...snapshot, ipam, datapath: { ...snapshot.datapath, ipv6Fault: 'the kernel of this node has none' } })
    expect(without).toContain('    HostAddress: 10.32.0.1\n           IPv6: none for pods: the kernel of this node has none\n')
  })

  test('tells what the node was called before, and why that has changed', () => {
    const formerly = { name: 'ffffffffffffffff', until: '2026-11-24T12:00:00.000Z', reason: 'a copy of that of the router at 198.18.0.2' }
    const text = renderStatus({ ...snapshot, router: { ...snapshot.router, formerly } })
    expect(text).toContain(`           Name: aaaaaaaaaaaaaaaa(a)
     FormerName: ffffffffffffffff until 2026-11-24T12:00:00.000Z: a copy of that of the router at 198.18.0.2
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

  test('says first that this node was removed, and who else was whose addresses nobody has taken over', () => {
    const { ipam } = snapshot
    const retired = { ...ipam, status: 'a was removed', retiredBy: 'b' }
    const owners = ipam.owners.map((owner) => ({ ...owner, retired: owner.nickname === 'gone' }))
    const rows = renderIpam({ ...snapshot, ipam: { ...retired, owners } }).split('\n')
    expect(rows.slice(0, 2)).toEqual(['a was removed', ''])
    expect(rows[3]).toContain('0000000000000000(gone)')
    expect(rows[3]).toContain('- removed: run `weft rmpeer` again to have these')
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

  test('says why there are no ranges yet, and with whom they could be agreed on', () => {
    const ipam = {
      ...snapshot.ipam,
      owners: [],
      status: 'awaiting consensus (quorum: 3, known: 2)',
      waiting: 'waiting for 1 more of 5 peers',
    }
    const expected = 'awaiting consensus (quorum: 3, known: 2)\n  waiting for 1 more of 5 peers\n  bbbbbbbbbbbbbbbb(b) is in reach\n'
    expect(renderIpam({ ...snapshot, ipam })).toBe(expected)
    expect(renderStatus({ ...snapshot, ipam })).toContain('         Reason: waiting for 1 more of 5 peers\n')
  })

  test.each([
    { bootstrap: { mode: 'observer' }, text: 'observer: joins the ring of others' },
    { bootstrap: { mode: 'seed', source: 'aaaaaaaaaaaaaaaa' }, text: 'seed: aaaaaaaaaaaaaaaa' },
    { bootstrap: { mode: 'consensus', voters: 3, quorum: 2, heard: [], round: 0 }, text: 'consensus of 3 (quorum 2)' },
  ] as const)('says how the ring began: $text', ({ bootstrap, text }) => {
    expect(renderStatus({ ...snapshot, ipam: { ...snapshot.ipam, bootstrap } })).toContain(`      Bootstrap: ${text}\n`)
  })

  test('ends with what a person has to decide', () => {
    const ipam = { ...snapshot.ipam, notices: ['another ring has met ours'] }
    expect(renderIpam({ ...snapshot, ipam })).toMatch(/52428 IPs \(05.0% of total\)\nanother ring has met ours\n$/)
    expect(renderStatus({ ...snapshot, ipam })).toContain('         Notice: another ring has met ours\n')
  })

  test('lists targets as they were given', () => {
    expect(renderTargets(snapshot.router.targets)).toBe('198.18.0.2\nnode-c:7000\n')
  })
})

test('a journal that cannot be written and a past that is lost are shown', () => {
  const ipam = {
    ...snapshot.ipam,
    journalFault: 'cannot write to /state/ipam.journal: ENOSPC',
    doubt: "some of this node's journal is lost",
  }
  const text = renderStatus({ ...snapshot, ipam })
  expect(text).toContain('\n        Journal: cannot write to /state/ipam.journal: ENOSPC\n')
  expect(text).toContain("\n           Lost: some of this node's journal is lost\n")
})
