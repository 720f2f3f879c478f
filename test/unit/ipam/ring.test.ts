/** The ring: merge laws, grants, ranges, and why nobody takes itself for the owner of more than it was given. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  checkInvariants,
  coalesceItems,
  compareStamps,
  emptyRing,
  entriesWithin,
  entryOver,
  grantItems,
  mergeRing,
  ownedRanges,
  RETIRED_MAX,
  RING_ENTRIES_MAX,
  type Ring,
  type RingItem,
  ringNews,
  VERSION_MAX,
} from '../../../ipam/ring.ts'
import { type PeerName, parsePeerName } from '../../../mesh/base/brand.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { items, joined, news, peer, peerNumber, ring, SEED_ID, show, soundItems, soundRing } from '../../support/ipam.ts'

const SIZE = 32

function grant(from: Ring, owner: string, start: number, end: number, to: string): readonly RingItem[] {
  const given = grantItems(from, peer(owner), { start, end }, peer(to))
  if (given === undefined) throw new Error('cannot be granted')
  return given
}

function applied(from: Ring, given: readonly RingItem[]): Ring {
  return mergeRing(from, news(given)).ring
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
    { name: 'a part that is newer is taken', ours: '0:a:1', theirs: '8:b:2:16', merged: '0:a:1 8:b:2 16:a:1' },
    { name: 'a greater version wins', ours: '0:a:1', theirs: '0:b:2', merged: '0:b:2' },
    { name: 'a smaller version is ignored', ours: '0:a:3', theirs: '0:b:2', merged: '0:a:3' },
    { name: 'a smaller version is ignored where ours reaches', ours: '8:a:3:16', theirs: '0:b:2', merged: '0:b:2 8:a:3 16:b:2' },
    { name: 'a tie goes to the greater name', ours: '0:a:2', theirs: '0:b:2', merged: '0:b:2' },
    { name: 'a tie goes to the greater name, from its own side too', ours: '0:b:2', theirs: '0:a:2', merged: '0:b:2' },
    { name: 'anything beats a guess', ours: '0:a:1:8', theirs: '0:c:0', merged: '0:a:1 8:c:0' },
    { name: 'a higher epoch wins, whatever the version', ours: '0:a:9', theirs: '0:b:1.1', merged: '0:b:1.1' },
    { name: 'what fences a range fences every part of it', ours: '0:a:1 8:b:7 12:a:1', theirs: '0:c:1.1', merged: '0:c:1.1' },
    { name: 'an empty ring brings nothing', ours: '0:a:1', theirs: '', merged: '0:a:1' },
    { name: 'all is news to an empty ring', ours: '', theirs: '0:a:1 4:b:7', merged: '0:a:1 4:b:7' },
    { name: 'what nobody has told stays a gap', ours: '0:a:1:2', theirs: '4:b:1:8', merged: '0:a:1 2:-:0 4:b:1 8:-:0' },
    { name: 'runs of one stamp become one', ours: '0:a:1:8', theirs: '8:a:1:16', merged: '0:a:1 16:-:0' },
    {
      name: 'items that overlap each other are taken as if one by one',
      ours: '',
      theirs: '0:a:1:16 8:b:2:12 4:c:1:32',
      merged: '0:a:1 4:c:1 8:b:2 12:c:1',
    },
  ])('$name', ({ ours, theirs, merged }) => {
    const result = mergeRing(ring(SIZE, ours), news(items(SIZE, theirs)))
    expect({ ring: show(result.ring), faults: result.faults }).toEqual({ ring: merged, faults: [] })
    expect(checkInvariants(result.ring)).toBeUndefined()
  })

  test.each([
    { name: 'outside the universe', bad: { token: 40, end: 41 } },
    { name: 'beyond the end', bad: { token: 8, end: 33 } },
    { name: 'empty', bad: { token: 8, end: 8 } },
    { name: 'backwards', bad: { token: 8, end: 4 } },
    { name: 'of a version beyond the limit', bad: { version: VERSION_MAX + 1 } },
    { name: 'of a guess in an epoch', bad: { version: 0, epoch: 1 } },
    { name: 'without an owner', bad: { owner: parsePeerName('0000000000000000') } },
  ])('an entry $name is skipped and named, and costs the others nothing', ({ bad }) => {
    const [good, spare] = items(SIZE, '0:a:1 16:b:1')
    if (good === undefined || spare === undefined) throw new Error('no items')
    const merged = mergeRing(ring(SIZE, ''), news([good, { ...spare, ...bad }]))
    expect(merged.faults).toHaveLength(1)
    expect(show(merged.ring)).toBe('0:a:1 16:-:0')
  })

  test('runs beyond the limit are refused and named, and known ones still change', () => {
    const size = 2 ** 20
    const many = Array.from({ length: RING_ENTRIES_MAX + 3 }, (_, at) => ({
      token: 2 * at,
      end: 2 * at + 1,
      owner: peer('a'),
      version: 1,
      epoch: 0,
    }))
    const full = mergeRing(emptyRing(SEED_ID, size), news(many))
    expect(full.ring.entries).toHaveLength(RING_ENTRIES_MAX)
    expect(full.faults.map(({ code }) => code)).toEqual(['limit', 'limit', 'limit'])
    expect(grantItems(full.ring, peer('a'), { start: 0, end: 1 }, peer('b'))).toBeUndefined()
    const changed = mergeRing(full.ring, news([{ token: 4, end: 5, owner: peer('b'), version: 2, epoch: 0 }]))
    expect({ faults: changed.faults, owner: entryOver(changed.ring, 4)?.owner }).toEqual({ faults: [], owner: peer('b') })
  })

  test('retired names beyond the limit are refused and named', () => {
    const many = Array.from({ length: RETIRED_MAX + 1 }, (_, index) => ({ peer: peerNumber(index), by: peer('a') }))
    const full = mergeRing(ring(SIZE, ''), { items: [], retired: many })
    expect({ size: full.ring.retired.size, faults: full.faults.length }).toEqual({ size: RETIRED_MAX, faults: 1 })
  })

  test('a name stays retired, by the greatest of those who were told', () => {
    const start = ring(SIZE, '')
    const by = (letter: string): Ring => mergeRing(start, { items: [], retired: [{ peer: peer('a'), by: peer(letter) }] }).ring
    expect([...joined(by('c'), by('d')).retired]).toEqual([[peer('a'), peer('d')]])
    expect(joined(by('d'), by('c'))).toEqual(by('d'))
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

  test('is, for every host number by itself, the greatest stamp: in any order, grouping and number of items', () => {
    fc.assert(
      fc.property(soundItems(SIZE), fc.nat(), (sound, seed) => {
        const random = seededRandom(seed)
        const shuffled = [...sound, ...sound].map((item) => ({ item, at: random() })).sort((a, b) => a.at - b.at)
        const atOnce = mergeRing(emptyRing(SEED_ID, SIZE), news(sound)).ring
        const oneByOne = shuffled.reduce((into, { item }) => mergeRing(into, news([item])).ring, emptyRing(SEED_ID, SIZE))
        expect(oneByOne).toEqual(atOnce)
        for (let host = 0; host < SIZE; host++) {
          const over = sound.filter(({ token, end }) => token <= host && host < end).sort(compareStamps)
          expect(stampOf(entryOver(atOnce, host))).toEqual(stampOf(over.at(-1)))
        }
      }),
      { seed: 2, numRuns: 500 },
    )
  })

  test('never lowers an entry, keeps the invariants, and its news alone has the same effect', () => {
    fc.assert(
      fc.property(soundRing(SIZE), soundItems(SIZE), (ours, theirs) => {
        const merged = mergeRing(ours, news(theirs))
        expect(checkInvariants(merged.ring)).toBeUndefined()
        for (let host = 0; host < SIZE; host++) {
          const [before, after] = [entryOver(ours, host), entryOver(merged.ring, host)]
          expect(before === undefined || (after !== undefined && compareStamps(after, before) >= 0)).toBe(true)
        }
        expect(mergeRing(ours, merged.news).ring).toEqual(merged.ring)
        expect(mergeRing(merged.ring, merged.news).ring).toBe(merged.ring)
      }),
      { seed: 3, numRuns: 500 },
    )
  })

  test('arbitrary items never break it', () => {
    const number = fc.oneof(fc.nat(40), fc.constantFrom(0xffff_ffff, VERSION_MAX, VERSION_MAX + 1))
    const wild = fc.record({
      token: number,
      end: number,
      owner: fc.constantFrom(peer('a'), parsePeerName('0000000000000000')),
      version: number,
      epoch: number,
    })
    fc.assert(
      fc.property(soundRing(SIZE), fc.array(wild), (ours, theirs) => {
        expect(checkInvariants(mergeRing(ours, news(theirs)).ring)).toBeUndefined()
      }),
      { seed: 4, numRuns: 500 },
    )
  })
})

describe('granting', () => {
  test.each([
    { name: 'everything', from: '0:a:1', start: 0, end: 32, to: '0:b:2' },
    { name: 'a tail', from: '0:a:1', start: 16, end: 32, to: '0:a:1 16:b:2' },
    { name: 'the beginning', from: '0:a:1', start: 0, end: 8, to: '0:b:2 8:a:1' },
    { name: 'a hole in the middle', from: '0:a:1', start: 8, end: 12, to: '0:a:1 8:b:2 12:a:1' },
    { name: 'a span over two runs', from: '0:a:1 8:a:4', start: 4, end: 12, to: '0:a:1 4:b:2 8:b:5 12:a:4' },
    { name: 'a span over two epochs, without raising one', from: '0:a:9 8:a:1.1', start: 4, end: 12, to: '0:a:9 4:b:10 8:b:2.1 12:a:1.1' },
    { name: 'a span from run to run', from: '0:a:1 8:a:4 16:c:2', start: 8, end: 16, to: '0:a:1 8:b:5 16:c:2' },
    { name: 'up to a gap', from: '0:a:3 8:-:0', start: 4, end: 8, to: '0:a:3 4:b:4 8:-:0' },
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
    expect(show(joined(left, right))).toBe('0:a:1 4:c:2 8:a:1 16:b:1 24:c:2 28:b:1')
    expect(joined(left, right)).toEqual(joined(right, left))
  })
})

describe('coalescing', () => {
  test.each([
    { name: 'what came in pieces becomes one run', from: '0:a:1 8:a:4 12:a:2 16:b:1', to: '0:a:5 16:b:1' },
    { name: 'what does not touch stays apart', from: '0:a:1 8:b:1 16:a:2', to: '0:a:1 8:b:1 16:a:2' },
    { name: 'what is of two epochs stays apart', from: '0:a:1 4:a:3 8:a:1.1 16:a:2.1', to: '0:a:4 8:a:3.1' },
    { name: 'what is another’s stays as it is', from: '0:b:1 8:b:2', to: '0:b:1 8:b:2' },
    { name: 'what has no greater version stays apart', from: `0:a:1 8:a:${VERSION_MAX}`, to: `0:a:1 8:a:${VERSION_MAX}` },
  ])('$name', ({ from, to }) => {
    const before = ring(SIZE, from)
    expect(show(applied(before, coalesceItems(before, peer('a'))))).toBe(to)
  })

  test('leaves nothing to coalesce, changes no owner and raises no epoch', () => {
    fc.assert(
      fc.property(soundRing(SIZE), (before) => {
        const after = applied(before, coalesceItems(before, peer('a')))
        expect(coalesceItems(after, peer('a'))).toEqual([])
        for (let host = 0; host < SIZE; host++) {
          const [was, is] = [entryOver(before, host), entryOver(after, host)]
          expect([is?.owner, is?.epoch]).toEqual([was?.owner, was?.epoch])
        }
      }),
      { seed: 6, numRuns: 500 },
    )
  })

  test('a range that goes away and comes back leaves no trace', () => {
    let now = ring(SIZE, '0:a:1')
    now = applied(now, grant(now, 'a', 8, 12, 'b'))
    now = applied(now, grant(now, 'b', 8, 12, 'a'))
    expect(show(now)).toBe('0:a:1 8:a:3 12:a:1')
    expect(show(applied(now, coalesceItems(now, peer('a'))))).toBe('0:a:4')
  })
})

describe('ranges', () => {
  test('adjacent runs of one owner are one range, gaps are nobody’s', () => {
    const owned = ownedRanges(ring(SIZE, '2:a:1 4:a:3 8:b:1 12:-:0 16:a:1'))
    expect(owned).toEqual([
      { owner: peer('a'), range: { start: 2, end: 8 } },
      { owner: peer('b'), range: { start: 8, end: 12 } },
      { owner: peer('a'), range: { start: 16, end: 32 } },
    ])
  })

  test('of an empty ring there are none', () => expect(ownedRanges(ring(SIZE, ''))).toEqual([]))

  test('the run over a host number is the one that holds it', () => {
    const of = ring(SIZE, '2:a:1 8:b:1:12')
    expect([1, 2, 7, 8, 11, 12].map((host) => entryOver(of, host)?.token)).toEqual([undefined, 2, 2, 8, 8, undefined])
  })

  test('what runs say of a range is cut at its ends', () => {
    const of = ring(SIZE, '2:a:1 8:b:1:12 16:c:1')
    const within = (start: number, end: number): string => show({ ...of, size: 0, entries: entriesWithin(of, { start, end }) })
    expect([within(0, 4), within(4, 10), within(10, 20), within(12, 16)]).toEqual(['2:a:1', '4:a:1 8:b:1', '10:b:1 12:-:0 16:c:1', ''])
  })

  test.each([
    { name: 'out of order', runs: '8:a:1:9 0:a:1:1' },
    { name: 'repeated', runs: '0:a:1:1 0:a:1:1' },
    { name: 'in pieces', runs: '0:a:1:4 4:a:1:8' },
    { name: 'outside', runs: '0:a:1:1 32:a:1:33' },
  ])('a ring whose runs are $name is found out', ({ runs }) => {
    expect(checkInvariants({ ...ring(SIZE, ''), entries: items(SIZE, runs) })).toBeTypeOf('string')
  })
})

describe('whoever has seen only part of a change', () => {
  test('of a grant sees no more than it was told', () => {
    const before = ring(SIZE, '0:a:1 10:a:2')
    const [first] = grant(before, 'a', 8, 12, 'b')
    const receiver = first === undefined ? before : applied(emptyRing(SEED_ID, SIZE), [first])
    expect(own(receiver, 'b')).toBe('8-10')
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
  const start = applied(emptyRing(SEED_ID, SIZE), [
    { token: 0, end: 16, owner: peerNumber(0), version: 1, epoch: 0 },
    { token: 16, end: SIZE, owner: peerNumber(1), version: 1, epoch: 0 },
  ])
  const rings = peers.map(() => start)
  let truth = start
  for (let step = 0; step < 120; step++) {
    const [from, to] = [below(5), below(5)]
    const [giver, taker] = [rings[from] ?? start, rings[to] ?? start]
    const size = 2 ** below(4)
    const at = below(SIZE / size) * size
    const name = peers[from] ?? peerNumber(0)
    const given =
      random() < 0.4
        ? grantItems(giver, name, { start: at, end: at + size }, peers[to] ?? name)
        : random() < 0.1
          ? coalesceItems(giver, name)
          : undefined
    if (given !== undefined) {
      rings[from] = applied(giver, given)
      truth = applied(truth, given)
    } else {
      const some = ringNews(giver).items.filter(() => random() < 0.3)
      rings[to] = applied(taker, some)
    }
    for (const [index, held] of rings.entries()) expectModest(held, peers[index], truth)
  }
  const all = rings.reduce(joined)
  expect(all).toEqual(truth)
  expect(ownedRanges(all).reduce((sum, { range }) => sum + range.end - range.start, 0)).toBe(SIZE)
}

function stampOf(item: RingItem | undefined): unknown {
  return item === undefined ? undefined : [item.owner, item.version, item.epoch]
}

/** Whatever `self` takes for its own in its view is its own in truth. */
function expectModest(view: Ring, self: PeerName | undefined, truth: Ring): void {
  for (const { owner, range } of ownedRanges(view)) {
    for (let host = range.start; owner === self && host < range.end; host++) expect(entryOver(truth, host)?.owner).toBe(self)
  }
}
