/** Estates: what a claim writes, and what comes too late. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compareStamps, entriesWithin, entryOver, mergeRing, VERSION_MAX } from '../../../ipam/ring.ts'
import { claimItems, estateOf, lateItems, sameEntries } from '../../../ipam/takeover.ts'
import { items, joined, news, peer, ring, show, soundRing } from '../../support/ipam.ts'

const SIZE = 32

describe('a claim', () => {
  test.each([
    { name: 'of all of the estate, under one stamp', from: '0:a:1 8:c:7 12:c:2 16:b:1 24:c:1', to: '0:a:1 8:a:1.1 16:b:1 24:a:1.1' },
    { name: 'is above every epoch in it', from: '0:c:9.3 8:c:1 16:b:1.7', to: '0:a:1.4 16:b:1.7' },
  ])('is $name', ({ from, to }) => {
    const before = ring(SIZE, from)
    const claim = claimItems(estateOf(before.entries, peer('c')), peer('a')) ?? []
    expect(show(mergeRing(before, news(claim)).ring)).toBe(to)
  })

  test('cannot be made above the highest epoch there is', () => {
    expect(claimItems(items(SIZE, `0:c:1.${VERSION_MAX}`), peer('a'))).toBeUndefined()
  })

  test('beats whatever the one that is gone writes without knowing of it: in any state, merged in any order', () => {
    fc.assert(
      fc.property(soundRing(SIZE), soundRing(SIZE), (before, unseen) => {
        const claim = claimItems(estateOf(before.entries, peer('c')), peer('a'))
        if (claim === undefined || claim.length === 0) return
        const after = mergeRing(before, news(claim)).ring
        const epoch = claim[0]?.epoch ?? 0
        const stale = { ...unseen, entries: unseen.entries.filter((entry) => entry.epoch < epoch) }
        const both = joined(after, stale)
        expect(both).toEqual(joined(stale, after))
        for (const { token, end } of claim) {
          for (const entry of entriesWithin(both, { start: token, end })) expect([entry.owner, entry.epoch]).toEqual([peer('a'), epoch])
        }
      }),
      { seed: 1, numRuns: 500 },
    )
  })
})

describe('a gain from a peer that we know to be retired', () => {
  const known = (text: string) => mergeRing(ring(SIZE, text), { items: [], retired: [{ peer: peer('c'), by: peer('b') }] }).ring

  test.each([
    { name: 'goes back to the estate', ours: '0:b:1 8:c:3', gain: '8:a:4:16', back: '8:c:5:16' },
    { name: 'goes back as far as it is of the estate', ours: '0:b:1 8:c:3', gain: '4:a:4:16', back: '8:c:5:16' },
    { name: 'stays when it is of another', ours: '0:b:1 8:c:3', gain: '0:a:2:8', back: '' },
    { name: 'stays when somebody who took over gives it', ours: '0:b:1 8:c:3', gain: '8:a:2.1:16', back: '' },
    { name: 'stays when nobody had told us whose it was', ours: '0:b:1', gain: '0:a:2:8', back: '' },
  ])('$name', ({ ours, gain, back }) => {
    expect(lateItems(known(ours), items(SIZE, gain))).toEqual(items(SIZE, back))
  })

  test('given back, is where it was, for all who hear of both or one', () => {
    const before = known('0:b:1 8:c:3')
    const gain = items(SIZE, '8:a:4:16')
    const back = lateItems(before, gain)
    const both = mergeRing(mergeRing(before, news(gain)).ring, news(back)).ring
    expect(entryOver(both, 8)?.owner).toBe(peer('c'))
    expect(mergeRing(before, news(back)).ring).toEqual(both)
    expect(back.every((item, at) => compareStamps(item, gain[at] ?? item) > 0)).toBe(true)
  })
})

test('estates are the same when they are the same runs', () => {
  const [a, b] = [items(SIZE, '0:a:1 8:a:2'), items(SIZE, '0:a:1')]
  expect([sameEntries(a, a), sameEntries(a, b), sameEntries(b, items(SIZE, '0:a:2')), sameEntries([], [])]).toEqual([
    true,
    false,
    false,
    true,
  ])
})
