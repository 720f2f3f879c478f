/** Rings, summaries and messages about space as bytes: there and back, and nothing breaks the decoders. */
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeSpaceMessage, encodeSpaceMessage } from '../../../ipam/messages.ts'
import { emptyRing, mergeRing, type Ring } from '../../../ipam/ring.ts'
import { DELTA_ITEMS_MAX, decodeDelta, encodeDelta } from '../../../ipam/ring-codec.ts'
import { decodeSummary, missingDeltas, ringDigest, ringSummary } from '../../../ipam/ring-digest.ts'
import { seedIdOf } from '../../../ipam/seed.ts'
import { decodeTakeoverMessage, encodeTakeoverMessage, isTakeoverMessage } from '../../../ipam/takeover-messages.ts'
import { encodeVerdict } from '../../../ipam/verdicts.ts'
import { parseCidr } from '../../../mesh/base/address.ts'
import { millis } from '../../../mesh/base/brand.ts'
import { fromHex, toHex } from '../../../mesh/base/bytes.ts'
import { parseCidr6 } from '../../../mesh/base/prefix.ts'
import { GOSSIP_MESSAGE_BYTES_MAX } from '../../../mesh/gossip.ts'
import { items, news, peer, ring, SEED_ID, soundItems, soundRetired, soundRing } from '../../support/ipam.ts'

const UNIVERSE = parseCidr('10.32.0.0/27')
const SIZE = 32
const NO_NEWS = { items: [], retired: [] }
const VERDICT = encodeVerdict(UNIVERSE, { loser: SEED_ID, winner: seedIdOf(UNIVERSE, [peer('a')]), at: millis(1) })
const number = fc.integer({ min: 0, max: 0xffff_ffff })

/** The bytes of `UNIVERSE`, and the head of a ring of it. */
const NO_IPV6 = '00'.repeat(17)
const BYTES = `0a2000001b${NO_IPV6}`
const REST = `0000${'00112233aabbccdd'}`
const HEAD = `03${BYTES}${REST}`

describe('a delta', () => {
  test('has a form that does not change', () => {
    const retired = [{ peer: peer('c'), by: peer('b') }]
    const bytes = encodeDelta({ universe: UNIVERSE, seedId: SEED_ID, items: items(SIZE, '8:a:2:12 12:b:1.3'), retired })
    expect(toHex(bytes)).toBe(
      `${'03'}${BYTES}${'0001'}${'00112233aabbccdd'}${'cccccccccccccccc'}${'bbbbbbbbbbbbbbbb'}` +
        `${'00000008'}${'0000000c'}${'aaaaaaaaaaaaaaaa'}${'00000002'}${'00000000'}` +
        `${'0000000c'}${'00000020'}${'bbbbbbbbbbbbbbbb'}${'00000001'}${'00000003'}`,
    )
  })

  test('says which range of IPv6 goes with it', () => {
    const universe = { ...UNIVERSE, v6: parseCidr6('fd00:77:65::/64') }
    const bytes = encodeDelta({ universe, seedId: SEED_ID, ...NO_NEWS })
    expect(toHex(bytes)).toBe(`${'03'}${'0a2000001b'}${'fd0000770065'}${'00'.repeat(10)}${'40'}${REST}`)
    expect(decodeDelta(bytes)).toEqual({ ok: true, value: { universe, seedId: SEED_ID, ...NO_NEWS } })
  })

  test('comes back as it went', () => {
    fc.assert(
      fc.property(soundItems(SIZE), soundRetired, (sound, retired) => {
        const delta = { universe: UNIVERSE, seedId: SEED_ID, items: sound, retired }
        expect(decodeDelta(encodeDelta(delta))).toEqual({ ok: true, value: delta })
      }),
      { seed: 1 },
    )
  })

  test.each([
    { name: 'short', hex: '031b', code: 'malformed' },
    { name: 'of the form of tokens', hex: `01${HEAD.slice(2)}`, code: 'malformed' },
    { name: 'that is a verdict', hex: toHex(VERDICT), code: 'malformed' },
    { name: 'of a universe that is none', hex: `03${'0a2000011b'}${NO_IPV6}${REST}`, code: 'malformed' },
    { name: 'of a length that is none', hex: `03${'0a20000021'}${NO_IPV6}${REST}`, code: 'malformed' },
    { name: 'of a range of IPv6 that is none', hex: `03${'0a2000001b'}${'fd00'.repeat(8)}${'08'}${REST}`, code: 'malformed' },
    { name: 'with half an item', hex: `${HEAD}${'00'.repeat(12)}`, code: 'malformed' },
    { name: 'with items but no ring', hex: `03${BYTES}0000${'00'.repeat(8)}${'00'.repeat(24)}`, code: 'malformed' },
    { name: 'too long', hex: `${HEAD}${'00'.repeat(24 * (DELTA_ITEMS_MAX + 1))}`, code: 'limit' },
  ])('$name is refused', ({ hex, code }) => {
    expect(decodeDelta(fromHex(hex))).toMatchObject({ ok: false, error: { code } })
  })
})

describe('finding out what another lacks', () => {
  const learned = (into: Ring, from: Ring): Ring => {
    const summary = decodeSummary(ringSummary(UNIVERSE, into))
    if (!summary.ok) throw new Error(summary.error.detail)
    return missingDeltas(UNIVERSE, from, summary.value).reduce((known, bytes) => {
      const delta = decodeDelta(bytes)
      return delta.ok ? mergeRing(known, delta.value).ring : known
    }, into)
  }

  test('after one exchange each way two peers have the same ring and digest', () => {
    fc.assert(
      fc.property(soundRing(SIZE), soundRing(SIZE), (a, b) => {
        const [a2, b2] = [learned(a, b), learned(b, a)]
        expect(a2).toEqual(b2)
        expect(ringDigest(UNIVERSE, a2)).toEqual(ringDigest(UNIVERSE, b2))
        expect(toHex(ringDigest(UNIVERSE, a)) === toHex(ringDigest(UNIVERSE, b))).toBe(isDeepStrictEqual(a, b))
      }),
      { seed: 2, numRuns: 300 },
    )
  })

  test('whoever knows of no ring gets all of it, whoever has all of it nothing', () => {
    const all = ring(SIZE, '0:a:1 8:b:1 16:-:0')
    const nothing = decodeSummary(ringSummary(UNIVERSE, undefined))
    if (!nothing.ok) throw new Error(nothing.error.detail)
    expect(missingDeltas(UNIVERSE, all, nothing.value)).toHaveLength(1)
    expect(learned(emptyRing(SEED_ID, SIZE), all)).toEqual(all)
    const same = decodeSummary(ringSummary(UNIVERSE, all))
    expect(same.ok && missingDeltas(UNIVERSE, all, same.value)).toEqual([])
  })

  test('a big ring goes in messages of bounded size, and a small difference in a small one', () => {
    const universe = parseCidr('10.0.0.0/8')
    const size = 2 ** 24
    const many = Array.from({ length: 20_000 }, (_, index) => ({
      token: index * 800,
      end: index * 800 + 800,
      owner: peer('a'),
      version: 1 + (index % 2),
      epoch: 0,
    }))
    const big = mergeRing(emptyRing(SEED_ID, size), news(many)).ring
    const nothing = decodeSummary(ringSummary(universe, undefined))
    const chunks = nothing.ok ? missingDeltas(universe, big, nothing.value) : []
    expect(chunks.length).toBeGreaterThan(4)
    expect(chunks.every(({ length }) => length <= GOSSIP_MESSAGE_BYTES_MAX)).toBe(true)
    const changed = mergeRing(big, news([{ token: 8_000, end: 8_800, owner: peer('b'), version: 2, epoch: 0 }])).ring
    const summary = decodeSummary(ringSummary(universe, big))
    const difference = summary.ok ? missingDeltas(universe, changed, summary.value) : []
    expect(difference).toHaveLength(1)
    expect(difference[0]?.length).toBeLessThan(4_000)
  })

  test.each([HEAD, `${HEAD}${'00'.repeat(8)}`, `${HEAD}${'00'.repeat(32)}`, `${HEAD}${'00'.repeat(12)}`])(
    'the summary %s is refused',
    (hex) => expect(decodeSummary(fromHex(hex))).toMatchObject({ ok: false, error: { code: 'malformed' } }),
  )
})

test('messages about space come back as they went', () => {
  const delta = { universe: UNIVERSE, seedId: SEED_ID, items: items(SIZE, '8:a:2:12'), retired: [] }
  fc.assert(
    fc.property(number, number, (id, free) => {
      for (const message of [
        { kind: 'ask', id, seedId: SEED_ID },
        { kind: 'ask', id, seedId: SEED_ID, within: { start: free, end: id } },
        { kind: 'denial', id, free },
        { kind: 'grant', id, free, delta },
      ] as const) {
        expect(decodeSpaceMessage(encodeSpaceMessage(message))).toEqual({ ok: true, value: message })
      }
    }),
    { seed: 3 },
  )
})

test('messages about takeovers come back as they went', () => {
  const delta = { universe: UNIVERSE, seedId: SEED_ID, items: items(SIZE, '8:a:2:12'), retired: [{ peer: peer('c'), by: peer('a') }] }
  fc.assert(
    fc.property(number, (id) => {
      for (const message of [
        { kind: 'proposal', id, peer: peer('b'), delta },
        { kind: 'consent', id },
        { kind: 'dissent', id, delta },
        { kind: 'refusal', id, reason: 'busy' },
        { kind: 'refusal', id, reason: 'alive' },
        { kind: 'handover', id, delta },
        { kind: 'inquiry', id },
        { kind: 'answer', id, delta },
      ] as const) {
        const bytes = encodeTakeoverMessage(message)
        expect(isTakeoverMessage(bytes)).toBe(true)
        expect(decodeTakeoverMessage(bytes)).toEqual({ ok: true, value: message })
        expect(decodeTakeoverMessage(bytes.subarray(0, message.kind === 'consent' || message.kind === 'inquiry' ? 4 : 5))).toMatchObject({
          ok: false,
        })
      }
    }),
    { seed: 5, numRuns: 30 },
  )
})

test('no bytes break a decoder', () => {
  const start = fc.constantFrom(
    '',
    '031b00000a20000000112233aabbccdd',
    '031b00010a20000000112233aabbccdd',
    '0200000001000000ff031b00000a20000000112233aabbccdd',
  )
  fc.assert(
    fc.property(start, fc.uint8Array({ maxLength: 80 }), (hex, rest) => {
      const bytes = Buffer.concat([fromHex(hex), rest])
      for (const decode of [decodeDelta, decodeSummary, decodeSpaceMessage, decodeTakeoverMessage])
        expect(decode(bytes)).toHaveProperty('ok')
    }),
    { seed: 4, numRuns: 2_000 },
  )
})
