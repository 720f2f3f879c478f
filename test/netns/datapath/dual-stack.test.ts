/** IPv6 beside IPv4 on the real kernel: pods have it at once, nobody speaks for another, and what others break heals. */
import { once } from 'node:events'
import { createServer, Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { parseCidr, parseIpv4 } from '../../../mesh/base/address.ts'
import { seconds } from '../../../mesh/base/brand.ts'
import { parseIp, parseIpv6 } from '../../../mesh/base/ip.ts'
import { parseCidr6 } from '../../../mesh/base/prefix.ts'
import type { Attachment } from '../../../plugin/port.ts'
import { Filter } from '../../../router/datapath/filter.ts'
import { type Passed, type PassInput, pass } from '../../../router/datapath/pass.ts'
import type { RulesetInput } from '../../../router/datapath/ruleset.ts'
import { native } from '../../../router/kernel/native.ts'
import { AF_INET6, IPPROTO_ICMPV6, SOCK_RAW, SOCK_STREAM, sockaddr } from '../../../router/lab/probe/sockaddr.ts'
import { attachRequest, HOST_ADDRESS, makeHost, type TestHost } from '../../support/host.ts'
import { makeNetns, type Netns } from '../../support/netns.ts'
import { must, mustFail } from '../../support/result.ts'
import { until } from '../../support/until.ts'

const universe = { ...parseCidr('10.32.0.0/12'), v6: parseCidr6('fd00:77:65::/64') }
const own = [{ start: parseIpv4('10.32.0.0'), end: parseIpv4('10.40.0.0') }]
const rules = (...peers: readonly string[]): RulesetInput => ({ universe, peers: peers.map(parseIpv4), own })

async function attach(host: TestHost, pod: Netns, containerId: string): Promise<Attachment> {
  using request = attachRequest(pod, containerId)
  return must(await host.pods.attach(request, new AbortController().signal))
}

async function pass_(host: TestHost, changes: Partial<PassInput> = {}): Promise<Passed> {
  const passed = must(await pass(host.netlink, { ...host.wants(), ...changes }))
  expect(passed.changes.errors).toEqual([])
  return passed
}

const ping = (from: Netns, to: string, ...words: readonly string[]) => from.exec('ping', '-6', '-c', '1', '-W', '1', ...words, to)

/** Ours, without what the kernel adds to every route. */
async function routes6(host: TestHost): Promise<readonly string[]> {
  const text = await host.ns.exec('ip', '-6', 'route', 'show', 'proto', '119')
  const lines = text.split('\n').filter((line) => line !== '')
  return lines
    .map((line) =>
      line
        .replace(/ metric 1024/, '')
        .replace(/ pref medium */, '')
        .replace(/wpod\w+/, 'wpod')
        .trim(),
    )
    .toSorted()
}

async function addresses6(ns: Netns, link: string): Promise<readonly string[]> {
  const [shown] = await ns.ip<{ addr_info: readonly { local: string; prefixlen: number; tentative?: boolean }[] }>(
    '-6',
    'address',
    'show',
    'dev',
    link,
  )
  return (shown?.addr_info ?? []).map(({ local, prefixlen, tentative }) => `${local}/${prefixlen}${tentative ? ' tentative' : ''}`)
}

/** A link that is new has a link-local address a second later, and solicits no neighbour until then. */
async function inUse(ns: Netns, device: string): Promise<void> {
  const look = async (): Promise<true | undefined> => {
    const addresses = await addresses6(ns, device)
    const isLocal = addresses.some((address) => address.startsWith('fe80:'))
    return isLocal && addresses.every((address) => !address.endsWith(' tentative')) ? true : undefined
  }
  await until(`the addresses of ${device} are in use`, look, seconds(10))
}

/** Packets that the rules with this comment have dropped. */
async function dropped(host: TestHost, comment: string): Promise<number> {
  const listing = await host.ns.exec('nft', 'list', 'table', 'inet', 'weft')
  const lines = listing.split('\n').filter((line) => line.includes(comment))
  expect(lines.length).toBeGreaterThan(0)
  return lines.reduce((sum, line) => sum + Number(/packets (\d+)/.exec(line)?.[1] ?? 0), 0)
}

describe('the first packet', () => {
  test.each([
    { name: 'to a new pod over IPv4', isToNew: true, words: ['-4', '10.32.0.'] },
    { name: 'to a new pod over IPv6', isToNew: true, words: ['-6', 'fd00:77:65::'] },
    { name: 'of a new pod over IPv4', isToNew: false, words: ['-4', '10.32.0.'] },
    { name: 'of a new pod over IPv6', isToNew: false, words: ['-6', 'fd00:77:65::'] },
  ])('$name is not lost', async ({ isToNew, words: [family = '', prefix] }) => {
    await using host = await makeHost(universe)
    await using stack = new AsyncDisposableStack()
    const first = stack.use(await makeNetns())
    await attach(host, first, 'c1')
    for (let number = 2; number < 10; number++) {
      const pod = stack.use(await makeNetns())
      await attach(host, pod, `c${number}`)
      const [from, to] = isToNew ? [first, number] : [pod, 1]
      await from.exec('ping', family, '-c', '1', '-W', '1', `${prefix}${to}`)
    }
  })
})

describe('a pod', () => {
  test('has both addresses, usable at once, and the runtime hears of both', async () => {
    await using host = await makeHost(universe)
    await using one = await makeNetns()
    await using other = await makeNetns()
    await attach(host, one, 'c1')
    const attached = await attach(host, other, 'c2')
    // Right away: asking whether somebody else has the address would take the kernel a second.
    await expect(ping(other, 'fd00:77:65::1')).resolves.toContain(' 0% packet loss')
    expect(attached).toMatchObject({
      addresses: [
        { address: '10.32.0.2/32', gateway: '169.254.1.1' },
        { address: 'fd00:77:65::2/128', gateway: 'fe80::1' },
      ],
      routes: [
        { destination: '169.254.1.1/32' },
        { destination: '0.0.0.0/0', gateway: '169.254.1.1' },
        { destination: '::/0', gateway: 'fe80::1' },
      ],
    })
    expect(await addresses6(other, 'eth0')).toEqual(['fd00:77:65::2/128'])
    expect(await other.ip('-6', 'neighbour', 'show', 'nud', 'permanent')).toMatchObject([{ dst: 'fe80::1', lladdr: '02:77:65:66:74:01' }])
    await expect(ping(one, 'fd00:77:65::2', '-M', 'do', '-s', '1402')).resolves.toContain(' 0% packet loss')
    await expect(ping(one, 'fd00:77:65::2', '-M', 'do', '-s', '1403')).rejects.toThrow()
  })

  test('has what was asked for, in either family, or hears why not', async () => {
    await using host = await makeHost(universe)
    await using one = await makeNetns()
    await using other = await makeNetns()
    const signal = new AbortController().signal
    const ask = async (pod: Netns, containerId: string, ...texts: readonly string[]) => {
      using request = attachRequest(pod, containerId, { addresses: texts.map(parseIp) })
      return await host.pods.attach(request, signal)
    }
    expect(must(await ask(one, 'c1', 'fd00:77:65::9')).addresses).toMatchObject([
      { address: '10.32.0.9/32' },
      { address: 'fd00:77:65::9/128' },
    ])
    expect(must(await ask(other, 'c2', 'fd00:77:65::1:1', '10.33.0.1')).addresses[1]).toMatchObject({ address: 'fd00:77:65::1:1/128' })
    await using third = await makeNetns()
    const reasons = [
      mustFail(await ask(third, 'c3', 'fd00:77:66::7')),
      mustFail(await ask(third, 'c3', 'fd00:77:65::7', '10.32.0.8')),
      mustFail(await ask(third, 'c3', 'fd00:77:65::9')),
    ]
    expect(reasons).toEqual([
      { code: 'address-impossible', reason: 'fd00:77:66::7 asked for, and pods get theirs from fd00:77:65::/64' },
      { code: 'address-impossible', reason: 'fd00:77:65::7, 10.32.0.8 asked for, which no interface gets together' },
      { code: 'address-unavailable', reason: '10.32.0.9 is in use by c1/eth0 on this node' },
    ])
  })

  test('speaks TCP with another one', async () => {
    await using host = await makeHost(universe)
    await using one = await makeNetns()
    await using other = await makeNetns()
    await attach(host, one, 'c1')
    await attach(host, other, 'c2')
    const listener = native().socket(other.fd, AF_INET6, SOCK_STREAM, 0)
    native().bind(listener, sockaddr(parseIpv6('fd00:77:65::2'), 7_777))
    const server = createServer((socket) => socket.end('hello'))
    await using _ = { [Symbol.asyncDispose]: async () => void server.close() }
    server.listen({ fd: listener })
    await once(server, 'listening')
    const client = new Socket({ fd: native().socket(one.fd, AF_INET6, SOCK_STREAM, 0), readable: true, writable: true })
    client.connect({ host: 'fd00:77:65::2', port: 7_777 })
    const [bytes] = (await once(client, 'data', { signal: AbortSignal.timeout(2_000) })) as [Buffer]
    client.destroy()
    expect(bytes.toString()).toBe('hello')
  })

  test('leaves nothing for a pass to do, with a node address and without', async () => {
    await using host = await makeHost(universe)
    await pass_(host)
    await using pod = await makeNetns()
    await attach(host, pod, 'c1')
    expect((await pass_(host)).changes).toMatchObject({ added: [], removed: 0 })
  })

  test('that has IPv6 switched off gets IPv4 alone, says so to the runtime, and passes its check', async () => {
    await using host = await makeHost(universe)
    await using pod = await makeNetns()
    await pod.exec('sh', '-c', 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6')
    const { addresses, routes } = await attach(host, pod, 'c1')
    expect([addresses.map(({ address }) => address), routes.map(({ destination }) => destination)]).toEqual([
      ['10.32.0.1/32'],
      ['169.254.1.1/32', '0.0.0.0/0'],
    ])
    await pass_(host)
    expect((await routes6(host)).filter((route) => route.includes('wpod'))).toEqual([])
    using request = attachRequest(pod, 'c1')
    must(await host.pods.check({ key: request.key, netns: request.netns, addresses: ['10.32.0.1/32'] }))
  })

  test.each([
    { name: 'nothing', where: 'pod', damage: 'true', faults: [] },
    {
      name: 'its address',
      where: 'pod',
      damage: 'ip -6 address delete fd00:77:65::1/128 dev eth0',
      faults: ['eth0 has lost the address fd00:77:65::1'],
    },
    { name: 'its default route', where: 'pod', damage: 'ip -6 route delete default', faults: ['eth0 has lost the default route of IPv6'] },
    {
      name: 'the way to it',
      where: 'host',
      damage: 'ip -6 route flush proto 119',
      faults: [expect.stringMatching(/^the node has no route to fd00:77:65::1 by wpod/)],
    },
  ])('that has lost $name of IPv6 fails its check by that', async ({ where, damage, faults }) => {
    await using host = await makeHost(universe)
    await using pod = await makeNetns()
    await attach(host, pod, 'c1')
    await (where === 'pod' ? pod : host.ns).exec('sh', '-c', damage)
    using request = attachRequest(pod, 'c1')
    const checked = await host.pods.check({
      key: request.key,
      netns: request.netns,
      addresses: ['10.32.0.1/32', 'fd00:77:65::1/128'],
    })
    if (faults.length === 0) must(checked)
    else expect(mustFail(checked)).toEqual({ code: 'broken', faults })
  })
})

describe('a pass', () => {
  const ALL = [
    'fd00:77:65::1 dev wpod src fd00:77:65::1',
    'fd00:77:65::8:0/109 via fe80::bbbb:bbbb:bbbb:bbbb dev weft-vx src fd00:77:65::1 onlink mtu 1450',
    'unreachable fd00:77:65::/64 dev lo metric 1000000',
  ]
  const withAddress = { hostAddress: HOST_ADDRESS }

  test('makes routes, neighbours and the address of the node; none of our links has a link-local address of its own', async () => {
    await using host = await makeHost(universe)
    await pass_(host, withAddress)
    expect(await routes6(host)).toEqual(ALL.slice(1))
    expect(await addresses6(host.ns, 'weft-vx')).toEqual(['fd00:77:65::1/128'])
    expect(await host.ns.ip('-6', 'neighbour', 'show', 'dev', 'weft-vx', 'nud', 'permanent')).toMatchObject([
      { dst: 'fe80::bbbb:bbbb:bbbb:bbbb', lladdr: '02:bb:bb:bb:bb:bb' },
    ])
    expect((await pass_(host, withAddress)).changes).toMatchObject({ added: [], removed: 0, routesPresent: 4 })
  })

  test.each([
    { name: 'flushes the routes', damage: 'ip -6 route flush proto 119' },
    { name: 'deletes the node’s address', damage: 'ip -6 address delete fd00:77:65::1/128 dev weft-vx' },
    { name: 'flushes the neighbours', damage: 'ip -6 neighbour flush nud permanent dev weft-vx' },
    { name: 'changes a route', damage: 'ip -6 route replace fd00:77:65::8:0/109 dev eth0 proto 119' },
    { name: 'adds one to ours', damage: 'ip -6 route add fd00:77:65::9:0/112 dev eth0 proto 119' },
    { name: 'takes the device down', damage: 'ip link set weft-vx down' },
    { name: 'deletes the device', damage: 'ip link delete weft-vx' },
  ])('heals when somebody $name', async ({ damage }) => {
    await using host = await makeHost(universe)
    await using pod = await makeNetns()
    await attach(host, pod, 'c1')
    await pass_(host, withAddress)
    await host.ns.exec('sh', '-c', damage)
    await pass_(host, withAddress)
    expect(await routes6(host)).toEqual(ALL)
    expect(await addresses6(host.ns, 'weft-vx')).toEqual(['fd00:77:65::1/128'])
    expect((await pass_(host, withAddress)).changes).toMatchObject({ added: [], removed: 0 })
  })

  test('leaves nothing of IPv6 when it is wanted no more, and IPv4 as it was', async () => {
    await using host = await makeHost(universe)
    await using pod = await makeNetns()
    await attach(host, pod, 'c1')
    await pass_(host, withAddress)
    const before = await host.ns.exec('ip', 'route', 'show', 'proto', '119')
    await pass_(host, { ...withAddress, universe: parseCidr('10.32.0.0/12') })
    expect([await routes6(host), await addresses6(host.ns, 'weft-vx')]).toEqual([[], []])
    expect(await host.ns.exec('ip', 'route', 'show', 'proto', '119')).toBe(before)
  })

  test('has no IPv6 over an underlay that is too narrow for it', async () => {
    await using host = await makeHost(universe)
    await host.ns.exec('sh', '-c', 'ip link set eth0 mtu 1329 && ip link set wire mtu 1329')
    expect((await pass_(host, withAddress)).universe.v6).toBeUndefined()
    await host.ns.exec('sh', '-c', 'ip link set eth0 mtu 1330 && ip link set wire mtu 1330')
    expect((await pass_(host, withAddress)).universe.v6).toEqual(universe.v6)
    expect(await routes6(host)).toHaveLength(2)
  })
})

describe('the filter', () => {
  /** An ICMPv6 message of this type to all nodes of the pod's link. */
  function shout(pod: Netns, type: number, index: number): void {
    const fd = native().socket(pod.fd, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6)
    const everybody = sockaddr(parseIpv6('ff02::1'))
    new DataView(everybody.buffer).setUint32(24, index, true)
    native().send(fd, Uint8Array.of(type, ...new Uint8Array(15)), everybody, [])
    native().close(fd)
  }

  test('lets a pod speak with its own address only', async () => {
    await using host = await makeHost(universe)
    await using one = await makeNetns()
    await using other = await makeNetns()
    await attach(host, one, 'c1')
    await attach(host, other, 'c2')
    must(await new Filter({ netns: host.ns.path }).ensure(rules(), true))
    await expect(ping(one, 'fd00:77:65::2')).resolves.toContain(' 0% packet loss')
    expect(await dropped(host, 'not the address of this pod')).toBe(0)
    await one.exec('ip', 'address', 'add', 'fd00:77:65::99/128', 'dev', 'eth0', 'nodad')
    await expect(ping(one, 'fd00:77:65::2', '-I', 'fd00:77:65::99')).rejects.toThrow()
    expect(await dropped(host, 'not the address of this pod')).toBe(1)
    // The other pod's address is routed, but not here.
    await one.exec('ip', 'address', 'add', 'fd00:77:65::2/128', 'dev', 'eth0', 'nodad')
    await expect(ping(one, 'fd00:77:65::3', '-I', 'fd00:77:65::2')).rejects.toThrow()
    await one.exec('ip', 'address', 'add', 'fe80::77/64', 'dev', 'eth0', 'nodad')
    await expect(ping(one, 'ff02::1%eth0', '-I', 'fe80::77')).rejects.toThrow()
    // The pod's kernel says more with such an address of its own accord.
    expect(await dropped(host, 'not the address of this pod')).toBeGreaterThanOrEqual(3)
  })

  test('drops what a pod says as if it were a router', async () => {
    await using host = await makeHost(universe)
    await using pod = await makeNetns()
    await attach(host, pod, 'c1')
    must(await new Filter({ netns: host.ns.path }).ensure(rules(), true))
    const [link] = await pod.ip<{ ifindex: number }>('link', 'show', 'eth0')
    const [advertisement, redirect, echo] = [134, 137, 128]
    shout(pod, echo, link?.ifindex ?? 0)
    expect(await dropped(host, 'a pod is not a router')).toBe(0)
    shout(pod, advertisement, link?.ifindex ?? 0)
    shout(pod, redirect, link?.ifindex ?? 0)
    expect(await dropped(host, 'a pod is not a router')).toBe(2)
  })

  test('lets nothing of IPv6 pass from pods where the cluster has none', async () => {
    await using host = await makeHost(universe)
    await using one = await makeNetns()
    await using other = await makeNetns()
    await attach(host, one, 'c1')
    await attach(host, other, 'c2')
    must(await new Filter({ netns: host.ns.path }).ensure({ ...rules(), universe: parseCidr('10.32.0.0/12') }, true))
    await expect(ping(one, 'fd00:77:65::2')).rejects.toThrow()
    expect(await dropped(host, 'pods have no IPv6')).toBeGreaterThan(0)
  })

  test('hides pods behind their node when they talk to the world, and not from each other', async () => {
    await using host = await makeHost(universe)
    await using pod = await makeNetns()
    await using world = await makeNetns()
    await attach(host, pod, 'c1')
    await host.ns.exec('ip', 'link', 'set', 'wire', 'netns', world.name)
    await world.exec('sh', '-c', 'ip link set wire up && ip address add 2001:db8::2/64 dev wire nodad')
    await host.ns.exec('ip', 'address', 'add', '2001:db8::1/64', 'dev', 'eth0', 'nodad')
    await inUse(host.ns, 'eth0')
    await inUse(world, 'wire')
    await expect(ping(pod, '2001:db8::2')).rejects.toThrow()
    must(await new Filter({ netns: host.ns.path }).ensure(rules(), true))
    // The world knows no way to the pod: it can only have answered to the node.
    await expect(ping(pod, '2001:db8::2')).resolves.toContain(' 0% packet loss')
  })

  test('takes encapsulated packets with the addresses of the peer only', async () => {
    await using host = await makeHost(universe)
    await using pod = await makeNetns()
    await using peer = await makeNetns()
    await attach(host, pod, 'c1')
    await host.ns.exec('ip', 'link', 'set', 'wire', 'netns', peer.name)
    const lines = [
      'ip link set lo up; ip link set wire up && ip address add 192.0.2.2/24 dev wire',
      'ip link add vx address 02:bb:bb:bb:bb:bb type vxlan id 6784 remote 192.0.2.1 local 192.0.2.2 dstport 6784 dev wire',
      'ip link set vx up && for n in 8:1 50; do ip address add fd00:77:65::$n/128 dev vx nodad; done; ip address add 2001:db8::9/128 dev vx nodad',
      'ip -6 route add fd00:77:65::/108 via fe80::aaaa:aaaa:aaaa:aaaa dev vx onlink src fd00:77:65::8:1',
      'ip neighbour add fe80::aaaa:aaaa:aaaa:aaaa lladdr 02:aa:aa:aa:aa:aa dev vx nud permanent',
    ]
    for (const line of lines) await peer.exec('sh', '-c', line)
    await pass_(host)
    must(await new Filter({ netns: host.ns.path }).ensure(rules('192.0.2.2'), true))
    await expect(ping(peer, 'fd00:77:65::1')).resolves.toContain(' 0% packet loss')
    expect(await dropped(host, 'an address of this node cannot come from another')).toBe(0)
    await expect(ping(peer, 'fd00:77:65::1', '-I', 'fd00:77:65::50')).rejects.toThrow()
    expect(await dropped(host, 'an address of this node cannot come from another')).toBe(1)
    const foreign = await dropped(host, 'only pods and nodes of the cluster come this way')
    await expect(ping(peer, 'fd00:77:65::1', '-I', '2001:db8::9')).rejects.toThrow()
    expect(await dropped(host, 'only pods and nodes of the cluster come this way')).toBeGreaterThan(foreign)
  })
})
