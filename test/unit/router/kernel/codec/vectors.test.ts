/** The encoders against bytes that were written by hand from the kernel's headers: each file explains its fields. */
import { describe, expect, test } from 'vitest'
import { parseCidr, parseIpv4 } from '../../../../../mesh/base/address.ts'
import { fromHex, toHex } from '../../../../../mesh/base/bytes.ts'
import { ipv6OnLink, parseIpv6 } from '../../../../../mesh/base/ip.ts'
import { parseCidr6 } from '../../../../../mesh/base/prefix.ts'
import { type Address, decodeAddress, encodeAddress } from '../../../../../router/kernel/codec/addr.ts'
import { encodeLinkChanges, encodeVeth, encodeVxlan } from '../../../../../router/kernel/codec/link.ts'
import { encodeMessage, MessageFlag, readEnding, readMessages } from '../../../../../router/kernel/codec/message.ts'
import {
  decodeFdbEntry,
  decodeNeighbour,
  encodeFdbEntry,
  encodeNeighbour,
  type FdbEntry,
  type Neighbour,
} from '../../../../../router/kernel/codec/neigh.ts'
import { RtmType } from '../../../../../router/kernel/codec/numbers.ts'
import { decodeRoute, encodeRoute, type Route } from '../../../../../router/kernel/codec/route.ts'
import { decodeRule, encodeRule, type Rule } from '../../../../../router/kernel/codec/rule.ts'
import { parseMac } from '../../../../../router/kernel/mac.ts'
import type { Fd } from '../../../../../router/kernel/native.ts'
import { vector } from '../../../../support/vectors.ts'

const route: Route = {
  destination: parseCidr('10.32.0.0/16'),
  type: 'unicast',
  gateway: parseIpv4('169.254.77.2'),
  link: 7,
  scope: 'global',
  protocol: 119,
  table: 1000,
  source: undefined,
  mtuBytes: 1450,
  onlink: true,
  priority: 0,
  encap: {
    id: 6784,
    destination: parseIpv4('192.0.2.2'),
    source: undefined,
    ttl: undefined,
    tos: undefined,
    dontFragment: false,
    checksum: false,
  },
}

const address: Address = {
  link: 3,
  address: parseIpv4('10.32.0.5'),
  prefixLength: 32,
  scope: 'link',
  peer: undefined,
  broadcast: undefined,
  noPrefixRoute: true,
  noDad: false,
}

const address6: Address = { ...address, address: parseIpv6('fd00:77:65::5'), prefixLength: 128, scope: 'global', noDad: true }

const neighbour: Neighbour = { link: 7, address: parseIpv4('169.254.77.2'), mac: parseMac('02:aa:bb:cc:dd:02'), permanent: true }
const gateway6 = ipv6OnLink(fromHex('fe800000000000000000000000000001'))
const neighbour6: Neighbour = { ...neighbour, address: gateway6 }
const route6: Route = {
  ...route,
  destination: parseCidr6('fd00:77:65::8:0/109'),
  gateway: gateway6,
  table: 254,
  source: parseIpv6('fd00:77:65::1'),
  priority: 1024,
  encap: undefined,
}
const entry: FdbEntry = { link: 7, mac: parseMac('00:00:00:00:00:00'), destination: parseIpv4('192.0.2.2') }

const rule: Rule = {
  priority: 500,
  from: parseCidr('10.32.0.0/12'),
  to: undefined,
  mark: 0x10,
  mask: 0xff,
  input: 'eth0',
  output: undefined,
  not: true,
  action: { kind: 'lookup', table: 1000 },
  protocol: 0,
}

describe('what can be listed and added is written and read as the vector says', () => {
  const flags = MessageFlag.request | MessageFlag.ack | MessageFlag.create | MessageFlag.replace

  test('a route with encapsulation, as a whole message', () => {
    const golden = vector('netlink/route-encap')
    const message = encodeMessage({ type: RtmType.newRoute, flags, sequence: 42, payload: encodeRoute(route) })
    expect(toHex(message)).toBe(toHex(golden))
    const [read, ...more] = readMessages(golden)
    expect({ type: read?.type, flags: read?.flags, sequence: read?.sequence, more }).toEqual({ type: 24, flags, sequence: 42, more: [] })
    expect(decodeRoute(read?.payload ?? new Uint8Array())).toEqual(route)
  })

  test.each([
    { name: 'address', bytes: encodeAddress(address), decoded: decodeAddress(vector('netlink/address')), value: address },
    { name: 'neighbour', bytes: encodeNeighbour(neighbour), decoded: decodeNeighbour(vector('netlink/neighbour')), value: neighbour },
    { name: 'address6', bytes: encodeAddress(address6), decoded: decodeAddress(vector('netlink/address6')), value: address6 },
    { name: 'neighbour6', bytes: encodeNeighbour(neighbour6), decoded: decodeNeighbour(vector('netlink/neighbour6')), value: neighbour6 },
    { name: 'route6', bytes: encodeRoute(route6), decoded: decodeRoute(vector('netlink/route6')), value: route6 },
    { name: 'fdb', bytes: encodeFdbEntry(entry), decoded: decodeFdbEntry(vector('netlink/fdb')), value: entry },
    {
      name: 'rule',
      bytes: encodeRule({ ...rule, protocol: undefined }),
      decoded: decodeRule(vector('netlink/rule')),
      value: rule,
    },
  ])('$name', ({ name, bytes, decoded, value }) => {
    expect(toHex(bytes)).toBe(toHex(vector(`netlink/${name}`)))
    expect(decoded).toEqual(value)
  })
})

describe('what is only added is written as the vector says', () => {
  test('a veth whose other end is born in another namespace', () => {
    const bytes = encodeVeth({
      name: 'wp0',
      up: true,
      mtuBytes: 1450,
      mac: parseMac('02:77:65:66:74:01'),
      peer: { name: 'eth0', mtuBytes: 1450, mac: parseMac('02:77:0a:20:00:05'), netns: 9 as Fd },
    })
    expect(toHex(bytes)).toBe(toHex(vector('netlink/link-veth')))
  })

  test('a link that makes itself no link-local address', () => {
    expect(toHex(encodeLinkChanges(7, { linkLocal: false }))).toBe(toHex(vector('netlink/link-generation')))
  })

  test('a VXLAN device in external mode', () => {
    expect(toHex(encodeVxlan({ name: 'weft-vx', mtuBytes: 1450, port: 6784 }))).toBe(toHex(vector('netlink/link-vxlan')))
  })
})

describe('a refusal is read with the kernel’s own words', () => {
  test.each([
    { name: 'after the header of the request alone', path: 'netlink/error-capped', ending: { errno: 101, detail: 'nexthop is away!' } },
    { name: 'after the whole request', path: 'netlink/error-uncapped', ending: { errno: 22, detail: 'no name!' } },
  ])('$name', ({ path, ending }) => {
    const [message] = readMessages(vector(path))
    expect(message && readEnding(message)).toEqual(ending)
  })
})
