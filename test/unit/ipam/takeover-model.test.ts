/** Takeovers in any order of events: no address is ever used by two, and all of the estate finds one owner. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type ModelStep, TakeoverModel } from '../../support/takeover-model.ts'

const WHAT: readonly ModelStep['what'][] = [
  'deliver',
  'deliver',
  'deliver',
  'deliver',
  'repeat',
  'take over',
  'give',
  'tell',
  'ask again',
  'lose power',
]

const steps: fc.Arbitrary<readonly ModelStep[]> = fc.array(
  fc.record({ what: fc.constantFrom(...WHAT), which: fc.nat(1_000), other: fc.nat(1_000) }),
  { maxLength: 80, size: 'max' },
)

test.each([3, 4])('of %i peers no two ever use one address, and in the end all agree who owns what', (count) => {
  fc.assert(
    fc.property(steps, (some) => {
      const model = new TakeoverModel(count)
      const half = some.findIndex(({ what }, at) => what === 'take over' && at > some.length / 4)
      for (const [at, step] of some.entries()) {
        if (at === half) model.end()
        model.step(step)
      }
      model.settle()
      const views = model.views()
      for (const view of views) expect(view).toEqual(views[0])
      expect(views[0]?.get(model.gone)).toBeUndefined()
      expect([...(views[0]?.values() ?? [])].reduce((sum, size) => sum + size, 0)).toBe(model.size)
    }),
    { seed: count, numRuns: 250 },
  )
})
