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
import { millis, parsePeerName } from '../../../mesh/base/brand.ts'
import { concatBytes, toHex } from '../../../mesh/base/bytes.ts'
import { systemClock } from '../../../mesh/base/clock.ts'
import { encodeWire, type WireValue } from '../../../mesh/base/wire.ts'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { encodeFrame, FRAME_BYTES_MAX, FrameDecoder } from '../../../mesh/framing.ts'
import { type HandshakeEffect, type HandshakeOptions, startHandshake, stepHandshake } from '../../../mesh/handshake.ts'
import { decodeMessage, encodeMessage, type Message } from '../../../mesh/messages.ts'
import { isParcelGenuine, parseParcel, sealParcel } from '../../../mesh/parcel.ts'
import { Peers } from '../../../mesh/peers.ts'
import { decodeRotation, encodeRotation } from '../../../mesh/rotation.ts'
import { items, peer, ring, SEED_ID } from '../../support/ipam.ts'
import { keyOf, keyringOf } from '../../support/keyrings.ts'
import { deltaOf, identityOf, recordOf } from '../../support/mesh-records.ts'
import { spoilt } from '../../support/spoilt.ts'

const crypto = await loadCrypto()
const RUNS = 2_000
/** What one input may take: far more than any does, as machines are busy at times. */
const MILLIS_MAX = 500

const [alice, bob] = [identityOf(1, crypto), identityOf(2, crypto)]
const stranger = parsePeerName('0123456789abcdef')

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

function payloadOf(effect: HandshakeEffect | undefined): Uint8Array {
  const payload = effect?.kind === 'done' ? effect.last : effect?.kind === 'send' ? effect.payload : undefined
  if (payload === undefined) throw new Error('nothing is said')
  return payload
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
  { kind: 'heartbeat', within: millis(3_000), wantsAnswer: true },
  { kind: 'offers', channel: 'peers', offers: [new Uint8Array(28)] },
  { kind: 'wants', channel: 'peers', keys: ['0123456789abcdef'] },
  { kind: 'doubt', peer: parsePeerName('0123456789abcdef') },
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
  const delta = { universe, seedId: SEED_ID, items: items(32, '8:a:2:12 12:b:1'), retired: [{ peer: peer('d'), by: peer('c') }] }

  test('the decoder of rings makes deltas that are said in the same bytes, or a fault', () => {
    const decode = timed('rings', decodeDelta)
    fuzz(
      spoilt([
        encodeDelta(delta),
        encodeDelta({ ...delta, items: [], retired: [] }),
        encodeDelta({ universe, seedId: undefined, items: [], retired: [] }),
      ]),
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
      { kind: 'ask', id: 7, seedId: SEED_ID },
      { kind: 'ask', id: 7, seedId: SEED_ID, within: { start: 8, end: 16 } },
      { kind: 'denial', id: 2 ** 32 - 1, free: 3 },
      { kind: 'grant', id: 7, free: 12, delta },
    ] as const
    fuzz(spoilt(good.map(encodeSpaceMessage)), (bytes) => {
      const decoded = decode(bytes)
      if (decoded.ok) expect(decodeSpaceMessage(encodeSpaceMessage(decoded.value))).toEqual(decoded)
    })
  })

  test('the rotation of keys that comes of them can be said again', () => {
    const good = (['accept', 'promote', 'drop'] as const).map((stage) =>
      encodeRotation({ startedAt: 2 ** 40, key: keyOf(1, crypto), stage }),
    )
    const decode = timed('rotations', (bytes) => decodeRotation(bytes, crypto))
    fuzz(spoilt(good, 0), (bytes) => {
      const decoded = decode(bytes)
      if (decoded.ok) expect(decodeRotation(encodeRotation(decoded.value), crypto)).toEqual(decoded)
    })
  })

  test('the handshake makes no peer but the one that was there', () => {
    // Always the same keys: what was said in one handshake is good in the next.
    const optionsOf = (index: number): HandshakeOptions => ({
      identity: identityOf(index, crypto),
      crypto: { ...crypto, randomBytes: (count) => new Uint8Array(count).fill(index) },
      cluster: 'c',
      keyring: keyringOf(1, crypto),
      instance: new Uint8Array(16).fill(index),
      hadPods: true,
      startedAt: 1,
      incarnation: () => index,
    })
    const [dialling, accepting] = [optionsOf(1), optionsOf(2)]
    /** The states in which each frame is awaited, with who awaits it. */
    const stages = (said: readonly Uint8Array[] = []) => {
      const [dialler, [offer]] = startHandshake(dialling, true)
      const [acceptor] = startHandshake(accepting, false)
      const [proving, [answer]] = stepHandshake(acceptor, said[0] ?? payloadOf(offer), accepting)
      return { frames: [offer, answer].map(payloadOf), states: [acceptor, dialler, proving], options: [accepting, dialling, accepting] }
    }
    const first = stages()
    const [, effects] = stepHandshake(first.states[1] ?? { kind: 'over' }, first.frames[1] ?? digest, dialling)
    const good = [...first.frames, payloadOf(effects[0])]
    const wanted = ['send', 'done', 'done']
    fuzz(spoilt(good), (bytes) => {
      const { states, options } = stages(good)
      for (const [index, state] of states.entries()) {
        const own = options[index] ?? dialling
        const [next, after] = timed('handshake', (input) => stepHandshake(state, input, own))(bytes)
        const isGood = toHex(bytes) === toHex(good[index] ?? digest)
        expect(after.at(-1)?.kind).toBe(isGood ? wanted[index] : 'reject')
        if (!isGood) expect(next.kind).toBe('over')
      }
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
  const long = items(32, '8:a:2:12 12:b:1')
  const many = Array.from({ length: 4_096 }, (_, index) => long[index % long.length]).filter((item) => item !== undefined)
  const bytes = encodeDelta({ universe: parseCidr('10.32.0.0/12'), seedId: SEED_ID, items: many, retired: [] })
  expect(timed('long rings', decodeDelta)(bytes).ok).toBe(true)
})
