/** A pass over the real kernel: it brings about what is wanted, leaves alone what is not ours, and heals what others break. */
import { describe, expect, test } from 'vitest'
import { formatCidr, formatIpv4 } from '../../../mesh/base/address.ts'
import { type Passed, type PassInput, pass } from '../../../router/datapath/pass.ts'
import { HOST_ADDRESS, makeHost, PEER, type TestHost } from '../../support/host.ts'
import { must } from '../../support/result.ts'

async function pass_(host: TestHost, changes: Partial<PassInput> = {}): Promise<Passed> {
  const passed = must(await pass(host.netlink, { ...host.wants(), ...changes }))
  expect(passed.changes.errors).toEqual([])
  return passed
}

/** As text: in the JSON of `ip` an encapsulating route has two members of the name `dst`. */
async function routes(host: TestHost): Promise<readonly string[]> {
  const text = await host.ns.exec('ip', 'route', 'show', 'proto', '119')
  const listed = text
    .trimEnd()
    .split('\n')
    .filter((line) => line !== '')
  return listed.map((line) => `${/10\.[\d./]+/.exec(line)?.[0]} ${/dev (\S+)/.exec(line)?.[1] ?? ''}`.trim()).toSorted()
}

const ALL = ['10.32.0.0/12', '10.40.0.0/13 weft-vx']

describe('a pass', () => {
  test('makes the device, the routes and the neighbour; a second one changes nothing', async () => {
    await using host = await makeHost()
    const first = await pass_(host)
    expect(await routes(host)).toEqual(ALL)
    expect(first).toMatchObject({ routesWanted: 2, unknownOwners: [], changes: { routesPresent: 2 } })
    expect(formatIpv4(first.underlay.address)).toBe('192.0.2.1')
    const [device] = await host.ns.ip<{ mtu: number; address: string; linkinfo: { info_data: Record<string, unknown> } }>(
      'link',
      'show',
      'weft-vx',
    )
    expect(device).toMatchObject({
      mtu: 1450,
      address: '02:aa:aa:aa:aa:aa',
      linkinfo: { info_data: { id: 6784, local: '192.0.2.1', port: 6784, learning: false } },
    })
    expect(await host.ns.exec('bridge', 'fdb', 'show', 'dev', 'weft-vx')).toContain('02:bb:bb:bb:bb:bb dst 192.0.2.2 self permanent')
    const neighbours = await host.ns.ip('neighbour', 'show', 'dev', 'weft-vx', 'nud', 'permanent')
    expect(neighbours).toMatchObject([{ dst: '192.0.2.2', lladdr: '02:bb:bb:bb:bb:bb' }])
    expect((await pass_(host)).changes).toMatchObject({ added: [], removed: 0, routesPresent: 2 })
  })

  test.each([
    { name: 'flushes the routes', damage: 'ip route flush proto 119', added: 2 },
    { name: 'deletes the device', damage: 'ip link delete weft-vx', added: 2 },
    { name: 'takes the device down', damage: 'ip link set weft-vx down', added: 1 },
    { name: 'deletes the forwarding entry', damage: 'bridge fdb delete 02:bb:bb:bb:bb:bb dev weft-vx dst 192.0.2.2', added: 1 },
    { name: 'points the forwarding entry elsewhere', damage: 'bridge fdb replace 02:bb:bb:bb:bb:bb dev weft-vx dst 192.0.2.99', added: 1 },
    { name: 'deletes the neighbour', damage: 'ip neighbour flush dev weft-vx nud permanent', added: 1 },
    { name: 'changes a route', damage: 'ip route change 10.40.0.0/13 via 192.0.2.9 dev eth0 proto 119', added: 1 },
    { name: 'changes the MTU of the device', damage: 'ip link set weft-vx mtu 1000', added: 0 },
    { name: "makes another device of our device's name", damage: 'ip link delete weft-vx && ip link add weft-vx type bridge', added: 2 },
  ])('heals when somebody $name', async ({ damage, added }) => {
    await using host = await makeHost()
    await pass_(host)
    await host.ns.exec('sh', '-c', damage)
    const healed = await pass_(host)
    expect(healed.changes.added.length).toBeGreaterThanOrEqual(added)
    expect(await routes(host)).toEqual(ALL)
    expect((await pass_(host)).changes).toMatchObject({ added: [], removed: 0 })
    expect(await host.ns.exec('bridge', 'fdb', 'show', 'dev', 'weft-vx')).toContain('02:bb:bb:bb:bb:bb dst 192.0.2.2 self permanent')
    const [device] = await host.ns.ip<{ mtu: number; operstate: string }>('link', 'show', 'weft-vx')
    expect(device?.mtu).toBe(1450)
  })

  test('removes what is ours and no longer wanted, and nothing of others', async () => {
    await using host = await makeHost()
    await pass_(host)
    await host.ns.exec(
      'sh',
      '-c',
      'ip route add 10.200.0.0/16 dev eth0 proto static && ip neighbour add 192.0.2.77 lladdr 02:00:00:00:00:77 dev eth0',
    )
    const passed = await pass_(host, { destinations: new Map() })
    expect(passed.unknownOwners).toEqual([PEER])
    expect(await routes(host)).toEqual(['10.32.0.0/12'])
    expect(await host.ns.ip('route', 'show', 'proto', 'static')).toMatchObject([{ dst: '10.200.0.0/16' }])
    expect(await host.ns.ip('neighbour', 'show', 'dev', 'eth0')).toMatchObject([{ dst: '192.0.2.77' }])
    expect(await host.ns.ip('neighbour', 'show', 'dev', 'weft-vx', 'nud', 'permanent')).toEqual([])
  })

  test("gives the node its own address, says it as the routes' source, and takes it away again", async () => {
    await using host = await makeHost()
    await pass_(host, { hostAddress: HOST_ADDRESS })
    const [route] = await host.ns.ip<{ prefsrc: string }>('route', 'show', '10.40.0.0/13')
    expect(route?.prefsrc).toBe('10.32.0.1')
    await pass_(host)
    const [device] = await host.ns.ip<{ addr_info: readonly { family: string }[] }>('address', 'show', 'weft-vx')
    expect(device?.addr_info.filter(({ family }) => family === 'inet')).toEqual([])
  })

  test('follows the underlay when its MTU changes', async () => {
    await using host = await makeHost()
    await pass_(host)
    await host.ns.exec('sh', '-c', 'ip link set wire mtu 1400 && ip link set eth0 mtu 1400')
    const passed = await pass_(host)
    expect(passed.underlay.mtuBytes).toBe(1_400)
    const [route] = await host.ns.ip<{ metrics: readonly { mtu: number }[] }>('route', 'show', '10.40.0.0/13')
    expect(route?.metrics).toEqual([{ mtu: 1_350 }])
  })

  test('says what is missing when there is no underlay, and touches nothing', async () => {
    await using host = await makeHost()
    await host.ns.exec('ip', 'address', 'flush', 'dev', 'eth0')
    const failed = await pass(host.netlink, host.wants())
    expect(failed).toEqual({ ok: false, error: 'no interface that is up has an IPv4 address for peers to use' })
    expect(await routes(host)).toEqual([])
  })

  test('shows owners in blocks that are aligned', async () => {
    await using host = await makeHost()
    const { ranges } = host.wants()
    expect(ranges.map(({ range }) => formatCidr({ base: range.start as never, length: 13 }))).toEqual(['10.32.0.0/13', '10.40.0.0/13'])
  })
})
