/** Load and its figures. */
import { expect, test } from 'vitest'
import { quantile, timed } from '../../../../bench/ipam/load.ts'

test.each([
  [[7], 0.5, 7],
  [[7], 0.99, 7],
  [[4, 1, 3, 2], 0.5, 2],
  [[4, 1, 3, 2], 0.51, 3],
  [Array.from({ length: 200 }, (_, index) => 200 - index), 0.99, 198],
  [[3, 1, 2], 1, 3],
])('of %j the quantile %f is %f', (values, share, expected) => expect(quantile(values, share)).toBe(expected))

test('there is none of nothing', () => expect(() => quantile([], 0.5)).toThrow(RangeError))

test('each client makes its calls one after the other, beside the others, and each call is timed', async () => {
  const under = new Map<number, number>()
  let [most, mostOfClient] = [0, 0]
  const numbers: number[] = []
  const timing = await timed({ clients: 3, calls: 4 }, async (number) => {
    const client = Math.floor(number / 4)
    under.set(client, (under.get(client) ?? 0) + 1)
    mostOfClient = Math.max(mostOfClient, under.get(client) ?? 0)
    most = Math.max(
      most,
      [...under.values()].reduce((sum, count) => sum + count, 0),
    )
    numbers.push(number)
    await new Promise((resolve) => setImmediate(resolve))
    under.set(client, (under.get(client) ?? 0) - 1)
  })
  expect(numbers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, index) => index))
  expect([most, mostOfClient]).toEqual([3, 1])
  expect(timing.milliseconds).toHaveLength(12)
  expect(timing.seconds * 1_000).toBeGreaterThanOrEqual(Math.max(...timing.milliseconds))
})

test('a call that fails ends the load', async () => {
  await expect(timed({ clients: 2, calls: 2 }, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
})
