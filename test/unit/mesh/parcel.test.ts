/** Parcels: they survive the wire, and nobody but their sender can make or change one. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { concatBytes, fromHex } from '../../../mesh/base/bytes.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { encodeWire, type WireValue } from '../../../mesh/base/wire.ts'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { isParcelGenuine, type Parcel, parseParcel, sealParcel } from '../../../mesh/parcel.ts'
import { isRecordGenuine, parseRecord } from '../../../mesh/record.ts'
import { deltaOf, identityOf, recordOf, withBitFlipped } from '../../support/mesh-records.ts'
import { simCrypto } from '../../support/sim/crypto.ts'

const crypto = simCrypto(seededRandom(1))
const identity = identityOf(1, crypto)
const other = identityOf(2, crypto)

const count = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
const parcels: fc.Arbitrary<Parcel> = fc.record({
  from: fc.constant(identity.name),
  to: fc.nat(255).map((index) => identityOf(index, crypto).name),
  fromIncarnation: count,
  toIncarnation: count,
  number: count,
  channel: fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/),
  body: fc.uint8Array({ maxLength: 200 }),
})

const plain: Parcel = {
  from: identity.name,
  to: other.name,
  fromIncarnation: 1_000,
  toIncarnation: 2_000,
  number: 3,
  channel: 'ring',
  body: Uint8Array.of(1, 2, 3),
}

test('every parcel survives the wire, and is its sender’s', () => {
  fc.assert(
    fc.property(parcels, (parcel) => {
      const parsed = parseParcel(sealParcel(parcel, identity, crypto))
      expect(parsed).toMatchObject({ ok: true, value: { parcel } })
      expect(parsed.ok && isParcelGenuine(parsed.value, identity.keys.publicKey, crypto)).toBe(true)
      expect(parsed.ok && isParcelGenuine(parsed.value, other.keys.publicKey, crypto)).toBe(false)
    }),
    { seed: 1 },
  )
})

test('any flipped bit of a parcel fails, with the real cryptography', async () => {
  const real = await loadCrypto()
  const sender = identityOf(1, real)
  const isAccepted = (bytes: Uint8Array): boolean => {
    const parsed = parseParcel(bytes)
    return parsed.ok && isParcelGenuine(parsed.value, sender.keys.publicKey, real)
  }
  const whole = sealParcel({ ...plain, from: sender.name, to: identityOf(2, real).name }, sender, real)
  expect(isAccepted(whole)).toBe(true)
  for (let bit = 0; bit < 8 * whole.length; bit += 1) expect(isAccepted(withBitFlipped(whole, bit))).toBe(false)
  for (let length = 0; length < whole.length; length += 1) expect(isAccepted(whole.slice(0, length))).toBe(false)
  expect(isAccepted(concatBytes([whole, Uint8Array.of(0)]))).toBe(false)
})

test('a signature for another purpose is none of a parcel, and one of a parcel none of a record', () => {
  const whole = sealParcel(plain, identity, crypto)
  const signed = whole.subarray(64)
  const wrong = parseParcel(concatBytes([crypto.sign(signed, identity.keys), signed]))
  expect(wrong.ok && isParcelGenuine(wrong.value, identity.keys.publicKey, crypto)).toBe(false)
  const record = recordOf(identity, crypto)
  const posing = crypto.sign(concatBytes([new TextEncoder().encode('weft parcel 1\0'), record.signed]), identity.keys)
  const parsed = parseRecord(record.signed, posing, crypto)
  expect(parsed.ok && isRecordGenuine(parsed.value, crypto)).toBe(false)
})

test('no bytes make the parser throw', () => {
  const whole = sealParcel(plain, identity, crypto)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(whole.length), (bytes, at) => {
      const mixed = whole.slice()
      mixed.set(bytes.subarray(0, mixed.length - at), at)
      expect(typeof parseParcel(mixed).ok).toBe('boolean')
      expect(typeof parseParcel(bytes).ok).toBe('boolean')
    }),
    { seed: 1, numRuns: 2_000 },
  )
  expect(parseParcel(deltaOf(recordOf(identity, crypto))).ok).toBe(false)
})

describe('refused', () => {
  const name = fromHex(identity.name)
  const good: readonly WireValue[] = [1, name, fromHex(other.name), 5, 6, 7, 'ring', Uint8Array.of(1)]
  const parse = (fields: WireValue) => parseParcel(concatBytes([new Uint8Array(64), encodeWire(fields)]))

  test('the table below begins from a good parcel, to which a later version may append', () => {
    expect(parse(good).ok).toBe(true)
    expect(parse([...good, 'more']).ok).toBe(true)
  })

  test.each([
    { what: 'another format', at: 0, value: 2 },
    { what: 'a sender of seven bytes', at: 1, value: name.subarray(1) },
    { what: 'a sender of text', at: 1, value: identity.name },
    { what: 'a receiver of nine bytes', at: 2, value: new Uint8Array(9) },
    { what: 'no life of the sender', at: 3, value: 0 },
    { what: 'half a life of the receiver', at: 4, value: 0.5 },
    { what: 'number 0', at: 5, value: 0 },
    { what: 'a number beyond exact ones', at: 5, value: 2 ** 53 },
    { what: 'a channel in capitals', at: 6, value: 'Ring' },
    { what: 'a body of text', at: 7, value: 'text' },
    { what: 'no body', at: 7, value: undefined },
  ])('$what', ({ at, value }) => {
    expect(parse(good.with(at, value))).toEqual({ ok: false, error: 'a parcel with improper fields' })
  })

  test('what is no list, and what is cut', () => {
    expect(parse(5)).toEqual({ ok: false, error: 'a parcel with improper fields' })
    expect(parseParcel(new Uint8Array(10))).toEqual({ ok: false, error: 'a parcel that is cut short' })
  })
})
