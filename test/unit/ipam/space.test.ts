/** Free space: what is taken next, what is given away, and that the books always balance. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Space } from '../../../ipam/space.ts'
import type { Range } from '../../../mesh/base/address.ts'

function space(size: number, owned: readonly (readonly [number, number])[], used: readonly number[] = []): Space {
  const made = new Space(size)
  made.own(owned.map(([start, end]) => ({ start, end })))
  for (const host of used) made.take(host)
  return made
}

function takeAll(from: Space): readonly number[] {
  const taken: number[] = []
  for (let host = from.next(); host !== undefined; host = from.next()) {
    from.take(host)
    taken.push(host)
  }
  return taken
}

describe('allocating', () => {
  test('goes upwards, through all ranges, without the first and last of the universe, until none is free', () => {
    const whole = space(16, [
      [0, 4],
      [10, 16],
    ])
    expect(whole.free).toBe(8)
    expect(takeAll(whole)).toEqual([1, 2, 3, 10, 11, 12, 13, 14])
    expect(whole.free).toBe(0)
  })

  test('takes what was just freed last of all', () => {
    const whole = space(16, [[4, 8]], [4, 5])
    whole.release(4)
    expect(takeAll(whole)).toEqual([6, 7, 4])
  })

  test('nothing is free without a range, nor in the two numbers that nobody gets', () => {
    expect([
      space(16, []).next(),
      space(16, [
        [0, 1],
        [15, 16],
      ]).next(),
    ]).toEqual([undefined, undefined])
  })

  test('of a range lost with addresses in use none is taken again', () => {
    const whole = space(16, [[4, 12]], [4, 5, 6])
    whole.own([{ start: 6, end: 8 }])
    expect(whole.free).toBe(1)
    whole.release(4)
    expect(takeAll(whole)).toEqual([7])
  })

  test('a universe of a million costs nothing but what is in use', () => {
    const whole = space(2 ** 20, [[0, 2 ** 20]])
    expect(whole.free).toBe(2 ** 20 - 2)
    for (let count = 0; count < 100_000; count++) whole.take(whole.next() ?? -1)
    expect([whole.next(), whole.blockToGive()]).toEqual([100_001, { start: 3 * 2 ** 18, end: 2 ** 20 }])
  })
})

describe('giving', () => {
  test.each<{ name: string; owned: [number, number][]; used?: number[]; block: Range | undefined }>([
    { name: 'the upper half of an empty range', owned: [[16, 32]], block: { start: 24, end: 32 } },
    { name: 'the upper half again', owned: [[16, 24]], block: { start: 20, end: 24 } },
    { name: 'the last one', owned: [[17, 18]], block: { start: 17, end: 18 } },
    { name: 'nothing when nothing is free', owned: [[16, 18]], used: [16, 17], block: undefined },
    { name: 'nothing without a range', owned: [], block: undefined },
    { name: 'not the first of the universe', owned: [[0, 1]], block: undefined },
    { name: 'not the last of the universe', owned: [[63, 64]], block: undefined },
    { name: 'the half of a universe', owned: [[0, 64]], block: { start: 32, end: 64 } },
    { name: 'the last of the universe with the one before it', owned: [[62, 64]], block: { start: 62, end: 64 } },
    { name: 'the first of the universe with the one after it', owned: [[0, 2]], block: { start: 0, end: 2 } },
    {
      name: 'neither end alone, but what is between',
      owned: [[0, 64]],
      used: Array.from({ length: 61 }, (_, at) => at + 1).filter((host) => host !== 9),
      block: { start: 62, end: 64 },
    },
    { name: 'an aligned block only', owned: [[17, 24]], block: { start: 20, end: 24 } },
    {
      name: 'the biggest block, though it is not the last',
      owned: [
        [16, 32],
        [40, 44],
      ],
      used: [20],
      block: { start: 24, end: 32 },
    },
    { name: 'a block without an address in use', owned: [[16, 32]], used: [18, 26, 31], block: { start: 20, end: 24 } },
    { name: 'half of what is free at most', owned: [[16, 24]], used: [16, 17, 18, 19], block: { start: 22, end: 24 } },
  ])('$name', ({ owned, used, block }) => expect(space(64, owned, used).blockToGive()).toEqual(block))

  test('of a fragmented list the right aligned chunk goes: 16 at 16 of 47 free', () => {
    expect(space(64, [[0, 64]], [1, 3, 7, 9, 15, 33, 35, 37, 41, 43, 45, 49, 53, 57, 61]).blockToGive()).toEqual({ start: 16, end: 32 })
  })

  test('again and again it drains to nothing, one owner after the other', () => {
    const given: number[] = []
    let owned: Range = { start: 64, end: 128 }
    for (;;) {
      const block = space(256, [[owned.start, owned.end]]).blockToGive()
      if (block === undefined) break
      given.push(block.end - block.start)
      expect(block.end).toBe(owned.end)
      owned = { start: owned.start, end: block.start }
    }
    expect(given).toEqual([32, 16, 8, 4, 2, 1, 1])
  })
})

/** The simplest truth: two sets. */
interface Model {
  owned: ReadonlySet<number>
  readonly used: Set<number>
}

type Step =
  | { readonly kind: 'take' }
  | { readonly kind: 'release'; readonly host: number }
  | { readonly kind: 'own'; readonly cuts: readonly number[] }

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('take' as const) }),
    fc.record({ kind: fc.constant('release' as const), host: fc.nat(63) }),
    fc.record({ kind: fc.constant('own' as const), cuts: fc.uniqueArray(fc.nat(64), { maxLength: 6 }) }),
  ),
  { maxLength: 60 },
)

function freeIn({ owned, used }: Model): readonly number[] {
  return [...owned].filter((host) => !used.has(host))
}

function apply(real: Space, model: Model, step: Step): void {
  if (step.kind === 'take') {
    const host = real.next()
    expect(host === undefined).toBe(freeIn(model).length === 0)
    if (host === undefined) return
    expect(freeIn(model)).toContain(host)
    model.used.add(host)
    real.take(host)
  } else if (step.kind === 'release') {
    model.used.delete(step.host)
    real.release(step.host)
  } else {
    const cuts = [...step.cuts].sort((a, b) => a - b)
    const ranges = cuts
      .flatMap((start, index) => (index % 2 === 0 ? [{ start, end: cuts[index + 1] ?? 64 }] : []))
      .filter(({ start, end }) => start < end)
    const hosts = ranges.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, at) => start + at))
    model.owned = new Set(hosts.filter((host) => host !== 0 && host !== 63))
    real.own(ranges)
  }
}

function expectBalance(real: Space, model: Model): void {
  const free = freeIn(model)
  expect(real.free).toBe(free.length)
  const unused = real.unused().flatMap(({ start, end }) => Array.from({ length: end - start }, (_, at) => start + at))
  expect(unused.filter((host) => host !== 0 && host !== 63)).toEqual(free.toSorted((a, b) => a - b))
  const block = real.blockToGive()
  expect(block === undefined).toBe(free.length === 0)
  if (block === undefined) return
  const size = block.end - block.start
  const hosts = Array.from({ length: size }, (_, at) => block.start + at).filter((host) => host !== 0 && host !== 63)
  expect(block.start % size).toBe(0)
  expect(hosts.length).toBeGreaterThan(0)
  expect(hosts.length).toBeLessThanOrEqual(Math.ceil(free.length / 2))
  for (const host of hosts) expect(free).toContain(host)
}

test('the books balance whatever happens, and a block to give is ours, aligned, free and no more than half', () => {
  fc.assert(
    fc.property(steps, (some) => {
      const [real, model] = [new Space(64), { owned: new Set<number>(), used: new Set<number>() }]
      for (const step of some) {
        apply(real, model, step)
        expectBalance(real, model)
      }
    }),
    { seed: 1, numRuns: 300 },
  )
})
