/** Messages between peers: every one survives the wire, nothing else passes for one. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { millis } from '../../../mesh/base/brand.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { encodeWire, type WireValue } from '../../../mesh/base/wire.ts'
import { FRAME_BYTES_MAX } from '../../../mesh/framing.ts'
import { GOSSIP_MESSAGE_BYTES_MAX } from '../../../mesh/gossip.ts'
import { DELTAS_MAX, decodeMessage, encodeMessage, HOPS_MAX, type Message } from '../../../mesh/messages.ts'
import { sealParcel } from '../../../mesh/parcel.ts'
import { identityOf } from '../../support/mesh-records.ts'
import { simCrypto } from '../../support/sim/crypto.ts'

const crypto = simCrypto(seededRandom(1))
const identity = identityOf(1, crypto)
const huge = Number.MAX_SAFE_INTEGER
const parcel = { from: identity.name, to: identityOf(2, crypto).name, fromIncarnation: huge, toIncarnation: huge, number: huge }

const channel = fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/)
const bytes = fc.uint8Array({ maxLength: 100 })
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({
    kind: fc.constant('heartbeat' as const),
    within: fc.nat(3_600_000).map((within) => millis(within)),
    wantsAnswer: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('bye' as const),
    reason: fc.stringMatching(/^[ -~]{1,200}$/),
    code: fc.constantFrom('full' as const, 'surplus' as const, 'other' as const),
  }),
  fc.record({ kind: fc.constant('deltas' as const), channel, deltas: fc.array(bytes, { maxLength: 10 }) }),
  fc.record({ kind: fc.constant('offers' as const), channel, offers: fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 10 }) }),
  fc.record({ kind: fc.constant('wants' as const), channel, keys: fc.array(fc.string({ maxLength: 64 }), { maxLength: 10 }) }),
  fc.record({ kind: fc.constant('doubt' as const), peer: fc.constant(identity.name) }),
  fc.record({ kind: fc.constant('parcel' as const), hops: fc.integer({ min: 0, max: HOPS_MAX }), bytes }),
  fc.record({ kind: fc.constant('summary' as const), channel, bytes, wantsOurs: fc.boolean() }),
  fc.record({
    kind: fc.constant('digests' as const),
    digests: fc.array(fc.record({ channel, digest: fc.uint8Array({ minLength: 16, maxLength: 16 }) }), { maxLength: 32 }),
  }),
)

test('every message survives the wire', () => {
  fc.assert(
    fc.property(message, (wanted) => {
      expect(decodeMessage(encodeMessage(wanted))).toEqual({ ok: true, value: wanted })
    }),
    { seed: 1 },
  )
})

test('no bytes make the decoder throw', () => {
  fc.assert(
    fc.property(message, fc.uint8Array({ maxLength: 20 }), fc.nat(60), (good, noise, at) => {
      const mixed = encodeMessage(good)
      mixed.set(noise.subarray(0, Math.max(0, mixed.length - at)), Math.min(at, mixed.length))
      expect(typeof decodeMessage(mixed).ok).toBe('boolean')
      expect(typeof decodeMessage(noise).ok).toBe('boolean')
    }),
    { seed: 1, numRuns: 2_000 },
  )
})

test('the longest message that a part may hand over fits into a frame', () => {
  const body = new Uint8Array(GOSSIP_MESSAGE_BYTES_MAX)
  const channel = 'c'.repeat(32)
  const messages: readonly Message[] = [
    { kind: 'deltas', channel, deltas: [body] },
    { kind: 'summary', channel, bytes: body, wantsOurs: true },
    { kind: 'parcel', hops: HOPS_MAX, bytes: sealParcel({ ...parcel, channel, body }, identity, crypto) },
  ]
  for (const encoded of messages.map(encodeMessage)) {
    expect(encoded.length).toBeLessThanOrEqual(FRAME_BYTES_MAX)
    expect(decodeMessage(encoded).ok).toBe(true)
  }
})

test('a reason for a goodbye is made printable and cut', () => {
  expect(decodeMessage(encodeMessage({ kind: 'bye', reason: `x\n${'y'.repeat(300)}`, code: 'full' }))).toEqual({
    ok: true,
    value: { kind: 'bye', reason: `x?${'y'.repeat(198)}`, code: 'full' },
  })
})

test.each([
  { name: 'without a code', value: [1, 'tired'] },
  { name: 'with the code of a later version', value: [1, 'tired', 99] },
  { name: 'with a code that is no number', value: [1, 'tired', 'full'] },
])('a goodbye $name is one for another reason', ({ value }) => {
  expect(decodeMessage(encodeWire(value))).toEqual({ ok: true, value: { kind: 'bye', reason: 'tired', code: 'other' } })
})

test('fields that a later version appends do no harm', () => {
  expect(decodeMessage(encodeWire([0, 3_000, true, 'more']))).toEqual({
    ok: true,
    value: { kind: 'heartbeat', within: 3_000, wantsAnswer: true },
  })
})

describe('refused', () => {
  const cases: readonly { readonly name: string; readonly value: WireValue; readonly error: string }[] = [
    { name: 'no array', value: 5, error: 'not an array' },
    { name: 'nothing', value: [], error: 'of an unknown type undefined' },
    { name: 'an unknown type', value: [99], error: 'of an unknown type 99' },
    { name: 'a bye without a reason', value: [1], error: 'a bye without a proper reason' },
    { name: 'a bye that forges a log line', value: [1, 'a\nb'], error: 'a bye without a proper reason' },
    { name: 'an unknown type of text', value: ['x'.repeat(100)], error: 'of an unknown type string' },
    { name: 'a heartbeat that promises nothing', value: [0], error: 'a heartbeat without a proper promise' },
    { name: 'a heartbeat that promises no time', value: [0, Number.NaN, true], error: 'a heartbeat without a proper promise' },
    { name: 'a heartbeat that promises the past', value: [0, -1, true], error: 'a heartbeat without a proper promise' },
    { name: 'offers without a channel', value: [6, undefined, []], error: 'without a proper channel' },
    { name: 'offers that are one', value: [6, 'peers', new Uint8Array(3)], error: 'offers that are not a list of at most 1024' },
    {
      name: 'too many offers',
      value: [6, 'peers', new Array(1_025).fill(new Uint8Array(1))],
      error: 'offers that are not a list of at most 1024',
    },
    { name: 'an offer longer than any', value: [6, 'peers', [new Uint8Array(65)]], error: 'without a proper offer' },
    { name: 'wants without a channel', value: [7, 1, []], error: 'without a proper channel' },
    { name: 'too many wants', value: [7, 'peers', new Array(1_025).fill('a')], error: 'wants that are not a list of at most 1024' },
    { name: 'a key longer than any', value: [7, 'peers', ['k'.repeat(65)]], error: 'without a proper key' },
    { name: 'a key that is no text', value: [7, 'peers', [1]], error: 'without a proper key' },
    { name: 'a doubt about nobody', value: [8], error: 'a doubt without a proper name' },
    { name: 'a doubt about a longer name', value: [8, new Uint8Array(9)], error: 'a doubt without a proper name' },
    { name: 'deltas without a channel', value: [2, undefined, []], error: 'without a proper channel' },
    { name: 'a channel in capitals', value: [2, 'Peers', []], error: 'without a proper channel' },
    { name: 'deltas that are one', value: [2, 'peers', new Uint8Array(3)], error: 'deltas that are not a list' },
    { name: 'a delta of text', value: [2, 'peers', [new Uint8Array(3), 'text']], error: 'without a body of bytes' },
    {
      name: 'a crowd of deltas',
      value: [2, 'peers', new Array(DELTAS_MAX + 1).fill(new Uint8Array(0))],
      error: 'of more than 1024 deltas',
    },
    { name: 'a summary of text', value: [4, 'peers', 'text', true], error: 'without a body of bytes' },
    {
      name: 'a body too long',
      value: [4, 'peers', new Uint8Array(GOSSIP_MESSAGE_BYTES_MAX + 1_025)],
      error: 'a body of 197633 bytes, more than 197632',
    },
    { name: 'a parcel of text', value: [5, 1, 'text'], error: 'without a body of bytes' },
    { name: 'a parcel without hops', value: [5, undefined, new Uint8Array(1)], error: 'a parcel without proper hops' },
    { name: 'a parcel with half a hop', value: [5, 0.5, new Uint8Array(1)], error: 'a parcel without proper hops' },
    { name: 'a parcel with less than no hops', value: [5, -1, new Uint8Array(1)], error: 'a parcel without proper hops' },
    { name: 'a parcel that would go round for long', value: [5, HOPS_MAX + 1, new Uint8Array(1)], error: 'a parcel without proper hops' },
    { name: 'digests that are no list', value: [3, 'peers'], error: 'digests that are not a list' },
    { name: 'a short digest', value: [3, [['peers', new Uint8Array(15)]]], error: 'a digest that is not 16 bytes' },
    { name: 'digests of a crowd', value: [3, new Array(33).fill(['c', new Uint8Array(16)])], error: 'digests of more than 32 channels' },
  ]
  test.each(cases)('$name', ({ value, error }) => {
    expect(decodeMessage(encodeWire(value))).toEqual({ ok: false, error })
  })
})
