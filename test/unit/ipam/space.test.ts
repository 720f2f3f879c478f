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

  test('takes those that were freed in the order of it, once all others were in use', () => {
    const whole = space(16, [[4, 12]], [4, 5, 6, 7])
    for (const host of [6, 4, 7]) whole.release(host)
    expect(takeAll(whole)).toEqual([8, 9, 10, 11, 6, 4, 7])
  })

  test('who asks for a certain number leaves the way of the others as it is', () => {
    const whole = space(16, [[1, 8]], [1])
    whole.take(6)
    expect(takeAll(whole)).toEqual([2, 3, 4, 5, 7])
  })

  test('of a part of our ranges only what is in it: fresh ones, then who rests for longest there', () => {
    const whole = space(64, [[8, 40]], [8, 9, 10, 20, 21])
    for (const host of [10, 21, 8, 20]) whole.release(host)
    const within = { start: 20, end: 23 }
    const taken: (number | undefined)[] = []
    for (let host = whole.next(within); host !== undefined; host = whole.next(within)) {
      taken.push(host)
      whole.take(host)
    }
    expect([taken, whole.freeIn(within), whole.free]).toEqual([[22, 21, 20], 0, 28])
  })

  test('when too many rest, who does so for longest counts as one that never was in use', () => {
    const whole = new Space(16, 2)
    whole.own([{ start: 4, end: 10 }])
    for (const host of [4, 5, 6]) whole.take(host)
    for (const host of [6, 4, 5]) whole.release(host)
    expect([whole.resting, takeAll(whole)]).toEqual([
      [4, 5],
      [7, 8, 9, 6, 4, 5],
    ])
  })

  test('what rests is told and taken up again, but for what is not ours or in use', () => {
    const whole = space(16, [[4, 8]], [5])
    whole.rest([6, 12, 5, 0, 4])
    expect([whole.resting, takeAll(whole)]).toEqual([
      [6, 4],
      [7, 6, 4],
    ])
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
  test.each<{ name: string; owned: [number, number][]; used?: number[]; within?: Range; block: Range | undefined }>([
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
    {
      name: 'half of what is free in a part',
      owned: [[16, 32]],
      used: [20],
      within: { start: 20, end: 24 },
      block: { start: 22, end: 24 },
    },
    { name: 'nothing where nothing of a part is ours', owned: [[16, 32]], within: { start: 32, end: 40 }, block: undefined },
    { name: 'half of what is free at most', owned: [[16, 24]], used: [16, 17, 18, 19], block: { start: 22, end: 24 } },
  ])('$name', ({ owned, used, within, block }) => expect(space(64, owned, used).blockToGive(within)).toEqual(block))

  test('of a fragmented list the right aligned chunk goes: 16 at 16 of 47 free', () => {
    expect(space(64, [[0, 64]], [1, 3, 7, 9, 15, 33, 35, 37, 41, 43, 45, 49, 53, 57, 61]).blockToGive()).toEqual({ start: 16, end: 32 })
  })

  test.each<{ name: string; freed: number[]; block: Range }>([
    { name: 'what never was in use, though what was is more', freed: [24, 25, 26, 27], block: { start: 20, end: 22 } },
    {
      name: 'what was in use, where the other is less than half of it',
      freed: [21, 22, 23, 24, 25, 26, 27, 28, 29, 30],
      block: { start: 24, end: 28 },
    },
  ])('$name', ({ freed, block }) => {
    const used = [16, 17, 18, 19, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31]
    const whole = space(64, [[16, 32]], freed.length === 4 ? used.filter((host) => host !== 21) : used)
    for (const host of freed) whole.release(host)
    expect(whole.blockToGive()).toEqual(block)
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

/** The simplest truth: a set of what is ours, one of what is in use, and a queue of what is free. */
interface Model {
  owned: ReadonlySet<number>
  readonly used: Set<number>
  /** What was freed while it was ours, in order. */
  resting: number[]
}

const HOSTS = 64
const RESTING = 5

type Step =
  | { readonly kind: 'take'; readonly within: Range }
  | { readonly kind: 'claim'; readonly host: number }
  | { readonly kind: 'release'; readonly host: number }
  | { readonly kind: 'own'; readonly cuts: readonly number[] }

const parts = fc.tuple(fc.nat(HOSTS), fc.nat(HOSTS)).map(([one, other]) => ({ start: Math.min(one, other), end: Math.max(one, other) }))
const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('take' as const), within: fc.oneof(fc.constant({ start: 0, end: HOSTS }), parts) }),
    fc.record({ kind: fc.constant('claim' as const), host: fc.nat(HOSTS - 1) }),
    fc.record({ kind: fc.constant('release' as const), host: fc.nat(HOSTS - 1) }),
    fc.record({ kind: fc.constant('own' as const), cuts: fc.uniqueArray(fc.nat(HOSTS), { maxLength: 6 }) }),
  ),
  { maxLength: 80, size: 'max' },
)

function freeIn({ owned, used }: Model, { start, end }: Range): readonly number[] {
  return [...owned].filter((host) => !used.has(host) && host >= start && host < end)
}

/** Never one that rests while a fresh one is free; of those that rest the first. */
function expectNext(host: number, model: Model, within: Range): void {
  const free = freeIn(model, within)
  const fresh = free.filter((other) => !model.resting.includes(other))
  if (fresh.length > 0) expect(fresh).toContain(host)
  else expect(host).toBe(model.resting.find((other) => free.includes(other)))
}

function take(real: Space, model: Model, host: number): void {
  model.used.add(host)
  model.resting = model.resting.filter((other) => other !== host)
  real.take(host)
}

function apply(real: Space, model: Model, step: Step): void {
  if (step.kind === 'take') {
    const host = real.next(step.within)
    expect(host === undefined).toBe(freeIn(model, step.within).length === 0)
    if (host === undefined) return
    expectNext(host, model, step.within)
    take(real, model, host)
  } else if (step.kind === 'claim') {
    if (freeIn(model, { start: step.host, end: step.host + 1 }).length > 0) take(real, model, step.host)
  } else if (step.kind === 'release') {
    if (model.used.delete(step.host) && model.owned.has(step.host)) model.resting = [...model.resting, step.host].slice(-RESTING)
    real.release(step.host)
  } else {
    const ranges = rangesOf(step.cuts)
    const hosts = ranges.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, at) => start + at))
    model.owned = new Set(hosts.filter((host) => host !== 0 && host !== HOSTS - 1))
    model.resting = model.resting.filter((host) => model.owned.has(host))
    real.own(ranges)
  }
}

function rangesOf(cuts: readonly number[]): readonly Range[] {
  const sorted = [...cuts].sort((a, b) => a - b)
  return sorted
    .flatMap((start, index) => (index % 2 === 0 ? [{ start, end: sorted[index + 1] ?? HOSTS }] : []))
    .filter(({ start, end }) => start < end)
}

function expectBalance(real: Space, model: Model, within: Range): void {
  const [all, free] = [freeIn(model, { start: 0, end: HOSTS }), freeIn(model, within)]
  expect([real.free, real.freeIn(within), real.resting]).toEqual([all.length, free.length, model.resting])
  const unused = real.unused().flatMap(({ start, end }) => Array.from({ length: end - start }, (_, at) => start + at))
  expect(unused.filter((host) => host !== 0 && host !== HOSTS - 1)).toEqual(all.toSorted((a, b) => a - b))
  const block = real.blockToGive(within)
  expect(block === undefined).toBe(free.length === 0)
  if (block === undefined) return
  const size = block.end - block.start
  const hosts = Array.from({ length: size }, (_, at) => block.start + at).filter((host) => host !== 0 && host !== HOSTS - 1)
  expect(block.start % size).toBe(0)
  expect(hosts.length).toBeGreaterThan(0)
  expect(hosts.length).toBeLessThanOrEqual(Math.ceil(free.length / 2))
  for (const host of hosts) expect(free).toContain(host)
}

test('the books balance whatever happens; who was freed last is taken last; a block to give is ours, aligned, free and no more than half', () => {
  fc.assert(
    fc.property(steps, parts, (some, within) => {
      const real = new Space(HOSTS, RESTING)
      const model: Model = { owned: new Set<number>(), used: new Set<number>(), resting: [] }
      for (const step of some) {
        apply(real, model, step)
        expectBalance(real, model, within)
      }
    }),
    { seed: 1, numRuns: 500 },
  )
})
