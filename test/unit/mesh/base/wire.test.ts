/** The bounded MessagePack: what is spoken comes back, everything else is refused without harm. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeWire, encodeWire, type WireValue } from '../../../../mesh/base/wire.ts'

const leaf = fc.oneof(
  fc.constant(undefined),
  fc.boolean(),
  fc.maxSafeInteger().filter((number) => !Object.is(number, -0)),
  fc.double({ noNaN: true }).filter((number) => !Object.is(number, -0)),
  fc.string({ unit: 'grapheme' }),
  fc.uint8Array({ maxLength: 300 }),
)
const value: fc.Arbitrary<WireValue> = fc.letrec<{ value: WireValue }>((tie) => ({
  value: fc.oneof({ depthSize: 'small', maxDepth: 5, withCrossShrink: true }, leaf, fc.array(tie('value'), { maxLength: 20 })),
})).value

/** Byte strings as plain arrays of bytes, so that a Buffer equals its bytes. */
function plain(item: WireValue): unknown {
  if (item instanceof Uint8Array) return { bytes: [...item] }
  return Array.isArray(item) ? item.map(plain) : item
}

test('what is encoded decodes to itself', () => {
  fc.assert(
    fc.property(value, (item) => {
      const decoded = decodeWire(encodeWire(item))
      expect(decoded.ok && plain(decoded.value)).toEqual(plain(item))
    }),
    { seed: 1 },
  )
})

test('a message cut short anywhere is an error', () => {
  fc.assert(
    fc.property(value, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (item, share) => {
      const bytes = encodeWire(item)
      expect(decodeWire(bytes.subarray(0, Math.floor(share * bytes.length))).ok).toBe(false)
    }),
    { seed: 1 },
  )
})

test('no bytes make the decoder throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(typeof decodeWire(bytes).ok).toBe('boolean')
    }),
    { seed: 1, numRuns: 5_000 },
  )
})

describe('refused', () => {
  test.each([
    { name: 'nothing at all', bytes: [], error: 'cut short' },
    { name: 'an array of four billion items', bytes: [0xdd, 0xff, 0xff, 0xff, 0xff], error: 'an array longer than the message' },
    { name: 'a byte string of four billion bytes', bytes: [0xc6, 0xff, 0xff, 0xff, 0xff], error: 'cut short' },
    { name: 'a page of brackets', bytes: new Array(10_000).fill(0x91), error: 'nested deeper than 8' },
    { name: 'a map', bytes: [0x80], error: 'type 0x80, which is not spoken here' },
    { name: 'an extension', bytes: [0xd4, 0x72, 0x40], error: 'type 0xd4, which is not spoken here' },
    { name: 'a 64-bit integer', bytes: [0xcf, 0, 0, 0, 0, 0, 0, 0, 1], error: 'type 0xcf, which is not spoken here' },
    { name: 'something after the value', bytes: [0x01, 0x02], error: '1 bytes too many' },
    {
      name: 'more values than make sense',
      bytes: [0xdd, 0, 1, 0, 0, ...new Array(65_536).fill(1)],
      error: 'more than 65536 values',
    },
  ])('$name', ({ bytes, error }) => {
    expect(decodeWire(Uint8Array.from(bytes))).toEqual({ ok: false, error })
  })
})
