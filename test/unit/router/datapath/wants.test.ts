/** Kernel objects from the FIB: what there must be, and when two are the same. */
import { describe, expect, test } from 'vitest'
import { address6, type Universe } from '../../../../ipam/universe.ts'
import { formatIpv4, parseCidr, parseIpv4 } from '../../../../mesh/base/address.ts'
import { parsePeerName } from '../../../../mesh/base/brand.ts'
import { formatIp } from '../../../../mesh/base/ip.ts'
import { parseCidr6 } from '../../../../mesh/base/prefix.ts'
import { computeFib } from '../../../../router/datapath/fib.ts'
import { podLinkName, podMac, vxlanMac } from '../../../../router/datapath/names.ts'
import { computeWants } from '../../../../router/datapath/wants.ts'
import { describeRoute } from '../../../../router/kernel/route.ts'

const self = parsePeerName('aa'.repeat(8))
const peer = parsePeerName('0123456789abcdef')
const address = parseIpv4('10.32.0.2')

const universe = parseCidr('10.32.0.0/12')
const dual = { ...universe, v6: parseCidr6('fd00:77:65::/64') }

function wants(hostAddress: string | undefined, of: Universe = universe): ReturnType<typeof computeWants> {
  const fib = computeFib({
    self,
    universe: of,
    ranges: [{ owner: peer, range: { start: parseIpv4('10.40.0.0'), end: parseIpv4('10.48.0.0') } }],
    destinations: new Map([[peer, { peer, underlay: parseIpv4('192.0.2.2'), mtuBytes: 1500 }]]),
    mtuBytes: 1500,
  })
  return computeWants({
    fib,
    vxlan: 7,
    hostAddress: hostAddress === undefined ? undefined : parseIpv4(hostAddress),
    pods: [{ address, address6: address6(of, address), mac: podMac(address), link: 9 }],
  })
}

describe('what the kernel must have', () => {
  test('reaches peers by the tunnel, pods by their link, and nothing else of the cluster', () => {
    const { routes, neighbours, forwarding, addresses } = wants('10.32.0.1')
    expect(routes.map(describeRoute)).toEqual([
      'unreachable 10.32.0.0/12 proto 119 metric 1000000',
      '10.32.0.2/32 dev if9 src 10.32.0.1 scope link proto 119',
      '10.40.0.0/13 via 192.0.2.2 dev if7 onlink src 10.32.0.1 mtu 1450 proto 119',
    ])
    expect(neighbours.map(({ address, link, mac }) => `${formatIp(address)} if${link} ${mac}`)).toEqual([
      '192.0.2.2 if7 02:01:23:45:67:89',
      '10.32.0.2 if9 02:77:0a:20:00:02',
    ])
    expect(forwarding.map(({ mac, link, destination }) => `${mac} if${link} dst ${formatIpv4(destination)}`)).toEqual([
      '02:01:23:45:67:89 if7 dst 192.0.2.2',
    ])
    expect(addresses.map(({ address, link, prefixLength }) => `${formatIp(address)}/${prefixLength} if${link}`)).toEqual([
      '10.32.0.1/32 if7',
    ])
  })

  test('has of IPv6 the same, at the same place in its range', () => {
    const [one, both] = [wants('10.32.0.1'), wants('10.32.0.1', dual)]
    const known = new Set(one.routes.map(describeRoute))
    expect(both.routes.map(describeRoute).filter((route) => !known.has(route))).toEqual([
      'unreachable fd00:77:65::/64 proto 119 metric 1000000',
      'fd00:77:65::2/128 dev if9 src fd00:77:65::1 scope global proto 119',
      'fd00:77:65::8:0/109 via fe80::123:4567:89ab:cdef dev if7 onlink src fd00:77:65::1 mtu 1450 proto 119',
    ])
    expect(both.neighbours.map(({ address, link, mac }) => `${formatIp(address)} if${link} ${mac}`)).toEqual([
      '192.0.2.2 if7 02:01:23:45:67:89',
      'fe80::123:4567:89ab:cdef if7 02:01:23:45:67:89',
      '10.32.0.2 if9 02:77:0a:20:00:02',
      'fd00:77:65::2 if9 02:77:0a:20:00:02',
    ])
    expect(both.forwarding).toEqual(one.forwarding)
    expect(both.addresses.map(({ address, prefixLength, noDad }) => `${formatIp(address)}/${prefixLength} ${noDad ?? ''}`)).toEqual([
      '10.32.0.1/32 ',
      'fd00:77:65::1/128 true',
    ])
  })

  test('has no source address to say before this node has one', () => {
    const { routes, addresses } = wants(undefined)
    expect(routes.map((route) => route.source)).toEqual([undefined, undefined, undefined])
    expect(addresses).toEqual([])
  })
})

describe('names', () => {
  test('of links have 15 characters and tell attachments apart', () => {
    expect(podLinkName('c1/eth0')).toMatch(/^wpod[0-9a-f]{11}$/)
    expect(podLinkName('c1/eth0')).not.toBe(podLinkName('c1/eth1'))
    expect(podLinkName('c1/eth0')).toBe(podLinkName('c1/eth0'))
  })

  test('of hardware are unicast and locally administered', () => {
    for (const mac of [podMac(address), vxlanMac(peer)]) expect(Number.parseInt(mac.slice(0, 2), 16) & 3).toBe(2)
  })
})
