/** When to beat, when to doubt, and when the other side counts as dead. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Millis, millis } from '../../../mesh/base/brand.ts'
import {
  beatInterval,
  challenged,
  checkPulse,
  heard,
  INTERVAL_MAX,
  isDoubted,
  nextBeat,
  type Pulse,
  startPulse,
  vouched,
} from '../../../mesh/heartbeat.ts'

interface Moments {
  readonly phase?: Pulse['phase']
  readonly heardAt?: number
  readonly doubtAt?: number
  readonly dueAt?: number
}

function pulseOf({ phase = 'quiet', heardAt = 0, doubtAt = 3_750, dueAt = doubtAt }: Moments): Pulse {
  return { phase, heardAt: millis(heardAt), doubtAt: millis(doubtAt), dueAt: millis(dueAt) }
}

/** What a connection says at each look, as `time verdict`, until `end`; `react` may change the pulse after a look. */
function watch(start: Pulse, end: number, react: (pulse: Pulse, now: Millis) => Pulse = (pulse) => pulse): readonly string[] {
  const seen: string[] = []
  let pulse = start
  while (pulse.dueAt <= end) {
    const now = pulse.dueAt
    const checked = checkPulse(pulse, now)
    if (checked.verdict !== undefined) seen.push(`${now} ${checked.verdict}`)
    if (checked.verdict === 'dead') break
    expect(checked.pulse.dueAt).toBeGreaterThan(now)
    pulse = react(checked.pulse, now)
  }
  return seen
}

describe('a look at the pulse', () => {
  test.each([
    { name: 'before the next beat is late calls for nothing', pulse: { dueAt: 3_749 }, now: 3_749, verdict: undefined, next: 3_750 },
    { name: 'when it is calls for a doubt', pulse: {}, now: 3_750, verdict: 'doubt', next: 60_000 },
    { name: 'bears with one that has just said something else', pulse: { heardAt: 3_700 }, now: 3_750, verdict: undefined, next: 4_450 },
    { name: 'does not repeat a doubt', pulse: { phase: 'doubted', dueAt: 9_000 }, now: 9_000, verdict: undefined, next: 60_000 },
    {
      name: 'waits for one that was vouched for',
      pulse: { phase: 'vouched', doubtAt: 9_000, dueAt: 8_000 },
      now: 8_000,
      verdict: undefined,
      next: 9_000,
    },
    { name: 'and not for longer', pulse: { phase: 'vouched', doubtAt: 9_000 }, now: 9_000, verdict: 'doubt', next: 60_000 },
    {
      name: 'takes a minute of silence for death, whoever vouches',
      pulse: { phase: 'vouched', doubtAt: 62_000, dueAt: 60_000 },
      now: 60_000,
      verdict: 'dead',
      next: 60_000,
    },
    { name: 'after sleep first lets what has come be read', pulse: {}, now: 33_750, verdict: undefined, next: 34_050 },
    { name: 'does not take a minute of sleep for one of silence', pulse: {}, now: 93_750, verdict: undefined, next: 94_050 },
    { name: 'that is a little late is not sleep', pulse: {}, now: 4_000, verdict: 'doubt', next: 60_000 },
  ] as const)('$name', ({ pulse, now, verdict, next }) => {
    const checked = checkPulse(pulseOf(pulse), millis(now))
    expect([checked.verdict, checked.pulse.dueAt]).toEqual([verdict, next])
  })
})

test('a connection on which nobody ever speaks is doubted after the longest promise, once, and dies after a minute', () => {
  expect(watch(startPulse(millis(0)), 100_000)).toEqual(['7750 doubt', '60000 dead'])
})

test('one whose host is vouched for is doubted every five seconds, and dies all the same after a minute', () => {
  const seen = watch(heard(startPulse(millis(0)), millis(0), millis(3_000)), 100_000, (pulse, now) =>
    isDoubted(pulse) ? vouched(pulse, now) : pulse,
  )
  expect(seen.slice(0, 3)).toEqual(['3750 doubt', '8750 doubt', '13750 doubt'])
  expect(seen.at(-1)).toBe('60000 dead')
})

test('who keeps its promises is never doubted, whatever it promises', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ promise: fc.nat(INTERVAL_MAX), late: fc.nat(700) }), { maxLength: 50 }), (beats) => {
      let pulse = startPulse(millis(0))
      let now = 0
      let promise = 0
      for (const beat of beats) {
        now += promise + beat.late
        while (pulse.dueAt <= now) {
          const { verdict, pulse: next } = checkPulse(pulse, pulse.dueAt)
          expect(verdict).toBeUndefined()
          pulse = next
        }
        pulse = heard(pulse, millis(now), millis(beat.promise))
        promise = beat.promise
      }
    }),
    { seed: 1 },
  )
})

test('a promise of for ever is believed for as long as any', () => {
  expect(heard(startPulse(millis(0)), millis(1_000), millis(3_600_000)).doubtAt).toBe(1_000 + INTERVAL_MAX + 750)
})

test('what is no beat is no promise', () => {
  const before = heard(startPulse(millis(0)), millis(1_000), millis(3_000))
  expect(heard(before, millis(2_000))).toMatchObject({ heardAt: 2_000, doubtAt: before.doubtAt })
})

test('a doubt is over when something is heard, or the host is vouched for, and then it is looked at again soon', () => {
  const doubted = checkPulse(pulseOf({}), millis(3_750)).pulse
  const now = millis(4_000)
  expect([doubted, heard(doubted, now), vouched(doubted, now)].map(isDoubted)).toEqual([true, false, false])
  expect([heard(doubted, now).dueAt, vouched(doubted, now).dueAt]).toEqual([11_750, 9_000])
})

test.each([
  { name: 'that has just spoken', pulse: { heardAt: 9_500 }, isChallenged: false },
  { name: 'that has been quiet for a second', pulse: { heardAt: 9_000 }, isChallenged: true },
  { name: 'whose host has answered', pulse: { phase: 'vouched' }, isChallenged: false },
  { name: 'that we doubt ourselves', pulse: { phase: 'doubted' }, isChallenged: false },
] as const)('the doubt of another neighbour about one $name counts: $isChallenged', ({ pulse, isChallenged }) => {
  const after = challenged(pulseOf(pulse), millis(10_000))
  expect(after === undefined ? false : isDoubted(after)).toBe(isChallenged)
})

test('the more neighbours can tell each other that they miss us, the less often each of them hears from us', () => {
  expect([1, 3, 4, 5, 7, 8, 12, Number.POSITIVE_INFINITY].map(beatInterval)).toEqual([
    3_000, 3_000, 3_600, 4_500, 6_300, 7_000, 7_000, 7_000,
  ])
})

describe('the next beat', () => {
  test('goes to who waits longest, spread evenly over the interval', () => {
    const promises = new Map([
      ['a', millis(9_000)],
      ['b', millis(8_000)],
      ['c', millis(8_500)],
    ])
    expect(nextBeat({ promises, lastAt: millis(3_000) }, millis(6_000))).toEqual({ to: 'b', at: 5_000 })
  })

  test('goes out sooner where one is promised sooner', () => {
    expect(nextBeat({ promises: new Map([['a', millis(3_500)]]), lastAt: millis(3_000) }, millis(6_000))).toEqual({ to: 'a', at: 3_500 })
  })

  test('goes to nobody when there is nobody', () => {
    expect(nextBeat({ promises: new Map(), lastAt: millis(0) }, millis(6_000))).toBeUndefined()
  })

  test('keeps every promise, whatever neighbours come and go', () => {
    const step = fc.record({ interval: fc.integer({ min: 3_000, max: INTERVAL_MAX }), peers: fc.integer({ min: 1, max: 12 }) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 10 }), (script) => {
        let beats: PlayedBeats = { promises: new Map(), lastAt: millis(0) }
        for (const { interval, peers } of script) beats = playBeats(beats, millis(interval), peers)
      }),
      { seed: 1 },
    )
  })
})

interface PlayedBeats {
  readonly promises: ReadonlyMap<number, Millis>
  readonly lastAt: Millis
}

/** Two rounds of beats to neighbours 0 to `peers`, some of which are new, and others gone. */
function playBeats(before: PlayedBeats, interval: Millis, peers: number): PlayedBeats {
  const promises = new Map<number, Millis>()
  for (let key = 0; key < peers; key += 1) promises.set(key, before.promises.get(key) ?? millis(before.lastAt + INTERVAL_MAX))
  let { lastAt } = before
  for (let count = 0; count < 2 * peers; count += 1) {
    const next = nextBeat({ promises, lastAt }, interval)
    expect(next?.at).toBeLessThanOrEqual(promises.get(next?.to ?? 0) ?? 0)
    lastAt = millis(Math.max(lastAt, next?.at ?? 0))
    promises.set(next?.to ?? 0, millis(lastAt + interval))
  }
  return { promises, lastAt }
}
