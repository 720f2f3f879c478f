/**
 * Every decoder that bytes of the network reach, on good encodings with parts changed, cut, repeated and moved: none
 * throws, none takes long, and none takes for good what nobody has signed.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeSpaceMessage, encodeSpaceMessage } from '../../../ipam/messages.ts'
import { decodeDelta, encodeDelta } from '../../../ipam/ring-codec.ts'
import { decodeSummary, ringSummary } from '../../../ipam/ring-digest.ts'
import { ipv4, parseCidr } from '../../../mesh/base/address.ts'
import { parsePeerName } from '../../../mesh/base/brand.ts'
import { concatBytes, toHex } from '../../../mesh/base/bytes.ts'
import { systemClock } from '../../../mesh/base/clock.ts'
import { decodeWire, encodeWire, type WireValue } from '../../../mesh/base/wire.ts'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { encodeFrame, FRAME_BYTES_MAX, FrameDecoder } from '../../../mesh/framing.ts'
import { type HandshakeOptions, type HandshakeState, startHandshake, stepHandshake } from '../../../mesh/handshake.ts'
import { decodeMessage, encodeMessage, type Message } from '../../../mesh/messages.ts'
import { isParcelGenuine, parseParcel, sealParcel } from '../../../mesh/parcel.ts'
import { Peers } from '../../../mesh/peers.ts'
import { items, ring, SEED_ID } from '../../support/ipam.ts'
import { deltaOf, identityOf, recordOf } from '../../support/mesh-records.ts'

const crypto = await loadCrypto()
const RUNS = 2_000
/** What one input may take: far more than any does, as machines are busy at times. */
const MILLIS_MAX = 500

const [alice, bob] = [identityOf(1, crypto), identityOf(2, crypto)]
const stranger = parsePeerName('0123456789abcdef')

/** One change of some bytes. Places are taken modulo the length. */
interface Mutation {
  readonly kind: 'set' | 'flip' | 'insert' | 'cut' | 'repeat' | 'move' | 'end'
  readonly at: number
  readonly length: number
  readonly to: number
  readonly bytes: Uint8Array
}

/** Bytes that mean something in MessagePack or as a length, more often than any. */
const byte = fc.oneof(
  fc.constantFrom(0x00, 0x01, 0x7f, 0x80, 0x90, 0x9f, 0xc0, 0xc1, 0xc4, 0xc6, 0xcb, 0xd9, 0xdb, 0xdc, 0xdd, 0xff),
  fc.nat(255),
)
const mutation: fc.Arbitrary<Mutation> = fc.record({
  kind: fc.constantFrom('set', 'flip', 'insert', 'cut', 'repeat', 'move', 'end'),
  at: fc.nat(0xffff),
  length: fc.oneof(fc.nat(8), fc.nat(0xffff)),
  to: fc.nat(0xffff),
  bytes: fc.array(byte, { minLength: 1, maxLength: 8 }).map((bytes) => Uint8Array.from(bytes)),
})

function mutate(good: Uint8Array, { kind, at, length, to, bytes }: Mutation): Uint8Array {
  const from = at % (good.length + 1)
  const end = Math.min(good.length, from + length)
  const [before, slice, after] = [good.subarray(0, from), good.subarray(from, end), good.subarray(end)]
  const rest = concatBytes([before, after])
  const place = to % (rest.length + 1)
  switch (kind) {
    case 'set':
      return concatBytes([before, bytes, good.subarray(from + bytes.length)])
    case 'flip':
      return good.map((value, index) => (index === from ? value ^ (1 << (to % 8)) : value))
    case 'insert':
      return concatBytes([before, bytes, good.subarray(from)])
    case 'cut':
      return rest
    case 'repeat':
      return concatBytes([before, slice, slice, slice, after])
    case 'move':
      return concatBytes([rest.subarray(0, place), slice, rest.subarray(place)])
    case 'end':
      return before
  }
}

/** A value in place of some part of a MessagePack encoding: well formed, but not what was meant. */
const oddValue: fc.Arbitrary<WireValue> = fc.oneof(
  fc.constantFrom(undefined, true, 0, -1, 0.5, 2 ** 53, Number.NaN, Number.NEGATIVE_INFINITY, '', 'a', '\u0000', []),
  fc.uint8Array({ maxLength: 70 }),
  fc.nat(5_000).map((length) => new Uint8Array(length)),
  fc.nat(3_000).map((length) => new Array<WireValue>(length).fill(0)),
  fc.string({ maxLength: 300, unit: 'binary' }),
)
interface Odd {
  readonly path: readonly number[]
  readonly value: WireValue
}
const odd: fc.Arbitrary<Odd> = fc.record({ path: fc.array(fc.nat(20), { minLength: 1, maxLength: 4 }), value: oddValue })

function replaced(whole: WireValue, { path, value }: Odd): WireValue {
  const [first, ...more] = path
  if (first === undefined || !Array.isArray(whole) || whole.length === 0) return value
  const list = whole as readonly WireValue[]
  return list.with(first % list.length, replaced(list[first % list.length], { path: more, value }))
}

/** @param skip bytes in front that are no MessagePack. */
function withOddValue(good: Uint8Array, skip: number, change: Odd): Uint8Array {
  const decoded = decodeWire(good.subarray(skip))
  return decoded.ok ? concatBytes([good.subarray(0, skip), encodeWire(replaced(decoded.value, change))]) : good
}

/** Encodings made of `good` ones. @param wireAt where their MessagePack begins, if they are such. */
function spoilt(good: readonly Uint8Array[], wireAt?: number): fc.Arbitrary<Uint8Array> {
  const base = fc.constantFrom(...good)
  const spliced = fc
    .tuple(base, base, fc.nat(0xffff))
    .map(([a, b, at]) => concatBytes([a.subarray(0, at % (a.length + 1)), b.subarray(at % (b.length + 1))]))
  const mutated = fc.tuple(base, fc.array(mutation, { maxLength: 4 })).map(([bytes, changes]) => changes.reduce(mutate, bytes))
  const skip = wireAt ?? 0
  const retyped = fc.tuple(base, odd).map(([bytes, change]) => withOddValue(bytes, skip, change))
  const arbitraries = [
    { weight: 4, arbitrary: mutated },
    { weight: 1, arbitrary: spliced },
    ...(wireAt === undefined ? [] : [{ weight: 3, arbitrary: retyped }]),
  ]
  return fc.oneof(...arbitraries)
}

/** `decode` as it is, but with a limit to its time. */
function timed<T>(name: string, decode: (bytes: Uint8Array) => T): (bytes: Uint8Array) => T {
  return (bytes) => {
    const start = systemClock.now()
    const result = decode(bytes)
    const took = systemClock.now() - start
    expect(took, name).toBeLessThan(MILLIS_MAX)
    return result
  }
}

function fuzz(inputs: fc.Arbitrary<Uint8Array>, check: (bytes: Uint8Array) => void): void {
  fc.assert(fc.property(inputs, check), { seed: 1, numRuns: RUNS })
}

/** The frames up to the first fault, of a stream that comes in pieces of many sizes. */
function framesOf(bytes: Uint8Array): readonly Uint8Array[] {
  const frames = new FrameDecoder()
  const found: Uint8Array[] = []
  for (let at = 0, size = 1; at < bytes.length; at += size, size = 1 + ((size * 7) % 61)) {
    frames.push(bytes.subarray(at, at + size))
    if (!takeAll(frames, found)) break
  }
  return found
}

/** False after a fault. */
function takeAll(frames: FrameDecoder, found: Uint8Array[]): boolean {
  for (;;) {
    const frame = frames.next(FRAME_BYTES_MAX)
    if (!frame.ok || frame.value === undefined) return frame.ok
    found.push(frame.value)
  }
}

const neighbours = Array.from({ length: 12 }, (_, index) => ({
  name: identityOf(index + 3, crypto).name,
  address: ipv4(index),
  port: 6_783,
  outbound: index % 2 === 0,
}))
const records = [
  recordOf(alice, crypto),
  recordOf(bob, crypto, { neighbours, zone: 'z', version: 7 }),
  recordOf(alice, crypto, { hasLeft: true, version: 2 }),
].map(deltaOf)
const parcel = {
  from: alice.name,
  to: bob.name,
  fromIncarnation: 1_000,
  toIncarnation: 2_000,
  number: 3,
  channel: 'ring',
  body: new Uint8Array(40),
}
const parcels = [parcel, { ...parcel, number: 2 ** 40, body: new Uint8Array(0) }].map((one) => sealParcel(one, alice, crypto))
const digest = new Uint8Array(16).fill(7)
const messages: readonly Message[] = [
  { kind: 'heartbeat' },
  { kind: 'bye', reason: 'tired', code: 'surplus' },
  { kind: 'deltas', channel: 'peers', deltas: records },
  { kind: 'digests', digests: ['peers', 'ring'].map((channel) => ({ channel, digest })) },
  { kind: 'summary', channel: 'peers', bytes: new Uint8Array(90), wantsOurs: true },
  { kind: 'parcel', hops: 7, bytes: parcels[0] ?? digest },
]

describe('of spoilt bytes', () => {
  test('the decoder of messages makes messages that can be said again, or a fault', () => {
    const decode = timed('messages', decodeMessage)
    fuzz(spoilt(messages.map(encodeMessage), 0), (bytes) => {
      const decoded = decode(bytes)
      if (decoded.ok) expect(decodeMessage(encodeMessage(decoded.value))).toEqual(decoded)
      else expect(decoded.error.length).toBeLessThan(200)
    })
  })

  test('no record comes into being that its owner has not signed', () => {
    const known = new Set(records.map(toHex))
    fuzz(spoilt(records, 64), (bytes) => {
      const peers = new Peers({ identity: identityOf(9, crypto), crypto, incarnation: 1 })
      const merged = timed('records', (input) => peers.merge(input, stranger))(bytes)
      for (const { delta } of merged.ok ? merged.value.news : []) expect(known).toContain(toHex(delta))
      expect(peers.list().length > 0).toBe(known.has(toHex(bytes)))
    })
  })

  test('no summary of records asks for anything but records', () => {
    const peers = new Peers({ identity: identityOf(9, crypto), crypto, incarnation: 1 })
    for (const record of records) peers.merge(record, stranger)
    const missing = timed('summaries', (bytes) => peers.missing(bytes))
    fuzz(spoilt([peers.summary(), new Uint8Array(0), concatBytes(new Array(200).fill(peers.summary()))]), (bytes) => {
      const answer = missing(bytes)
      expect(answer.ok ? answer.value.length : 0).toBeLessThanOrEqual(2)
    })
  })

  test('no parcel comes into being that its sender has not signed', () => {
    const known = new Set(parcels.map(toHex))
    const open = timed('parcels', (bytes) => {
      const sealed = parseParcel(bytes)
      return sealed.ok && isParcelGenuine(sealed.value, alice.keys.publicKey, crypto)
    })
    fuzz(spoilt(parcels, 64), (bytes) => {
      expect(open(bytes)).toBe(known.has(toHex(bytes)))
    })
  })

  test('the decoder of frames makes frames within the limit, in whatever pieces they come, and stops at the first fault', () => {
    const stream = concatBytes(messages.map(encodeMessage).map(encodeFrame))
    const decode = timed('frames', framesOf)
    fuzz(spoilt([stream, encodeFrame(new Uint8Array(1_000))]), (bytes) => {
      const found = decode(bytes)
      // What comes out is what went in, from the beginning.
      const again = concatBytes(found.map(encodeFrame))
      expect(toHex(bytes.subarray(0, again.length))).toBe(toHex(again))
      for (const frame of found) decodeMessage(frame)
    })
  })

  const universe = parseCidr('10.32.0.0/27')
  const delta = { universe, seedId: SEED_ID, items: items(32, '8:a:2:12 12:-:0') }

  test('the decoder of rings makes deltas that are said in the same bytes, or a fault', () => {
    const decode = timed('rings', decodeDelta)
    fuzz(
      spoilt([encodeDelta(delta), encodeDelta({ ...delta, items: [] }), encodeDelta({ ...delta, seedId: undefined, items: [] })]),
      (bytes) => {
        const decoded = decode(bytes)
        if (decoded.ok) expect(decodeDelta(encodeDelta(decoded.value))).toEqual(decoded)
      },
    )
    const summarize = timed('summaries of rings', decodeSummary)
    fuzz(spoilt([ringSummary(universe, ring(32, '8:a:2:12 12:-:0'))]), (bytes) => void summarize(bytes))
  })

  test('the decoder of messages about space makes such that can be said again, or a fault', () => {
    const decode = timed('space', decodeSpaceMessage)
    const good = [
      { kind: 'ask', id: 7 },
      { kind: 'denial', id: 2 ** 32 - 1 },
      { kind: 'grant', id: 7, free: 12, delta },
    ] as const
    fuzz(spoilt(good.map(encodeSpaceMessage)), (bytes) => {
      const decoded = decode(bytes)
      if (decoded.ok) expect(decodeSpaceMessage(encodeSpaceMessage(decoded.value))).toEqual(decoded)
    })
  })

  test('the handshake makes no peer but the one that was there', () => {
    const optionsOf = (index: number): HandshakeOptions => ({
      identity: identityOf(index, crypto),
      crypto,
      cluster: 'c',
      instance: new Uint8Array(16).fill(index),
      incarnation: index,
    })
    const [ours, theirs] = [optionsOf(1), optionsOf(2)]
    const [dialler] = startHandshake(ours, true)
    const [acceptor, hello] = startHandshake(theirs, false)
    const helloOf = ([effect]: typeof hello): Uint8Array => (effect?.kind === 'send' ? effect.payload : digest)
    const helloOfDialler = dialler.kind === 'awaiting hello' ? dialler.hello : digest
    const [, proof] = stepHandshake(acceptor, helloOfDialler, theirs)
    const [waiting] = stepHandshake(dialler, helloOf(hello), ours)
    const good = [helloOf(hello), helloOf(proof)]
    const step = (state: HandshakeState) => timed('handshake', (bytes) => stepHandshake(state, bytes, ours))
    fuzz(spoilt(good), (bytes) => {
      step(dialler)(bytes)
      const [next, effects] = step(waiting)(bytes)
      expect(next.kind).toBe('over')
      expect(effects.map(({ kind }) => kind)).toEqual([toHex(bytes) === toHex(helloOf(proof)) ? 'done' : 'reject'])
    })
  })
})

describe('bytes that are made to take long', () => {
  const head = (type: number, length: number): Uint8Array =>
    Uint8Array.of(type, length >>> 24, (length >> 16) & 255, (length >> 8) & 255, length & 255)
  const big = FRAME_BYTES_MAX - 100
  test.each([
    { name: 'a type of many bytes', bytes: encodeWire([new Uint8Array(big)]) },
    { name: 'a type that is a long text', bytes: encodeWire(['\u00e9'.repeat(big / 2)]) },
    { name: 'a type that is a long list', bytes: encodeWire([new Array<WireValue>(65_000).fill(0.5)]) },
    {
      name: 'a list that claims four billion items',
      bytes: concatBytes([Uint8Array.of(0x92, 2), head(0xdd, 0xffff_ffff), new Uint8Array(big)]),
    },
    { name: 'lists in lists', bytes: new Uint8Array(big).fill(0x91) },
    { name: 'many lists of nothing', bytes: concatBytes([head(0xdd, big), new Uint8Array(big).fill(0x90)]) },
    {
      name: 'many short texts',
      bytes: concatBytes([
        Uint8Array.of(0x93, 2, 0xa5),
        new TextEncoder().encode('peers'),
        head(0xdd, 65_000),
        new Uint8Array(130_000).map((_, index) => (index % 2 === 0 ? 0xa1 : 0xff)),
      ]),
    },
    { name: 'a text of broken characters', bytes: concatBytes([Uint8Array.of(0x93, 1), head(0xdb, big), new Uint8Array(big).fill(0xf0)]) },
    {
      name: 'as many deltas as there may be, each of them nothing',
      bytes: encodeMessage({ kind: 'deltas', channel: 'peers', deltas: new Array(1_024).fill(new Uint8Array(0)) }),
    },
  ])('$name: a moment', ({ bytes }) => {
    timed('slow messages', decodeMessage)(bytes)
    timed('slow records', (input) =>
      new Peers({ identity: bob, crypto, incarnation: 1 }).merge(concatBytes([digest, digest, digest, digest, input]), stranger),
    )(bytes)
    timed('slow parcels', (input) => parseParcel(concatBytes([new Uint8Array(64), input])))(bytes)
  })
})

test('a ring as long as may be takes a moment', () => {
  const long = items(32, '8:a:2:12 12:-:0')
  const many = Array.from({ length: 4_096 }, (_, index) => long[index % long.length]).filter((item) => item !== undefined)
  const bytes = encodeDelta({ universe: parseCidr('10.32.0.0/12'), seedId: SEED_ID, items: many })
  expect(timed('long rings', decodeDelta)(bytes).ok).toBe(true)
})
