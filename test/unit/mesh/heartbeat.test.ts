/** When to beat, and when the other side counts as dead. */
import { describe, expect, test } from 'vitest'
import { millis } from '../../../mesh/base/brand.ts'
import { checkPulse, startPulse } from '../../../mesh/heartbeat.ts'

describe('a look at the pulse', () => {
  test.each([
    { name: 'who just spoke need not beat', sentAt: 4_000, heardAt: 4_000, dueAt: 5_000, now: 5_000, verdict: 'fine', next: 9_000 },
    { name: 'five quiet seconds call for a beat', sentAt: 0, heardAt: 4_000, dueAt: 5_000, now: 5_000, verdict: 'beat', next: 10_000 },
    {
      name: 'nineteen seconds of silence are borne',
      sentAt: 18_500,
      heardAt: 0,
      dueAt: 19_000,
      now: 19_000,
      verdict: 'fine',
      next: 20_000,
    },
    { name: 'twenty are not', sentAt: 18_500, heardAt: 0, dueAt: 20_000, now: 20_000, verdict: 'dead', next: 20_000 },
    {
      name: 'what we could not hear while starved is not silence',
      sentAt: 0,
      heardAt: 0,
      dueAt: 5_000,
      now: 30_000,
      verdict: 'beat',
      next: 35_000,
    },
    { name: 'but it does not make up for real silence', sentAt: 0, heardAt: 0, dueAt: 15_000, now: 22_000, verdict: 'dead', next: 22_000 },
  ])('$name', ({ sentAt, heardAt, dueAt, now, verdict, next }) => {
    const checked = checkPulse({ sentAt: millis(sentAt), heardAt: millis(heardAt), dueAt: millis(dueAt) }, millis(now))
    expect([checked.verdict, checked.pulse.dueAt]).toEqual([verdict, next])
  })
})

test('a connection on which nobody speaks beats every five seconds and dies after twenty', () => {
  let pulse = startPulse(millis(0))
  const seen: string[] = []
  while (!seen.at(-1)?.endsWith('dead') && seen.length < 20) {
    const checked = checkPulse(pulse, pulse.dueAt)
    seen.push(`${pulse.dueAt / 1_000} ${checked.verdict}`)
    pulse = checked.pulse
  }
  expect(seen).toEqual(['5 beat', '10 beat', '15 beat', '20 dead'])
})
