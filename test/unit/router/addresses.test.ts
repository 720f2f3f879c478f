/** The addresses that a node tells its peers. */
import { expect, test } from 'vitest'
import { parseIpv4 } from '../../../mesh/base/address.ts'
import { formatIp } from '../../../mesh/base/ip.ts'
import { advertisedAddresses } from '../../../router/addresses.ts'

const v4 = (address: string) => ({ address, family: 'IPv4' as const })
const v6 = (address: string) => ({ address, family: 'IPv6' as const })
const lo = [v4('127.0.0.1'), v6('::1')]

test.each([
  { name: 'IPv4 alone', interfaces: { lo, eth0: [v4('192.0.2.1')] }, addresses: ['192.0.2.1'] },
  {
    name: 'the IPv6 address of the same interface after it',
    interfaces: { lo, eth1: [v6('2001:db8:1::1')], eth0: [v4('192.0.2.1'), v6('fe80::1'), v6('2001:db8::1'), v6('2001:db8::2')] },
    addresses: ['192.0.2.1', '2001:db8::1'],
  },
  { name: 'one of a private network', interfaces: { lo, eth0: [v6('fd00::7'), v4('192.0.2.1')] }, addresses: ['192.0.2.1', 'fd00::7'] },
  { name: 'none that leads nowhere', interfaces: { lo, eth0: [v4('192.0.2.1'), v6('fe80::1'), v6('::1')] }, addresses: ['192.0.2.1'] },
  { name: 'an address whose interface is not seen', interfaces: {}, addresses: ['192.0.2.1'] },
])('$name', ({ interfaces, addresses }) => {
  expect(advertisedAddresses(parseIpv4('192.0.2.1'), interfaces).map(formatIp)).toEqual(addresses)
})
