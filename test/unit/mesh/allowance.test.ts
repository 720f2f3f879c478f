/** What one neighbour may make us do: a cold start and a heal are far from the limits, a flood is not. */
import { describe, expect, test } from 'vitest'
import { Allowance } from '../../../mesh/allowance.ts'
import { type Millis, millis } from '../../../mesh/base/brand.ts'
import { err, ok, type Result } from '../../../mesh/base/result.ts'
import type { GossipFault, Merged } from '../../../mesh/gossip.ts'
import { PEERS_MAX } from '../../../mesh/peers.ts'

const RECORD_BYTES = 400

const NEWS: Result<Merged, GossipFault> = ok({ news: [{ key: 'k', delta: new Uint8Array() }], held: ['k'], faults: [] })
const KNOWN: Result<Merged, GossipFault> = ok({ news: [], held: ['k'], faults: [] })
const FORGED: Result<Merged, GossipFault> = err({ code: 'signature', detail: 'a forged one' })
const HALF_FORGED: Result<Merged, GossipFault> = ok({ news: [], held: [], faults: [{ code: 'signature', detail: 'one of two' }] })
const MALFORMED: Result<Merged, GossipFault> = err({ code: 'malformed', detail: 'none' })

interface Told {
  readonly result: Result<Merged, GossipFault>
  readonly count: number
  readonly bytes?: number
  readonly at?: number
}

/** How many of these deltas are looked at. */
function looked(allowance: Allowance, { result, count, bytes = RECORD_BYTES, at = 0 }: Told): number {
  const now: Millis = millis(at)
  let seen = 0
  for (let index = 0; index < count; index += 1) {
    if (allowance.excessOf(bytes, now) !== undefined) continue
    seen += 1
    allowance.merged(result, bytes, now)
  }
  return seen
}

describe('a neighbour that works', () => {
  test('may tell the records of all peers at once, and all of them anew', () => {
    const allowance = new Allowance()
    expect(looked(allowance, { result: NEWS, count: 2 * PEERS_MAX })).toBe(2 * PEERS_MAX)
  })

  test('may tell the news of all peers for ever, each of which publishes once in five seconds', () => {
    const allowance = new Allowance()
    looked(allowance, { result: NEWS, count: 2 * PEERS_MAX })
    const rounds = Array.from({ length: 20 }, (_, round) => looked(allowance, { result: NEWS, count: PEERS_MAX, at: 5_000 * (round + 1) }))
    expect(new Set(rounds)).toEqual(new Set([PEERS_MAX]))
  })

  test('may tell all that we know already, twice, and sixteen pieces of it every 40 ms for ever', () => {
    const allowance = new Allowance()
    expect(looked(allowance, { result: KNOWN, count: 2 * PEERS_MAX })).toBe(2 * PEERS_MAX)
    const later = Array.from({ length: 1_000 }, (_, round) => looked(allowance, { result: KNOWN, count: 16, at: 1_000 + 40 * round }))
    expect(new Set(later)).toEqual(new Set([16]))
  })

  test('may offer and ask for all of it, twice, and go on with what all peers publish', () => {
    const allowance = new Allowance()
    for (const kind of ['offers', 'wants'] as const) {
      expect(allowance.spend(kind, 2 * PEERS_MAX, millis(0))).toBeUndefined()
      expect(allowance.spend(kind, PEERS_MAX, millis(5_000))).toBeUndefined()
    }
  })
})

describe('one that does not is told no', () => {
  test.each([
    { name: 'news', result: NEWS, bytes: RECORD_BYTES, atOnce: 8_192, perSecond: 1_024, words: 'more news than all peers together have' },
    { name: 'what we know', result: KNOWN, bytes: RECORD_BYTES, atOnce: 8_192, perSecond: 512, words: 'too much that is no news' },
    { name: 'what is nothing', result: MALFORMED, bytes: 1, atOnce: 8_192, perSecond: 512, words: 'too much that is no news' },
    { name: 'long ones', result: KNOWN, bytes: 128 * 1024, atOnce: 32, perSecond: 4, words: 'too many bytes that are no news' },
    { name: 'forged ones', result: FORGED, bytes: RECORD_BYTES, atOnce: 32, perSecond: 1, words: 'too much that nobody has signed' },
    { name: 'partly forged ones', result: HALF_FORGED, bytes: 9, atOnce: 32, perSecond: 1, words: 'too much that nobody has signed' },
  ])('with $name', ({ result, bytes, atOnce, perSecond, words }) => {
    const allowance = new Allowance()
    expect(looked(allowance, { result, bytes, count: 10_000 })).toBe(atOnce)
    expect(allowance.excessOf(bytes, millis(0))).toBe(words)
    expect(looked(allowance, { result, bytes, count: 10_000, at: 1_000 })).toBe(perSecond)
    expect(looked(allowance, { result, bytes, count: 10_000, at: 1_000_000 })).toBe(atOnce)
  })

  test.each([
    { kind: 'wants', words: 'more asked for than there is' },
    { kind: 'offers', words: 'more offered than there can be' },
  ] as const)('with $kind, of which those that are refused cost nothing', ({ kind, words }) => {
    const allowance = new Allowance()
    expect(allowance.spend(kind, 8_000, millis(0))).toBeUndefined()
    expect([allowance.spend(kind, 193, millis(0)), allowance.spend(kind, 192, millis(0))]).toEqual([words, undefined])
    expect([allowance.spend(kind, 1_025, millis(1_000)), allowance.spend(kind, 1_024, millis(1_000))]).toEqual([words, undefined])
  })
})

test('what is news costs nothing of what is not, and the other way round', () => {
  const allowance = new Allowance()
  expect(looked(allowance, { result: NEWS, count: 8_191 })).toBe(8_191)
  expect(looked(allowance, { result: KNOWN, count: 8_191 })).toBe(8_191)
  expect(looked(allowance, { result: MALFORMED, count: 1 })).toBe(1)
  expect(looked(allowance, { result: NEWS, count: 1 })).toBe(0)
})
