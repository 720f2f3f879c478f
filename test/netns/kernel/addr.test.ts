/** Addresses, made by us and looked at with `ip address`. */
import { expect, test } from 'vitest'
import { parseIpv4 } from '../../../mesh/base/address.ts'
import { diff } from '../../../mesh/base/diff.ts'
import { addAddress, addressKey, deleteAddress, listAddresses } from '../../../router/kernel/addr.ts'
import type { Address } from '../../../router/kernel/codec/addr.ts'
import { makeKernelNetns, makeLinks } from '../../support/kernel.ts'
import { must, mustFail } from '../../support/result.ts'

const LOOPBACK = 1

interface IpAddresses {
  readonly addr_info: readonly {
    readonly local?: string
    readonly prefixlen?: number
    readonly scope?: string
    readonly noprefixroute?: boolean
    readonly address?: string
  }[]
}

test('an address is shown by `ip address` as it was added, and listed in the same shape', async () => {
  await using host = await makeKernelNetns()
  const { index } = await makeLinks(host.netlink, 'wp0')
  const wanted: readonly Address[] = [
    { link: index, address: parseIpv4('10.32.0.5'), prefixLength: 32, scope: 'link' },
    { link: index, address: parseIpv4('10.1.0.1'), prefixLength: 24, noPrefixRoute: true, broadcast: parseIpv4('10.1.0.255') },
    { link: index, address: parseIpv4('10.2.0.1'), prefixLength: 32, peer: parseIpv4('10.2.0.2') },
  ]
  for (const address of wanted) must(await addAddress(host.netlink, address))
  const [shown] = await host.ns.ip<IpAddresses>('-4', 'address', 'show', 'dev', 'wp0')
  expect(shown?.addr_info).toMatchObject([
    { local: '10.32.0.5', prefixlen: 32, scope: 'link' },
    { local: '10.1.0.1', prefixlen: 24, scope: 'global', noprefixroute: true, broadcast: '10.1.0.255' },
    { local: '10.2.0.1', address: '10.2.0.2', prefixlen: 32 },
  ])
  expect(diff(wanted, must(await listAddresses(host.netlink, index)), addressKey)).toEqual({ add: [], remove: [] })
})

test('the list is of one link, or of all', async () => {
  await using host = await makeKernelNetns()
  const one = await makeLinks(host.netlink, 'wp0')
  const two = await makeLinks(host.netlink, 'wp1')
  for (const [link, address] of [
    [one.index, '10.0.0.1'],
    [two.index, '10.0.0.2'],
  ] as const) {
    must(await addAddress(host.netlink, { link, address: parseIpv4(address), prefixLength: 32 }))
  }
  expect(must(await listAddresses(host.netlink)).map(({ link }) => link)).toEqual([LOOPBACK, one.index, two.index])
  expect(must(await listAddresses(host.netlink, two.index)).map(({ address }) => address)).toEqual([parseIpv4('10.0.0.2')])
  expect(must(await listAddresses(host.netlink, 9_999))).toEqual([])
})

test('adding twice and deleting twice is no error', async () => {
  await using host = await makeKernelNetns()
  const { index: link } = await makeLinks(host.netlink, 'wp0')
  const address: Address = { link, address: parseIpv4('10.32.0.5'), prefixLength: 32 }
  must(await addAddress(host.netlink, address))
  must(await addAddress(host.netlink, address))
  expect(must(await listAddresses(host.netlink, link))).toHaveLength(1)
  must(await deleteAddress(host.netlink, address))
  must(await deleteAddress(host.netlink, address))
  must(await deleteAddress(host.netlink, { ...address, link: 9_999 }))
  expect(must(await listAddresses(host.netlink, link))).toEqual([])
})

test('a link that is not there is an error that says what was attempted', async () => {
  await using host = await makeKernelNetns()
  const address: Address = { link: 9_999, address: parseIpv4('10.32.0.5'), prefixLength: 32, noPrefixRoute: true }
  expect(mustFail(await addAddress(host.netlink, address))).toMatchObject({
    code: 'ENODEV',
    errno: 19,
    operation: 'ip address add 10.32.0.5/32 noprefixroute dev if9999',
  })
})
