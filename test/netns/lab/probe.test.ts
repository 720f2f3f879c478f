/** The probe on the real kernel: two pods with a router between them, and what each fault of the network looks like. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parseIpv4 } from '../../../mesh/base/address.ts'
import { systemClock } from '../../../mesh/base/clock.ts'
import { parseIpv6 } from '../../../mesh/base/ip.ts'
import { systemRandom } from '../../../mesh/base/random.ts'
import { native } from '../../../router/kernel/native.ts'
import { checkAll } from '../../../router/lab/probe/check.ts'
import type { ProbeTarget } from '../../../router/lab/probe/endpoint.ts'
import type { CheckReport } from '../../../router/lab/probe/report.ts'
import { makeNetns, type Netns } from '../../support/netns.ts'

interface World {
  readonly a: Netns
  readonly router: Netns
  readonly b: Netns
}

let world: World
let stack: AsyncDisposableStack

beforeEach(async () => {
  stack = new AsyncDisposableStack()
  world = { a: stack.use(await makeNetns()), router: stack.use(await makeNetns()), b: stack.use(await makeNetns()) }
  const { a, router, b } = world
  await router.exec('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding')
  for (const [pod, index] of [
    [a, 1],
    [b, 2],
  ] as const) {
    await pod.exec('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', `to-${index}`, 'netns', router.name)
    await pod.exec('ip', 'address', 'add', `10.9.${index}.2/24`, 'dev', 'eth0')
    await pod.exec('ip', 'link', 'set', 'eth0', 'up')
    await pod.exec('ip', 'address', 'add', `fd09:${index}::2/64`, 'dev', 'eth0', 'nodad')
    await router.exec('ip', 'address', 'add', `10.9.${index}.1/24`, 'dev', `to-${index}`)
    await router.exec('ip', 'link', 'set', `to-${index}`, 'up')
    await router.exec('ip', 'address', 'add', `fd09:${index}::1/64`, 'dev', `to-${index}`, 'nodad')
    await pod.exec('ip', 'route', 'add', 'default', 'via', `10.9.${index}.1`)
    await pod.exec('ip', '-6', 'route', 'add', 'default', 'via', `fd09:${index}::1`)
  }
})

afterEach(async () => await stack.disposeAsync())

function targets(): readonly ProbeTarget[] {
  return [
    { name: 'a', address: parseIpv4('10.9.1.2'), address6: parseIpv6('fd09:1::2'), namespacePath: world.a.path },
    { name: 'b', address: parseIpv4('10.9.2.2'), address6: parseIpv6('fd09:2::2'), namespacePath: world.b.path },
  ]
}

function check(who: readonly ProbeTarget[] = targets()): Promise<CheckReport> {
  return checkAll('lab', who, { native: native(), clock: systemClock, random: systemRandom })
}

async function errorsOf(from: string, to: string): Promise<unknown> {
  const report = await check()
  return report.pairs.find((pair) => pair.from === from && pair.to === to)?.errors
}

function drop(rule: string): Promise<string> {
  return world.router.exec(
    'nft',
    `add table inet t; add chain inet t f { type filter hook forward priority 0; }; add rule inet t f ${rule}`,
  )
}

const passed = { ping: true, tcp: true, udp64k: true, fullMtu: true, provenBytes: 1_500 }
const all = { ...passed, families: { ipv4: passed, ipv6: passed }, errors: {} }

test('a whole network passes all four checks both ways', async () => {
  const { ok, pods, pairs } = await check()
  expect({ ok, pods, pairs }).toEqual({
    ok: true,
    pods: ['a', 'b'],
    pairs: [
      { from: 'a', to: 'b', ...all },
      { from: 'b', to: 'a', ...all },
    ],
  })
})

test('a check can run again at once, and beside another one', async () => {
  const reports = await Promise.all([check(), check(), check()])
  expect(reports.map(({ ok }) => ok)).toEqual([true, true, true])
})

describe('each fault shows in the checks that it breaks, and in no other', () => {
  test.each([
    { name: 'TCP is dropped', rule: 'ip protocol tcp drop', errors: { tcp: 'no connection or echo in 2 s' } },
    {
      name: 'TCP is refused',
      rule: 'ip protocol tcp reject with tcp reset',
      errors: { tcp: expect.stringContaining('ECONNREFUSED') },
    },
    { name: 'later fragments are dropped', rule: 'ip frag-off & 0x1fff != 0 drop', errors: { udp64k: 'no acknowledgement in 2 s' } },
    { name: 'UDP is dropped', rule: 'ip protocol udp drop', errors: { udp64k: 'no acknowledgement in 2 s' } },
    { name: 'big packets vanish', rule: 'ip protocol icmp meta length > 1000 drop', errors: { fullMtu: 'no reply in 2 s' } },
    {
      name: 'echo requests are refused',
      rule: 'icmp type echo-request reject with icmp admin-prohibited',
      errors: { ping: '10.9.1.1 says: filtered', fullMtu: '10.9.1.1 says: filtered' },
    },
    { name: 'TCP over IPv6 is dropped', rule: 'ip6 nexthdr tcp drop', errors: { tcp: 'IPv6: no connection or echo in 2 s' } },
    {
      name: 'TCP is dropped over both',
      rule: 'meta l4proto tcp drop',
      errors: { tcp: 'no connection or echo in 2 s; IPv6: no connection or echo in 2 s' },
    },
    { name: 'fragments of IPv6 are dropped', rule: 'exthdr frag exists drop', errors: { udp64k: 'IPv6: no acknowledgement in 2 s' } },
    {
      name: 'echo requests of IPv6 are refused',
      rule: 'icmpv6 type echo-request reject with icmpv6 admin-prohibited',
      errors: { ping: 'IPv6: fd09:1::1 says: filtered', fullMtu: 'IPv6: fd09:1::1 says: filtered' },
    },
  ])('$name', async ({ rule, errors }) => {
    await drop(rule)
    expect(await errorsOf('a', 'b')).toEqual(errors)
  })

  test('a link on the way is narrower than the pod believes: what does fit is found, and proven', async () => {
    await world.router.exec('ip', 'link', 'set', 'to-2', 'mtu', '1400')
    const proven = async (): Promise<unknown> =>
      (await check()).pairs
        .filter(({ from }) => from === 'a')
        .map(({ families: { ipv4, ipv6 }, errors }) => [ipv4?.provenBytes, ipv6?.provenBytes, errors])
    const expected = [[1_400, 1_400, {}]]
    expect(await proven()).toEqual(expected)
    // What the first check taught the kernel about the path does not make the second one content with less.
    expect(await proven()).toEqual(expected)
  })

  test('a router that says a size and does not carry it is not believed', async () => {
    await world.router.exec('ip', 'link', 'set', 'to-2', 'mtu', '1400')
    await drop('ip protocol icmp meta length > 1000 drop')
    expect(await errorsOf('a', 'b')).toEqual({ fullMtu: 'no reply in 2 s' })
  })

  test('the sender is masqueraded', async () => {
    await world.router.exec(
      'nft',
      'add table ip n; add chain ip n p { type nat hook postrouting priority 100; }; add rule ip n p masquerade',
    )
    expect(await errorsOf('a', 'b')).toEqual({ udp64k: 'seen as coming from 10.9.2.1' })
  })

  test('the sender is masqueraded over IPv6', async () => {
    await world.router.exec(
      'nft',
      'add table ip6 n; add chain ip6 n p { type nat hook postrouting priority 100; }; add rule ip6 n p masquerade',
    )
    expect(await errorsOf('a', 'b')).toEqual({ udp64k: 'IPv6: seen as coming from fd09:2::1' })
  })

  test('one direction only', async () => {
    await drop('iifname "to-1" ip protocol udp meta length > 100 drop')
    expect([await errorsOf('a', 'b'), await errorsOf('b', 'a')]).toEqual([{ udp64k: 'no acknowledgement in 2 s' }, {}])
  })

  test('the route is gone', async () => {
    await world.router.exec('ip', 'route', 'del', '10.9.2.0/24')
    const errors = await errorsOf('a', 'b')
    expect(errors).toMatchObject({
      ping: '10.9.1.1 says: network unreachable',
      tcp: expect.stringMatching(/ENETUNREACH|EHOSTUNREACH|no connection/),
    })
  })
})

test('a pod without IPv6 is checked over IPv4 alone', async () => {
  const [a, b] = targets()
  if (a === undefined || b === undefined) throw new Error('there are two')
  const { ok, pairs } = await check([a, { ...b, address6: undefined }])
  expect([ok, pairs.map(({ families }) => Object.keys(families))]).toEqual([true, [['ipv4'], ['ipv4']]])
})

test('a pod whose namespace is not there fails with all its pairs, and the others are checked all the same', async () => {
  const lost = { name: 'c', address: parseIpv4('10.9.3.2'), namespacePath: '/run/netns/weft-t-nowhere' }
  const report = await check([...targets(), lost])
  expect(report.pairs.filter(({ ping }) => ping).map(({ from, to }) => from + to)).toEqual(['ab', 'ba'])
  expect(report.pairs.find(({ from }) => from === 'c')?.errors.tcp).toMatch(/cannot open sockets in c: .*weft-t-nowhere/)
  expect(report.ok).toBe(false)
})
