/** Notifications of the real kernel, and what happens when they come faster than they are read. */
import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { ipv4, parseCidr, parseIpv4 } from '../../../mesh/base/address.ts'
import { parseIpv6 } from '../../../mesh/base/ip.ts'
import { parseCidr6 } from '../../../mesh/base/prefix.ts'
import { addAddress, deleteAddress } from '../../../router/kernel/addr.ts'
import { addVxlan, deleteLink, setLink } from '../../../router/kernel/link.ts'
import { parseMac } from '../../../router/kernel/mac.ts'
import { type KernelEvent, Monitor } from '../../../router/kernel/monitor.ts'
import { appendFdb, deleteFdb, deleteNeighbour, replaceNeighbour } from '../../../router/kernel/neigh.ts'
import { addRoute, deleteRoute } from '../../../router/kernel/route.ts'
import { linkNamed, makeKernelNetns, makeLinks } from '../../support/kernel.ts'
import { must } from '../../support/result.ts'
import { until } from '../../support/until.ts'

const TOPICS = ['links', 'neighbours', 'addresses', 'routes'] as const
const PROTOCOL = 119

/** What is worth asserting of an event, in a line. */
function summary(event: KernelEvent): string {
  switch (event.kind) {
    case 'link':
      return `link ${event.change} ${event.link.name} ${event.link.mtuBytes}`
    case 'address':
      return `address ${event.change} ${event.address.address}`
    case 'route':
      return `route ${event.change} ${event.route.destination.base} ${event.route.protocol}`
    case 'neighbour':
      return `neighbour ${event.change} ${event.neighbour.mac}`
    case 'forwarding':
      return `forwarding ${event.change} ${event.entry.mac} ${event.entry.destination}`
    case 'lost':
      return 'lost'
    default:
      return event satisfies never
  }
}

test('changes of IPv6 are told like those of IPv4', async () => {
  await using host = await makeKernelNetns()
  const { index: link } = await makeLinks(host.netlink, 'wp0')
  must(await setLink(host.netlink, link, { up: true }))
  const events: string[] = []
  using _monitor = Monitor.open({ netns: host.ns.fd, topics: TOPICS, onEvent: (event) => events.push(summary(event)) })
  const address = { link, address: parseIpv6('fd00::1'), prefixLength: 128, noPrefixRoute: true, noDad: true }
  const route = { destination: parseCidr6('fd00:1::/64'), link, protocol: PROTOCOL }
  must(await addAddress(host.netlink, address))
  must(await addRoute(host.netlink, route))
  must(await deleteRoute(host.netlink, route))
  must(await deleteAddress(host.netlink, address))
  const expected = ['address set fd00::1', 'route set fd00:1:: 119', 'route deleted fd00:1:: 119', 'address deleted fd00::1']
  await until('the last change was told', () => events.find((event) => event === 'address deleted fd00::1'))
  expect(new Set(events.filter((event) => expected.includes(event)))).toEqual(new Set(expected))
})

test('every change is told: links, addresses, routes and neighbours, set and deleted', async () => {
  await using host = await makeKernelNetns()
  const { index: link } = await makeLinks(host.netlink, 'wp0')
  const events: string[] = []
  using _monitor = Monitor.open({ netns: host.ns.fd, topics: TOPICS, onEvent: (event) => events.push(summary(event)) })
  const address = parseIpv4('10.1.0.1')
  const route = { destination: parseCidr('10.32.0.0/16'), link, protocol: PROTOCOL }
  const neighbour = { link, address: parseIpv4('10.1.0.2'), mac: parseMac('02:aa:bb:cc:dd:02') }
  must(await setLink(host.netlink, link, { mtuBytes: 1400 }))
  must(await addAddress(host.netlink, { link, address, prefixLength: 32 }))
  must(await addRoute(host.netlink, route))
  must(await replaceNeighbour(host.netlink, neighbour))
  must(await deleteNeighbour(host.netlink, neighbour))
  must(await deleteRoute(host.netlink, route))
  must(await deleteAddress(host.netlink, { link, address, prefixLength: 32 }))
  must(await deleteLink(host.netlink, link))
  await until('the last change was told', () => events.find((event) => event.startsWith('link deleted wp0 ')))
  const ours = ['link set wp0 1400', `address set ${address}`, `route set ${route.destination.base} 119`]
  const undone = [`route deleted ${route.destination.base} 119`, `address deleted ${address}`, 'link deleted wp0 1400']
  const expected = [...ours, `neighbour set ${neighbour.mac}`, ...undone]
  expect(events.filter((event, index) => expected.includes(event) && events.indexOf(event) === index)).toEqual(expected)
})

test('changes that others make are told too', async () => {
  await using host = await makeKernelNetns()
  const { index: link } = await makeLinks(host.netlink, 'wp0')
  must(await addRoute(host.netlink, { destination: parseCidr('10.32.0.0/16'), link, protocol: PROTOCOL }))
  const events: KernelEvent[] = []
  using _monitor = Monitor.open({ netns: host.ns.fd, topics: ['routes'], onEvent: (event) => events.push(event) })
  await host.ns.exec('ip', 'route', 'flush', 'proto', String(PROTOCOL))
  const event = await until('the flush was told', () => events[0])
  expect(event).toMatchObject({
    kind: 'route',
    change: 'deleted',
    route: { destination: parseCidr('10.32.0.0/16'), link, protocol: PROTOCOL },
  })
})

test('events that come faster than they are read are told as lost, and later ones come again', async () => {
  await using host = await makeKernelNetns()
  const { index: link } = await makeLinks(host.netlink, 'wp0')
  let lost = 0
  let isSeen = false
  const last = parseCidr('192.0.2.0/24')
  using _monitor = Monitor.open({
    netns: host.ns.fd,
    topics: ['routes'],
    onEvent: (event) => {
      if (event.kind === 'lost') lost += 1
      if (event.kind === 'route' && event.route.destination.base === last.base) isSeen = true
    },
  })
  // Another process makes them while this one does not get to its event loop.
  flood(host.ns.path)
  await until('the loss was told', () => lost > 0 || undefined)
  must(await addRoute(host.netlink, { destination: last, link }))
  await until('an event after the loss was told', () => isSeen || undefined)
})

test('nothing is told after the end, even when there was something', async () => {
  await using host = await makeKernelNetns()
  const { index: link } = await makeLinks(host.netlink, 'wp0')
  let told = 0
  const monitor = Monitor.open({
    netns: host.ns.fd,
    topics: ['routes'],
    onEvent: () => {
      told += 1
      monitor[Symbol.dispose]()
    },
  })
  await Promise.all(
    Array.from({ length: 20 }, (_, number) =>
      addRoute(host.netlink, { destination: { base: ipv4(0x0a20_0000 + number), length: 32 }, link }),
    ),
  )
  await until('the first was told', () => told > 0 || undefined)
  must(await addRoute(host.netlink, { destination: parseCidr('192.0.2.0/24'), link }))
  expect(told).toBe(1)
})

/** 30,000 routes by `ip -batch`, synchronously: more than the receive buffer holds. */
function flood(netnsPath: string): void {
  const lines = Array.from({ length: 30_000 }, (_, number) => `route add 10.32.${number >> 8}.${number & 255}/32 dev wp0`)
  execFileSync('nsenter', [`--net=${netnsPath}`, 'ip', '-batch', '-'], { input: lines.join('\n') })
}

test('changes of forwarding entries are told', async () => {
  await using host = await makeKernelNetns()
  must(await addVxlan(host.netlink, { name: 'vx0', port: 6784, up: true, network: { id: 1, local: parseIpv4('127.0.0.1') } }))
  const { index: link } = await linkNamed(host.netlink, 'vx0')
  const entry = { link, mac: parseMac('02:aa:bb:cc:dd:02'), destination: parseIpv4('192.0.2.2') }
  const events: string[] = []
  using _monitor = Monitor.open({ netns: host.ns.fd, topics: ['neighbours'], onEvent: (event) => events.push(summary(event)) })
  must(await appendFdb(host.netlink, entry))
  must(await deleteFdb(host.netlink, entry))
  const told = ['set', 'deleted'].map((change) => `forwarding ${change} ${entry.mac} ${entry.destination}`)
  await until('both were told', () => (told.every((event) => events.includes(event)) ? true : undefined))
})
