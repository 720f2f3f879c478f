/** The ring: merge laws, grants, ranges, and why nobody takes itself for the owner of more than it was given. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  checkInvariants,
  compareEntries,
  emptyRing,
  entryAt,
  entryOver,
  grantItems,
  mergeRing,
  ownedRanges,
  RING_ENTRIES_MAX,
  type Ring,
  type RingItem,
  ringItems,
  VERSION_MAX,
  withEnds,
} from '../../../ipam/ring.ts'
import type { PeerName } from '../../../mesh/base/brand.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { items, joined, peer, peerNumber, ring, SEED_ID, show, soundItems, soundRing } from '../../support/ipam.ts'

const SIZE = 32

function grant(from: Ring, owner: string, start: number, end: number, to: string): readonly RingItem[] {
  const given = grantItems(from, peer(owner), { start, end }, peer(to))
  if (given === undefined) throw new Error('cannot be granted')
  return given
}

function applied(from: Ring, given: readonly RingItem[]): Ring {
  return mergeRing(from, given).ring
}

/** Host numbers that `owner` takes for its own. */
function own(of: Ring, owner: string): string {
  return ownedRanges(of)
    .filter((owned) => owned.owner === peer(owner))
    .map(({ range }) => `${range.start}-${range.end}`)
    .join(' ')
}

describe('merging', () => {
  test.each([
    { name: 'a token that is new is taken', ours: '0:a:1', theirs: '0:a:1 8:b:1', merged: '0:a:1 8:b:1' },
    { name: 'a greater version wins', ours: '0:a:1', theirs: '0:b:2', merged: '0:b:2' },
    { name: 'a smaller version is ignored', ours: '0:a:3', theirs: '0:b:2', merged: '0:a:3' },
    { name: 'a tie goes to the greater name', ours: '0:a:2', theirs: '0:b:2', merged: '0:b:2' },
    { name: 'a tie goes to the greater name, from its own side too', ours: '0:b:2', theirs: '0:a:2', merged: '0:b:2' },
    { name: 'an owner gives way to a boundary never', ours: '0:a:1 8:b:1', theirs: '0:a:1 8:-:0', merged: '0:a:1 8:b:1' },
    { name: 'a boundary gives way to an owner', ours: '0:a:1 8:-:0', theirs: '8:b:1', merged: '0:a:1 8:b:1' },
    { name: 'an empty ring brings nothing', ours: '0:a:1', theirs: '', merged: '0:a:1' },
    { name: 'all is news to an empty ring', ours: '', theirs: '0:a:1 4:b:7', merged: '0:a:1 4:b:7' },
    { name: 'an end unknown to us becomes a boundary', ours: '0:a:1', theirs: '4:b:1:8', merged: '0:a:1 4:b:1 8:-:0' },
  ])('$name', ({ ours, theirs, merged }) => {
    const result = mergeRing(ring(SIZE, ours), items(SIZE, theirs))
    expect({ ring: show(result.ring), faults: result.faults }).toEqual({ ring: merged, faults: [] })
  })

  test('epochs count more than versions', () => {
    const [entry] = ring(SIZE, '0:a:9').entries
    const taken: RingItem = { token: 0, end: SIZE, owner: peer('b'), version: 1, epoch: 1 }
    expect(mergeRing(ring(SIZE, '0:a:9'), [taken]).ring.entries[0]?.owner).toBe(peer('b'))
    expect(entry === undefined ? 0 : compareEntries(taken, entry)).toBeGreaterThan(0)
  })

  test.each([
    { name: 'outside the universe', bad: { token: 40, end: 41 } },
    { name: 'beyond the end', bad: { token: 8, end: 33 } },
    { name: 'empty', bad: { token: 8, end: 8 } },
    { name: 'backwards', bad: { token: 8, end: 4 } },
    { name: 'of a version beyond the limit', bad: { version: VERSION_MAX + 1 } },
    { name: 'of an owner without version', bad: { version: 0 } },
    { name: 'of a version without owner', bad: { owner: undefined } },
  ])('an entry $name is skipped and named, and costs the others nothing', ({ bad }) => {
    const [good, spare] = items(SIZE, '0:a:1 16:b:1')
    if (good === undefined || spare === undefined) throw new Error('no items')
    const merged = mergeRing(ring(SIZE, ''), [good, { ...spare, ...bad }])
    expect(merged.faults).toHaveLength(1)
    expect(show(merged.ring)).toBe('0:a:1 16:-:0')
  })

  test('tokens beyond the limit are refused, and known ones still change', () => {
    const size = 2 ** 20
    const many = Array.from({ length: RING_ENTRIES_MAX }, (_, token) => ({ token, end: token + 1, owner: peer('a'), version: 1, epoch: 0 }))
    const full = mergeRing(emptyRing(SEED_ID, size), many)
    expect(full.ring.entries.length).toBeGreaterThan(RING_ENTRIES_MAX - 3)
    expect(full.ring.entries.length).toBeLessThanOrEqual(RING_ENTRIES_MAX)
    expect(full.faults.every(({ code }) => code === 'limit')).toBe(true)
    expect(grantItems(full.ring, peer('a'), { start: 0, end: 1 }, peer('b'))).toBeUndefined()
  })

  test('is commutative, associative and idempotent', () => {
    fc.assert(
      fc.property(soundRing(SIZE), soundRing(SIZE), soundRing(SIZE), (a, b, c) => {
        expect(joined(a, b)).toEqual(joined(b, a))
        expect(joined(joined(a, b), c)).toEqual(joined(a, joined(b, c)))
        expect(joined(a, a)).toBe(a)
      }),
      { seed: 1, numRuns: 500 },
    )
  })

  test('does not depend on the order or grouping of items, nor on their number', () => {
    fc.assert(
      fc.property(soundItems(SIZE), fc.nat(), (sound, seed) => {
        const random = seededRandom(seed)
        const shuffled = [...sound, ...sound].map((item) => ({ item, at: random() })).sort((a, b) => a.at - b.at)
        const atOnce = mergeRing(emptyRing(SEED_ID, SIZE), sound).ring
        const oneByOne = shuffled.reduce((into, { item }) => mergeRing(into, [item]).ring, emptyRing(SEED_ID, SIZE))
        expect(oneByOne).toEqual(atOnce)
      }),
      { seed: 2, numRuns: 500 },
    )
  })

  test('never lowers an entry, keeps the invariants, and its news alone has the same effect', () => {
    fc.assert(
      fc.property(soundRing(SIZE), soundItems(SIZE), (ours, theirs) => {
        const merged = mergeRing(ours, theirs)
        expect(checkInvariants(merged.ring)).toBeUndefined()
        for (const entry of ours.entries) {
          const now = entryAt(merged.ring, entry.token)
          expect(now !== undefined && compareEntries(now, entry) >= 0).toBe(true)
        }
        expect(mergeRing(ours, withEnds(merged.ring, merged.news)).ring).toEqual(merged.ring)
      }),
      { seed: 3, numRuns: 500 },
    )
  })

  test('arbitrary items never break it', () => {
    const number = fc.oneof(fc.nat(40), fc.constantFrom(0xffff_ffff, VERSION_MAX, VERSION_MAX + 1))
    const wild = fc.record({ token: number, end: number, owner: fc.constantFrom(peer('a'), undefined), version: number, epoch: number })
    fc.assert(
      fc.property(soundRing(SIZE), fc.array(wild), (ours, theirs) => {
        expect(checkInvariants(mergeRing(ours, theirs).ring)).toBeUndefined()
      }),
      { seed: 4, numRuns: 500 },
    )
  })
})

describe('granting', () => {
  test.each([
    { name: 'everything', from: '0:a:1', start: 0, end: 32, to: '0:b:2' },
    { name: 'a tail', from: '0:a:1', start: 16, end: 32, to: '0:a:1 16:b:1' },
    { name: 'the beginning', from: '0:a:1', start: 0, end: 8, to: '0:b:2 8:a:1' },
    { name: 'a hole in the middle', from: '0:a:1', start: 8, end: 12, to: '0:a:1 8:b:1 12:a:1' },
    { name: 'a span over a token of its own', from: '0:a:1 8:a:4', start: 4, end: 12, to: '0:a:1 4:b:1 8:b:5 12:a:1' },
    { name: 'a span from token to token', from: '0:a:1 8:a:4 16:c:2', start: 8, end: 16, to: '0:a:1 8:b:5 16:c:2' },
    { name: 'up to a boundary', from: '0:a:3 8:-:0', start: 4, end: 8, to: '0:a:3 4:b:1 8:-:0' },
  ])('$name', ({ from, start, end, to }) => {
    const before = ring(SIZE, from)
    expect(show(applied(before, grant(before, 'a', start, end, 'b')))).toBe(to)
  })

  test.each([
    { name: 'what is another’s', start: 8, end: 12 },
    { name: 'what is another’s in part', start: 4, end: 12 },
    { name: 'what nobody is known to own', start: 20, end: 24 },
  ])('nobody gives $name', ({ start, end }) => {
    expect(grantItems(ring(SIZE, '0:a:1 8:c:1 16:-:0'), peer('a'), { start, end }, peer('b'))).toBeUndefined()
  })

  test('an entry whose version is at its limit is not given: nobody would believe it', () => {
    expect(grantItems(ring(SIZE, `0:a:${VERSION_MAX}`), peer('a'), { start: 0, end: 8 }, peer('b'))).toBeUndefined()
  })

  test('takes effect wherever it arrives, by itself, and a stale message after it is harmless', () => {
    const before = ring(SIZE, '0:a:1 16:c:1')
    const given = grant(before, 'a', 0, 8, 'b')
    const receiver = applied(emptyRing(SEED_ID, SIZE), given)
    expect(own(receiver, 'b')).toBe('0-8')
    expect(joined(applied(before, given), before)).toEqual(applied(before, given))
  })

  test('of two ranges on two sides at once merge to one state', () => {
    const start = ring(SIZE, '0:a:1 16:b:1')
    const left = applied(start, grant(start, 'a', 4, 8, 'c'))
    const right = applied(start, grant(start, 'b', 24, 28, 'c'))
    expect(show(joined(left, right))).toBe('0:a:1 4:c:1 8:a:1 16:b:1 24:c:1 28:b:1')
    expect(joined(left, right)).toEqual(joined(right, left))
  })
})

describe('ranges', () => {
  test('adjacent entries of one owner are one range, boundaries and the space before the first token are nobody’s', () => {
    const owned = ownedRanges(ring(SIZE, '2:a:1 4:a:3 8:b:1 12:-:0 16:a:1'))
    expect(owned).toEqual([
      { owner: peer('a'), range: { start: 2, end: 8 } },
      { owner: peer('b'), range: { start: 8, end: 12 } },
      { owner: peer('a'), range: { start: 16, end: 32 } },
    ])
  })

  test('of an empty ring there are none', () => expect(ownedRanges(ring(SIZE, ''))).toEqual([]))

  test('the entry over a host number is that of the last token at or below it', () => {
    const of = ring(SIZE, '2:a:1 8:b:1')
    expect([1, 2, 7, 8, 31].map((host) => entryOver(of, host)?.token)).toEqual([undefined, 2, 2, 8, 8])
    expect([entryAt(of, 7), entryAt(of, 8)?.owner]).toEqual([undefined, peer('b')])
  })

  test.each([
    { name: 'out of order', entries: [8, 0] },
    { name: 'repeated', entries: [0, 0] },
    { name: 'outside', entries: [0, 32] },
  ])('a ring whose tokens are $name is found out', ({ entries }) => {
    const broken = { ...ring(SIZE, ''), entries: entries.map((token) => ({ token, owner: peer('a'), version: 1, epoch: 0 })) }
    expect(checkInvariants(broken)).toBeTypeOf('string')
  })
})

describe('whoever has seen only part of a change', () => {
  test('of a grant sees no more than the granted range, though it misses the token behind it', () => {
    const before = ring(SIZE, '0:a:1')
    const [first] = grant(before, 'a', 8, 12, 'b')
    const receiver = first === undefined ? before : applied(emptyRing(SEED_ID, SIZE), [first])
    expect(own(receiver, 'b')).toBe('8-12')
  })

  test('and finds its own token named as the end of another’s range does not take itself for its owner', () => {
    let owner = ring(SIZE, '0:a:1')
    owner = applied(owner, grant(owner, 'a', 16, 20, 'd')) // lost on its way to d
    const later = grant(owner, 'a', 12, 16, 'b') // d hears of this one only, and only of its first entry
    const receiver = applied(emptyRing(SEED_ID, SIZE), later.slice(0, 1))
    expect(own(receiver, 'd')).toBe('')
    expect(own(applied(receiver, withEnds(owner, owner.entries)), 'd')).toBe('16-20')
  })

  test('never believes that it owns what it was not given: any items, any order, any relays', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => gossipAtRandom(seed)),
      { seed: 5, numRuns: 100 },
    )
  })
})

/** Five peers grant blocks to each other and pass on single items of their rings; the truth is what the owners did. */
function gossipAtRandom(seed: number): void {
  const random = seededRandom(seed)
  const below = (bound: number): number => Math.floor(random() * bound)
  const peers = [0, 1, 2, 3, 4].map(peerNumber)
  const start = mergeRing(emptyRing(SEED_ID, SIZE), [
    { token: 0, end: 16, owner: peerNumber(0), version: 1, epoch: 0 },
    { token: 16, end: SIZE, owner: peerNumber(1), version: 1, epoch: 0 },
  ]).ring
  const rings = peers.map(() => start)
  let truth = start
  for (let step = 0; step < 120; step++) {
    const [from, to] = [below(5), below(5)]
    const [giver, taker] = [rings[from] ?? start, rings[to] ?? start]
    const size = 2 ** below(4)
    const at = below(SIZE / size) * size
    const given =
      random() < 0.4
        ? grantItems(giver, peers[from] ?? peerNumber(0), { start: at, end: at + size }, peers[to] ?? peerNumber(0))
        : undefined
    if (given !== undefined && from !== to) {
      rings[from] = applied(giver, given)
      truth = applied(truth, given)
    } else {
      const some = ringItems(giver).filter(() => random() < 0.3)
      rings[to] = applied(taker, some)
    }
    for (const [index, held] of rings.entries()) expectModest(held, peers[index], truth)
  }
  const all = rings.reduce(joined)
  expect(all).toEqual(truth)
  expect(ownedRanges(all).reduce((sum, { range }) => sum + range.end - range.start, 0)).toBe(SIZE)
}

/** Whatever `self` takes for its own in its view is its own in truth. */
function expectModest(view: Ring, self: PeerName | undefined, truth: Ring): void {
  for (const { owner, range } of ownedRanges(view)) {
    for (let host = range.start; owner === self && host < range.end; host++) expect(entryOver(truth, host)?.owner).toBe(self)
  }
}
