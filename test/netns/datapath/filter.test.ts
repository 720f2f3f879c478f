/** The filter on the real kernel: who may speak with which address, and that it comes back. */
import { describe, expect, test } from 'vitest'
import { parseCidr, parseIpv4 } from '../../../mesh/base/address.ts'
import { Filter } from '../../../router/datapath/filter.ts'
import { pass } from '../../../router/datapath/pass.ts'
import type { RulesetInput } from '../../../router/datapath/ruleset.ts'
import { attachRequest, makeHost, type TestHost } from '../../support/host.ts'
import { makeNetns, type Netns } from '../../support/netns.ts'
import { must } from '../../support/result.ts'

const universe = parseCidr('10.32.0.0/12')
const own = [{ start: parseIpv4('10.32.0.0'), end: parseIpv4('10.40.0.0') }]
const rules = (...peers: readonly string[]): RulesetInput => ({ universe, peers: peers.map(parseIpv4), own })

async function attach(host: TestHost, pod: Netns, containerId: string): Promise<void> {
  using request = attachRequest(pod, containerId)
  must(await host.pods.attach(request, new AbortController().signal))
}

/** Packets that the rule with this comment has dropped. */
async function dropped(host: TestHost, comment: string): Promise<number> {
  const listing = await host.ns.exec('nft', 'list', 'table', 'inet', 'weft')
  const lines = listing.split('\n').filter((line) => line.includes(comment))
  expect(lines.length).toBeGreaterThan(0)
  return lines.reduce((sum, line) => sum + Number(/packets (\d+)/.exec(line)?.[1]), 0)
}

const ping = (from: Netns, to: string, ...words: readonly string[]) => from.exec('ping', '-c', '1', '-W', '1', ...words, to)

describe('pods', () => {
  test('speak with their own address only', async () => {
    await using host = await makeHost()
    await using one = await makeNetns()
    await using other = await makeNetns()
    await attach(host, one, 'c1')
    await attach(host, other, 'c2')
    must(await new Filter({ netns: host.ns.path }).ensure(rules(), true))
    await expect(ping(one, '10.32.0.2')).resolves.toContain(' 0% packet loss')
    await one.exec('ip', 'address', 'add', '10.32.0.77/32', 'dev', 'eth0')
    await expect(ping(one, '10.32.0.2', '-I', '10.32.0.77')).rejects.toThrow()
    expect(await dropped(host, 'not the address of this pod')).toBeGreaterThan(0)
  })

  test('cannot send encapsulated packets, as only nodes do', async () => {
    await using host = await makeHost()
    await using pod = await makeNetns()
    await attach(host, pod, 'c1')
    must(await new Filter({ netns: host.ns.path }).ensure(rules('192.0.2.2'), true))
    await pod.exec('bash', '-c', 'echo x >/dev/udp/192.0.2.2/6784; echo x >/dev/udp/192.0.2.1/6784')
    expect(await dropped(host, 'a pod is not a node')).toBe(2)
  })

  test('cannot speak IPv6: no router advertisement reaches the node', async () => {
    await using host = await makeHost()
    await using pod = await makeNetns()
    await attach(host, pod, 'c1')
    must(await new Filter({ netns: host.ns.path }).ensure(rules(), true))
    await pod.exec('ip', 'address', 'add', 'fd00::1/64', 'dev', 'eth0', 'nodad')
    await expect(ping(pod, 'ff02::1%eth0', '-6')).rejects.toThrow()
    expect(await dropped(host, 'pods have no IPv6')).toBeGreaterThan(0)
  })
})

describe('encapsulated packets', () => {
  /** A machine on the same wire that has made itself the peer's device, at `address`. */
  async function neighbourAt(host: TestHost, address: string): Promise<Netns> {
    const ns = await makeNetns()
    await host.ns.exec('ip', 'link', 'set', 'wire', 'netns', ns.name)
    const lines = [
      `ip link set wire up && ip address add ${address}/24 dev wire`,
      `ip link add vx address 02:bb:bb:bb:bb:bb type vxlan id 6784 remote 192.0.2.1 local ${address} dstport 6784 dev wire`,
      'ip link set vx up && ip address add 10.40.0.1/32 dev vx && ip address add 10.32.0.50/32 dev vx',
      'ip route add 10.32.0.0/16 via 192.0.2.1 dev vx onlink src 10.40.0.1',
      'ip neighbour add 192.0.2.1 lladdr 02:aa:aa:aa:aa:aa dev vx nud permanent',
    ]
    for (const line of lines) await ns.exec('sh', '-c', line)
    return ns
  }

  test('come in from peers, with the addresses of peers', async () => {
    await using host = await makeHost()
    await using pod = await makeNetns()
    await attach(host, pod, 'c1')
    await using peer = await neighbourAt(host, '192.0.2.2')
    must(await pass(host.netlink, host.wants()))
    must(await new Filter({ netns: host.ns.path }).ensure(rules('192.0.2.2'), true))
    await expect(ping(peer, '10.32.0.1')).resolves.toContain(' 0% packet loss')
    await expect(ping(peer, '10.32.0.1', '-I', '10.32.0.50')).rejects.toThrow()
    expect(await dropped(host, 'an address of this node cannot come from another')).toBeGreaterThan(0)
  })

  test('do not come in from anybody else', async () => {
    await using host = await makeHost()
    await using pod = await makeNetns()
    await attach(host, pod, 'c1')
    await using stranger = await neighbourAt(host, '192.0.2.3')
    must(await pass(host.netlink, host.wants()))
    const filter = new Filter({ netns: host.ns.path })
    must(await filter.ensure(rules('192.0.2.2'), true))
    await expect(ping(stranger, '10.32.0.1')).rejects.toThrow()
    expect(await dropped(host, 'not from a peer')).toBeGreaterThan(0)
    must(await filter.ensure(rules('192.0.2.2', '192.0.2.3'), false))
    const before = await dropped(host, 'not from a peer')
    expect(before).toBeGreaterThan(0)
    await ping(stranger, '10.32.0.1').catch(() => undefined)
    expect(await dropped(host, 'not from a peer')).toBe(before)
  })
})

describe('the table', () => {
  test('comes back when it was removed or changed, and is left alone otherwise', async () => {
    await using host = await makeHost()
    const filter = new Filter({ netns: host.ns.path })
    const ensure = async () => must(await filter.ensure(rules('192.0.2.2'), true)).repaired
    expect(await ensure()).toBe(false)
    expect(await ensure()).toBe(false)
    for (const damage of [
      'delete table inet weft',
      'flush chain inet weft from_pod',
      'delete element inet weft peers { 192.0.2.2 }',
      'flush set inet weft own',
    ]) {
      await host.ns.exec('nft', damage)
      expect(await ensure()).toBe(true)
      expect(await ensure()).toBe(false)
    }
  })

  test('leaves the tables of others alone', async () => {
    await using host = await makeHost()
    await host.ns.exec('nft', 'add table inet theirs')
    must(await new Filter({ netns: host.ns.path }).ensure(rules(), true))
    expect(await host.ns.exec('nft', 'list', 'tables')).toBe('table inet theirs\ntable inet weft\n')
  })
})
