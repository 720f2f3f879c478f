/** A queue that one can leave from anywhere, against a plain array. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Resting } from '../../../ipam/resting.ts'

const steps = fc.array(fc.record({ adds: fc.boolean(), number: fc.nat(20) }), { maxLength: 60, size: 'max' })

test('it keeps the order in which they came last, whoever left in between', () => {
  fc.assert(
    fc.property(steps, fc.nat(20), fc.nat(20), (some, start, length) => {
      const real = new Resting()
      let model: number[] = []
      const range = { start, end: start + length }
      for (const { adds, number } of some) {
        if (adds) real.add(number)
        else real.remove(number)
        model = [...model.filter((other) => other !== number), ...(adds ? [number] : [])]
        expect([real.first(), real.count, real.has(number)]).toEqual([model[0], model.length, adds])
      }
      const inside = model.filter((number) => number >= range.start && number < range.end)
      expect([real.list(), real.firstIn(range), real.listIn(range).toSorted()]).toEqual([model, inside[0], inside.toSorted()])
    }),
    { seed: 1, numRuns: 500 },
  )
})

test('one at the front that stays does not let it grow with those that come and go behind it', () => {
  const queue = new Resting()
  queue.add(1)
  for (let round = 0; round < 10_000; round++) {
    queue.add(2)
    queue.add(3)
    queue.remove(2)
  }
  expect([queue.first(), queue.list()]).toEqual([1, [1, 3]])
})
