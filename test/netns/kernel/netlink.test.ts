/** The netlink socket itself: many requests at once, long dumps, lost answers, sockets of others, its end. */
import { closeSync, openSync, readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { type Ipv4, ipv4, parseCidr, parseIpv4 } from '../../../mesh/base/address.ts'
import { millis, seconds } from '../../../mesh/base/brand.ts'
import { systemClock } from '../../../mesh/base/clock.ts'
import type { Result } from '../../../mesh/base/result.ts'
import type { Route } from '../../../router/kernel/codec/route.ts'
import type { KernelError } from '../../../router/kernel/kernel-error.ts'
import { addBridge, deleteLink, getLink, listLinks } from '../../../router/kernel/link.ts'
import { type Fd, native } from '../../../router/kernel/native.ts'
import { Netlink, openNetlinkSocket } from '../../../router/kernel/netlink.ts'
import { ownNetnsIdentity } from '../../../router/kernel/netns.ts'
import { addRoute, deleteRoute, listRoutes, replaceRoute } from '../../../router/kernel/route.ts'
import { makeKernelNetns, makeLinks } from '../../support/kernel.ts'
import { makeNetns } from '../../support/netns.ts'
import { must, mustFail } from '../../support/result.ts'
import { TestClock } from '../../support/test-clock.ts'

const PROTOCOL = 119
const FIRST: Ipv4 = parseIpv4('10.32.0.0')

function hostRoute(number: number, link: number): Route {
  return { destination: { base: ipv4(FIRST + number), length: 32 }, link, protocol: PROTOCOL }
}

function hostRoutes(count: number, link: number): readonly Route[] {
  return Array.from({ length: count }, (_, number) => hostRoute(number, link))
}

describe('many requests at once', () => {
  test('64 in flight get each its own answer, whatever the others get', async () => {
    await using host = await makeKernelNetns()
    const { index } = await makeLinks(host.netlink, 'wp0')
    const results = await Promise.all(
      hostRoutes(64, index).map((route, number) => addRoute(host.netlink, number % 2 === 0 ? route : { ...route, link: 9_999 })),
    )
    const answers = results.map((result) => (result.ok ? 'ok' : `${result.error.code} ${result.error.operation}`))
    const expected = Array.from({ length: 64 }, (_, number) =>
      number % 2 === 0 ? 'ok' : `ENODEV ip route add 10.32.0.${number}/32 dev if9999 proto 119`,
    )
    expect(answers).toEqual(expected)
    expect(must(await listRoutes(host.netlink, { protocol: PROTOCOL }))).toHaveLength(32)
  })

  test('dumps asked for together are all answered, and requests among them too', async () => {
    await using host = await makeKernelNetns()
    const { index } = await makeLinks(host.netlink, 'wp0')
    for (const route of hostRoutes(500, index)) must(await addRoute(host.netlink, route))
    const dumps = Array.from({ length: 5 }, () => listRoutes(host.netlink, { protocol: PROTOCOL }))
    const links = Array.from({ length: 5 }, () => getLink(host.netlink, 'wp0'))
    expect((await Promise.all(dumps)).map((result) => must(result).length)).toEqual([500, 500, 500, 500, 500])
    expect((await Promise.all(links)).map((result) => must(result)?.index)).toEqual(Array(5).fill(index))
  })

  test('10,000 routes are added, dumped and removed', async () => {
    await using host = await makeKernelNetns()
    const { index } = await makeLinks(host.netlink, 'wp0')
    const wanted = hostRoutes(10_000, index)
    for (const result of await Promise.all(wanted.map((route) => addRoute(host.netlink, route)))) must(result)
    const listed = must(await listRoutes(host.netlink, { protocol: PROTOCOL }))
    expect(listed.map(({ destination }) => destination.base)).toEqual(wanted.map(({ destination }) => destination.base))
    for (const result of await Promise.all(listed.map((route) => deleteRoute(host.netlink, route)))) must(result)
    expect(must(await listRoutes(host.netlink, { protocol: PROTOCOL }))).toEqual([])
  })

  test('a dump of links while links come and go is whole', async () => {
    await using host = await makeKernelNetns()
    for (let number = 0; number < 100; number++) must(await addBridge(host.netlink, { name: `stays${number}` }))
    using other = Netlink.open({ clock: systemClock, netns: host.ns.fd })
    const dumps: Promise<number>[] = []
    for (let round = 0; round < 20; round++) {
      dumps.push(listLinks(other).then((result) => must(result).filter(({ name }) => name.startsWith('stays')).length))
      must(await addBridge(host.netlink, { name: 'comes' }))
      must(await deleteLink(host.netlink, 'comes'))
    }
    expect(await Promise.all(dumps)).toEqual(Array(20).fill(100))
  })
})

describe('answers that are lost', () => {
  test('fail their requests with ENOBUFS, and the socket goes on', async () => {
    await using ns = await makeNetns()
    await ns.exec('ip', 'link', 'set', 'lo', 'up')
    const fd = openNetlinkSocket({ netns: ns.fd })
    using netlink = Netlink.open({ clock: systemClock, fd })
    shrinkReceiveBuffer(fd)
    const lookups = await Promise.all(Array.from({ length: 64 }, () => getLink(netlink, 'lo')))
    const codes = new Set(lookups.map((result) => (result.ok ? 'ok' : result.error.code)))
    expect(codes).toEqual(new Set(['ok', 'ENOBUFS']))
    expect(lookups.find((result) => !result.ok)).toMatchObject({ error: { operation: 'ip link show dev lo', errno: 105 } })
    expect(must(await getLink(netlink, 'lo'))?.name).toBe('lo')
    expect(must(await listLinks(netlink)).map(({ name }) => name)).toEqual(['lo'])
  })

  test('that come after the deadline change nothing: the socket goes on', async () => {
    await using ns = await makeNetns()
    const clock = new TestClock()
    using netlink = Netlink.open({ clock, netns: ns.fd })
    const late = getLink(netlink, 'lo')
    clock.advance(seconds(11))
    expect(mustFail(await late)).toMatchObject({ code: 'ETIMEDOUT', operation: 'ip link show dev lo' })
    expect(must(await getLink(netlink, 'lo'))?.name).toBe('lo')
    expect(must(await listLinks(netlink)).map(({ name }) => name)).toEqual(['lo'])
  })
})

describe('a socket that somebody else opened', () => {
  test('works in its own namespace, which we never entered', async () => {
    await using ns = await makeNetns()
    await ns.exec('ip', 'link', 'add', 'weft-there', 'type', 'bridge')
    const before = ownNetnsIdentity()
    using netlink = Netlink.open({ clock: systemClock, fd: openNetlinkSocket({ netns: ns.fd }) })
    expect(must(await listLinks(netlink)).map(({ name }) => name)).toEqual(['lo', 'weft-there'])
    expect(ownNetnsIdentity()).toBe(before)
  })

  test.each([
    { name: 'a file', open: () => openSync('/dev/null', 'r') as Fd },
    { name: 'a socket of another family', open: () => native().socket(-1, 1, 1, 0) },
    { name: 'a netlink socket of another protocol', open: () => native().socket(-1, 16, 3, 15) },
  ])('that is $name is refused', ({ open }) => {
    const fd = open()
    try {
      expect(() => Netlink.open({ clock: systemClock, fd })).toThrow(expect.objectContaining({ code: 'INPUT' }))
    } finally {
      closeSync(fd)
    }
  })
})

describe('its end', () => {
  test('fails what is in flight and what waits, and takes nothing more', async () => {
    await using ns = await makeNetns()
    const netlink = Netlink.open({ clock: systemClock, netns: ns.fd })
    const open: readonly Promise<Result<unknown, KernelError>>[] = [
      ...Array.from({ length: 100 }, () => getLink(netlink, 'lo')),
      listLinks(netlink),
    ]
    netlink[Symbol.dispose]()
    netlink[Symbol.dispose]()
    const codes = (await Promise.all([...open, getLink(netlink, 'lo')])).map((result) => mustFail(result).code)
    expect(codes).toEqual(Array(102).fill('ECANCELED'))
  })

  test('leaves no descriptor and no timer behind', async () => {
    await using ns = await makeNetns()
    const before = readdirSync('/proc/self/fd').length
    for (let round = 0; round < 20; round++) {
      using netlink = Netlink.open({ clock: systemClock, netns: ns.fd })
      must(await listLinks(netlink))
    }
    expect(readdirSync('/proc/self/fd').length).toBe(before)
  })
})

test('a namespace that is none is refused when the socket is opened', () => {
  const fd = openSync('/dev/null', 'r') as Fd
  try {
    expect(() => Netlink.open({ clock: systemClock, netns: fd })).toThrow(expect.objectContaining({ code: 'KERNEL' }))
  } finally {
    closeSync(fd)
  }
})

test('other work gets its turn while thousands of requests are under way', async () => {
  await using host = await makeKernelNetns()
  const { index } = await makeLinks(host.netlink, 'wp0')
  let turns = 0
  let timer = systemClock.after(millis(1), tick)
  function tick(): void {
    turns += 1
    timer = systemClock.after(millis(1), tick)
  }
  await Promise.all(hostRoutes(5_000, index).map((route) => replaceRoute(host.netlink, route)))
  timer[Symbol.dispose]()
  expect(turns).toBeGreaterThan(10)
  expect(must(await listRoutes(host.netlink, { protocol: PROTOCOL }))).toHaveLength(5_000)
  must(await addRoute(host.netlink, { destination: parseCidr('0.0.0.0/0'), type: 'unreachable' }))
})

/** To room for a few answers. */
function shrinkReceiveBuffer(fd: Fd): void {
  const SOL_SOCKET = 1
  const SO_RCVBUFFORCE = 33
  native().setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, Uint8Array.of(0, 0x20, 0, 0))
}
