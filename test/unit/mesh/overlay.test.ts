/** With whom to be connected: whom to part from, whom to turn to, whom to name to others. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ipv4 } from '../../../mesh/base/address.ts'
import { type PeerName, parsePeerName } from '../../../mesh/base/brand.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import type { Liveness } from '../../../mesh/liveness.ts'
import {
  candidates,
  DEGREE_MAX,
  DEGREE_TARGET,
  degreeWanted,
  type NeighbourView,
  referrals,
  surplusOf,
  whoMakesRoom,
} from '../../../mesh/overlay.ts'
import type { PeerRecord } from '../../../mesh/record.ts'
import { bareRecord } from '../../support/mesh-records.ts'

const first = nameOf(0)

function nameOf(index: number): PeerName {
  return parsePeerName(index.toString(16).padStart(16, '0'))
}

/** Neighbours number 1, 2, …, each with this many connections; those of `far` are in other zones. */
function neighboursOf(degrees: readonly number[], far: readonly number[] = []): readonly NeighbourView[] {
  return degrees.map((degree, index) => ({ name: nameOf(index + 1), degree, isOtherZone: far.includes(index + 1) }))
}

function recordOf(index: number, degree: number): PeerRecord {
  const neighbours = Array.from({ length: degree }, (_, other) => ({
    name: nameOf(10_000 + other),
    address: ipv4(1),
    port: 1,
    outbound: true,
  }))
  return bareRecord(nameOf(index), { neighbours })
}

test.each([
  { others: 0, wanted: 0 },
  { others: 2, wanted: 2 },
  { others: DEGREE_TARGET, wanted: DEGREE_TARGET },
  { others: 1_000, wanted: DEGREE_TARGET },
])('among $others others, $wanted connections are wanted', ({ others, wanted }) => {
  expect(degreeWanted(others)).toBe(wanted)
})

describe('the neighbour to part from', () => {
  const nine = [9, 9, 9, 9, 9, 9, 9, 9, 9]
  test.each([
    { name: 'is the one with most connections', degrees: nine.with(4, 11), who: 5 },
    { name: 'is the first of equals', degrees: nine, who: 1 },
    { name: 'is nobody while we have no more than we want', degrees: nine.slice(1), who: undefined },
    { name: 'is nobody who has no more than it wants', degrees: [8, 8, 8, 8, 7, 8, 1, 8, 0], who: undefined },
    { name: 'is one of our zone when two are in others', degrees: nine.with(0, 12).with(1, 12), far: [1, 2], who: 3 },
    { name: 'is one of another zone when three are', degrees: nine.with(0, 12), far: [1, 2, 3], who: 1 },
    {
      name: 'is nobody when only the last two of other zones could be spared',
      degrees: [9, 9, 8, 8, 8, 8, 8, 8, 8],
      far: [1, 2],
      who: undefined,
    },
  ])('$name', ({ degrees, far = [], who }) => {
    expect(surplusOf(first, neighboursOf(degrees, far))).toBe(who === undefined ? undefined : nameOf(who))
  })

  test('is only one whose name comes after ours: of two that have too many, exactly one parts', () => {
    const [low, high] = [nameOf(50), nameOf(60)]
    const rest = Array.from({ length: 8 }, (_, index): NeighbourView => ({ name: nameOf(index + 100), degree: 1, isOtherZone: false }))
    expect(surplusOf(low, [...rest, { name: high, degree: 9, isOtherZone: false }])).toBe(high)
    expect(surplusOf(high, [...rest, { name: low, degree: 9, isOtherZone: false }])).toBeUndefined()
  })

  const neighbours = fc.array(fc.record({ degree: fc.nat(DEGREE_MAX), isOtherZone: fc.boolean() }), { maxLength: DEGREE_MAX })

  test('has too many itself, and never leaves us with less than we want or less than two links into other zones', () => {
    fc.assert(
      fc.property(neighbours, fc.nat(DEGREE_MAX), (drawn, self) => {
        const views = drawn.map((view, index): NeighbourView => ({ ...view, name: nameOf(index < self ? index : index + 1) }))
        const parting = views.find(({ name }) => name === surplusOf(nameOf(self), views))
        if (parting === undefined) return
        const left = views.filter((view) => view !== parting)
        expect(left.length).toBeGreaterThanOrEqual(DEGREE_TARGET)
        expect(parting.degree).toBeGreaterThan(DEGREE_TARGET)
        expect(parting.name > nameOf(self)).toBe(true)
        if (parting.isOtherZone) expect(left.filter(({ isOtherZone }) => isOtherZone).length).toBeGreaterThanOrEqual(2)
      }),
      { seed: 1, numRuns: 1_000 },
    )
  })

  test('is the same whatever the order', () => {
    fc.assert(
      fc.property(neighbours, (drawn) => {
        const views = drawn.map((view, index): NeighbourView => ({ ...view, name: nameOf(index + 1) }))
        expect(surplusOf(first, views.toReversed())).toBe(surplusOf(first, views))
        expect(whoMakesRoom(views.toReversed())).toBe(whoMakesRoom(views))
      }),
      { seed: 1 },
    )
  })
})

describe('room for one that has nobody else', () => {
  test.each([
    { name: 'is made by the best connected', degrees: [9, 11, 10], who: 2 },
    { name: 'is made by the first of equals', degrees: [9, 9, 9], who: 1 },
    { name: 'is made by one of another zone if need be', degrees: [9, 12, 10], far: [2], who: 2 },
    { name: 'is not made by one that would dial again', degrees: [8, 1, 0], who: undefined },
    { name: 'is not made by nobody', degrees: [], who: undefined },
  ])('$name', ({ degrees, far = [], who }) => {
    expect(whoMakesRoom(neighboursOf(degrees, far))).toBe(who === undefined ? undefined : nameOf(who))
  })
})

describe('whom to turn to', () => {
  const liveness = (name: PeerName): Liveness => {
    const kinds = ['alive', 'suspect', 'dead', 'left'] as const
    return kinds[Number.parseInt(name, 16) % 4] ?? 'alive'
  }

  test('is the alive before the suspected before the dead, and among these those with most room', () => {
    const records = [0, 1, 2, 4, 5, 6, 8, 9, 10].map((index) => recordOf(index, index < 3 ? 12 : index < 7 ? 8 : 0))
    const chosen = candidates(records, () => true, liveness, seededRandom(1)).map(({ name }) => Number.parseInt(name, 16))
    expect(chosen).toEqual([8, 4, 0, 9, 5, 1, 10, 6, 2])
  })

  test('is only who may be', () => {
    const records = Array.from({ length: 50 }, (_, index) => recordOf(index, 0))
    const chosen = candidates(
      records,
      ({ name }) => name < nameOf(3),
      () => 'alive',
      seededRandom(1),
    )
    expect(chosen.map(({ name }) => name).sort()).toEqual([nameOf(0), nameOf(1), nameOf(2)])
  })

  test.each([{ count: 100 }, { count: 257 }, { count: 2_000 }])(
    'of $count are some drawn at random, nobody twice, everybody at some time',
    ({ count }) => {
      const records = Array.from({ length: count }, (_, index) => recordOf(index, 0))
      const random = seededRandom(1)
      const seen = new Set<PeerName>()
      for (let round = 0; round < 400; round += 1) {
        const names = candidates(
          records,
          () => true,
          () => 'alive',
          random,
        ).map(({ name }) => name)
        expect(new Set(names).size).toBe(64)
        for (const name of names) seen.add(name)
      }
      expect(seen.size).toBe(count)
    },
  )

  test('falls on all about equally often: nobody is everybody’s first choice', () => {
    const records = Array.from({ length: 20 }, (_, index) => recordOf(index, 0))
    const random = seededRandom(1)
    const firsts = new Map<string, number>()
    for (let round = 0; round < 4_000; round += 1) {
      const name =
        candidates(
          records,
          () => true,
          () => 'alive',
          random,
        )[0]?.name ?? ''
      firsts.set(name, (firsts.get(name) ?? 0) + 1)
    }
    // 200 each; five standard deviations are 69.
    expect(Math.min(...firsts.values())).toBeGreaterThan(130)
    expect(Math.max(...firsts.values())).toBeLessThan(270)
  })
})

describe('whom to name to one that we turn away', () => {
  test('is at most sixteen, alive, those with room first', () => {
    const records = Array.from({ length: 60 }, (_, index) => recordOf(index, index < 10 ? 0 : index < 20 ? 9 : 12))
    const named = referrals(records, (name) => name !== nameOf(3), seededRandom(1))
    expect(named).toHaveLength(16)
    expect(named.slice(0, 9).sort()).toEqual([0, 1, 2, 4, 5, 6, 7, 8, 9].map(nameOf))
    expect(named.slice(9).every((name) => name >= nameOf(10) && name < nameOf(20))).toBe(true)
  })

  test('is nobody when nobody is alive', () => {
    expect(referrals([recordOf(1, 0)], () => false, seededRandom(1))).toEqual([])
    expect(referrals([], () => true, seededRandom(1))).toEqual([])
  })
})
