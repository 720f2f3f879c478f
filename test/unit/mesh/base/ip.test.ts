/** Addresses of both families: every way to write one leads to its one form. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Ipv4, ipv4 } from '../../../../mesh/base/address.ts'
import { formatIp, formatNetwork, type Ip, ipv6Bytes, ipv6FromBytes, isIpv4, networkOf, parseIp } from '../../../../mesh/base/ip.ts'
import { anyIp } from '../../../support/mesh-records.ts'

/** Examples of RFC 4291, section 2.2, and RFC 5952, sections 1, 2 and 4. */
describe('the form of RFC 5952', () => {
  test.each([
    { text: 'ABCD:EF01:2345:6789:ABCD:EF01:2345:6789', form: 'abcd:ef01:2345:6789:abcd:ef01:2345:6789' },
    { text: '2001:DB8:0:0:8:800:200C:417A', form: '2001:db8::8:800:200c:417a' },
    { text: 'FF01:0:0:0:0:0:0:101', form: 'ff01::101' },
    { text: '0:0:0:0:0:0:0:1', form: '::1' },
    { text: '0:0:0:0:0:0:0:0', form: '::' },
    { text: '2001:db8:0:0:1:0:0:1', form: '2001:db8::1:0:0:1' },
    { text: '2001:0db8:0:0:1:0:0:1', form: '2001:db8::1:0:0:1' },
    { text: '2001:db8::0:1:0:0:1', form: '2001:db8::1:0:0:1' },
    { text: '2001:db8::1:0:0:1', form: '2001:db8::1:0:0:1' },
    { text: '2001:DB8:0:0:1::1', form: '2001:db8::1:0:0:1' },
    { text: '2001:db8:aaaa:bbbb:cccc:dddd::1', form: '2001:db8:aaaa:bbbb:cccc:dddd:0:1' },
    { text: '2001:db8:0:1:1:1:1:1', form: '2001:db8:0:1:1:1:1:1' },
    { text: '2001:0:0:1:0:0:0:1', form: '2001:0:0:1::1' },
    { text: '2001:db8:0000:0:1::1', form: '2001:db8::1:0:0:1' },
    { text: '0:0:0:0:0:0:13.1.68.3', form: '::d01:4403' },
    { text: '64:ff9b::192.0.2.33', form: '64:ff9b::c000:221' },
    { text: '1:2:3:4:5:6:7::', form: '1:2:3:4:5:6:7:0' },
    { text: '::ffff:129.144.52.38', form: '129.144.52.38' },
    { text: '0:0:0:0:0:FFFF:8190:3426', form: '129.144.52.38' },
    { text: '129.144.52.38', form: '129.144.52.38' },
  ])('$text is $form', ({ text, form }) => {
    expect(formatIp(parseIp(text))).toBe(form)
  })

  test.each([
    '',
    ':',
    ':::',
    '1',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '::1::2',
    '1::2:',
    ':1::2',
    '12345::',
    'g::1',
    '::1.2.3',
    '1.2.3.4::',
    '::1.2.3.4:5',
    '::256.1.1.1',
    '2001:db8::1%eth0',
    'fe80::1%eth0',
    '[::1]',
    '::1/64',
    ' ::1',
  ])('refuses %j', (text) => {
    expect(() => parseIp(text)).toThrow(RangeError)
  })

  test.each(['fe80::1', 'FEBF::1', 'fe80::'])('refuses %s, and says why', (text) => {
    expect(() => parseIp(text)).toThrow('a link-local address leads nowhere without its link')
  })
})

test('text and bytes lead back to the same address, and the system agrees with our form', () => {
  fc.assert(
    fc.property(anyIp, (address) => {
      expect(parseIp(formatIp(address))).toBe(address)
      if (isIpv4(address)) return
      expect(ipv6FromBytes(ipv6Bytes(address))).toBe(address)
      expect(new URL(`http://[${address}]/`).hostname).toBe(`[${address}]`)
    }),
    { seed: 1 },
  )
})

test.each([
  { name: 'too few bytes', bytes: new Uint8Array(15) },
  { name: 'IPv4', bytes: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4) },
  { name: 'a link-local address', bytes: Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1) },
])('$name is no IPv6 address', ({ bytes }) => expect(() => ipv6FromBytes(bytes)).toThrow(RangeError))

test('no text makes it throw anything else, or gives an address of two forms', () => {
  const word = fc.constantFrom('::', ':', '0', '1', 'ffff', 'FE80', '1.2.3.4', '%', '.')
  fc.assert(
    fc.property(fc.array(word, { maxLength: 12 }), (words) => {
      let parsed: Ip
      try {
        parsed = parseIp(words.join(''))
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError)
        return
      }
      expect(parseIp(formatIp(parsed))).toBe(parsed)
    }),
    { seed: 1, numRuns: 1_000 },
  )
})

describe('networks', () => {
  test.each<{ name: string; address: Ipv4 | string; network: string }>([
    { name: 'of IPv4 are single addresses', address: ipv4(0x0a_00_00_01), network: '10.0.0.1' },
    { name: 'of IPv6 are /64s', address: '2001:db8:1:2:3:4:5:6', network: '2001:db8:1:2::/64' },
    { name: 'of IPv6 can begin with zeros', address: '::1', network: '::/64' },
  ])('$name', ({ address, network }) => {
    expect(formatNetwork(networkOf(typeof address === 'string' ? parseIp(address) : address))).toBe(network)
  })
})
