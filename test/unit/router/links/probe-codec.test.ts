/** The wire picture of probes. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { concatBytes, fromHex, toHex } from '../../../../mesh/base/bytes.ts'
import { loadCrypto } from '../../../../mesh/crypto.ts'
import { LINK_KINDS } from '../../../../router/links/kind.ts'
import { encodeProbe, PROBE_BYTES_MAX, PROBE_BYTES_MIN, type Probe, parseProbe, probeKey } from '../../../../router/links/probe-codec.ts'
import { nodeName } from '../../../support/links-world.ts'
import { withBitFlipped } from '../../../support/mesh-records.ts'

const crypto = await loadCrypto()
const key = probeKey(new Uint8Array(32).fill(7), crypto)
const otherKey = probeKey(new Uint8Array(32).fill(8), crypto)
const probe: Probe = {
  isReply: false,
  isDoubted: true,
  kind: 'vxlan',
  sizeBytes: PROBE_BYTES_MIN,
  provenBytes: 1_450,
  sender: nodeName(1),
  receiver: nodeName(2),
  id: 1_767_225_600_000_000,
}

const anyProbe: fc.Arbitrary<Probe> = fc.record({
  isReply: fc.boolean(),
  isDoubted: fc.boolean(),
  kind: fc.constantFrom(...LINK_KINDS),
  sizeBytes: fc.oneof(fc.integer({ min: PROBE_BYTES_MIN, max: 2_000 }), fc.constantFrom(PROBE_BYTES_MIN, PROBE_BYTES_MAX)),
  provenBytes: fc.nat(0xffff),
  sender: fc.nat().map(nodeName),
  receiver: fc.nat().map(nodeName),
  id: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
})

/** Bytes with a good MAC, whatever they say. */
function signed(bytes: Uint8Array): Uint8Array {
  const head = bytes.slice(0, 32)
  return concatBytes([head, crypto.hash(concatBytes([key, head]), 16), bytes.slice(48)])
}

/** Computed with Python's hashlib. */
test('a probe is as it has always been', () => {
  const bytes = encodeProbe(probe, key, crypto)
  expect(toHex(bytes)).toBe('01020100004c05aa000000000000000100000000000000020006474846204000142458c34687c19a1b35e531984e59cc')
  expect(toHex(key)).toBe('57704106a01a152c544c07bbaa6de82494ee7d9f5c9d85415f6326df7b90f6c3')
})

test('what is encoded is parsed', () => {
  fc.assert(
    fc.property(anyProbe, (any) => {
      const bytes = encodeProbe(any, key, crypto)
      expect(bytes.length).toBe(any.sizeBytes - 28)
      expect(parseProbe(bytes, [otherKey, key], crypto)).toEqual({ ok: true, value: any })
    }),
    { seed: 1, numRuns: 300 },
  )
})

test('any bytes are parsed or refused, and never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.boolean(), (bytes, isSigned) => {
      const parsed = parseProbe(isSigned ? signed(bytes) : bytes, [key], crypto)
      if (parsed.ok) expect(isSigned).toBe(true)
    }),
    { seed: 1, numRuns: 5_000 },
  )
})

test('any bit of the first 48 bytes that is changed is noticed', () => {
  const bytes = encodeProbe({ ...probe, sizeBytes: 200 }, key, crypto)
  for (let bit = 0; bit < 8 * 48; bit += 1) expect(parseProbe(withBitFlipped(bytes, bit), [key], crypto)).toMatchObject({ ok: false })
})

describe('a datagram', () => {
  const good = encodeProbe(probe, key, crypto)
  const set = (at: number, ...values: number[]): Uint8Array => signed(Uint8Array.from(good, (byte, index) => values[index - at] ?? byte))
  test.each([
    { name: 'that is cut is short', bytes: good.slice(0, 47), error: { code: 'short' } },
    { name: 'of another version', bytes: set(0, 2), error: { code: 'version' } },
    { name: 'of a stranger', bytes: encodeProbe(probe, otherKey, crypto), error: { code: 'forged' } },
    { name: 'of an unknown kind', bytes: set(2, 5), error: { code: 'malformed', detail: 'a link of kind 5' } },
    { name: 'with flags of a later version', bytes: set(1, 4), error: { code: 'malformed', detail: 'unknown flags' } },
    { name: 'with something where zero is', bytes: set(3, 1), error: { code: 'malformed', detail: 'unknown flags' } },
    {
      name: 'that is longer than it says',
      bytes: concatBytes([good, fromHex('00')]),
      error: { code: 'malformed', detail: 'a probe for 76 bytes of 49' },
    },
    { name: 'without an id', bytes: set(24, 0, 0, 0, 0, 0, 0, 0, 0), error: { code: 'malformed', detail: 'an id out of range' } },
    { name: 'with an id that is too large', bytes: set(24, 1), error: { code: 'malformed', detail: 'an id out of range' } },
  ])('$name is refused', ({ bytes, error }) => {
    expect(parseProbe(bytes, [key], crypto)).toEqual({ ok: false, error })
  })
})

test.each([PROBE_BYTES_MIN - 1, PROBE_BYTES_MAX + 1])('a probe of %i bytes cannot be made', (sizeBytes) => {
  expect(() => encodeProbe({ ...probe, sizeBytes }, key, crypto)).toThrow(RangeError)
})
