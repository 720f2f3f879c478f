/** The order in which pairs are checked. */
import { expect, test } from 'vitest'
import { spread } from '../../../../../router/lab/probe/check.ts'

test('every ordered pair comes once, and no item with itself', () => {
  const items = ['a', 'b', 'c', 'd', 'e']
  const pairs = spread(items).map(([from, to]) => from + to)
  expect(pairs).toHaveLength(20)
  expect(new Set(pairs)).toEqual(new Set(items.flatMap((from) => items.filter((to) => to !== from).map((to) => from + to))))
})

test('each round of as many pairs as there are items has every receiver once', () => {
  const receivers = spread(['a', 'b', 'c', 'd'])
    .slice(4, 8)
    .map(([, to]) => to)
  expect(receivers.toSorted()).toEqual(['a', 'b', 'c', 'd'])
})

test.each([[[]], [['alone']]])('of %j there are no pairs', (items) => expect(spread(items)).toEqual([]))
