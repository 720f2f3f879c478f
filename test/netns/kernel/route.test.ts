/** Routes, made by us and looked at with `ip route`. */
import { describe, expect, test } from 'vitest'
import { parseCidr, parseIpv4 } from '../../../mesh/base/address.ts'
import { diff } from '../../../mesh/base/diff.ts'
import { addAddress } from '../../../router/kernel/addr.ts'
import type { Route } from '../../../router/kernel/codec/route.ts'
import { addVxlan } from '../../../router/kernel/link.ts'
import type { Netlink } from '../../../router/kernel/netlink.ts'
import { addRoute, deleteRoute, getRoute, listRoutes, replaceRoute, routeKey } from '../../../router/kernel/route.ts'
import { linkNamed, makeKernelNetns, makeLinks } from '../../support/kernel.ts'
import { must, mustFail } from '../../support/result.ts'

const PROTOCOL = 119

async function makeVxlan(netlink: Netlink): Promise<number> {
  must(await addVxlan(netlink, { name: 'weft-vx', port: 6784, up: true }))
  return (await linkNamed(netlink, 'weft-vx')).index
}

function encapsulated(link: number, peer: string): Route {
  return {
    destination: parseCidr('10.32.0.0/16'),
    gateway: parseIpv4('169.254.77.2'),
    link,
    onlink: true,
    protocol: PROTOCOL,
    mtuBytes: 1450,
    encap: { id: 6784, destination: parseIpv4(peer) },
  }
}

describe('a route with encapsulation', () => {
  test('is shown by `ip route` as it was added', async () => {
    await using host = await makeKernelNetns()
    must(await addRoute(host.netlink, encapsulated(await makeVxlan(host.netlink), '192.0.2.2')))
    expect(await host.ns.ip('route', 'show', 'proto', String(PROTOCOL))).toMatchObject([
      {
        encap: 'ip',
        id: 6784,
        gateway: '169.254.77.2',
        dev: 'weft-vx',
        flags: ['onlink'],
        metrics: [{ mtu: 1450 }],
        scope: 'global',
      },
    ])
    const text = await host.ns.exec('ip', 'route', 'show', 'proto', String(PROTOCOL))
    expect(text).toContain('10.32.0.0/16  encap ip id 6784 src 0.0.0.0 dst 192.0.2.2')
  })

  test('is listed in the shape that was added, with every option of the tunnel', async () => {
    await using host = await makeKernelNetns()
    const plain = encapsulated(await makeVxlan(host.netlink), '192.0.2.2')
    const options = { source: parseIpv4('192.0.2.1'), ttl: 7, tos: 4, dontFragment: true, checksum: true }
    const wanted: readonly Route[] = [
      plain,
      { ...plain, destination: parseCidr('10.33.0.0/16'), encap: { id: 0xff_ffff, destination: parseIpv4('192.0.2.3'), ...options } },
    ]
    for (const route of wanted) must(await addRoute(host.netlink, route))
    expect(diff(wanted, must(await listRoutes(host.netlink, { protocol: PROTOCOL })), routeKey)).toEqual({ add: [], remove: [] })
  })

  test('is sent another way by replacing it', async () => {
    await using host = await makeKernelNetns()
    const link = await makeVxlan(host.netlink)
    must(await replaceRoute(host.netlink, encapsulated(link, '192.0.2.2')))
    must(await replaceRoute(host.netlink, encapsulated(link, '192.0.2.3')))
    const listed = must(await listRoutes(host.netlink, { link, protocol: PROTOCOL }))
    expect(listed.map(({ encap }) => encap?.destination)).toEqual([parseIpv4('192.0.2.3')])
  })

  test('is deleted only with the same other end', async () => {
    await using host = await makeKernelNetns()
    const link = await makeVxlan(host.netlink)
    must(await addRoute(host.netlink, encapsulated(link, '192.0.2.2')))
    must(await deleteRoute(host.netlink, encapsulated(link, '192.0.2.3')))
    expect(must(await listRoutes(host.netlink, { protocol: PROTOCOL }))).toHaveLength(1)
    must(await deleteRoute(host.netlink, encapsulated(link, '192.0.2.2')))
    expect(must(await listRoutes(host.netlink, { protocol: PROTOCOL }))).toEqual([])
  })
})

test('routes of every kind are listed in the shape that was added', async () => {
  await using host = await makeKernelNetns()
  const { index: link } = await makeLinks(host.netlink, 'wp0')
  must(await addAddress(host.netlink, { link, address: parseIpv4('10.1.0.1'), prefixLength: 24 }))
  const wanted: readonly Route[] = [
    { destination: parseCidr('0.0.0.0/0'), gateway: parseIpv4('10.1.0.254'), link, protocol: PROTOCOL },
    { destination: parseCidr('10.32.0.5/32'), link, protocol: PROTOCOL, source: parseIpv4('10.1.0.1') },
    { destination: parseCidr('10.32.0.0/12'), type: 'unreachable', priority: 1_000, protocol: PROTOCOL },
    { destination: parseCidr('10.48.0.0/12'), type: 'blackhole', protocol: PROTOCOL },
    { destination: parseCidr('10.64.0.0/12'), link, table: 1_000, scope: 'site', protocol: PROTOCOL },
  ]
  for (const route of wanted) must(await addRoute(host.netlink, route))
  expect(diff(wanted, must(await listRoutes(host.netlink, { protocol: PROTOCOL })), routeKey)).toEqual({ add: [], remove: [] })
  expect(await host.ns.ip('route', 'show', 'table', 'all', 'proto', String(PROTOCOL))).toMatchObject([
    { dst: '10.64.0.0/12', table: '1000', scope: 'site' },
    { dst: 'default', gateway: '10.1.0.254' },
    { type: 'unreachable', dst: '10.32.0.0/12', metric: 1_000 },
    { dst: '10.32.0.5', dev: 'wp0', scope: 'link', prefsrc: '10.1.0.1' },
    { type: 'blackhole', dst: '10.48.0.0/12' },
  ])
})

test('lists are filtered by table, protocol and link; a table that does not exist is empty', async () => {
  await using host = await makeKernelNetns()
  const one = await makeLinks(host.netlink, 'wp0')
  const two = await makeLinks(host.netlink, 'wp1')
  const destination = parseCidr('10.32.0.0/16')
  must(await addRoute(host.netlink, { destination, link: one.index, table: 100, protocol: 5 }))
  must(await addRoute(host.netlink, { destination, link: two.index, table: 100, priority: 1, protocol: 6 }))
  must(await addRoute(host.netlink, { destination, link: two.index, table: 200, protocol: 6 }))
  const count = async (filter: Parameters<typeof listRoutes>[1]): Promise<number> => must(await listRoutes(host.netlink, filter)).length
  expect(await count({ table: 100 })).toBe(2)
  expect(await count({ protocol: 6 })).toBe(2)
  expect(await count({ table: 100, link: two.index })).toBe(1)
  expect(await count({ table: 300 })).toBe(0)
})

test('adding what is there is EEXIST, deleting what is not there is no error', async () => {
  await using host = await makeKernelNetns()
  const { index: link } = await makeLinks(host.netlink, 'wp0')
  const route: Route = { destination: parseCidr('10.32.0.5/32'), link, protocol: PROTOCOL }
  must(await addRoute(host.netlink, route))
  expect(mustFail(await addRoute(host.netlink, route))).toMatchObject({
    code: 'EEXIST',
    operation: `ip route add 10.32.0.5/32 dev if${link} proto 119`,
  })
  must(await deleteRoute(host.netlink, { destination: route.destination }))
  must(await deleteRoute(host.netlink, route))
  must(await deleteRoute(host.netlink, { ...route, link: 9_999 }))
  expect(must(await listRoutes(host.netlink, { protocol: PROTOCOL }))).toEqual([])
})

test('a gateway that cannot be reached is refused in the kernel’s words', async () => {
  await using host = await makeKernelNetns()
  const route: Route = { destination: parseCidr('10.32.0.0/16'), gateway: parseIpv4('192.0.2.1') }
  expect(mustFail(await addRoute(host.netlink, route))).toEqual({
    code: 'ENETUNREACH',
    errno: 101,
    operation: 'ip route add 10.32.0.0/16 via 192.0.2.1',
    detail: 'Nexthop has invalid gateway',
  })
})

test('the way to an address is found, with the source address that goes with it', async () => {
  await using host = await makeKernelNetns()
  const { index: link } = await makeLinks(host.netlink, 'wp0')
  must(await addAddress(host.netlink, { link, address: parseIpv4('10.1.0.1'), prefixLength: 24 }))
  must(await addRoute(host.netlink, { destination: parseCidr('10.32.0.0/16'), gateway: parseIpv4('10.1.0.254') }))
  expect(must(await getRoute(host.netlink, parseIpv4('10.32.7.7')))).toMatchObject({
    gateway: parseIpv4('10.1.0.254'),
    link,
    source: parseIpv4('10.1.0.1'),
  })
  expect(mustFail(await getRoute(host.netlink, parseIpv4('192.0.2.1')))).toMatchObject({
    code: 'ENETUNREACH',
    operation: 'ip route get 192.0.2.1',
  })
})
