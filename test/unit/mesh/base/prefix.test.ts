/** Prefixes of IPv6: text there and back, and what is no prefix. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseIpv4 } from '../../../../mesh/base/address.ts'
import { ipv6Bytes, ipv6OnLink, parseIpv6 } from '../../../../mesh/base/ip.ts'
import { cidr6, cidr6Contains, formatHostPrefix, formatPrefix, hostPrefix, isCidr6, parseCidr6 } from '../../../../mesh/base/prefix.ts'

const anyIpv6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(ipv6OnLink)

describe('a prefix of IPv6', () => {
  test.each(['fd00::/64', '::/0', '2001:db8::1/128', 'fd00:77:65:8000::/49'])('reads %s', (text) => {
    expect(formatPrefix(parseCidr6(text))).toBe(text)
  })

  test.each(['fd00::', '10.32.0.0/12', 'fd00::/129', 'fd00::/-1', 'fd00::/64/64', '/64', 'fe80::/64', '::ffff:10.0.0.0/104'])(
    'refuses %j',
    (text) => expect(() => parseCidr6(text)).toThrow(RangeError),
  )

  test('says what was meant when bits below its length are set', () => {
    expect(() => parseCidr6('fd00::1/64')).toThrow('fd00::1/64 has host bits set (did you mean fd00::/64?)')
    expect(() => parseCidr6('fd00:0:0:c000::/49')).toThrow('did you mean fd00:0:0:8000::/49?')
  })

  test('contains the addresses that begin as it does, and no others', () => {
    fc.assert(
      fc.property(anyIpv6, fc.nat(128), fc.nat(127), (address, length, bit) => {
        const bytes = ipv6Bytes(address)
        const base = bytes.map((byte, at) => byte & (0xff00 >> Math.min(8, Math.max(0, length - 8 * at))))
        const prefix = cidr6(ipv6OnLink(base), length)
        expect(cidr6Contains(prefix, address)).toBe(true)
        const at = bit >> 3
        bytes[at] = (bytes[at] ?? 0) ^ (0x80 >> (bit & 7))
        expect(cidr6Contains(prefix, ipv6OnLink(bytes))).toBe(bit >= length)
      }),
      { seed: 1 },
    )
  })
})

test('one address is a prefix as long as its family has bits', () => {
  const [v4, v6] = [parseIpv4('10.32.0.2'), parseIpv6('fd00::2')]
  expect([formatHostPrefix(v4), formatHostPrefix(v6)]).toEqual(['10.32.0.2/32', 'fd00::2/128'])
  expect([isCidr6(hostPrefix(v4)), isCidr6(hostPrefix(v6))]).toEqual([false, true])
})
