/** Budgets: so much at once, and so much a second. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { millis } from '../../../mesh/base/brand.ts'
import { type Budget, type BudgetPolicy, fullBudget, spend } from '../../../mesh/budget.ts'

const policy: BudgetPolicy = { perSecond: 10, burst: 100 }

/** Spends at each moment, if there is as much; true where there was. */
function spending(wishes: readonly { readonly at: number; readonly amount: number }[]): readonly boolean[] {
  let budget: Budget = fullBudget(policy, millis(0))
  return wishes.map(({ at, amount }) => {
    const next = spend(budget, policy, amount, millis(at))
    budget = next ?? budget
    return next !== undefined
  })
}

describe('a budget', () => {
  test.each([
    { name: 'is full at first', wishes: [{ at: 0, amount: 100 }], spent: [true] },
    { name: 'is never more than full', wishes: [{ at: 1e9, amount: 101 }], spent: [false] },
    {
      name: 'is empty when it is spent',
      wishes: [
        { at: 0, amount: 100 },
        { at: 0, amount: 1 },
      ],
      spent: [true, false],
    },
    {
      name: 'grows with time',
      wishes: [
        { at: 0, amount: 100 },
        { at: 1_000, amount: 10 },
        { at: 1_000, amount: 1 },
      ],
      spent: [true, true, false],
    },
    {
      name: 'pays nothing for what is refused',
      wishes: [
        { at: 0, amount: 100 },
        { at: 999, amount: 10 },
        { at: 1_000, amount: 10 },
      ],
      spent: [true, false, true],
    },
    {
      name: 'has nothing against nothing',
      wishes: [
        { at: 0, amount: 100 },
        { at: 0, amount: 0 },
      ],
      spent: [true, true],
    },
  ])('$name', ({ wishes, spent }) => {
    expect(spending(wishes)).toEqual(spent)
  })

  test('pays in any stretch of time no more than the burst and what grew in it', () => {
    const wish = fc.record({ pause: fc.nat(3_000), amount: fc.nat(120) })
    fc.assert(
      fc.property(fc.array(wish, { maxLength: 50 }), (drawn) => {
        let at = 0
        const wishes = drawn.map(({ pause, amount }) => {
          at += pause
          return { at, amount }
        })
        const paid = spending(wishes)
        for (let from = 0; from < wishes.length; from += 1) {
          let sum = 0
          for (let to = from; to < wishes.length; to += 1) {
            sum += paid[to] === true ? (wishes[to]?.amount ?? 0) : 0
            const time = (wishes[to]?.at ?? 0) - (wishes[from]?.at ?? 0)
            expect(sum).toBeLessThanOrEqual(policy.burst + (time / 1_000) * policy.perSecond + 1e-6)
          }
        }
      }),
      { seed: 1 },
    )
  })
})
