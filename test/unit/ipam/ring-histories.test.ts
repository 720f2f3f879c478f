/** Rings step by step: histories that Weave Net tested its ring with, and what ours makes of them. */
import { describe, expect, test } from 'vitest'
import { Ledger } from '../../../ipam/ledger.ts'
import { checkInvariants, entryOver, grantItems, mergeRing, ownedRanges, type Ring } from '../../../ipam/ring.ts'
import { seedRing } from '../../../ipam/seed.ts'
import { openStore } from '../../../ipam/store.ts'
import { claimItems, estateOf } from '../../../ipam/takeover.ts'
import { cidrSize, parseCidr } from '../../../mesh/base/address.ts'
import { items, joined, key, news, peer, peerNumber, ring, SEED_ID, show } from '../../support/ipam.ts'
import { MemoryDisk } from '../../support/memory-disk.ts'
import { must } from '../../support/result.ts'

const UNIVERSE = parseCidr('10.32.0.0/27')
const SIZE = cidrSize(UNIVERSE)

/** `owner` gives `[start, end)` to `to`. */
function given(from: Ring, owner: string, [start, end]: readonly [number, number], to: string): Ring {
  const written = grantItems(from, peer(owner), { start, end }, peer(to))
  if (written === undefined) throw new Error(`${owner} cannot give ${start}-${end}`)
  return mergeRing(from, news(written)).ring
}

describe('grants, one after the other', () => {
  test('of everything, of a tail back, of another tail, and of a span with runs inside: owners and versions are exact', () => {
    const steps: readonly [owner: string, block: readonly [number, number], to: string, after: string][] = [
      ['a', [0, 32], 'b', '0:b:2'],
      ['b', [16, 32], 'a', '0:b:2 16:a:3'],
      ['b', [8, 16], 'a', '0:b:2 8:a:3'],
      ['a', [24, 32], 'c', '0:b:2 8:a:3 24:c:4'],
      ['a', [12, 14], 'b', '0:b:2 8:a:3 12:b:4 14:a:3 24:c:4'],
      ['b', [12, 14], 'a', '0:b:2 8:a:3 12:a:5 14:a:3 24:c:4'],
      ['a', [8, 24], 'c', '0:b:2 8:c:4 12:c:6 14:c:4'],
      ['b', [0, 8], 'c', '0:c:3 8:c:4 12:c:6 14:c:4'],
    ]
    let now = ring(SIZE, '0:a:1')
    for (const [owner, block, to, after] of steps) {
      now = given(now, owner, block, to)
      expect([show(now), checkInvariants(now)]).toEqual([after, undefined])
    }
    expect(ownedRanges(now)).toEqual([{ owner: peer('c'), range: { start: 0, end: SIZE } }])
  })

  test.each([
    { name: 'from the very start', before: '0:a:1', block: [0, 8], after: '0:b:2 8:a:1' },
    { name: 'up to the very end', before: '0:a:1', block: [24, 32], after: '0:a:1 24:b:2' },
    { name: 'a hole in the middle', before: '0:a:1', block: [12, 20], after: '0:a:1 12:b:2 20:a:1' },
    { name: 'over a token that is there', before: '0:a:1 8:a:4', block: [4, 12], after: '0:a:1 4:b:2 8:b:5 12:a:4' },
    { name: 'over a token, to an end that is one', before: '0:a:1 8:a:4 12:c:1', block: [4, 12], after: '0:a:1 4:b:2 8:b:5 12:c:1' },
  ] as const)('a range split $name is the same for whoever hears of it, by the change or by the whole ring', ({ before, block, after }) => {
    const old = ring(SIZE, before)
    const written = grantItems(old, peer('a'), { start: block[0], end: block[1] }, peer('b')) ?? []
    const now = mergeRing(old, news(written)).ring
    expect(show(now)).toBe(after)
    for (const heard of [mergeRing(old, news(written)).ring, joined(old, now), joined(now, old), joined(ring(SIZE, ''), now)]) {
      expect(heard).toEqual(now)
    }
    expect(joined(now, old)).toBe(now)
  })

  test('on two sides, told step by step: each tells the other, both add, both agree; what is known already is no news', () => {
    let [left, right] = [ring(SIZE, '0:a:1'), ring(SIZE, '')]
    right = joined(right, left)
    left = given(left, 'a', [16, 32], 'b')
    expect(show(right)).toBe('0:a:1')
    right = joined(right, left)
    expect(right).toEqual(left)
    // Both at once: a carves a piece out of its own, b gives some of its own back.
    const stale = left
    left = given(left, 'a', [4, 8], 'c')
    right = given(right, 'b', [16, 24], 'a')
    ;[left, right] = [joined(left, right), joined(right, left)]
    expect([show(left), right]).toEqual(['0:a:1 4:c:2 8:a:1 16:a:3 24:b:2', left])
    expect([joined(left, stale), joined(left, right), joined(left, left)].every((again) => again === left)).toBe(true)
    // c hears of all of it at last, and gives away what it was given meanwhile.
    const third = given(joined(ring(SIZE, ''), left), 'c', [4, 6], 'b')
    expect(show(joined(right, third))).toBe('0:a:1 4:b:3 6:c:2 8:a:1 16:a:3 24:b:2')
  })

  test('of parts of what was taken over from a peer that is gone', () => {
    const before = ring(SIZE, '0:a:1 8:c:3 16:b:1 24:c:9')
    const taken = mergeRing(before, news(claimItems(estateOf(before.entries, peer('c')), peer('a')) ?? [])).ring
    expect(show(taken)).toBe('0:a:1 8:a:1.1 16:b:1 24:a:1.1')
    const after = given(given(taken, 'a', [28, 32], 'b'), 'a', [4, 12], 'd')
    expect(show(after)).toBe('0:a:1 4:d:2 8:d:2.1 12:a:1.1 16:b:1 24:a:1.1 28:b:2.1')
    expect(joined(before, after)).toEqual(after)
  })
})

test('nothing goes around the end: a run owns from its first to its last number, one alone as well', () => {
  const [one, two] = [ring(SIZE, '8:a:1'), ring(SIZE, '8:a:1:16 20:b:1')]
  const owners = (of: Ring): readonly (string | undefined)[] =>
    [0, 7, 8, 15, 16, 19, 20, SIZE - 1].map((host) => entryOver(of, host)?.owner[0])
  expect(owners(one)).toEqual([undefined, undefined, 'a', 'a', 'a', 'a', 'a', 'a'])
  expect(owners(two)).toEqual([undefined, undefined, 'a', 'a', undefined, undefined, 'b', 'b'])
  expect([SIZE, SIZE + 1, -1].map((host) => entryOver(one, host))).toEqual([undefined, undefined, undefined])
})

describe('news that contradicts what we own', () => {
  const conflicts: readonly { name: string; told: string; ring: string; doubt: boolean; ours?: string }[] = [
    { name: 'one version, an owner with a smaller name', told: '0:a:3', ring: '0:b:3', doubt: false },
    { name: 'one version, an owner with a greater name', told: '0:c:3', ring: '0:c:3', doubt: false },
    { name: 'an older version', told: '0:c:2', ring: '0:b:3', doubt: false },
    { name: 'a newer version that is ours too', told: '0:b:7', ring: '0:b:7', doubt: true },
    { name: 'a newer version of another', told: '0:c:4', ring: '0:c:4', doubt: true },
    { name: 'a newer version of another, of the middle', told: '8:c:4:16', ring: '0:b:3 8:c:4 16:b:3', doubt: true },
    { name: 'a newer version of another, of the last part', told: '24:c:4:32', ring: '0:b:3 24:c:4', doubt: true },
    { name: 'a takeover of all', told: '0:c:1.1', ring: '0:c:1.1', doubt: false },
    { name: 'a takeover of a part', told: '8:c:1.1:16', ring: '0:b:3 8:c:1.1 16:b:3', doubt: false },
    { name: 'a range that we do not have', told: '16:c:9', ours: '0:b:3:16', ring: '0:b:3 16:c:9', doubt: false },
  ]

  test.each(conflicts.flatMap((conflict) => [[], [1, 9, 25]].map((pods) => ({ ...conflict, pods }))))(
    '($name, pods at $pods) is settled at once: the greater stamp stands, pods that lost their owner are named, nothing more is given out there',
    ({ told, pods, ring: after, doubt, ours = '0:b:3' }) => {
      const self = peer('b')
      const { store, records } = openStore(new MemoryDisk().open(), { peer: self, universe: UNIVERSE, cluster: '' })
      const ledger = new Ledger(self, UNIVERSE, store, records)
      const hear = (text: string) => must(ledger.merge({ universe: UNIVERSE, seedId: SEED_ID, items: items(SIZE, text), retired: [] }))
      hear(ours)
      for (const host of pods) expect(ledger.relearn(key(host), host)).toBe(true)
      const held = pods.filter((host) => entryOver(ring(SIZE, ours), host) !== undefined)
      const merged = hear(told)
      const lost = held.filter((host) => entryOver(ring(SIZE, after), host)?.owner !== self)
      expect([ledger.ring && show(ledger.ring), merged.lost, merged.faults]).toEqual([after, lost, []])
      expect([ledger.inDoubt, merged.forgotten !== undefined]).toEqual([doubt, doubt])
      // The pods go on; and whatever is given out from now on is ours.
      expect([...ledger.allocations.values()]).toEqual(pods)
      const more = doubt ? [] : Array.from({ length: SIZE }, (_, number) => must(ledger.allocate(key(100 + number))))
      for (const host of more) if (host !== undefined) expect(entryOver(ring(SIZE, after), host)?.owner).toBe(self)
      expect(hear(told).news).toEqual({ items: [], retired: [] })
    },
  )
})

test('a universe of eight shared by one to twelve: whole, nobody twice, no two shares of which one is more than twice the other, and those beyond eight get none', () => {
  const eight = parseCidr('10.0.0.0/29')
  const shares = Array.from({ length: 12 }, (_, at) => {
    const peers = Array.from({ length: at + 1 }, (_unused, index) => peerNumber(index))
    const shared = seedRing(eight, peers)
    expect([checkInvariants(shared), seedRing(eight, peers.toReversed())]).toEqual([undefined, shared])
    const owned = ownedRanges(shared)
    expect(new Set(owned.map(({ owner }) => owner)).size).toBe(owned.length)
    return owned.map(({ range }) => range.end - range.start)
  })
  expect(shares.map((sizes) => sizes.join(''))).toEqual([
    ...['8', '44', '224', '2222', '11222', '112112', '1111112', '11111111'],
    ...Array.from({ length: 4 }, () => '11111111'),
  ])
})
