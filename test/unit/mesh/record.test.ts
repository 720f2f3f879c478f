/** Records: what a peer says of itself survives the wire, and nothing that it has not said passes for its own. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../mesh/base/random.ts'
import { encodeWire, type WireValue } from '../../../mesh/base/wire.ts'
import { loadCrypto } from '../../../mesh/crypto.ts'
import {
  compareRecords,
  DATAPATH_BYTES_MAX,
  isConflict,
  isRecordGenuine,
  NEIGHBOURS_MAX,
  parseRecord,
  publicKeyOf,
  RECORD_BYTES_MAX,
  type RecordFacts,
} from '../../../mesh/record.ts'
import { keyOf } from '../../support/keyrings.ts'
import { anyIp, identityOf, plainFacts, recordOf, withBitFlipped } from '../../support/mesh-records.ts'
import { simCrypto } from '../../support/sim/crypto.ts'

const crypto = simCrypto(seededRandom(1))
const identity = identityOf(1, crypto)

const text = fc.stringMatching(/^[ -~]{1,63}$/)
const port = fc.integer({ min: 1, max: 65_535 })
const neighbour = fc.record({
  name: fc.nat(255).map((index) => identityOf(index, crypto).name),
  address: anyIp,
  port,
  outbound: fc.boolean(),
})
const facts: fc.Arbitrary<RecordFacts> = fc.record({
  incarnation: fc.integer({ min: 1, max: 2 ** 52 }),
  version: fc.integer({ min: 1, max: 2 ** 52 }),
  nickname: text,
  addresses: fc.array(anyIp, { maxLength: 8 }),
  port,
  mtuBytes: fc.integer({ min: 576, max: 65_535 }),
  zone: fc.option(text, { nil: undefined }),
  neighbours: fc.array(neighbour, { maxLength: NEIGHBOURS_MAX }),
  hasLeft: fc.boolean(),
  datapath: fc.uint8Array({ maxLength: DATAPATH_BYTES_MAX }),
  keyIds: fc.subarray([keyOf(1, crypto).id, keyOf(2, crypto).id]),
})

test('every record within the limits survives the wire', () => {
  fc.assert(
    fc.property(facts, (wanted) => {
      const record = recordOf(identity, crypto, wanted)
      const parsed = parseRecord(record.signed, record.signature, crypto)
      const { keys, dataKeys, name } = identity
      const keysOfIt = { publicKey: keys.publicKey, dataKey: dataKeys.publicKey }
      expect(parsed).toEqual({ ok: true, value: { ...record, record: { name, ...keysOfIt, ...wanted } } })
      expect(parsed.ok && isRecordGenuine(parsed.value, crypto)).toBe(true)
    }),
    { seed: 1 },
  )
})

test('any flipped bit of a record or its signature fails, with the real cryptography', async () => {
  const real = await loadCrypto()
  const { signed, signature } = recordOf(identityOf(1, real), real, { zone: 'a' })
  const isAccepted = (bytes: Uint8Array, proof: Uint8Array) => {
    const parsed = parseRecord(bytes, proof, real)
    return parsed.ok && isRecordGenuine(parsed.value, real)
  }
  expect(isAccepted(signed, signature)).toBe(true)
  for (let bit = 0; bit < 8 * signed.length; bit += 1) expect(isAccepted(withBitFlipped(signed, bit), signature)).toBe(false)
  for (let bit = 0; bit < 8 * signature.length; bit += 1) expect(isAccepted(signed, withBitFlipped(signature, bit))).toBe(false)
})

test('the public key is found at a glance in every record that we make', () => {
  fc.assert(
    fc.property(facts, (wanted) => {
      expect(publicKeyOf(recordOf(identity, crypto, wanted).signed)).toEqual(identity.keys.publicKey)
    }),
    { seed: 1 },
  )
})

test('a signature of the same bytes for another purpose is no signature of a record', () => {
  const { signed } = recordOf(identity, crypto)
  const parsed = parseRecord(signed, crypto.sign(signed, identity.keys), crypto)
  expect(parsed.ok && isRecordGenuine(parsed.value, crypto)).toBe(false)
})

test('no bytes make the parser throw', () => {
  const { signed, signature } = recordOf(identity, crypto)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(signed.length), (bytes, at) => {
      const mixed = signed.slice()
      mixed.set(bytes.subarray(0, mixed.length - at), at)
      expect(typeof parseRecord(mixed, signature, crypto).ok).toBe('boolean')
      expect(typeof parseRecord(bytes, signature, crypto).ok).toBe('boolean')
    }),
    { seed: 1, numRuns: 2_000 },
  )
})

describe('refused', () => {
  const key = identity.keys.publicKey
  const good: readonly WireValue[] = [
    2,
    key,
    5,
    6,
    'node',
    [1, 2],
    6_783,
    1_500,
    undefined,
    [],
    identity.dataKeys.publicKey,
    [new Uint8Array(4)],
    false,
    new Uint8Array(),
  ]
  const name = identity.name
  const mapped = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4)
  const linkLocal = Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
  test('the table below begins from a good record', () => {
    expect(parseRecord(encodeWire(good), new Uint8Array(64), crypto).ok).toBe(true)
  })
  test.each([
    { what: 'another format', at: 0, value: 1, detail: 'a record of format 1' },
    { what: 'a short key', at: 1, value: key.subarray(1), detail: 'a record without a proper key' },
    { what: 'incarnation 0', at: 2, value: 0, detail: `the record of ${name} has no proper version` },
    { what: 'a version beyond exact numbers', at: 3, value: 2 ** 60, detail: `the record of ${name} has no proper version` },
    { what: 'half a version', at: 3, value: 1.5, detail: `the record of ${name} has no proper version` },
    { what: 'a nickname that moves the cursor', at: 4, value: 'a\u001b[2J', detail: `the record of ${name} has no proper nickname` },
    { what: 'a nickname of 64', at: 4, value: 'a'.repeat(64), detail: `the record of ${name} has no proper nickname` },
    { what: 'nine addresses', at: 5, value: [1, 2, 3, 4, 5, 6, 7, 8, 9], detail: `the record of ${name} has no proper addresses` },
    { what: 'an address of 33 bits', at: 5, value: [2 ** 32], detail: `the record of ${name} has no proper addresses` },
    { what: 'an address of 15 bytes', at: 5, value: [new Uint8Array(15)], detail: `the record of ${name} has no proper addresses` },
    { what: 'IPv4 as IPv6', at: 5, value: [mapped], detail: `the record of ${name} has no proper addresses` },
    { what: 'a link-local address', at: 5, value: [linkLocal], detail: `the record of ${name} has no proper addresses` },
    { what: 'port 0', at: 6, value: 0, detail: `the record of ${name} has no proper port` },
    { what: 'a tiny MTU', at: 7, value: 575, detail: `the record of ${name} has no proper MTU` },
    { what: 'a zone of nothing', at: 8, value: '', detail: `the record of ${name} has no proper zone` },
    {
      what: 'a neighbour without a port',
      at: 9,
      value: [[new Uint8Array(8), 1, 0, true]],
      detail: `the record of ${name} has no proper neighbours`,
    },
    {
      what: '65 neighbours',
      at: 9,
      value: new Array(NEIGHBOURS_MAX + 1).fill([new Uint8Array(8), 1, 1, true]),
      detail: `the record of ${name} has no proper neighbours`,
    },
    { what: 'neighbours that are no list', at: 9, value: 5, detail: `the record of ${name} has no proper neighbours` },
    { what: 'a short data key', at: 10, value: new Uint8Array(31), detail: `the record of ${name} has no proper data key` },
    { what: 'a short key id', at: 11, value: [new Uint8Array(3)], detail: `the record of ${name} has no proper key ids` },
    { what: 'three key ids', at: 11, value: new Array(3).fill(new Uint8Array(4)), detail: `the record of ${name} has no proper key ids` },
    { what: 'leaving as a number', at: 12, value: 1, detail: `the record of ${name} does not tell whether it has left` },
    { what: 'a data path of 1,025 bytes', at: 13, value: new Uint8Array(1_025), detail: `the record of ${name} has no proper data path` },
    { what: 'a data path in words', at: 13, value: 'vxlan', detail: `the record of ${name} has no proper data path` },
    { what: 'no word about leaving', at: 12, value: undefined, detail: `the record of ${name} does not tell whether it has left` },
  ])('$what', ({ at, value, detail }) => {
    const parsed = parseRecord(encodeWire(good.with(at, value)), new Uint8Array(64), crypto)
    expect(parsed).toEqual({ ok: false, error: { code: 'malformed', detail } })
  })

  test('a record longer than the limit, and a signature of a wrong length', () => {
    expect(parseRecord(new Uint8Array(RECORD_BYTES_MAX + 1), new Uint8Array(64), crypto)).toMatchObject({
      ok: false,
      error: { code: 'limit' },
    })
    expect(parseRecord(encodeWire(good), new Uint8Array(63), crypto)).toMatchObject({ ok: false, error: { code: 'malformed' } })
  })
})

test('fields that a later version appends do no harm', () => {
  const { keys, dataKeys } = identity
  const known = [2, keys.publicKey, 5, 6, 'node', [1], 6_783, 1_500, 'zone', [], dataKeys.publicKey, [], true, new Uint8Array()]
  const later = encodeWire([...known, 'more', [1, 2]])
  expect(parseRecord(later, new Uint8Array(64), crypto)).toMatchObject({
    ok: true,
    value: { signed: later, record: { version: 6, hasLeft: true } },
  })
})

test.each([
  { name: 'a later incarnation wins over any version', a: { incarnation: 2, version: 1 }, b: { incarnation: 1, version: 9 } },
  { name: 'a later version wins', a: { version: 3 }, b: { version: 2 } },
  { name: 'of two with one number, all peers choose the same', a: { nickname: 'b' }, b: { nickname: 'a' } },
])('$name', ({ a, b }) => {
  const [first, second] = [recordOf(identity, crypto, { ...plainFacts, ...a }), recordOf(identity, crypto, { ...plainFacts, ...b })]
  expect(compareRecords(first, second)).toBeGreaterThan(0)
  expect(compareRecords(second, first)).toBeLessThan(0)
  expect(isConflict(first, second)).toBe('nickname' in a)
})
