/** Progress is shown only when a command takes long. */
import { expect, test } from 'vitest'
import { seconds } from '../../../../mesh/base/brand.ts'
import { Progress } from '../../../../router/lab/progress.ts'
import { TestClock } from '../../../support/test-clock.ts'

test('a quick command says nothing; a slow one says where it is, and every step from then on', () => {
  const clock = new TestClock()
  const lines: string[] = []
  const progress = new Progress(clock, (line) => lines.push(line))
  progress.step('one')
  progress.step('two')
  clock.advance(seconds(0.9))
  expect(lines).toEqual([])
  clock.advance(seconds(0.1))
  progress.step('three')
  expect(lines).toEqual(['two\n', 'three\n'])
})

test('a command that has ended says nothing any more', () => {
  const clock = new TestClock()
  const lines: string[] = []
  const progress = new Progress(clock, (line) => lines.push(line))
  progress.step('one')
  progress[Symbol.dispose]()
  clock.advance(seconds(2))
  expect(lines).toEqual([])
})
