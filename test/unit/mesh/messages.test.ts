/** Messages between peers: every one survives the wire, nothing else passes for one. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeWire, type WireValue } from '../../../mesh/base/wire.ts'
import { FRAME_BYTES_MAX } from '../../../mesh/framing.ts'
import { GOSSIP_MESSAGE_BYTES_MAX } from '../../../mesh/gossip.ts'
import { decodeMessage, encodeMessage, type Message } from '../../../mesh/messages.ts'

const channel = fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/)
const bytes = fc.uint8Array({ maxLength: 100 })
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.constant<Message>({ kind: 'heartbeat' }),
  fc.record({ kind: fc.constant('bye' as const), reason: fc.stringMatching(/^[ -~]{1,200}$/) }),
  fc.record({ kind: fc.constantFrom('delta' as const, 'unicast' as const), channel, bytes }),
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
  const encoded = encodeMessage({ kind: 'delta', channel: 'c'.repeat(32), bytes: body })
  expect(encoded.length).toBeLessThanOrEqual(FRAME_BYTES_MAX)
  expect(decodeMessage(encoded).ok).toBe(true)
})

test('a reason for a goodbye is made printable and cut', () => {
  expect(decodeMessage(encodeMessage({ kind: 'bye', reason: `x\n${'y'.repeat(300)}` }))).toEqual({
    ok: true,
    value: { kind: 'bye', reason: `x?${'y'.repeat(198)}` },
  })
})

test('fields that a later version appends do no harm', () => {
  expect(decodeMessage(encodeWire([0, 'more']))).toEqual({ ok: true, value: { kind: 'heartbeat' } })
})

describe('refused', () => {
  const cases: readonly { readonly name: string; readonly value: WireValue; readonly error: string }[] = [
    { name: 'no array', value: 5, error: 'not an array' },
    { name: 'nothing', value: [], error: 'of an unknown type undefined' },
    { name: 'an unknown type', value: [99], error: 'of an unknown type 99' },
    { name: 'a bye without a reason', value: [1], error: 'a bye without a proper reason' },
    { name: 'a bye that forges a log line', value: [1, 'a\nb'], error: 'a bye without a proper reason' },
    { name: 'a delta without a channel', value: [2, undefined, new Uint8Array()], error: 'without a proper channel' },
    { name: 'a channel in capitals', value: [2, 'Peers', new Uint8Array()], error: 'without a proper channel' },
    { name: 'a body of text', value: [2, 'peers', 'text'], error: 'without a body of bytes' },
    { name: 'a body too long', value: [5, 'peers', new Uint8Array(196_609)], error: 'a body of 196609 bytes, more than 196608' },
    { name: 'a short digest', value: [3, [['peers', new Uint8Array(15)]]], error: 'a digest that is not 16 bytes' },
    { name: 'digests of a crowd', value: [3, new Array(33).fill(['c', new Uint8Array(16)])], error: 'digests of more than 32 channels' },
  ]
  test.each(cases)('$name', ({ value, error }) => {
    expect(decodeMessage(encodeWire(value))).toEqual({ ok: false, error })
  })
})
