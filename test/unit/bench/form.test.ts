/** Rows of a bench: above 1 always means that we are better, whatever the metric. */
import { describe, expect, test } from 'vitest'
import { compare, median, renderTable } from '../../../bench/form.ts'

describe('a row', () => {
  test('takes the median of the ratios of the rounds, not the ratio of the medians', () => {
    const row = compare({ case: 'c', metric: 'm', unit: 'u', better: 'higher', ours: [10, 30, 20], peer: 'p', theirs: [10, 10, 40] })
    expect(row).toMatchObject({ ours: 20, theirs: 10, ratio: 1, spread: [0.5, 3], rounds: 3 })
  })

  test('turns the ratio where less is better', () => {
    const row = compare({ case: 'c', metric: 'm', unit: 'u', better: 'lower', ours: [1, 1], peer: 'goal', theirs: 2 })
    expect(row).toMatchObject({ ratio: 2, theirs: 2 })
  })

  test('cannot be made of rounds that do not match', () => {
    const make = (theirs: readonly number[]) => () =>
      compare({ case: 'c', metric: 'm', unit: 'u', better: 'higher', ours: [1], peer: 'p', theirs })
    expect(make([])).toThrow('1 samples of ours, 0 of p')
    expect(make([1, 2])).toThrow(RangeError)
  })

  test.each([
    { values: [3, 1, 2], middle: 2 },
    { values: [4, 1], middle: 2.5 },
  ])('the median of $values is $middle', ({ values, middle }) => expect(median(values)).toBe(middle))

  test('is shown with three significant digits', () => {
    const table = renderTable([
      compare({ case: 'tcp', metric: 'rate', unit: 'Gbit/s', better: 'higher', ours: [1.2345], peer: 'limit', theirs: [1234.5] }),
    ])
    expect(table.split('\n').at(-2)).toBe('tcp   rate (Gbit/s)  1.23  limit  1235    0.00   0.00–0.00  1')
  })

  test('has its note below the table', () => {
    const row = { case: 'c', unit: 'u', better: 'lower', ours: [1], peer: 'p', theirs: 1 } as const
    const rows = [compare({ ...row, metric: 'a' }), compare({ ...row, metric: 'b', note: 'of another machine' })]
    expect(rows.map((one) => 'note' in one)).toEqual([false, true])
    expect(renderTable(rows).split('\n').slice(-3)).toEqual(['', 'b: of another machine', ''])
  })
})
