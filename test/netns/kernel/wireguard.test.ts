/** What a kernel says of generic netlink and of WireGuard when it is asked; devices themselves are tested under test/vm. */
import { expect, test } from 'vitest'
import { systemClock } from '../../../mesh/base/clock.ts'
import { findFamily } from '../../../router/kernel/generic.ts'
import { listLinks } from '../../../router/kernel/link.ts'
import { type Fd, native } from '../../../router/kernel/native.ts'
import { Netlink } from '../../../router/kernel/netlink.ts'
import { ensureWireguard } from '../../../router/kernel/wireguard.ts'
import { makeKernelNetns } from '../../support/kernel.ts'
import { must } from '../../support/result.ts'

const AF_NETLINK = 16
const SOCK_RAW = 3

test('a family is found by its name, and one that is not there is not', async () => {
  await using host = await makeKernelNetns()
  using generic = Netlink.open({ clock: systemClock, netns: host.ns.fd, protocol: 'generic' })
  expect(must(await findFamily(generic, 'nlctrl'))).toBe(16)
  expect(must(await findFamily(generic, 'weft-nothing'))).toBeUndefined()
})

test('whether there is WireGuard is said as `ip` says it, with the reason why not', async () => {
  await using host = await makeKernelNetns()
  using generic = Netlink.open({ clock: systemClock, netns: host.ns.fd, protocol: 'generic' })
  const said = await host.ns.exec('sh', '-c', 'ip link add wg-try type wireguard 2>&1 && ip link delete wg-try || true')
  const found = must(await ensureWireguard({ route: host.netlink, generic }, { name: 'weft-wg', up: true }))
  const [, device] = must(await listLinks(host.netlink))
  if (said === '') {
    expect(found).toMatchObject({ kind: 'present', index: device?.index })
  } else {
    expect(said).toContain('Unknown device type')
    expect(device).toBeUndefined()
    expect(found).toEqual({
      kind: 'absent',
      reason: 'this kernel has no WireGuard (ip link add weft-wg up type wireguard: Unknown device type (EOPNOTSUPP))',
    })
  }
})

test('a socket that somebody else opened is taken only if it speaks with the subsystem that is meant', () => {
  const socket = (protocol: number): Fd => native().socket(-1, AF_NETLINK, SOCK_RAW, protocol)
  const [route, generic] = [socket(0), socket(16)]
  try {
    expect(() => Netlink.open({ clock: systemClock, fd: route, protocol: 'generic' })).toThrow(
      'is not a netlink socket of the generic family',
    )
    expect(() => Netlink.open({ clock: systemClock, fd: generic })).toThrow('is not a netlink socket of the route family')
    Netlink.open({ clock: systemClock, fd: generic, lent: true, protocol: 'generic' })[Symbol.dispose]()
  } finally {
    native().close(route)
    native().close(generic)
  }
})
