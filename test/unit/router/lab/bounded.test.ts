/** Many tasks, a few at a time. */
import { expect, test } from 'vitest'
import { mapBounded } from '../../../../router/lab/bounded.ts'

test('the answers are in the order of the items, and never more than the limit are under way', async () => {
  let running = 0
  let most = 0
  const answers = await mapBounded([5, 1, 4, 2, 3], 2, async (item, index) => {
    running += 1
    most = Math.max(most, running)
    for (let turn = 0; turn < item; turn++) await Promise.resolve()
    running -= 1
    return `${index}:${item}`
  })
  expect({ answers, most }).toEqual({ answers: ['0:5', '1:1', '2:4', '3:2', '4:3'], most: 2 })
})

test('after a failure nothing new begins, and what is under way is waited for', async () => {
  const begun: number[] = []
  const ended: number[] = []
  const work = mapBounded([0, 1, 2, 3], 2, async (item) => {
    begun.push(item)
    if (item === 0) throw new Error('no')
    for (let turn = 0; turn < 10; turn++) await Promise.resolve()
    ended.push(item)
  })
  await expect(work).rejects.toThrow('no')
  expect({ begun, ended }).toEqual({ begun: [0, 1], ended: [1] })
})

test('nothing to do is done', async () => {
  expect(await mapBounded([], 3, () => Promise.reject(new Error('never')))).toEqual([])
})
