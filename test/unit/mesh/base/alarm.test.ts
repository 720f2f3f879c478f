/** A task that many ask for, at several moments. */
import { expect, test } from 'vitest'
import { Alarm } from '../../../../mesh/base/alarm.ts'
import { millis } from '../../../../mesh/base/brand.ts'
import { TestClock } from '../../../support/test-clock.ts'

function alarm(): { readonly clock: TestClock; readonly alarm: Alarm; readonly ranAt: number[] } {
  const clock = new TestClock()
  const ranAt: number[] = []
  return { clock, alarm: new Alarm(clock, () => ranAt.push(clock.now())), ranAt }
}

test('runs once, at the soonest moment', () => {
  const { clock, alarm: task, ranAt } = alarm()
  for (const moment of [30, 10, 20]) task.at(millis(moment))
  clock.advance(millis(100))
  expect(ranAt).toEqual([10])
})

test('runs again for who asks after it ran', () => {
  const { clock, alarm: task, ranAt } = alarm()
  task.at(millis(10))
  clock.advance(millis(15))
  task.at(millis(12))
  task.at(millis(40))
  clock.advance(millis(100))
  expect(ranAt).toEqual([10, 15])
})

test('does not run inside the call that asks for it, nor after it was disposed', () => {
  const { clock, alarm: task, ranAt } = alarm()
  task.at(millis(0))
  expect(ranAt).toEqual([])
  task[Symbol.dispose]()
  task.at(millis(5))
  clock.advance(millis(100))
  expect(ranAt).toEqual([])
})
