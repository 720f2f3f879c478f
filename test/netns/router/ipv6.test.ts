/** Real routers and IPv6: with it, without it, and with peers that mean another range of it. */
import { describe, expect, test } from 'vitest'
import { seconds } from '../../../mesh/base/brand.ts'
import { parseIpv6 } from '../../../mesh/base/ip.ts'
import { native } from '../../../router/kernel/native.ts'
import { AF_INET6, IPPROTO_ICMPV6, int32, SOCK_RAW, sockaddr } from '../../../router/lab/probe/sockaddr.ts'
import { makeNetns, type Netns } from '../../support/netns.ts'
import { joinUnderlays, makeRouter, type TestRouter } from '../../support/router.ts'
import { until } from '../../support/until.ts'

const SEED = ['--ipam-init', 'seed=self']
const DEFAULT_RANGE6 = 'fd8c:a79b:5319::/64'

async function sysctl(router: TestRouter, key: string): Promise<string> {
  return (await router.ns.exec('cat', `/proc/sys/net/ipv6/conf/${key}`)).trim()
}

function routes6(router: TestRouter): Promise<string> {
  return router.ns.exec('ip', '-6', 'route', 'show', 'proto', '119')
}

/** A router advertisement (RFC 4861, section 4.2) of a default route for half an hour, to all who are on the link. */
async function advertise(ns: Netns, name: string): Promise<void> {
  const [SOL_IPV6, IPV6_MULTICAST_HOPS] = [41, 18]
  const [link] = await ns.ip<{ ifindex: number }>('link', 'show', name)
  const everybody = sockaddr(parseIpv6('ff02::1'))
  new DataView(everybody.buffer).setUint32(24, link?.ifindex ?? 0, true)
  const fd = native().socket(ns.fd, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6)
  native().setsockopt(fd, SOL_IPV6, IPV6_MULTICAST_HOPS, int32(255))
  native().send(fd, Uint8Array.of(134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0), everybody, [])
  native().close(fd)
}

describe('a router', () => {
  test('gives pods IPv6 without being told, puts back its routes, and forwards without growing deaf to routers', async () => {
    await using router = await makeRouter()
    await using pod = await makeNetns()
    expect([await sysctl(router, 'all/forwarding'), await sysctl(router, 'eth0/accept_ra')]).toEqual(['0', '1'])
    router.start(...SEED)
    const { ipam, datapath } = await router.ready()
    expect([ipam.range6, datapath.hostAddress6, datapath.ipv6Fault]).toEqual([DEFAULT_RANGE6, 'fd8c:a79b:5319::1', undefined])
    expect([await sysctl(router, 'all/forwarding'), await sysctl(router, 'eth0/accept_ra')]).toEqual(['1', '2'])
    const { answer } = await router.cni('ADD', pod, 'c1')
    expect(answer?.ips?.map(({ address }) => address)).toEqual(['10.32.0.2/32', 'fd8c:a79b:5319::2/128'])
    await until('our links take no advice', async () => {
      const names = (await router.ns.ip<{ ifname: string }>('link', 'show')).map(({ ifname }) => ifname)
      const ours = names.filter((name) => name === 'weft-vx' || name.startsWith('wpod'))
      const settings = await Promise.all(ours.map((name) => sysctl(router, `${name}/accept_ra`)))
      return settings.length === 2 && settings.every((value) => value === '0') ? true : undefined
    })
    const before = await routes6(router)
    await router.ns.exec('ip', '-6', 'route', 'flush', 'proto', '119')
    await until('the routes are back', async () => ((await routes6(router)) === before ? true : undefined))
    expect((await router.weft('status')).stdout).toContain(`Range6: ${DEFAULT_RANGE6}\n`)
  })

  test('tells the runtime both addresses in the form of every version, and frees both', async () => {
    await using router = await makeRouter()
    await using pod = await makeNetns()
    router.start(...SEED)
    await router.ready()
    const [v4, v6] = [expect.stringMatching(/^10\.32\.0\.\d\/32$/), expect.stringMatching(/^fd8c:a79b:5319::\d\/128$/)]
    const [via4, via6] = ['169.254.1.1', 'fe80::1']
    for (const [version, shape] of [
      ['0.2.0', { ip4: { ip: v4, gateway: via4 }, ip6: { ip: v6, gateway: via6, routes: [{ dst: '::/0', gw: via6 }] } }],
      [
        '0.4.0',
        {
          ips: [
            { version: '4', address: v4, gateway: via4 },
            { version: '6', address: v6, gateway: via6 },
          ],
        },
      ],
      [
        '1.1.0',
        {
          ips: [
            { address: v4, gateway: via4 },
            { address: v6, gateway: via6 },
          ],
        },
      ],
    ] as const) {
      const CONF = JSON.stringify({ cniVersion: version, name: 'weft', type: 'weft-cni' })
      const before = await routes6(router)
      expect(await router.cni('ADD', pod, 'c1', { CONF })).toMatchObject({ status: 0, answer: { cniVersion: version, ...shape } })
      await router.cni('DEL', pod, 'c1', { CONF })
      expect([await routes6(router), (await router.snapshot()).ipam.activeIps]).toEqual([before, 1])
    }
  })

  test('does not cost its node the default route that it has from a router on its network', async () => {
    await using router = await makeRouter()
    await using world = await makeNetns()
    await router.ns.exec('ip', 'link', 'set', 'wire', 'netns', world.name)
    const lines = ['ip link set wire addrgenmode none', 'ip address add fe80::99/64 dev wire nodad', 'ip link set wire up']
    for (const line of lines) await world.exec('sh', '-c', line)
    const learnt = (): Promise<string> => router.ns.exec('ip', '-6', 'route', 'show', 'default', 'proto', 'ra')
    const hears = (): Promise<true> =>
      until('the node has learnt of the router', async () => {
        await advertise(world, 'wire')
        return (await learnt()).includes('via fe80::99') ? true : undefined
      })
    await hears()
    router.start(...SEED)
    await router.ready()
    expect([await sysctl(router, 'all/forwarding'), await learnt()]).toEqual(['1', expect.stringContaining('via fe80::99')])
    await router.ns.exec('ip', '-6', 'route', 'delete', 'default')
    await hears()
  })

  test('on a node without IPv6 goes on with IPv4, and says so once', async () => {
    await using router = await makeRouter()
    await using pod = await makeNetns()
    await router.ns.exec('sh', '-c', 'for f in all default; do echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6; done')
    const running = router.start(...SEED)
    const { datapath } = await router.ready()
    expect([datapath.ipv6Fault, datapath.hostAddress6]).toEqual([
      'it is switched off on this node (net.ipv6.conf.all.disable_ipv6 is 1)',
      undefined,
    ])
    const { answer } = await router.cni('ADD', pod, 'c1')
    expect(answer?.ips?.map(({ address }) => address)).toEqual(['10.32.0.2/32'])
    expect((await router.weft('status')).stdout).toContain('IPv6: none for pods: it is switched off on this node')
    await router.ns.exec('ip', 'route', 'flush', 'proto', '119')
    await until('passes went on', async () => ((await router.snapshot()).datapath.repairs > 0 ? true : undefined))
    expect(running.log().split('pods of this node get no IPv6').length - 1).toBe(1)
  })

  test('has none where it was told so', async () => {
    await using router = await makeRouter()
    await using pod = await makeNetns()
    router.start(...SEED, '--ipalloc-range', '10.32.0.0/12,none')
    const { ipam } = await router.ready()
    expect([ipam.range6, await sysctl(router, 'all/forwarding')]).toEqual([undefined, '0'])
    expect((await router.cni('ADD', pod, 'c1')).answer?.ips?.map(({ address }) => address)).toEqual(['10.32.0.2/32'])
  })

  test('does not start with another range of IPv6 than its addresses are of, and says which one to give', async () => {
    await using router = await makeRouter()
    const first = router.start(...SEED)
    await router.ready()
    first.child.kill('SIGTERM')
    await first.ended
    const second = router.start(...SEED, '--ipalloc-range', '10.32.0.0/12,fd00:1::/64')
    expect(await second.ended).toBe(1)
    expect(second.log()).toContain(`is of the range 10.32.0.0/12,${DEFAULT_RANGE6}; we are to use 10.32.0.0/12,fd00:1::/64`)
    expect(second.log()).toContain(`configure the range 10.32.0.0/12,${DEFAULT_RANGE6} again`)
    router.start(...SEED, '--ipalloc-range', `10.32.0.0/12,${DEFAULT_RANGE6}`)
    await router.ready()
  })
})

test('routers that mean different ranges of IPv6 do not share a ring, and each names both ranges', async () => {
  await using hub = await makeNetns()
  await using a = await makeRouter('192.0.2.1')
  await using b = await makeRouter('192.0.2.2')
  await joinUnderlays(hub, [a, b])
  const atA = a.start(...SEED)
  await a.ready()
  const atB = b.start('--ipalloc-range', '10.32.0.0/12,fd00:1::/64', '192.0.2.1')
  const [ours, theirs] = [`10.32.0.0/12,${DEFAULT_RANGE6}`, '10.32.0.0/12,fd00:1::/64']
  // The one that was dialled begins to compare with its next round, 7.5 to 12.5 s after its start.
  await until(
    'both logs tell',
    () =>
      (atA.log().includes(`a ring of the range ${theirs}; ours is ${ours}`) &&
        atB.log().includes(`a ring of the range ${ours}; ours is ${theirs}`)) ||
      undefined,
    seconds(20),
  )
  const [{ ipam: ringOfA }, { ipam: ringOfB, ready }] = [await a.snapshot(), await b.snapshot()]
  expect([ringOfA.owners.length, ringOfB.owners.length, ready]).toEqual([1, 0, false])
  expect(ringOfB.faults.join()).toContain(`a ring of the range ${ours}; ours is ${theirs}`)
})
