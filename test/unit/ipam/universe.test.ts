/** Both addresses follow from one number: where it begins, that no two are equal, and that none leaves its range. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  address4,
  address6,
  checkUniverse,
  defaultRange6,
  formatUniverse,
  hostAddress,
  hostNumber,
  prefix6,
  universeSetting,
} from '../../../ipam/universe.ts'
import { type Cidr, cidr, cidrSize, ipv4, parseCidr, rangeToCidrs } from '../../../mesh/base/address.ts'
import { type Ipv6, ipv6Bytes, ipv6OnLink } from '../../../mesh/base/ip.ts'
import { type Cidr6, cidr6, cidr6Contains, formatPrefix, parseCidr6 } from '../../../mesh/base/prefix.ts'

/** A range of each family, that of IPv6 big enough. */
const anyUniverse: fc.Arbitrary<Cidr & { readonly v6: Cidr6 }> = fc
  .tuple(fc.integer({ min: 8, max: 29 }), fc.nat(0xffff_ffff), fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.nat(1_000))
  .map(([length, number, bytes, chance]) => {
    const length6 = 8 + (chance % (length + 96 - 8 + 1))
    const base = bytes.map((byte, at) => byte & (0xff00 >> Math.min(8, Math.max(0, length6 - 8 * at))))
    base[0] = 0xfd
    const v4 = cidr(ipv4(number - (number % 2 ** (32 - length))), length)
    return { ...v4, v6: cidr6(ipv6OnLink(base), length6) }
  })

const numberOf = (address: Ipv6): bigint => ipv6Bytes(address).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)
const addressOf = (number: bigint): Ipv6 => ipv6OnLink(Buffer.from(number.toString(16).padStart(32, '0'), 'hex'))

describe('the IPv6 address beside an IPv4 address', () => {
  test('is the base of its range and the same number', () => {
    fc.assert(
      fc.property(anyUniverse, fc.nat(), (universe, chance) => {
        const host = chance % cidrSize(universe)
        const address = address6(universe, hostAddress(universe, host))
        expect(address && numberOf(address)).toBe(numberOf(universe.v6.base) + BigInt(host))
        expect(address && cidr6Contains(universe.v6, address)).toBe(true)
      }),
      { seed: 1, numRuns: 500 },
    )
  })

  test('leads back to the IPv4 address, and no other IPv6 address does', () => {
    fc.assert(
      fc.property(anyUniverse, fc.nat(), fc.integer({ min: 1, max: 2 ** 31 }), (universe, chance, beyond) => {
        const address = hostAddress(universe, chance % cidrSize(universe))
        const six = address6(universe, address)
        if (six === undefined) throw new Error('there is IPv6')
        expect([address4(universe, six), address4(universe, address)]).toEqual([address, address])
        for (const other of [numberOf(universe.v6.base) - 1n, numberOf(universe.v6.base) + BigInt(cidrSize(universe) - 1 + beyond)]) {
          expect(address4(universe, addressOf(other))).toBeUndefined()
        }
        expect(address4({ ...universe, v6: undefined }, six)).toBeUndefined()
      }),
      { seed: 4, numRuns: 500 },
    )
  })

  test('is another one for another number, at the ends of the range too', () => {
    fc.assert(
      fc.property(anyUniverse, fc.nat(), fc.nat(), (universe, one, other) => {
        const size = cidrSize(universe)
        const hosts = new Set([0, size - 1, one % size, other % size])
        expect(new Set([...hosts].map((host) => address6(universe, hostAddress(universe, host)))).size).toBe(hosts.size)
      }),
      { seed: 2, numRuns: 500 },
    )
  })

  test('of a whole prefix is the prefix of the same addresses', () => {
    fc.assert(
      fc.property(anyUniverse, fc.nat(), fc.nat(), (universe, one, other) => {
        const [start, end] = [one % cidrSize(universe), other % cidrSize(universe)].toSorted((a, b) => a - b) as [number, number]
        for (const prefix of rangeToCidrs({ start: universe.base + start, end: universe.base + end })) {
          const six = prefix6(universe, prefix)
          if (six === undefined) throw new Error('there is IPv6')
          expect(cidr6(six.base, six.length)).toEqual(six)
          expect(2 ** (128 - six.length)).toBe(cidrSize(prefix))
          expect(six.base).toBe(address6(universe, prefix.base))
        }
      }),
      { seed: 3, numRuns: 200 },
    )
  })

  test('is none where there is no range of IPv6', () => {
    const universe = parseCidr('10.32.0.0/12')
    expect([address6(universe, universe.base), prefix6(universe, universe)]).toEqual([undefined, undefined])
  })

  test('does not change what the IPv4 address is', () => {
    const universe = { ...parseCidr('10.32.0.0/12'), v6: parseCidr6('fd00::/64') }
    expect(hostNumber(universe, hostAddress(universe, 77))).toBe(77)
  })
})

describe('the range of IPv6', () => {
  test.each([
    { v6: 'fd00::/108', fault: undefined },
    { v6: '2001:db8::/32', fault: undefined },
    { v6: 'fd00::/109', fault: 'fd00::/109 has fewer addresses than 10.32.0.0/12: its length must be 108 at most' },
    { v6: 'ff00::/8', fault: 'ff00::/8 is neither of fc00::/7, for networks of one’s own, nor of 2000::/3' },
    { v6: '::/64', fault: '::/64 is neither of fc00::/7, for networks of one’s own, nor of 2000::/3' },
  ])('$v6: $fault', ({ v6, fault }) => {
    const check = (): void => checkUniverse({ ...parseCidr('10.32.0.0/12'), v6: parseCidr6(v6) })
    if (fault === undefined) check()
    else expect(check).toThrow(expect.objectContaining({ code: 'USAGE', message: fault.replace('’', "'") }))
  })

  test('of its own accord is the same for routers of one cluster, another for another, and as RFC 4193 says', () => {
    expect(formatPrefix(defaultRange6('weft'))).toBe('fd8c:a79b:5319::/64')
    expect(defaultRange6('weft')).toEqual(defaultRange6('weft'))
    const many = Array.from({ length: 100 }, (_, index) => defaultRange6(`cluster-${index}`))
    expect(new Set(many.map(formatPrefix)).size).toBe(100)
    for (const range of many) expect(cidr6Contains(parseCidr6('fd00::/8'), range.base)).toBe(true)
  })

  test('is part of how a universe is named and asked for', () => {
    const v4 = parseCidr('10.32.0.0/12')
    const both = { ...v4, v6: parseCidr6('fd00::/64') }
    expect([formatUniverse(v4), formatUniverse(both)]).toEqual(['10.32.0.0/12', '10.32.0.0/12,fd00::/64'])
    expect([universeSetting(v4), universeSetting(both)]).toEqual(['10.32.0.0/12,none', '10.32.0.0/12,fd00::/64'])
  })
})
