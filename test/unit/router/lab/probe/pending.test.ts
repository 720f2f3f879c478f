/** Questions end once. */
import { expect, test } from 'vitest'
import { millis } from '../../../../../mesh/base/brand.ts'
import { err } from '../../../../../mesh/base/result.ts'
import { ANSWER_WITHIN, type Outcome, Pending, SUCCESS } from '../../../../../router/lab/probe/pending.ts'
import { TestClock } from '../../../../support/test-clock.ts'

async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await Promise.resolve()
}

test('an answer in time counts, and a second one does not', async () => {
  const pending = new Pending(new TestClock())
  const answer = pending.ask(1, 'late')
  pending.answer(1, SUCCESS)
  pending.answer(1, err('again'))
  expect(await answer).toEqual(SUCCESS)
})

test('no answer is a failure, once what arrived at the last moment had its turn', async () => {
  const clock = new TestClock()
  const outcomes: Outcome[] = []
  const pending = new Pending(clock)
  void pending.ask(1, 'late').then((outcome) => outcomes.push(outcome))
  clock.advance(ANSWER_WITHIN)
  await settled()
  expect(outcomes).toEqual([])
  clock.advance(millis(50))
  await settled()
  expect(outcomes).toEqual([err('late')])
})

test('answers that nobody waits for are ignored, and keys can be used again', async () => {
  const pending = new Pending(new TestClock())
  pending.answer(9, SUCCESS)
  const first = pending.ask(9, 'late')
  pending.answer(9, err('no'))
  const second = pending.ask(9, 'late')
  pending.answer(9, SUCCESS)
  expect([await first, await second]).toEqual([err('no'), SUCCESS])
})
