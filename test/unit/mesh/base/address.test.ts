/** IPv4 arithmetic: text and integers are two forms of one thing, and ranges split into the fewest aligned prefixes. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  cidrContains,
  cidrSize,
  formatCidr,
  formatIpv4,
  ipv4,
  ipv4Bytes,
  ipv4FromBytes,
  parseCidr,
  parseIpv4,
  rangeToCidrs,
} from '../../../../mesh/base/address.ts'

const address = fc.integer({ min: 0, max: 0xffff_ffff }).map(ipv4)

describe('addresses', () => {
  test('text and bytes lead back to the same address', () => {
    fc.assert(
      fc.property(address, (any) => {
        expect(parseIpv4(formatIpv4(any))).toBe(any)
        expect(ipv4FromBytes(ipv4Bytes(any))).toBe(any)
      }),
      { seed: 1 },
    )
  })

  test.each(['', '1.2.3', '1.2.3.4.5', '256.0.0.1', '01.2.3.4', '1.2.3.4 ', '1..2.3', '::1', '0x1.2.3.4'])('refuses %j', (text) => {
    expect(() => parseIpv4(text)).toThrow(RangeError)
  })
})

describe('prefixes', () => {
  test.each(['10.32.0.0/12', '0.0.0.0/0', '192.0.2.1/32'])('reads %s', (text) => {
    expect(formatCidr(parseCidr(text))).toBe(text)
  })

  test.each(['10.32.0.1/12', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/', '10.0.0.0', '10.0.0.0/8/8', '/8'])('refuses %j', (text) => {
    expect(() => parseCidr(text)).toThrow(RangeError)
  })

  test('say what a person may have meant', () => {
    expect(() => parseCidr('10.32.0.1/12')).toThrow('did you mean 10.32.0.0/12?')
  })

  test('contain their first and last address and no others', () => {
    const prefix = parseCidr('10.32.0.0/12')
    const members = ['10.31.255.255', '10.32.0.0', '10.47.255.255', '10.48.0.0'].map((text) => cidrContains(prefix, parseIpv4(text)))
    expect(members).toEqual([false, true, true, false])
  })
})

describe('ranges', () => {
  test('split into aligned prefixes that cover them exactly and cannot be fewer', () => {
    const bound = fc.integer({ min: 0, max: 2 ** 20 })
    fc.assert(
      fc.property(bound, bound, (one, other) => {
        const range = { start: Math.min(one, other), end: Math.max(one, other) }
        const prefixes = rangeToCidrs(range)
        let at = range.start
        for (const prefix of prefixes) {
          expect(prefix.base).toBe(at)
          expect(at % cidrSize(prefix)).toBe(0)
          at += cidrSize(prefix)
        }
        expect(at).toBe(range.end)
        for (const [index, prefix] of prefixes.entries()) {
          const mergeable = prefixes[index + 1]?.length === prefix.length && prefix.base % (cidrSize(prefix) * 2) === 0
          expect(mergeable).toBe(false)
        }
      }),
      { seed: 1 },
    )
  })

  test('that are empty have no prefix; the whole space is one', () => {
    expect(rangeToCidrs({ start: 5, end: 5 })).toEqual([])
    expect(rangeToCidrs({ start: 0, end: 2 ** 32 }).map(formatCidr)).toEqual(['0.0.0.0/0'])
  })
})
