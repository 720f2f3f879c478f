/** ICMPv6 messages of the probe, against packets written by hand from RFC 4443. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fromHex, toHex } from '../../../../../mesh/base/bytes.ts'
import { parseIpv6 } from '../../../../../mesh/base/ip.ts'
import { decodeIcmp6, encodeEchoRequest6, senderOf, unwantedTypes6 } from '../../../../../router/lab/probe/icmp6.ts'

/** An IPv6 header: 40 bytes, next header ICMPv6, from fd00::2 to fd00::3. */
const HEADER = `6000000000083a40${'fd00'}${'00'.repeat(13)}02${'fd00'}${'00'.repeat(13)}03`
const REQUEST = '80000000' + '1234' + '0007'
const FROM = parseIpv6('fd00::9')

function decode(hex: string): unknown {
  const message = decodeIcmp6(fromHex(hex), FROM)
  return message !== undefined && 'payload' in message ? { ...message, payload: toHex(message.payload) } : message
}

test('an echo request leaves its checksum to the kernel', () => {
  expect(toHex(encodeEchoRequest6({ identifier: 0x1234, sequence: 7 }, fromHex('ffff01')))).toBe('8000000012340007ffff01')
})

describe('answers', () => {
  const about = { from: FROM, identifier: 0x1234, sequence: 7 }
  const refused = (reason: string): object => ({ kind: 'refused', ...about, reason })
  test.each([
    { name: 'a reply', hex: `81000000123400070102`, message: { kind: 'reply', ...about, payload: '0102' } },
    {
      name: 'too big',
      hex: `0200000000000578${HEADER}${REQUEST}`,
      message: { ...refused('packets of more than 1400 bytes do not fit'), fitsBytes: 1_400 },
    },
    { name: 'filtered', hex: `0101000000000000${HEADER}${REQUEST}`, message: refused('filtered') },
    { name: 'no route', hex: `0100000000000000${HEADER}${REQUEST}`, message: refused('network unreachable') },
    {
      name: 'an unreachable of a code that we have no word for',
      hex: `0109000000000000${HEADER}${REQUEST}`,
      message: refused('unreachable (code 9)'),
    },
    {
      name: 'a routing loop',
      hex: `0300000000000000${HEADER}${REQUEST}`,
      message: refused('the packet went round until its time to live was over'),
    },
    { name: 'an echo request of somebody', hex: REQUEST, message: undefined },
    { name: 'an unreachable about no echo request', hex: `0104000000000000${HEADER}8100000012340007`, message: undefined },
    { name: 'an unreachable about UDP', hex: `0104000000000000${HEADER.replace('3a', '11')}${REQUEST}`, message: undefined },
    { name: 'an unreachable that was cut short', hex: `0104000000000000${HEADER}8000`, message: undefined },
    { name: 'nothing', hex: '', message: undefined },
  ])('$name', ({ hex, message }) => expect(decode(hex)).toEqual(message))

  test('no bytes make it throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(1, 2, 3, 128, 129), (bytes, first) => {
        decodeIcmp6(bytes, FROM)
        decodeIcmp6(Uint8Array.of(first, ...bytes), FROM)
      }),
      { seed: 1 },
    )
  })
})

test('a socket wants four types of the 256', () => {
  const wanted = Array.from({ length: 256 }, (_, type) => type).filter(
    (type) => ((unwantedTypes6()[type >> 3] ?? 0) & (1 << (type & 7))) === 0,
  )
  expect(wanted).toEqual([1, 2, 3, 129])
})

test('the sender stands in the address that comes with a packet', () => {
  expect(senderOf(fromHex(`0a00000000000000${'fd00'}${'00'.repeat(13)}0900000000`))).toBe(FROM)
  expect(senderOf(new Uint8Array(16))).toBeUndefined()
})
