/** Properties of the netlink codecs: what is written is read again, and no bytes make a reader throw. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Cidr, type Ipv4, ipv4 } from '../../../../../mesh/base/address.ts'
import { type Ip, type Ipv6, ipv6OnLink } from '../../../../../mesh/base/ip.ts'
import type { Prefix } from '../../../../../mesh/base/prefix.ts'
import { type Address, decodeAddress, encodeAddress } from '../../../../../router/kernel/codec/addr.ts'
import {
  attribute,
  be16,
  be64,
  getBe16,
  getBe64,
  getText,
  getU8,
  getU16,
  getU32,
  nested,
  readAttributes,
  readNested,
  text,
  u8,
  u16,
  u32,
} from '../../../../../router/kernel/codec/attributes.ts'
import { decodeLink, encodeBridge } from '../../../../../router/kernel/codec/link.ts'
import { encodeMessage, readEnding, readMessages } from '../../../../../router/kernel/codec/message.ts'
import {
  decodeFdbEntry,
  decodeNeighbour,
  encodeFdbEntry,
  encodeNeighbour,
  type FdbEntry,
  type Neighbour,
} from '../../../../../router/kernel/codec/neigh.ts'
import { decodeLookup, decodeRoute, type Encap, encodeRoute, type Route } from '../../../../../router/kernel/codec/route.ts'
import { decodeRule, encodeRule, type Rule } from '../../../../../router/kernel/codec/rule.ts'
import { type Mac, macFromBytes, parseMac } from '../../../../../router/kernel/mac.ts'
import { decodeEvent } from '../../../../../router/kernel/monitor.ts'

const SEED = { seed: 1 }

const anyIpv4: fc.Arbitrary<Ipv4> = fc.nat(0xffff_ffff).map(ipv4)
const givenIpv4: fc.Arbitrary<Ipv4> = fc.integer({ min: 1, max: 0xffff_ffff }).map(ipv4)
const anyMac: fc.Arbitrary<Mac> = fc
  .uint8Array({ minLength: 6, maxLength: 6 })
  .map((bytes) => macFromBytes(bytes) ?? parseMac('00:00:00:00:00:00'))
const anyLink = fc.integer({ min: 1, max: 0x7fff_ffff })
const anyNumber = fc.integer({ min: 1, max: 0xffff_ffff })
const anyByte = fc.integer({ min: 1, max: 255 })
const anyPrefix: fc.Arbitrary<Cidr> = fc.tuple(fc.nat(0xffff_ffff), fc.integer({ min: 0, max: 32 })).map(([number, length]) => {
  const size = 2 ** (32 - length)
  return { base: ipv4(number - (number % size)), length }
})
const anyIpv6: fc.Arbitrary<Ipv6> = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(ipv6OnLink)
/** Each object is of one family. */
const anyFamily = fc.constantFrom<readonly [fc.Arbitrary<Ip>, number]>([anyIpv4, 32], [anyIpv6, 128])
const anyPrefix6: fc.Arbitrary<Prefix> = fc
  .tuple(anyIpv6, fc.nat(128))
  .map(([base, length]) => (length === 0 ? { base: ipv6OnLink(new Uint8Array(16)), length } : { base, length }))
const someScope = fc.constantFrom('global' as const, 'site' as const, 'link' as const, 'host' as const)

function maybe<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.option(arbitrary, { nil: undefined })
}

const anyEncap: fc.Arbitrary<Encap> = fc.record({
  id: fc.nat(0xff_ffff),
  destination: anyIpv4,
  source: maybe(givenIpv4),
  ttl: maybe(anyByte),
  tos: maybe(anyByte),
  dontFragment: fc.boolean(),
  checksum: fc.boolean(),
})

const anyRoute: fc.Arbitrary<Route> = fc.boolean().chain((isIpv6) => routeOf(isIpv6 ? anyPrefix6 : anyPrefix, isIpv6 ? anyIpv6 : anyIpv4))

function routeOf(destination: fc.Arbitrary<Prefix>, anyIp: fc.Arbitrary<Ip>): fc.Arbitrary<Route> {
  return fc.record({
    destination,
    type: maybe(fc.constantFrom('unicast' as const, 'local' as const, 'blackhole' as const, 'unreachable' as const, 'throw' as const)),
    gateway: maybe(anyIp),
    link: maybe(anyLink),
    scope: maybe(someScope),
    protocol: maybe(anyByte),
    table: maybe(anyNumber),
    source: maybe(anyIp),
    mtuBytes: maybe(anyNumber),
    onlink: fc.boolean(),
    priority: fc.nat(0xffff_ffff),
    encap: maybe(anyEncap),
  })
}

const anyAddress: fc.Arbitrary<Address> = anyFamily.chain(([anyIp, bits]) =>
  fc
    .record({
      link: anyLink,
      address: anyIp,
      prefixLength: fc.nat(bits),
      scope: someScope,
      peer: maybe(anyIp),
      broadcast: maybe(anyIp),
      noPrefixRoute: fc.boolean(),
      noDad: fc.boolean(),
    })
    .filter(({ address, peer }) => address !== peer),
)

const anyNeighbour: fc.Arbitrary<Neighbour> = fc.record({
  link: anyLink,
  address: fc.oneof(anyIpv4, anyIpv6),
  mac: anyMac,
  permanent: fc.constant(true),
})
const anyFdbEntry: fc.Arbitrary<FdbEntry> = fc.record({ link: anyLink, mac: anyMac, destination: anyIpv4 })

const anyPrefixOfRule = maybe(anyPrefix.filter(({ length }) => length > 0))
const anyMark = fc.option(fc.record({ mark: anyNumber, mask: anyNumber }), { nil: { mark: undefined, mask: undefined } })
const anyRule: fc.Arbitrary<Rule> = fc
  .record({
    priority: fc.nat(0xffff_ffff),
    from: anyPrefixOfRule,
    to: anyPrefixOfRule,
    input: maybe(fc.stringMatching(/^[a-z0-9-]{1,15}$/)),
    output: maybe(fc.stringMatching(/^[a-z0-9-]{1,15}$/)),
    not: fc.boolean(),
    action: fc.oneof(
      anyNumber.map((table) => ({ kind: 'lookup' as const, table })),
      fc.constantFrom({ kind: 'blackhole' as const }, { kind: 'unreachable' as const }, { kind: 'prohibit' as const }),
    ),
    protocol: fc.nat(255),
  })
  .chain((rule) => anyMark.map((mark) => ({ ...rule, ...mark })))

describe('decoding gives back what was encoded', () => {
  test('a route', () => {
    fc.assert(
      fc.property(anyRoute, (route) => {
        expect(decodeRoute(encodeRoute(route))).toEqual(route)
      }),
      SEED,
    )
  })

  test('an address', () => {
    fc.assert(
      fc.property(anyAddress, (address) => {
        expect(decodeAddress(encodeAddress(address))).toEqual(address)
      }),
      SEED,
    )
  })

  test('a neighbour', () => {
    fc.assert(
      fc.property(anyNeighbour, (neighbour) => {
        expect(decodeNeighbour(encodeNeighbour(neighbour))).toEqual(neighbour)
      }),
      SEED,
    )
  })

  test('a forwarding entry', () => {
    fc.assert(
      fc.property(anyFdbEntry, (entry) => {
        expect(decodeFdbEntry(encodeFdbEntry(entry))).toEqual(entry)
      }),
      SEED,
    )
  })

  test('a rule', () => {
    fc.assert(
      fc.property(anyRule, (rule) => {
        expect(decodeRule(encodeRule(rule))).toEqual(rule)
      }),
      SEED,
    )
  })

  test('a link’s name, hardware address and MTU', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z0-9-]{1,15}$/), anyMac, anyNumber, (name, mac, mtuBytes) => {
        const link = decodeLink(encodeBridge({ name, mac, mtuBytes, up: true }))
        expect(link).toMatchObject({ name, mac, mtuBytes, up: true, details: { kind: 'bridge' } })
      }),
      SEED,
    )
  })

  test('several messages in one datagram', () => {
    const anyMessage = fc.record({
      type: fc.nat(0xffff),
      flags: fc.nat(0xffff),
      sequence: fc.nat(0xffff_ffff),
      payload: fc.uint8Array({ maxLength: 40 }).map((bytes) => bytes.subarray(0, bytes.length - (bytes.length % 4))),
    })
    fc.assert(
      fc.property(fc.array(anyMessage, { maxLength: 5 }), (messages) => {
        expect(readMessages(Buffer.concat(messages.map(encodeMessage)))).toEqual(
          messages.map((message) => ({ ...message, payload: Buffer.from(message.payload) })),
        )
      }),
      SEED,
    )
  })

  test('attributes of every kind', () => {
    const bytes = nested(1, [
      u8(1, 0xfe),
      u16(2, 0xfedc),
      u32(3, 0xfedc_ba98),
      be16(4, 0xfedc),
      be64(5, 2 ** 53 - 1),
      text(6, 'weft-vx'),
      attribute(7, Uint8Array.of(1, 2, 3)),
    ])
    const found = readNested(readAttributes(bytes), 1)
    expect([getU8(found, 1), getU16(found, 2), getU32(found, 3), getBe16(found, 4), getBe64(found, 5), getText(found, 6)]).toEqual([
      0xfe,
      0xfedc,
      0xfedc_ba98,
      0xfedc,
      2 ** 53 - 1,
      'weft-vx',
    ])
    expect([...(found.get(7) ?? [])]).toEqual([1, 2, 3])
  })
})

describe('no bytes make a reader throw', () => {
  const readers = { decodeRoute, decodeLookup, decodeAddress, decodeNeighbour, decodeFdbEntry, decodeRule, decodeLink, readMessages }

  test.each(Object.entries(readers))('%s', (_name, read) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => void read(bytes)),
      SEED,
    )
  })

  test('the end of a request', () => {
    fc.assert(
      fc.property(fc.constantFrom(2, 3), fc.nat(0xffff), fc.uint8Array({ maxLength: 80 }), (type, flags, payload) => {
        expect(readEnding({ type, flags, sequence: 1, payload })?.errno).toBeGreaterThanOrEqual(0)
      }),
      SEED,
    )
  })

  test('a notification of any type', () => {
    fc.assert(
      fc.property(fc.integer({ min: 16, max: 40 }), fc.uint8Array({ maxLength: 120 }), (type, payload) => {
        void decodeEvent({ type, flags: 0, sequence: 0, payload })
      }),
      SEED,
    )
  })

  test('a well-formed message, cut or with one byte changed', () => {
    fc.assert(
      fc.property(anyRoute, fc.nat(), fc.nat(255), (route, place, byte) => {
        const bytes = Uint8Array.from(encodeRoute(route))
        bytes[place % bytes.length] = byte
        void decodeRoute(bytes)
        void decodeRoute(bytes.subarray(0, place % bytes.length))
      }),
      SEED,
    )
  })
})
