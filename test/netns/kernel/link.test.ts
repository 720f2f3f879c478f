/** Links, made by us and looked at with `ip link`. */

import { describe, expect, test } from 'vitest'
import { parseIpv4 } from '../../../mesh/base/address.ts'
import { systemClock } from '../../../mesh/base/clock.ts'
import { addBridge, addVeth, addVxlan, deleteLink, getLink, listLinks, setLink } from '../../../router/kernel/link.ts'
import { parseMac } from '../../../router/kernel/mac.ts'
import { Netlink } from '../../../router/kernel/netlink.ts'
import { linkNamed, makeKernelNetns, makeLinks } from '../../support/kernel.ts'
import { makeNetns } from '../../support/netns.ts'
import { must, mustFail } from '../../support/result.ts'

interface IpLink {
  readonly ifindex: number
  readonly ifname: string
  readonly address: string
  readonly mtu: number
  readonly master?: string
  readonly linkinfo?: { readonly info_kind: string; readonly info_data?: Record<string, unknown> }
}

const NEAR = parseMac('02:77:65:66:74:01')
const FAR = parseMac('02:77:0a:20:00:05')

describe('a veth', () => {
  test('has its other end born in another namespace, with names, addresses and MTUs', async () => {
    await using host = await makeKernelNetns()
    await using pod = await makeNetns()
    must(
      await addVeth(host.netlink, {
        name: 'wp0',
        mac: NEAR,
        mtuBytes: 1450,
        up: true,
        peer: { name: 'eth0', mac: FAR, mtuBytes: 1400, netns: pod.fd },
      }),
    )
    await pod.exec('ip', 'link', 'set', 'eth0', 'up')
    const [near] = await host.ns.ip<IpLink>('link', 'show', 'wp0')
    const [far] = await pod.ip<IpLink>('link', 'show', 'eth0')
    expect(near).toMatchObject({ address: NEAR, mtu: 1450, linkinfo: { info_kind: 'veth' } })
    expect(far).toMatchObject({ address: FAR, mtu: 1400, linkinfo: { info_kind: 'veth' } })
    expect(must(await getLink(host.netlink, 'wp0'))).toEqual({
      index: near?.ifindex,
      name: 'wp0',
      mac: NEAR,
      mtuBytes: 1450,
      up: true,
      operational: true,
      master: undefined,
      lower: far?.ifindex,
      details: { kind: 'veth' },
    })
  })

  test('of a name that is taken is refused with what was attempted', async () => {
    await using host = await makeKernelNetns()
    await makeLinks(host.netlink, 'wp0')
    const error = mustFail(await addVeth(host.netlink, { name: 'wp0', mtuBytes: 1450, peer: { name: 'eth0' } }))
    expect(error).toMatchObject({ code: 'EEXIST', errno: 17, operation: 'ip link add wp0 mtu 1450 type veth peer eth0' })
  })

  test('of a name that the kernel cannot take is refused in the kernel’s words', async () => {
    await using host = await makeKernelNetns()
    const error = mustFail(await addBridge(host.netlink, { name: 'sixteen-letters-' }))
    expect({ code: error.code, isExplained: (error.detail ?? '').length > 0 }).toEqual({ code: 'ERANGE', isExplained: true })
  })
})

test('a VXLAN device with an end of its own is listed as it was made', async () => {
  await using host = await makeKernelNetns()
  const network = { id: 7, local: parseIpv4('127.0.0.1') }
  must(await addVxlan(host.netlink, { name: 'vx0', port: 6784, up: true, network }))
  const [shown] = await host.ns.ip<IpLink>('link', 'show', 'vx0')
  expect(shown?.linkinfo).toMatchObject({ info_data: { id: 7, local: '127.0.0.1', port: 6784, learning: false, udp_csum: true } })
  expect(await linkNamed(host.netlink, 'vx0')).toMatchObject({
    details: { kind: 'vxlan', external: false, port: 6784, learning: false, ...network },
  })
})

test('a VXLAN device of no one network is in external mode, does not learn, and is listed as it was made', async () => {
  await using host = await makeKernelNetns()
  must(await addVxlan(host.netlink, { name: 'weft-vx', mac: NEAR, mtuBytes: 1450, port: 6784, up: true }))
  const [shown] = await host.ns.ip<IpLink>('link', 'show', 'weft-vx')
  expect(shown).toMatchObject({
    address: NEAR,
    mtu: 1450,
    linkinfo: { info_kind: 'vxlan', info_data: { external: true, port: 6784, learning: false } },
  })
  expect(await linkNamed(host.netlink, 'weft-vx')).toMatchObject({
    up: true,
    details: { kind: 'vxlan', external: true, port: 6784, id: 0, learning: false },
  })
})

test('links join a bridge and leave it', async () => {
  await using host = await makeKernelNetns()
  must(await addBridge(host.netlink, { name: 'br0' }))
  const bridge = await linkNamed(host.netlink, 'br0')
  const port = await makeLinks(host.netlink, 'wp0')
  must(await setLink(host.netlink, port.index, { master: bridge.index }))
  expect(await linkNamed(host.netlink, 'wp0')).toMatchObject({ master: bridge.index })
  expect(await host.ns.ip<IpLink>('link', 'show', 'wp0')).toMatchObject([{ master: 'br0' }])
  must(await setLink(host.netlink, port.index, { master: 0 }))
  expect((await linkNamed(host.netlink, 'wp0')).master).toBeUndefined()
})

test('state, MTU, address and name are changed, one or all at once', async () => {
  await using host = await makeKernelNetns()
  const { index } = await makeLinks(host.netlink, 'wp0')
  must(await setLink(host.netlink, index, { up: false }))
  expect(await linkNamed(host.netlink, 'wp0')).toMatchObject({ up: false, operational: false })
  must(await setLink(host.netlink, index, { up: true, mtuBytes: 1300, mac: FAR, name: 'renamed' }))
  expect(await linkNamed(host.netlink, 'renamed')).toMatchObject({ index, up: true, mtuBytes: 1300, mac: FAR })
  expect(must(await getLink(host.netlink, 'wp0'))).toBeUndefined()
})

test('a link is moved to another namespace', async () => {
  await using host = await makeKernelNetns()
  await using pod = await makeNetns()
  const { index } = await makeLinks(host.netlink, 'wp0')
  must(await setLink(host.netlink, index, { netns: pod.fd, name: 'eth0' }))
  expect(must(await getLink(host.netlink, 'wp0'))).toBeUndefined()
  using inside = Netlink.open({ clock: systemClock, netns: pod.fd })
  expect(await linkNamed(inside, 'eth0')).toMatchObject({ details: { kind: 'veth' } })
})

test('the list is that of `ip link`', async () => {
  await using host = await makeKernelNetns()
  await makeLinks(host.netlink, 'wp0')
  must(await addBridge(host.netlink, { name: 'br0' }))
  const ours = must(await listLinks(host.netlink)).map(({ index, name, mac, mtuBytes }) => ({ index, name, mac, mtuBytes }))
  const theirs = (await host.ns.ip<IpLink>('link', 'show')).map(({ ifindex, ifname, address, mtu }) => ({
    index: ifindex,
    name: ifname,
    mac: address,
    mtuBytes: mtu,
  }))
  expect(ours).toEqual(theirs)
})

test('what is deleted is gone, and once more is no error', async () => {
  await using host = await makeKernelNetns()
  const { index } = await makeLinks(host.netlink, 'wp0')
  must(await deleteLink(host.netlink, 'wp0'))
  must(await deleteLink(host.netlink, 'wp0'))
  must(await deleteLink(host.netlink, index))
  expect(must(await listLinks(host.netlink)).map(({ name }) => name)).toEqual(['lo'])
})

test('`lo` cannot be deleted, and the error says what was attempted', async () => {
  await using host = await makeKernelNetns()
  expect(mustFail(await deleteLink(host.netlink, 'lo'))).toMatchObject({ code: 'EOPNOTSUPP', operation: 'ip link delete dev lo' })
})
