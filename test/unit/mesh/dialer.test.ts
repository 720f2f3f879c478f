/** Whom to dial, and when. */
import { describe, expect, test } from 'vitest'
import { parseIpv4 } from '../../../mesh/base/address.ts'
import { type Millis, millis, type PeerName, parsePeerName, seconds } from '../../../mesh/base/brand.ts'
import {
  type Attempts,
  DIALS_AT_ONCE_MAX,
  type DialEvent,
  type DialPlan,
  type DialView,
  type Goal,
  goalsOf,
  hasten,
  planDials,
  recordDial,
  retryNow,
} from '../../../mesh/dialer.ts'
import type { PeerRecord } from '../../../mesh/record.ts'
import { plainFacts } from '../../support/mesh-records.ts'

const self = parsePeerName('5555555555555555')
const lower = parsePeerName('1111111111111111')
const higher = parsePeerName('9999999999999999')
const target = { host: 'seed', port: 6_783 }
/** Makes every pause as long as it can be. */
const random = () => 0.999_999

function recordOf(name: PeerName, ...addresses: readonly string[]): PeerRecord {
  return { ...plainFacts, name, publicKey: new Uint8Array(32), dataKey: new Uint8Array(32), addresses: addresses.map(parseIpv4) }
}

function viewOf(goals: ReadonlyMap<string, Goal>, connected: readonly PeerName[] = [], room = 64): DialView {
  return { goals, connected: new Set(connected), room }
}

function plan(attempts: Attempts, view: DialView, at: number): DialPlan {
  return planDials(attempts, view, millis(at))
}

function record(attempts: Attempts, key: string, event: DialEvent, at: number): Attempts {
  return recordDial(attempts, key, event, { now: millis(at), random })
}

/** Started and failed `times` times. */
function failing(key: string, times: number): Attempts {
  let attempts: Attempts = new Map()
  for (let count = 0; count < times; count += 1) {
    attempts = record(record(attempts, key, { kind: 'started' }, 0), key, { kind: 'failed', reason: 'refused' }, 0)
  }
  return attempts
}

describe('goals', () => {
  test('are the targets and the addresses of all others, not ours', () => {
    const goals = goalsOf([target], [recordOf(self, '198.18.0.5'), recordOf(higher, '198.18.0.9', '198.19.0.9')], self)
    expect([...goals.keys()]).toEqual(['seed:6783', '198.18.0.9:6783', '198.19.0.9:6783'])
  })

  test('a target that is the address of a known peer is one goal', () => {
    const goals = goalsOf([{ host: '198.18.0.9', port: 6_783 }], [recordOf(higher, '198.18.0.9')], self)
    expect([...goals.values()]).toEqual([{ target: { host: '198.18.0.9', port: 6_783 }, isGiven: true, peer: higher, delay: 0 }])
  })

  test('of two peers that learn of each other, one dials first', () => {
    const goals = goalsOf([], [recordOf(lower, '198.18.0.1'), recordOf(higher, '198.18.0.9')], self)
    const { attempts, dial, wakeAt } = plan(new Map(), viewOf(goals), 100)
    expect({ dial, wakeAt }).toEqual({ dial: ['198.18.0.9:6783'], wakeAt: 2_100 })
    expect(plan(attempts, viewOf(goals), 2_100).dial).toContain('198.18.0.1:6783')
  })
})

describe('a plan', () => {
  const goals = goalsOf([target], [recordOf(higher, '198.18.0.9', '198.19.0.9')], self)

  test('tries the addresses of a peer one at a time, and the next when one has failed', () => {
    const first = plan(new Map(), viewOf(goals), 0)
    expect(first.dial).toEqual(['seed:6783', '198.18.0.9:6783'])
    const started = first.dial.reduce((attempts, key) => record(attempts, key, { kind: 'started' }, 0), first.attempts)
    expect(plan(started, viewOf(goals), 1).dial).toEqual([])
    const failed = record(started, '198.18.0.9:6783', { kind: 'failed', reason: 'refused' }, 10)
    expect(plan(failed, viewOf(goals), 10).dial).toEqual(['198.19.0.9:6783'])
  })

  test('leaves peers alone that are connected, and comes back to them when they are not', () => {
    expect(plan(new Map(), viewOf(goals, [higher]), 0).dial).toEqual(['seed:6783'])
    expect(plan(new Map(), viewOf(goals, []), 0).dial).toContain('198.18.0.9:6783')
  })

  test('leaves a target alone whose peer turned out to be connected already', () => {
    const attempts = record(new Map(), 'seed:6783', { kind: 'duplicate', peer: higher }, 0)
    const connected = plan(attempts, viewOf(goals, [higher]), 100_000)
    expect(connected).toMatchObject({ dial: [], wakeAt: undefined })
    expect(plan(connected.attempts, viewOf(goals, []), 100_000).dial).toContain('seed:6783')
  })

  test('has limits: of dials at once, and of room', () => {
    const many = goalsOf(
      Array.from({ length: 100 }, (_, index) => ({ host: `h${index}`, port: 1 })),
      [],
      self,
    )
    expect(plan(new Map(), viewOf(many), 0).dial).toHaveLength(DIALS_AT_ONCE_MAX)
    expect(plan(new Map(), viewOf(many, [], 3), 0).dial).toHaveLength(3)
    const started = record(record(new Map(), 'h0:1', { kind: 'started' }, 0), 'h1:1', { kind: 'started' }, 0)
    expect(plan(started, viewOf(many, [], 3), 0).dial).toEqual(['h2:1'])
    expect(plan(new Map(), viewOf(many, [], 0), 0).dial).toEqual([])
  })

  test('forgets what is no goal any more, but for what is under way', () => {
    const attempts = record(failing('seed:6783', 1), 'gone:1', { kind: 'started' }, 0)
    expect([...plan(attempts, viewOf(new Map()), 0).attempts.keys()]).toEqual(['gone:1'])
  })
})

describe('pauses', () => {
  const goals = goalsOf([target], [], self)

  function retryAt(attempts: Attempts): Millis | undefined {
    return plan(attempts, viewOf(goals), 0).wakeAt
  }

  test.each([
    { times: 1, pause: 1_000 },
    { times: 2, pause: 2_000 },
    { times: 6, pause: 32_000 },
    { times: 7, pause: 60_000 },
    { times: 50, pause: 60_000 },
  ])('after $times failures: $pause ms', ({ times, pause }) => {
    expect(Math.round(retryAt(failing('seed:6783', times)) ?? 0)).toBe(pause)
  })

  test('have jitter of up to half', () => {
    const attempts = recordDial(new Map(), 'seed:6783', { kind: 'failed', reason: 'refused' }, { now: millis(0), random: () => 0 })
    expect(retryAt(attempts)).toBe(500)
  })

  test('start anew after a connection that held for a minute, and only then', () => {
    const ended = (heldFor: number): Attempts => {
      const up = record(failing('seed:6783', 5), 'seed:6783', { kind: 'established', peer: higher }, 0)
      return record(up, 'seed:6783', { kind: 'ended', reason: 'reset' }, heldFor)
    }
    expect(Math.round((retryAt(ended(60_000)) ?? 0) - 60_000)).toBe(1_000)
    expect(Math.round((retryAt(ended(59_999)) ?? 0) - 59_999)).toBe(32_000)
  })

  test('end when somebody asks for the target again', () => {
    expect(plan(retryNow(failing('seed:6783', 9), ['seed:6783']), viewOf(goals), 0).dial).toEqual(['seed:6783'])
  })

  test('shorten when the peer has given a sign of life', () => {
    const hastened = hasten(failing('seed:6783', 9), ['seed:6783', 'unknown:1'], { now: millis(0), random })
    expect(Math.round(retryAt(hastened) ?? 0)).toBe(1_000)
    expect([...hastened.keys()]).toEqual(['seed:6783'])
  })
})

describe('ourself', () => {
  test('as a target is never tried again, until somebody says so', () => {
    const goals = goalsOf([target], [], self)
    const attempts = record(new Map(), 'seed:6783', { kind: 'ourself' }, 0)
    expect(plan(attempts, viewOf(goals), 1e9)).toMatchObject({ dial: [], wakeAt: undefined })
    expect(plan(retryNow(attempts, ['seed:6783']), viewOf(goals), 0).dial).toEqual(['seed:6783'])
  })

  test('at the address of an old record is tried again after the longest pause: the address may be given to another', () => {
    const goals = goalsOf([], [recordOf(higher, '198.18.0.9')], self)
    const attempts = record(new Map(), '198.18.0.9:6783', { kind: 'ourself' }, 0)
    expect(plan(attempts, viewOf(goals), 1)).toMatchObject({ dial: [], wakeAt: seconds(60) })
    expect(plan(attempts, viewOf(goals), 60_000).dial).toEqual(['198.18.0.9:6783'])
  })
})
