/** Runs of numbers against a plain set. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Runs, sizeOf } from '../../../ipam/runs.ts'

const SIZE = 40

const ranges = fc.tuple(fc.nat(SIZE), fc.nat(SIZE)).map(([one, other]) => ({ start: Math.min(one, other), end: Math.max(one, other) }))
const steps = fc.array(fc.record({ adds: fc.boolean(), range: ranges }), { maxLength: 40, size: 'max' })

test('they hold what was added and not removed since, in the fewest runs', () => {
  fc.assert(
    fc.property(steps, ranges, (some, asked) => {
      const [real, model] = [new Runs(), new Set<number>()]
      for (const { adds, range } of some) {
        if (adds) real.add(range)
        else real.remove(range)
        for (let number = range.start; number < range.end; number++) adds ? model.add(number) : model.delete(number)
      }
      const listed = [...real.within({ start: 0, end: SIZE })]
      const numbers = listed.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, at) => start + at))
      const all = [...model].sort((a, b) => a - b)
      expect(numbers).toEqual(all)
      for (const [index, { start, end }] of listed.entries()) expect([start < end, start !== listed[index - 1]?.end]).toEqual([true, true])
      expect(real.count).toBe(all.length)
      const inside = all.filter((number) => number >= asked.start && number < asked.end)
      expect(real.next(asked)).toBe(inside[0])
      expect(sizeOf(real.within(asked))).toBe(inside.length)
      for (let number = 0; number < SIZE; number++) expect(real.has(number)).toBe(model.has(number))
    }),
    { seed: 1, numRuns: 500 },
  )
})

test('a range of sixteen million with ten thousand holes is searched in no time', () => {
  const runs = new Runs()
  runs.add({ start: 0, end: 2 ** 24 })
  for (let hole = 0; hole < 10_000; hole++) runs.remove({ start: hole * 1_000, end: hole * 1_000 + 1 })
  expect([runs.count, runs.next({ start: 5_000_000, end: 2 ** 24 }), runs.next({ start: 0, end: 1 })]).toEqual([
    2 ** 24 - 10_000,
    5_000_001,
    undefined,
  ])
})
