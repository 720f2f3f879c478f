/** Attaching pods on the real kernel: everything is there afterwards, or nothing is. */
import { describe, expect, test } from 'vitest'
import { attachmentKey } from '../../../ipam/attachment.ts'
import { formatIpv4, parseCidr, parseIpv4 } from '../../../mesh/base/address.ts'
import { silentLog } from '../../../mesh/base/log.ts'
import type { AttachRequest } from '../../../plugin/port.ts'
import { settleAccounts } from '../../../router/accounts.ts'
import { pass } from '../../../router/datapath/pass.ts'
import { openNetns, ownNetnsIdentity } from '../../../router/kernel/netns.ts'
import { attachRequest, held, keyOf, makeHost, type TestHost } from '../../support/host.ts'
import { makeNetns, type Netns } from '../../support/netns.ts'
import { must, mustFail } from '../../support/result.ts'
import { until } from '../../support/until.ts'

const forever = new AbortController().signal

async function attach(host: TestHost, pod: Netns, containerId: string, changes: Partial<AttachRequest> = {}) {
  using request = attachRequest(pod, containerId, changes)
  return await host.pods.attach(request, forever)
}

async function links(ns: Netns): Promise<readonly string[]> {
  return (await ns.ip<{ ifname: string }>('link', 'show')).map(({ ifname }) => ifname).toSorted()
}

/** What a host has before its first pod. */
const BARE = ['eth0', 'lo', 'wire']

describe('attach', () => {
  test('gives the pod its interface, and two pods reach each other by it', async () => {
    await using host = await makeHost()
    await using one = await makeNetns()
    await using other = await makeNetns()
    const attached = must(await attach(host, one, 'c1'))
    must(await attach(host, other, 'c2'))
    expect(attached).toMatchObject({
      pod: { mac: '02:77:0a:20:00:01', mtuBytes: 1_450 },
      addresses: [{ address: '10.32.0.1/32', gateway: '169.254.1.1' }],
      routes: [{ destination: '169.254.1.1/32' }, { destination: '0.0.0.0/0', gateway: '169.254.1.1' }],
    })
    expect(await one.ip('neighbour', 'show')).toMatchObject([{ dst: '169.254.1.1', lladdr: '02:77:65:66:74:01', state: ['PERMANENT'] }])
    await expect(one.exec('ping', '-c', '1', '-W', '2', '-M', 'do', '-s', '1422', '10.32.0.2')).resolves.toContain(' 0% packet loss')
    await expect(one.exec('ping', '-c', '1', '-W', '2', '-M', 'do', '-s', '1423', '10.32.0.2')).rejects.toThrow()
  })

  test('leaves nothing for a pass to do', async () => {
    await using host = await makeHost()
    must(await pass(host.netlink, host.wants()))
    await using pod = await makeNetns()
    must(await attach(host, pod, 'c1'))
    expect(must(await pass(host.netlink, host.wants())).changes).toMatchObject({ added: [], removed: 0, errors: [] })
  })

  test('heals by a pass when somebody flushes the routes', async () => {
    await using host = await makeHost()
    await using pod = await makeNetns()
    must(await attach(host, pod, 'c1'))
    await host.ns.exec('sh', '-c', 'ip route flush proto 119; ip neighbour flush nud permanent')
    must(await pass(host.netlink, host.wants()))
    const [route] = await host.ns.ip<{ dev: string }>('route', 'show', '10.32.0.1')
    expect(route?.dev).toMatch(/^wpod/)
    expect(await host.ns.ip('neighbour', 'show', 'dev', route?.dev ?? '')).toMatchObject([
      { dst: '10.32.0.1', lladdr: '02:77:0a:20:00:01' },
    ])
  })

  test('takes a hardware address that was asked for, and a pass keeps it', async () => {
    await using host = await makeHost()
    await using pod = await makeNetns()
    const mac = '02:00:00:00:00:42' as NonNullable<AttachRequest['mac']>
    expect(must(await attach(host, pod, 'c1', { mac })).pod.mac).toBe(mac)
    await host.ns.exec('ip', 'neighbour', 'flush', 'nud', 'permanent')
    must(await pass(host.netlink, host.wants()))
    expect(await host.ns.ip('neighbour', 'show', '10.32.0.1')).toMatchObject([{ lladdr: mac }])
  })

  test('refuses a name that the pod has already, and gives the address back', async () => {
    await using host = await makeHost()
    await using pod = await makeNetns()
    await pod.exec('ip', 'link', 'add', 'eth0', 'type', 'bridge')
    expect(mustFail(await attach(host, pod, 'c1'))).toEqual({ code: 'interface-exists' })
    expect({ held: held(host.ipam), links: await links(host.ns), pod: await links(pod) }).toEqual({
      held: [],
      links: BARE,
      pod: ['eth0', 'lo'],
    })
  })

  test('refuses a second ADD of the same attachment and leaves the first', async () => {
    await using host = await makeHost()
    await using pod = await makeNetns()
    must(await attach(host, pod, 'c1'))
    expect(mustFail(await attach(host, pod, 'c1'))).toEqual({ code: 'already-attached' })
    expect(held(host.ipam)).toEqual(['10.32.0.1'])
    expect(await links(pod)).toEqual(['eth0', 'lo'])
  })

  test("refuses the node's own namespace before it touches anything", async () => {
    await using host = await makeHost()
    await using pod = await makeNetns()
    expect(ownNetnsIdentity()).not.toBe('')
    using request = attachRequest(pod, 'c1', {})
    const own = { ...request.netns, namespace: openNetns('/proc/self/ns/net') }
    expect(mustFail(await host.pods.attach({ ...request, netns: own }, forever))).toEqual({ code: 'host-namespace' })
    expect(held(host.ipam)).toEqual([])
  })

  test('gives the address that was asked for, or one of the subnet, and the hardware address that goes with it', async () => {
    await using host = await makeHost()
    await using one = await makeNetns()
    await using other = await makeNetns()
    const attached = must(await attach(host, one, 'c1', { addresses: [parseIpv4('10.32.0.9'), parseIpv4('10.32.0.9')] }))
    expect(attached.addresses).toEqual([{ address: '10.32.0.9/32', gateway: '169.254.1.1' }])
    must(await attach(host, other, 'c2', { subnet: parseCidr('10.32.1.0/24') }))
    expect(held(host.ipam)).toEqual(['10.32.0.9', '10.32.1.0'])
    expect(must(await pass(host.netlink, host.wants())).changes).toMatchObject({ removed: 0, errors: [] })
    expect(await other.exec('ip', 'address', 'show', 'dev', 'eth0')).toMatch(/02:77:0a:20:01:00[\s\S]*inet 10\.32\.1\.0\/32/)
    expect(await host.ns.ip('route', 'show', '10.32.1.0')).toMatchObject([{ dev: expect.stringMatching(/^wpod/) }])
  })

  test('says why an address that was asked for is not to be had, and leaves nothing', async () => {
    await using host = await makeHost()
    await using one = await makeNetns()
    await using other = await makeNetns()
    must(await attach(host, one, 'c1', { addresses: [parseIpv4('10.32.0.9')] }))
    const ask = async (...texts: readonly string[]) => mustFail(await attach(host, other, 'c2', { addresses: texts.map(parseIpv4) }))
    expect(await ask('10.32.0.9')).toEqual({ code: 'address-unavailable', reason: '10.32.0.9 is in use by c1/eth0 on this node' })
    expect(await ask('10.99.0.9')).toMatchObject({ code: 'address-impossible', reason: expect.stringContaining('10.99.0.9 is outside of') })
    expect(await ask('10.32.0.7', '10.32.0.8')).toMatchObject({
      code: 'address-impossible',
      reason: expect.stringContaining('10.32.0.7, 10.32.0.8 asked for, which no interface gets together'),
    })
    expect([held(host.ipam), await links(other)]).toEqual([['10.32.0.9'], ['lo']])
  })

  test('undoes everything when whoever asked goes away, at any moment', async () => {
    await using host = await makeHost()
    await using pod = await makeNetns()
    for (let turns = 0; turns < 12; turns++) {
      using request = attachRequest(pod, 'c1')
      const caller = new AbortController()
      const attaching = host.pods.attach(request, caller.signal)
      for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
      caller.abort(new Error('the runtime went away'))
      const result = await attaching
      if (result.ok) must(await host.pods.detach(keyOf('c1')))
      else expect(result.error).toEqual({ code: 'cancelled' })
      expect({ held: held(host.ipam), links: await links(host.ns), pod: await links(pod) }).toEqual({ held: [], links: BARE, pod: ['lo'] })
    }
  })
})

describe('detach', () => {
  test('removes link and address, and as often as one likes', async () => {
    await using host = await makeHost()
    await using pod = await makeNetns()
    must(await attach(host, pod, 'c1'))
    for (let time = 0; time < 3; time++) must(await host.pods.detach(keyOf('c1')))
    expect({ held: held(host.ipam), links: await links(host.ns), pod: await links(pod) }).toEqual({ held: [], links: BARE, pod: ['lo'] })
  })

  test('frees the address of a pod whose namespace is gone', async () => {
    await using host = await makeHost()
    {
      await using pod = await makeNetns()
      must(await attach(host, pod, 'c1'))
    }
    must(await host.pods.detach(keyOf('c1')))
    expect(held(host.ipam)).toEqual([])
  })

  test('leaves its address to another pod, which whoever spoke with the old one reaches at once', async () => {
    await using host = await makeHost()
    await using asker = await makeNetns()
    const address = '10.32.0.9'
    must(await attach(host, asker, 'asker'))
    for (const containerId of ['old', 'new']) {
      await using pod = await makeNetns()
      must(await attach(host, pod, containerId, { addresses: [parseIpv4(address)] }))
      await expect(asker.exec('ping', '-c', '1', '-W', '2', address)).resolves.toContain(' 0% packet loss')
      must(await host.pods.detach(keyOf(containerId)))
      await expect(asker.exec('ping', '-c', '1', '-W', '1', address)).rejects.toThrow()
    }
  })

  test('of all pods but those named, of one network only', async () => {
    await using host = await makeHost()
    await using one = await makeNetns()
    await using two = await makeNetns()
    await using three = await makeNetns()
    must(await attach(host, one, 'c1'))
    must(await attach(host, two, 'c2'))
    must(await attach(host, three, 'c3', { network: 'other' }))
    must(await host.pods.collect('weft', [keyOf('c2')]))
    expect(held(host.ipam)).toEqual(['10.32.0.2', '10.32.0.3'])
    expect(await links(one)).toEqual(['lo'])
  })
})

describe('check', () => {
  test.each([
    { name: 'nothing', where: 'pod', damage: 'true', faults: [] },
    { name: 'something that was added', where: 'pod', damage: 'ip route add 192.0.2.0/24 via 169.254.1.1', faults: [] },
    {
      name: 'its address',
      where: 'pod',
      damage: 'ip address delete 10.32.0.1/32 dev eth0',
      faults: ['eth0 has lost the address 10.32.0.1', 'eth0 has lost the default route'],
    },
    { name: 'its default route', where: 'pod', damage: 'ip route delete default', faults: ['eth0 has lost the default route'] },
    {
      name: 'its link',
      where: 'pod',
      damage: 'ip link set eth0 down',
      faults: ['eth0 is down in the pod', 'eth0 has lost the default route'],
    },
    {
      name: 'the way to it',
      where: 'host',
      damage: 'ip route flush proto 119',
      faults: [expect.stringMatching(/^the node has no route to 10.32.0.1 by wpod/)],
    },
    {
      name: 'all of it',
      where: 'host',
      damage: 'ip link delete $(ls /sys/class/net 2>/dev/null | grep wpod || ip -o link | grep -o "wpod[0-9a-f]*" | head -1)',
      faults: [expect.stringContaining('the pod has no interface eth0'), expect.stringContaining('the node has no link')],
    },
  ])('finds that a pod has lost $name', async ({ where, damage, faults }) => {
    await using host = await makeHost()
    await using pod = await makeNetns()
    must(await attach(host, pod, 'c1'))
    await (where === 'pod' ? pod : host.ns).exec('sh', '-c', damage)
    using request = attachRequest(pod, 'c1')
    const checked = await host.pods.check({ key: request.key, netns: request.netns, addresses: ['10.32.0.1/32'] })
    expect(checked.ok ? [] : checked.error).toEqual(faults.length === 0 ? [] : { code: 'broken', faults })
  })

  test('knows what was never attached', async () => {
    await using host = await makeHost()
    await using pod = await makeNetns()
    using request = attachRequest(pod, 'c1')
    const checked = await host.pods.check({ key: request.key, netns: request.netns, addresses: [] })
    expect(mustFail(checked)).toEqual({ code: 'not-attached' })
  })
})

describe('a router that starts', () => {
  const settle = (host: TestHost): Promise<void> =>
    settleAccounts({ ...host, universe: parseCidr('10.32.0.0/12'), hostAttachment: attachmentKey('weft', 'host') }, [], silentLog)

  test('frees the addresses of pods that vanished while no router ran, and of no others', async () => {
    await using host = await makeHost()
    await using stays = await makeNetns()
    must(await attach(host, stays, 'stays'))
    {
      await using goes = await makeNetns()
      must(await attach(host, goes, 'goes'))
    }
    // The kernel takes a namespace down behind our back.
    await until('its link is gone', async () => ((await links(host.ns)).length === BARE.length + 1 ? true : undefined))
    await settle(host)
    expect(held(host.ipam)).toEqual(['10.32.0.1'])
  })

  test.each(['release', 'detach'] as const)('keeps what is reserved for interfaces of other plugins, until its %s', async (end) => {
    await using host = await makeHost()
    const key = keyOf('other')
    const address = must(await host.pods.reserve({ key, addresses: [] }, forever))
    await settle(host)
    expect(await host.pods.reserved(key)).toBe(address)
    expect(mustFail(await host.pods.reserve({ key, addresses: [] }, forever))).toEqual({ code: 'already-attached' })
    expect(await links(host.ns)).toEqual(BARE)
    expect(held(host.ipam)).toEqual([formatIpv4(address)])
    await host.pods[end](key)
    expect(held(host.ipam)).toEqual([])
  })

  test('takes up the addresses of pods that run, when its journal has lost them; nobody else gets them', async () => {
    await using host = await makeHost()
    await using one = await makeNetns()
    await using other = await makeNetns()
    await using third = await makeNetns()
    must(await attach(host, one, 'c1'))
    must(await attach(host, other, 'c2'))
    const before = host.ipam.allocations()
    for (const key of before.keys()) await host.ipam.free(key)
    await settle(host)
    expect(host.ipam.allocations()).toEqual(before)
    must(await attach(host, third, 'c3'))
    expect(held(host.ipam)).toEqual(['10.32.0.1', '10.32.0.2', '10.32.0.3'])
    expect(must(await pass(host.netlink, host.wants())).changes).toMatchObject({ removed: 0, errors: [] })
    await expect(one.exec('ping', '-c', '1', '-W', '2', '10.32.0.2')).resolves.toContain(' 0% packet loss')
  })

  test('believes the pods, where the journal has kept something older', async () => {
    await using host = await makeHost()
    await using pod = await makeNetns()
    must(await attach(host, pod, 'c1'))
    await host.ipam.free(attachmentKey('c1', 'eth0'))
    await host.ipam.allocate(attachmentKey('c1', 'eth0'), forever)
    expect(held(host.ipam)).toEqual(['10.32.0.2'])
    await settle(host)
    expect(held(host.ipam)).toEqual(['10.32.0.1'])
  })
})
