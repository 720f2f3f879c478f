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
  dialOf,
  hasten,
  planDials,
  recordDial,
  retryNow,
} from '../../../mesh/dialer.ts'
import type { Liveness } from '../../../mesh/liveness.ts'
import { DEGREE_TARGET } from '../../../mesh/overlay.ts'
import type { PeerRecord } from '../../../mesh/record.ts'
import { bareRecord } from '../../support/mesh-records.ts'

const self = parsePeerName('5555555555555555')
const lower = parsePeerName('1111111111111111')
const higher = parsePeerName('9999999999999999')
const target = { host: 'seed', port: 6_783 }
/** Makes every pause as long as it can be. */
const random = () => 0.999_999

const started: DialEvent = { kind: 'started', peer: undefined }
const refused: DialEvent = { kind: 'failed', reason: 'refused' }

function recordOf(name: PeerName, ...addresses: readonly string[]): PeerRecord {
  return bareRecord(name, { addresses: addresses.map(parseIpv4) })
}

/** So many peers, all after us in order, each with an address. */
function crowd(count: number): readonly PeerRecord[] {
  return Array.from({ length: count }, (_, index) =>
    recordOf(parsePeerName(`f${index.toString(16).padStart(15, '0')}`), `198.18.1.${index}`),
  )
}

function viewOf(more: Partial<DialView> & { readonly liveness?: Liveness }): DialView {
  const { liveness = 'suspect', ...rest } = more
  return { self, targets: [], records: [], connected: new Set(), livenessOf: () => liveness, wanted: 0, ...rest }
}

function plan(attempts: Attempts, view: Parameters<typeof viewOf>[0], at: number): DialPlan {
  return planDials(attempts, viewOf(view), { now: millis(at), random })
}

function keysOf({ dials }: DialPlan): readonly string[] {
  return dials.map(({ key }) => key)
}

/** All these events at one place, at one moment. */
function happened(key: string, events: readonly DialEvent[], at = 0, from: Attempts = new Map()): Attempts {
  return events.reduce((attempts, event) => recordDial(attempts, key, event, { now: millis(at), random }), from)
}

/** Started and failed `times` times. */
function failing(key: string, times: number): Attempts {
  return happened(key, new Array(times).fill([started, refused]).flat())
}

describe('a target', () => {
  const targets = [target]

  test('is dialled at once, whoever is behind it and however many connections there are', () => {
    expect(plan(new Map(), { targets, wanted: -4 }, 0)).toEqual({
      attempts: new Map(),
      dials: [{ key: 'seed:6783', target, peer: undefined }],
      wakeAt: undefined,
    })
  })

  test.each([
    { name: 'that is being dialled is left alone', events: [started], dials: [], wakeAt: undefined },
    { name: 'that has failed waits for its time', events: [started, refused], dials: [], wakeAt: 1_000 },
    { name: 'that is connected is left alone', events: [started, { kind: 'established', peer: higher }], dials: [], wakeAt: undefined },
    { name: 'that is ourself is left alone', events: [started, { kind: 'ourself' }], dials: [], wakeAt: undefined },
  ] as const)('$name', ({ events, dials, wakeAt }) => {
    const { dials: planned, wakeAt: wake } = plan(happened('seed:6783', events), { targets }, 1)
    expect([planned, wake === undefined ? undefined : Math.round(wake)]).toEqual([dials, wakeAt])
  })

  describe.each([
    { name: 'a peer that we have another connection with', event: { kind: 'duplicate', peer: higher } },
    { name: 'a peer that had no room', event: { kind: 'declined', peer: higher } },
  ] as const)('behind which there is $name', ({ event }) => {
    const attempts = happened('seed:6783', [started, event])
    test.each([
      { what: 'is left alone while that is connected', view: { connected: new Set([higher]) }, dials: [] },
      { what: 'is left alone while that is alive: there is a way to it', view: { liveness: 'alive' }, dials: [] },
      { what: 'is dialled when that is in doubt', view: { liveness: 'suspect' }, dials: ['seed:6783'] },
      { what: 'is dialled when that is dead', view: { liveness: 'dead' }, dials: ['seed:6783'] },
      { what: 'is dialled when that has left: another may be there', view: { liveness: 'left' }, dials: ['seed:6783'] },
    ] as const)('$what', ({ view, dials }) => {
      expect(keysOf(plan(attempts, { targets, ...view }, 2_000))).toEqual(dials)
    })
  })

  test('that has failed is no longer known to be that peer', () => {
    const attempts = happened('seed:6783', [started, { kind: 'duplicate', peer: higher }, started, refused])
    expect(keysOf(plan(attempts, { targets, liveness: 'alive' }, 2_000))).toEqual(['seed:6783'])
  })

  test('among many is dialled in its turn: there is a limit to dials at once', () => {
    const many = Array.from({ length: 100 }, (_, index) => ({ host: `h${index}`, port: 1 }))
    const first = plan(new Map(), { targets: many }, 0)
    expect(first.dials).toHaveLength(DIALS_AT_ONCE_MAX)
    expect(first.wakeAt).toBe(1_000)
    const busy = first.dials.reduce((attempts, { key }) => happened(key, [started], 0, attempts), first.attempts)
    expect(plan(busy, { targets: many }, 1).dials).toEqual([])
    expect(keysOf(plan(happened('h3:1', [refused], 1, busy), { targets: many }, 1))).toEqual(['h16:1'])
  })
})

describe('peers', () => {
  const records = crowd(20)

  test('are dialled as long as more connections are wanted', () => {
    expect(plan(new Map(), { records, wanted: 3 }, 0).dials).toHaveLength(3)
    expect(plan(new Map(), { records, wanted: 0 }, 0)).toMatchObject({ dials: [], wakeAt: undefined })
    expect(plan(new Map(), { records, wanted: -2 }, 0).dials).toEqual([])
  })

  test('are dialled less by as many as are being dialled, targets included', () => {
    const busy = happened('198.18.1.0:6783', [started])
    expect(plan(busy, { records, wanted: 3 }, 0).dials).toHaveLength(2)
    const withTarget = plan(busy, { records, wanted: 3, targets: [target] }, 0)
    expect(withTarget.dials).toHaveLength(2)
    expect(keysOf(withTarget)).toContain('seed:6783')
  })

  test('that are connected or have left are not dialled', () => {
    const [first, second, third] = records
    if (first === undefined || second === undefined || third === undefined) throw new Error('there are twenty')
    const view = { records: [first, { ...second, hasLeft: true }, third], connected: new Set([first.name]), wanted: 3 }
    expect(plan(new Map(), view, 0).dials.map(({ peer }) => peer)).toEqual([third.name])
  })

  test('are looked for again in a second while more are wanted than can be dialled', () => {
    expect(plan(new Map(), { records: [], wanted: 1 }, 500)).toMatchObject({ dials: [], wakeAt: 1_500 })
  })

  test('that learn of each other in a small mesh dial in order of name, and the second one in two seconds', () => {
    const pair = [recordOf(lower, '198.18.0.1'), recordOf(higher, '198.18.0.9')]
    const first = plan(new Map(), { records: pair, wanted: 2 }, 100)
    expect(keysOf(first)).toEqual(['198.18.0.9:6783'])
    expect(keysOf(plan(first.attempts, { records: pair, wanted: 2 }, 2_099))).not.toContain('198.18.0.1:6783')
    expect(keysOf(plan(first.attempts, { records: pair, wanted: 2 }, 2_100))).toContain('198.18.0.1:6783')
  })

  test('dial whoever they want in a mesh in which not all want each other', () => {
    const view = { records: [recordOf(lower, '198.18.0.1'), ...crowd(DEGREE_TARGET)], connected: new Set(crowd(8).map(({ name }) => name)) }
    expect(keysOf(plan(new Map(), { ...view, wanted: 1 }, 0))).toEqual(['198.18.0.1:6783'])
  })
})

describe('a place is dialled once', () => {
  const [first, second] = [recordOf(lower, '198.18.0.9'), recordOf(higher, '198.18.0.9', '198.19.0.9')]
  const records = [first, second, ...crowd(DEGREE_TARGET)]
  const connected = new Set(crowd(DEGREE_TARGET).map(({ name }) => name))

  test('when it is a target and the address of a peer', () => {
    const targets = [{ host: '198.18.0.9', port: 6_783 }]
    expect(keysOf(plan(new Map(), { targets, records, connected, wanted: 4 }, 0))).toEqual(['198.18.0.9:6783'])
  })

  test('when it is in the records of two peers: one has the address of another that is gone', () => {
    const keys = keysOf(plan(new Map(), { records, connected, wanted: 4 }, 0))
    expect(keys.filter((key) => key === '198.18.0.9:6783')).toHaveLength(1)
    expect(new Set(keys).size).toBe(keys.length)
  })
})

describe('the address of a peer to dial', () => {
  const record = recordOf(higher, '198.18.0.9', '198.19.0.9')
  const [first, second] = ['198.18.0.9:6783', '198.19.0.9:6783']
  test.each([
    { name: 'is its first', attempts: new Map(), key: first },
    { name: 'is its next when the first has failed', attempts: failing(first, 1), key: second },
    { name: 'is none while one is being dialled', attempts: happened(second, [started]), key: undefined },
    { name: 'is none while all pause', attempts: happened(second, [refused], 0, failing(first, 1)), key: undefined },
    { name: 'is none of ours', attempts: happened(first, [{ kind: 'ourself' }]), key: second },
  ] as const)('$name', ({ attempts, key }) => {
    expect(dialOf(attempts, record, millis(1))?.key).toBe(key)
  })

  test('is told with whom we expect there', () => {
    expect(dialOf(new Map(), record, millis(1))).toEqual({ key: first, target: { host: '198.18.0.9', port: 6_783 }, peer: higher })
  })

  test('is the first again when its pause is over', () => {
    expect(dialOf(happened(second, [refused], 500, failing(first, 1)), record, millis(1_000))?.key).toBe(first)
  })
})

describe('pauses', () => {
  function retryAt(attempts: Attempts, at = 0): Millis | undefined {
    return plan(attempts, { targets: [target] }, at).wakeAt
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
    const attempts = recordDial(new Map(), 'seed:6783', refused, { now: millis(0), random: () => 0 })
    expect(retryAt(attempts)).toBe(500)
  })

  test('start anew after a connection that held for a minute, and only then', () => {
    const ended = (heldFor: number): Attempts => {
      const up = happened('seed:6783', [{ kind: 'established', peer: higher }], 0, failing('seed:6783', 5))
      return happened('seed:6783', [{ kind: 'ended', reason: 'reset' }], heldFor, up)
    }
    expect(Math.round((retryAt(ended(60_000), 60_000) ?? 0) - 60_000)).toBe(1_000)
    expect(Math.round((retryAt(ended(59_999), 59_999) ?? 0) - 59_999)).toBe(32_000)
  })

  test('grow with every time that a peer has no room, so that nobody knocks every second', () => {
    const declined = happened('seed:6783', new Array(6).fill([started, { kind: 'declined', peer: higher }]).flat())
    expect(Math.round(retryAt(declined) ?? 0)).toBe(32_000)
  })

  test('end when somebody asks for the place again, but what is under way goes on', () => {
    expect(keysOf(plan(retryNow(failing('seed:6783', 9), ['seed:6783']), { targets: [target] }, 0))).toEqual(['seed:6783'])
    const busy = happened('seed:6783', [started])
    expect(retryNow(busy, ['seed:6783'])).toEqual(busy)
  })

  test('shorten when the peer has given a sign of life, and are never made longer by it', () => {
    const record = recordOf(higher, '198.18.0.9', '198.19.0.9')
    const now = { now: millis(100), random }
    const hastened = hasten(failing('198.18.0.9:6783', 9), [record], now)
    expect([...hastened.keys()]).toEqual(['198.18.0.9:6783'])
    expect(dialOf(hastened, { ...record, addresses: record.addresses.slice(0, 1) }, millis(1_100))?.key).toBe('198.18.0.9:6783')
    const soon = recordDial(new Map(), '198.18.0.9:6783', refused, { now: millis(0), random: () => 0 })
    expect(hasten(soon, [record], now)).toEqual(soon)
    const busy = happened('198.18.0.9:6783', [started])
    expect(hasten(busy, [record], now)).toEqual(busy)
  })
})

describe('what is known of a place', () => {
  test('is forgotten when it was of no use for ten minutes', () => {
    const attempts = new Map([...failing('gone:1', 1), ...happened('ours:1', [{ kind: 'ourself' }]), ...happened('busy:1', [started])])
    const known = (at: Millis): readonly string[] => [...plan(attempts, {}, at).attempts.keys()]
    expect(known(seconds(600))).toEqual(['gone:1', 'ours:1', 'busy:1'])
    expect(known(seconds(602))).toEqual(['busy:1'])
  })

  test('that was ourself is forgotten when somebody asks for it again', () => {
    const attempts = happened('seed:6783', [{ kind: 'ourself' }])
    expect(keysOf(plan(retryNow(attempts, ['seed:6783']), { targets: [target] }, 0))).toEqual(['seed:6783'])
  })

  test('says why the last try failed, while the next is under way', () => {
    expect([...happened('seed:6783', [started, refused, started]).values()]).toEqual([
      { kind: 'dialing', failures: 1, since: 0, reason: 'refused', peer: undefined },
    ])
  })
})
