/** Dialling in time: against a transport that we play by hand. */
import { describe, expect, test } from 'vitest'
import { parseIpv4 } from '../../../mesh/base/address.ts'
import { type Millis, millis, parsePeerName, seconds } from '../../../mesh/base/brand.ts'
import type { Clock } from '../../../mesh/base/clock.ts'
import { silentLog } from '../../../mesh/base/log.ts'
import { type Random, seededRandom } from '../../../mesh/base/random.ts'
import { err, ok, type Result } from '../../../mesh/base/result.ts'
import type { DialView } from '../../../mesh/dialer.ts'
import { formatTarget, type Target } from '../../../mesh/endpoint.ts'
import type { Liveness } from '../../../mesh/liveness.ts'
import type { PeerRecord } from '../../../mesh/record.ts'
import { Seeker } from '../../../mesh/seeker.ts'
import type { Stream, Transport } from '../../../mesh/transport.ts'
import { bareRecord } from '../../support/mesh-records.ts'
import { TestClock } from '../../support/test-clock.ts'

/** Records of dials, each to be answered by hand. */
interface FakeDial {
  readonly to: string
  readonly at: Millis
  readonly answer: (outcome: Result<Stream, string>) => void
  isGivenUp: boolean
}

/** The clock of a process that gets no processor until `asleepUntil`. */
class SleepyClock implements Clock {
  readonly #clock: TestClock
  asleepUntil = 0

  constructor(clock: TestClock) {
    this.#clock = clock
  }

  now(): Millis {
    return this.#clock.now()
  }

  wallTime(): Millis {
    return this.#clock.wallTime()
  }

  after(delay: Millis, fire: () => void): Disposable {
    const until = millis(Math.max(delay, this.asleepUntil - this.now()))
    return this.#clock.after(until, fire)
  }
}

function fakeTransport(clock: Clock, dials: FakeDial[]): Transport {
  return {
    listen: () => Promise.reject(new Error('nobody listens here')),
    dial: (to: Target, done) => {
      const dial = { to: formatTarget(to), at: clock.now(), answer: done, isGivenUp: false }
      dials.push(dial)
      return { [Symbol.dispose]: () => void Object.assign(dial, { isGivenUp: true }) }
    },
  }
}

/** A stream that only tells whether it was closed. */
function fakeStream(): Stream & { isClosed: boolean } {
  const stream = {
    remote: { address: parseIpv4('198.18.0.1'), port: 1 },
    backlogBytes: 0,
    isClosed: false,
    start: () => undefined,
    write: () => undefined,
    close: () => {
      stream.isClosed = true
    },
  }
  return stream
}

function peer(index: number, ...addresses: readonly string[]): PeerRecord {
  const name = parsePeerName(index.toString(16).padStart(16, 'f'))
  const own = addresses.length > 0 ? addresses : [`198.18.${index >> 8}.${index & 255}`]
  return bareRecord(name, { addresses: own.map(parseIpv4) })
}

interface Scene {
  readonly clock: TestClock
  /** Nothing of the seeker runs before, of what is begun from now on. */
  sleepUntil(moment: Millis): void
  readonly seeker: Seeker
  readonly dials: FakeDial[]
  readonly opened: string[]
  view: Omit<DialView, 'targets'>
}

function scene(more: Partial<DialView> & { readonly liveness?: Liveness } = {}, random: Random = seededRandom(1)): Scene {
  const { liveness = 'dead', ...view } = more
  const clock = new TestClock()
  const own = new SleepyClock(clock)
  const sleepUntil = (moment: Millis): void => void Object.assign(own, { asleepUntil: moment })
  const dials: FakeDial[] = []
  const opened: string[] = []
  const self = parsePeerName('0000000000000000')
  const stage = {
    clock,
    sleepUntil,
    dials,
    opened,
    view: { self, records: [], connected: new Set<never>(), livenessOf: () => liveness, wanted: 0, ...view },
  }
  const seeker = new Seeker({
    transport: fakeTransport(clock, dials),
    clock: own,
    random,
    log: silentLog,
    view: () => stage.view,
    opened: (_stream, place) => void opened.push(place),
    changed: () => undefined,
  })
  return Object.assign(stage, { seeker })
}

/** Lets time pass; every dial is refused a little later. */
function refuseAll({ clock, dials }: Scene, duration: Millis): void {
  let answered = dials.length
  for (let passed = 0; passed < duration; passed += 10) {
    clock.advance(millis(10))
    for (; answered < dials.length; answered += 1) dials[answered]?.answer(err('refused'))
  }
}

const target: Target = { host: 'seed', port: 6_783 }

describe('a target', () => {
  test('is dialled at once, handed on when it answers, and not dialled again', () => {
    const stage = scene()
    stage.seeker.setTargets([target])
    expect(stage.dials).toEqual([])
    stage.clock.advance(millis(0))
    expect(stage.dials.map(({ to }) => to)).toEqual(['seed:6783'])
    stage.dials[0]?.answer(ok(fakeStream()))
    stage.clock.advance(seconds(100))
    expect(stage.opened).toEqual(['seed:6783'])
    expect(stage.dials).toHaveLength(1)
    expect(stage.seeker.targets).toEqual([target])
  })

  test('that refuses is dialled again after pauses that grow', () => {
    const stage = scene({}, () => 0.999_999)
    stage.seeker.setTargets([target])
    refuseAll(stage, seconds(100))
    const pauses = stage.dials.map(({ at }, index) => Math.round((at - (stage.dials[index - 1]?.at ?? 0)) / 1_000))
    expect(pauses).toEqual([0, 1, 2, 4, 8, 16, 32])
  })

  test('that does not answer is given up after five seconds, and then dialled again', () => {
    const stage = scene()
    stage.seeker.setTargets([target])
    stage.clock.advance(seconds(4.9))
    expect(stage.dials).toMatchObject([{ isGivenUp: false }])
    stage.clock.advance(seconds(3))
    expect(stage.dials).toMatchObject([{ isGivenUp: true }, { isGivenUp: false }])
    expect(stage.seeker.attempts.get('seed:6783')).toMatchObject({ kind: 'dialing', reason: 'dial seed:6783: no answer in time' })
  })

  test('is dialled at once when somebody gives it again', () => {
    const stage = scene()
    stage.seeker.setTargets([target])
    refuseAll(stage, seconds(10))
    const count = stage.dials.length
    stage.seeker.setTargets([target])
    stage.clock.advance(millis(0))
    expect(stage.dials).toHaveLength(count + 1)
  })
})

describe('peers that are lost', () => {
  test('are dialled again and again, each mesh as a whole a few times a second', () => {
    const records = Array.from({ length: 99 }, (_, index) => peer(index + 1))
    const stage = scene({ records })
    refuseAll(stage, seconds(2_500))
    // One of a hundred peers: every 25 seconds.
    expect(stage.dials.length).toBeGreaterThan(90)
    expect(stage.dials.length).toBeLessThan(112)
    expect(new Set(stage.dials.map(({ to }) => to)).size).toBeGreaterThan(50)
  })

  test('are dialled by a small mesh once a second, whatever the pauses after failures are', () => {
    const stage = scene({ records: [peer(1)] })
    refuseAll(stage, seconds(100))
    expect(stage.dials.length).toBeGreaterThan(90)
    expect(stage.dials.length).toBeLessThan(112)
  })

  test('are tried at each of their addresses', () => {
    const stage = scene({ records: [peer(1, '198.18.0.1', '198.19.0.1', '198.20.0.1')] })
    refuseAll(stage, seconds(30))
    expect([...new Set(stage.dials.map(({ to }) => to))].sort()).toEqual(['198.18.0.1:6783', '198.19.0.1:6783', '198.20.0.1:6783'])
  })

  test.each([
    { name: 'is alive', more: { liveness: 'alive' } },
    { name: 'has left', more: { liveness: 'left' } },
    { name: 'is connected', more: { connected: new Set([peer(1).name]) } },
  ] as const)('are not one that $name', ({ more }) => {
    const stage = scene({ records: [peer(1)], ...more })
    stage.clock.advance(seconds(100))
    expect(stage.dials).toEqual([])
  })

  test('are not dialled twice at once', () => {
    const stage = scene({ records: [peer(1, '198.18.0.1', '198.19.0.1')] })
    stage.clock.advance(seconds(4))
    expect(stage.dials).toHaveLength(1)
  })
})

test('a part of the mesh that is back is dialled once, within twenty seconds', () => {
  const records = Array.from({ length: 50 }, (_, index) => peer(index + 1))
  const stage = scene({ records, liveness: 'alive' })
  stage.seeker.reunite(records)
  stage.seeker.reunite([])
  stage.clock.advance(seconds(26))
  expect(stage.dials).toHaveLength(1)
})

test('a peer that is alive after all is dialled soon, if it is wanted', () => {
  const stage = scene({ records: [peer(1)], liveness: 'left', wanted: 1 })
  refuseAll(stage, seconds(100))
  const count = stage.dials.length
  stage.view = { ...stage.view, livenessOf: () => 'alive' }
  stage.seeker.revived([peer(1)])
  refuseAll(stage, seconds(2.1))
  expect(stage.dials.length).toBeGreaterThan(count)
})

describe('asking whether a host is there', () => {
  const places = [target, { host: 'other', port: 1 }]

  function asking(targets: readonly Target[]): { readonly stage: Scene; readonly answers: boolean[] } {
    const stage = scene()
    const answers: boolean[] = []
    stage.seeker.ask(targets, (isThere) => void answers.push(isThere))
    return { stage, answers }
  }

  test('is true as soon as one place answers: nothing is kept open', () => {
    const { stage, answers } = asking(places)
    const stream = fakeStream()
    stage.dials[0]?.answer(err('refused'))
    expect(answers).toEqual([])
    stage.dials[1]?.answer(ok(stream))
    expect([answers, stream.isClosed]).toEqual([[true], true])
    stage.clock.advance(seconds(10))
    expect([answers, stage.dials.every(({ isGivenUp }) => isGivenUp)]).toEqual([[true], true])
  })

  test('is false when all places refuse', () => {
    const { stage, answers } = asking(places)
    for (const { answer } of stage.dials) answer(err('refused'))
    expect(answers).toEqual([false])
  })

  test('is false when there is no place to ask', () => {
    expect(asking([]).answers).toEqual([false])
  })

  test('is false after a second without an answer', () => {
    const { stage, answers } = asking(places)
    stage.clock.advance(millis(999))
    expect(answers).toEqual([])
    stage.clock.advance(millis(1))
    expect([answers, stage.dials.every(({ isGivenUp }) => isGivenUp)]).toEqual([[false], true])
  })
})

describe('a process that slept over the deadline', () => {
  test('still hears the host that answered meanwhile', () => {
    const stage = scene()
    const answers: boolean[] = []
    stage.sleepUntil(seconds(30))
    stage.seeker.ask([target], (isThere) => void answers.push(isThere))
    stage.clock.advance(seconds(30))
    expect(answers).toEqual([])
    stage.dials[0]?.answer(ok(fakeStream()))
    expect(answers).toEqual([true])
  })

  test('gives the host a moment, not for ever', () => {
    const stage = scene()
    const answers: boolean[] = []
    stage.sleepUntil(seconds(30))
    stage.seeker.ask([target], (isThere) => void answers.push(isThere))
    stage.clock.advance(seconds(30.2))
    expect(answers).toEqual([])
    stage.clock.advance(millis(100))
    expect(answers).toEqual([false])
  })

  test('still takes the stream that was opened meanwhile', () => {
    const stage = scene()
    stage.seeker.setTargets([target])
    stage.sleepUntil(seconds(30))
    stage.clock.advance(seconds(30))
    expect(stage.dials).toMatchObject([{ isGivenUp: false }])
    stage.dials[0]?.answer(ok(fakeStream()))
    expect(stage.opened).toEqual(['seed:6783'])
  })
})

describe('a place that is visited', () => {
  const place: Target = { host: '198.18.0.9', port: 6_783 }

  test('is dialled at once, though nobody is wanted, and handed on when it answers', () => {
    const stage = scene()
    stage.seeker.visit([place, target])
    expect(stage.dials.map(({ to }) => to)).toEqual(['198.18.0.9:6783', 'seed:6783'])
    stage.dials[0]?.answer(ok(fakeStream()))
    expect(stage.opened).toEqual(['198.18.0.9:6783'])
  })

  test('is not dialled twice at a time, nor soon after it has failed, nor again by itself', () => {
    const stage = scene({}, () => 0.999_999)
    stage.seeker.visit([place])
    stage.seeker.visit([place])
    expect(stage.dials).toHaveLength(1)
    stage.dials[0]?.answer(err('refused'))
    stage.seeker.visit([place])
    refuseAll(stage, seconds(20))
    expect(stage.dials).toHaveLength(1)
    stage.seeker.visit([place])
    expect(stage.dials).toHaveLength(2)
  })
})

describe('when all is over', () => {
  test('nothing is dialled, and nobody is answered', () => {
    const stage = scene({ records: [peer(1)], wanted: 1 })
    const answers: boolean[] = []
    stage.seeker.setTargets([target])
    stage.clock.advance(millis(0))
    stage.seeker.ask([target], (isThere) => void answers.push(isThere))
    stage.seeker.reunite([peer(2)])
    const count = stage.dials.length
    stage.seeker[Symbol.dispose]()
    expect(stage.dials.every(({ isGivenUp }) => isGivenUp)).toBe(true)
    stage.clock.advance(seconds(100))
    stage.seeker.setTargets([{ host: 'late', port: 1 }])
    stage.seeker.visit([{ host: 'later', port: 1 }])
    stage.clock.advance(seconds(100))
    expect([stage.dials.length, answers]).toEqual([count, []])
  })
})
