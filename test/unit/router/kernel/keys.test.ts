/** The keys by which wanted and listed objects are compared: what `add` fills in makes no difference, everything else does. */
import { describe, expect, test } from 'vitest'
import { parseCidr, parseIpv4 } from '../../../../mesh/base/address.ts'
import { diff } from '../../../../mesh/base/diff.ts'
import { parseCidr6 } from '../../../../mesh/base/prefix.ts'
import { addressKey } from '../../../../router/kernel/addr.ts'
import type { Route } from '../../../../router/kernel/codec/route.ts'
import { completeRoute, describeRoute, routeKey } from '../../../../router/kernel/route.ts'
import { ruleKey } from '../../../../router/kernel/rule.ts'

const wanted: Route = {
  destination: parseCidr('10.32.0.0/16'),
  gateway: parseIpv4('169.254.77.2'),
  link: 7,
  onlink: true,
  encap: { id: 6784, destination: parseIpv4('192.0.2.2') },
}

const listed: Route = {
  ...wanted,
  type: 'unicast',
  scope: 'global',
  protocol: 3,
  table: 254,
  priority: 0,
  source: undefined,
  mtuBytes: undefined,
  encap: { id: 6784, destination: parseIpv4('192.0.2.2'), source: undefined, ttl: undefined, tos: undefined, dontFragment: false },
}

test('a wanted route equals the listed one, so that there is nothing to do', () => {
  expect(diff([wanted], [listed], routeKey)).toEqual({ add: [], remove: [] })
})

test.each<{ readonly field: string; readonly changed: Partial<Route> }>([
  { field: 'destination', changed: { destination: parseCidr('10.32.0.0/17') } },
  { field: 'type', changed: { type: 'unreachable' } },
  { field: 'gateway', changed: { gateway: parseIpv4('169.254.77.3') } },
  { field: 'link', changed: { link: 8 } },
  { field: 'scope', changed: { scope: 'link' } },
  { field: 'protocol', changed: { protocol: 119 } },
  { field: 'table', changed: { table: 255 } },
  { field: 'source', changed: { source: parseIpv4('10.32.0.1') } },
  { field: 'MTU', changed: { mtuBytes: 1400 } },
  { field: 'onlink', changed: { onlink: false } },
  { field: 'priority', changed: { priority: 1 } },
  { field: 'other end', changed: { encap: { id: 6784, destination: parseIpv4('192.0.2.3') } } },
  { field: 'VNI', changed: { encap: { id: 1, destination: parseIpv4('192.0.2.2') } } },
  { field: 'our end', changed: { encap: { id: 6784, destination: parseIpv4('192.0.2.2'), source: parseIpv4('192.0.2.1') } } },
])('a route with another $field is another route', ({ changed }) => {
  expect(routeKey({ ...listed, ...changed })).not.toBe(routeKey(listed))
})

describe('the scope that is filled in is the one iproute2 chooses', () => {
  const destination = parseCidr('10.0.0.0/8')
  test.each<{ readonly name: string; readonly route: Route; readonly scope: string }>([
    { name: 'by a gateway', route: { destination, gateway: parseIpv4('10.0.0.1') }, scope: 'global' },
    { name: 'on the link', route: { destination, link: 1 }, scope: 'link' },
    { name: 'of this host', route: { destination, type: 'local', link: 1 }, scope: 'host' },
    { name: 'to nowhere', route: { destination, type: 'unreachable' }, scope: 'global' },
  ])('$name: $scope', ({ route, scope }) => expect(completeRoute(route).scope).toBe(scope))
})

test('an address is the same with and without what is filled in', () => {
  const address = { link: 3, address: parseIpv4('10.32.0.5'), prefixLength: 32 }
  expect(addressKey({ ...address, scope: 'global', noPrefixRoute: false, broadcast: undefined })).toBe(addressKey(address))
  expect(addressKey({ ...address, scope: 'host' })).not.toBe(addressKey(address))
})

test('a rule is the same with and without what is filled in', () => {
  const rule = { priority: 500, mark: 1, action: { kind: 'lookup', table: 100 } } as const
  expect(ruleKey({ ...rule, mask: 0xffff_ffff, not: false, protocol: 0 })).toBe(ruleKey(rule))
  expect(ruleKey({ ...rule, mask: 0xff })).not.toBe(ruleKey(rule))
})

test('a route is told in iproute2’s words', () => {
  expect(describeRoute({ ...wanted, mtuBytes: 1450, protocol: 119 })).toBe(
    '10.32.0.0/16 encap ip id 6784 dst 192.0.2.2 via 169.254.77.2 dev if7 onlink mtu 1450 proto 119',
  )
  expect(describeRoute({ destination: parseCidr('0.0.0.0/0'), type: 'unreachable', priority: 9 })).toBe('unreachable default metric 9')
})

describe('a wanted route of IPv6', () => {
  const listed6 = { scope: 'global', protocol: 119, table: 254, onlink: false, priority: 1_024 } as const
  test.each<{ readonly name: string; readonly want: Route; readonly have: Route }>([
    {
      name: 'equals the listed one, whose scope and priority are the kernel’s',
      want: { destination: parseCidr6('fd00::2/128'), link: 7, scope: 'link', protocol: 119 },
      have: { ...listed6, destination: parseCidr6('fd00::2/128'), link: 7, type: 'unicast' },
    },
    {
      name: 'that leads nowhere equals the one that is listed with the loopback device',
      want: { destination: parseCidr6('fd00::/64'), type: 'unreachable', priority: 1_000_000, protocol: 119 },
      have: { ...listed6, destination: parseCidr6('fd00::/64'), type: 'unreachable', priority: 1_000_000, link: 1 },
    },
  ])('$name', ({ want, have }) => expect(diff([want], [have], routeKey)).toEqual({ add: [], remove: [] }))
})
