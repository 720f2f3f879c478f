/** When to beat, when to doubt, and when the other side counts as dead. */
import { describe, expect, test } from 'vitest'
import { type Millis, millis } from '../../../mesh/base/brand.ts'
import { checkPulse, heard, isDoubted, type Pulse, startPulse, vouched } from '../../../mesh/heartbeat.ts'

const NEVER = Number.MAX_SAFE_INTEGER

function pulseOf({ sentAt = 0, heardAt = 0, doubtAt = heardAt + 3_000, dueAt = 0 }: Readonly<Partial<Record<keyof Pulse, number>>>): Pulse {
  return { sentAt: millis(sentAt), heardAt: millis(heardAt), doubtAt: millis(doubtAt), dueAt: millis(dueAt) }
}

/** What a connection says at each look, as `time verdicts`, until one look after `end`; `event` may change the pulse before a look. */
function watch(start: Pulse, end: number, event: (pulse: Pulse, now: Millis) => Pulse = (pulse) => pulse): readonly string[] {
  const seen: string[] = []
  let pulse = start
  while (pulse.dueAt <= end) {
    const now = pulse.dueAt
    const checked = checkPulse(event(pulse, now), now)
    if (checked.verdicts.length > 0) seen.push(`${now} ${checked.verdicts.join(' ')}`)
    expect(checked.pulse.dueAt).toBeGreaterThan(checked.verdicts.includes('dead') ? 0 : now)
    if (checked.verdicts.includes('dead')) break
    pulse = checked.pulse
  }
  return seen
}

describe('a look at the pulse', () => {
  test.each([
    { name: 'who just spoke need not beat', pulse: { sentAt: 900, heardAt: 900, dueAt: 1_200 }, now: 1_200, verdicts: [], next: 2_100 },
    { name: 'a quiet time calls for a beat', pulse: { heardAt: 900, dueAt: 1_200 }, now: 1_200, verdicts: ['beat'], next: 2_400 },
    { name: 'a moment less of it does not', pulse: { heardAt: 900, dueAt: 1_199 }, now: 1_199, verdicts: [], next: 1_200 },
    { name: 'less than three seconds of silence are borne', pulse: { sentAt: 2_900, dueAt: 2_999 }, now: 2_999, verdicts: [], next: 3_000 },
    { name: 'three call for a doubt', pulse: { sentAt: 2_900, dueAt: 3_000 }, now: 3_000, verdicts: ['doubt'], next: 4_100 },
    {
      name: 'beat and doubt may fall together',
      pulse: { sentAt: 1_800, dueAt: 3_000 },
      now: 3_000,
      verdicts: ['beat', 'doubt'],
      next: 4_200,
    },
    { name: 'a doubt is not repeated', pulse: { sentAt: 8_900, doubtAt: NEVER, dueAt: 9_000 }, now: 9_000, verdicts: [], next: 10_100 },
    {
      name: 'a minute of silence is death, whoever vouches',
      pulse: { sentAt: 59_900, doubtAt: 62_000, dueAt: 60_000 },
      now: 60_000,
      verdicts: ['dead'],
      next: 60_000,
    },
    {
      name: 'what we could not hear while we slept is not silence',
      pulse: { dueAt: 1_200 },
      now: 31_200,
      verdicts: ['beat'],
      next: 32_400,
    },
    { name: 'nor is it a minute of it', pulse: { dueAt: 1_200 }, now: 91_200, verdicts: ['beat'], next: 92_400 },
    {
      name: 'but it does not make up for real silence',
      pulse: { sentAt: 2_900, doubtAt: 3_000, dueAt: 3_000 },
      now: 9_000,
      verdicts: ['beat', 'doubt'],
      next: 10_200,
    },
    {
      name: 'a check that is a little late has heard what there was',
      pulse: { dueAt: 2_800 },
      now: 3_100,
      verdicts: ['beat', 'doubt'],
      next: 4_300,
    },
  ])('$name', ({ pulse, now, verdicts, next }) => {
    const checked = checkPulse(pulseOf(pulse), millis(now))
    expect([checked.verdicts, checked.pulse.dueAt]).toEqual([verdicts, next])
  })

  test('after sleep does not put a doubt off for longer than what was said last can', () => {
    // It slept for a minute, and before it looked it read what had come meanwhile.
    const awake = heard(pulseOf({ dueAt: 1_200 }), millis(61_200))
    const { pulse } = checkPulse(awake, millis(61_200))
    expect(watch(pulse, 70_000)).toContain('66200 doubt')
  })
})

test('a connection on which nobody speaks beats, is doubted once after three seconds, and dies after a minute', () => {
  const seen = watch(startPulse(millis(0)), 100_000)
  expect(seen.slice(0, 5)).toEqual(['1200 beat', '2400 beat', '3000 doubt', '3600 beat', '4800 beat'])
  expect(seen.filter((line) => line.includes('doubt'))).toHaveLength(1)
  expect(seen.at(-1)).toBe('60000 beat dead')
})

test('one whose host is vouched for is doubted every five seconds, and dies all the same after a minute', () => {
  const seen = watch(startPulse(millis(0)), 100_000, (pulse, now) => (isDoubted(pulse) ? vouched(pulse, now) : pulse))
  const doubts = seen.filter((line) => line.includes('doubt')).map((line) => Number(line.split(' ')[0]))
  // The look after a doubt is at most a heartbeat away.
  for (const [at, doubt] of doubts.entries()) expect(doubt - (doubts[at - 1] ?? -2_000)).toBeGreaterThanOrEqual(5_000)
  expect(doubts.length).toBeGreaterThanOrEqual(9)
  expect(seen.at(-1)).toContain('dead')
})

test('one that says something every two seconds is never doubted', () => {
  let spokenAt = 0
  const seen = watch(startPulse(millis(0)), 100_000, (pulse, now) => {
    if (now - spokenAt < 2_000) return pulse
    spokenAt = now
    return heard(pulse, now)
  })
  expect(seen.every((line) => line.endsWith(' beat'))).toBe(true)
})

test('a doubt is over when something is heard, or the host is vouched for', () => {
  const doubted = checkPulse(pulseOf({ sentAt: 2_900, dueAt: 3_000 }), millis(3_000)).pulse
  expect([doubted, heard(doubted, millis(4_000)), vouched(doubted, millis(4_000))].map(isDoubted)).toEqual([true, false, false])
  expect(vouched(doubted, millis(4_000)).doubtAt).toBe(9_000)
})
