/** ICMP messages of the probe, against packets written by hand from RFC 792 and RFC 1191. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fromHex, toHex } from '../../../../../mesh/base/bytes.ts'
import { formatIp } from '../../../../../mesh/base/ip.ts'
import { decodeIcmp, encodeEchoRequest } from '../../../../../router/lab/probe/icmp.ts'

/** An IPv4 header: 20 bytes, protocol ICMP, from 10.9.1.1 to 10.9.1.2. */
const HEADER = '450000540000000040010000' + '0a090101' + '0a090102'
const REQUEST = '0800f4f0' + '1234' + '0007'

function decode(hex: string): unknown {
  const message = decodeIcmp(fromHex(hex))
  if (message === undefined) return undefined
  const { from, ...rest } = message
  return { ...rest, from: formatIp(from), ...('payload' in rest ? { payload: toHex(rest.payload) } : {}) }
}

describe('echo requests', () => {
  test.each([
    // Sums by hand: 0800 + 1234 + 0007 = 1a3b, and its complement; odd lengths count a zero byte behind.
    { name: 'without payload', payload: '', hex: '0800e5c412340007' },
    { name: 'with an even payload', payload: 'ffff0001', hex: '0800e5c312340007ffff0001' },
    { name: 'with an odd payload', payload: '01', hex: '0800e4c41234000701' },
  ])('$name', ({ payload, hex }) => {
    expect(toHex(encodeEchoRequest({ identifier: 0x1234, sequence: 7 }, fromHex(payload)))).toBe(hex)
  })
})

describe('answers', () => {
  const about = { from: '10.9.1.1', identifier: 0x1234, sequence: 7 }
  test.each([
    { name: 'a reply', hex: `${HEADER}00000000123400070102`, message: { kind: 'reply', ...about, payload: '0102' } },
    {
      name: 'a reply behind IP options',
      hex: `46000054000000004001000a0a0901010a090102${'01010101'}0000000012340007`,
      message: { kind: 'reply', ...about, payload: '' },
    },
    {
      name: 'too big',
      hex: `${HEADER}0304000000000578${HEADER}${REQUEST}`,
      message: { kind: 'refused', ...about, fitsBytes: 1_400, reason: 'packets of more than 1400 bytes do not fit' },
    },
    { name: 'filtered', hex: `${HEADER}030d000000000000${HEADER}${REQUEST}`, message: { kind: 'refused', ...about, reason: 'filtered' } },
    {
      name: 'an unreachable of a code that we have no word for',
      hex: `${HEADER}0306000000000000${HEADER}${REQUEST}`,
      message: { kind: 'refused', ...about, reason: 'unreachable (code 6)' },
    },
    {
      name: 'a routing loop',
      hex: `${HEADER}0b00000000000000${HEADER}${REQUEST}`,
      message: { kind: 'refused', ...about, reason: 'the packet went round until its time to live was over' },
    },
    { name: 'an echo request of somebody', hex: `${HEADER}${REQUEST}`, message: undefined },
    { name: 'an unreachable about no echo request', hex: `${HEADER}0303000000000000${HEADER}0000000012340007`, message: undefined },
    { name: 'an unreachable that was cut short', hex: `${HEADER}0303000000000000${HEADER}0800`, message: undefined },
    { name: 'IPv6', hex: `60${HEADER.slice(2)}0000000012340007`, message: undefined },
    { name: 'a header longer than the packet', hex: '4f00005400000000', message: undefined },
    { name: 'nothing', hex: '', message: undefined },
  ])('$name', ({ hex, message }) => expect(decode(hex)).toEqual(message))

  test('no bytes make it throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(0x45, 0x46, 0x4f), (bytes, first) => {
        decodeIcmp(bytes)
        decodeIcmp(Uint8Array.of(first, ...bytes))
      }),
      { seed: 1 },
    )
  })
})
