/** Who is alive: every arrow of the picture, and when to look again. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { millis, parsePeerName } from '../../../mesh/base/brand.ts'
import { type Doubt, type Doubts, type LivenessStep, nobodyDoubted, stepLiveness, suspicionTime } from '../../../mesh/liveness.ts'
import type { PeerRecord } from '../../../mesh/record.ts'
import { bareRecord } from '../../support/mesh-records.ts'

const peer = parsePeerName('aaaaaaaaaaaaaaaa')
const PATIENCE = suspicionTime(2)

interface Look {
  readonly onPath?: boolean
  readonly version?: number
  readonly incarnation?: number
  readonly hasLeft?: boolean
}

function recordOf({ version = 1, incarnation = 1, hasLeft = false }: Look): PeerRecord {
  return bareRecord(peer, { version, incarnation, hasLeft })
}

function look(doubts: Doubts, at: number, now: Look): LivenessStep {
  return stepLiveness(doubts, { records: [recordOf(now)], isReachable: () => now.onPath === true }, millis(at))
}

function doubt(kind: Doubt['kind'], since = 0): Doubts {
  return new Map([[peer, { kind, since: millis(since), incarnation: 1, version: 1 }]])
}

describe('one that is', () => {
  test.each([
    { name: 'alive and on a path stays so', from: nobodyDoubted, at: 5, now: { onPath: true }, to: 'alive' },
    { name: 'alive is suspected when it is off every path', from: nobodyDoubted, at: 5, now: {}, to: 'suspect 5' },
    { name: 'suspected stays so until its time is over', from: doubt('suspect'), at: PATIENCE - 1, now: {}, to: 'suspect 0' },
    { name: 'suspected is dead when its time is over', from: doubt('suspect'), at: PATIENCE, now: {}, to: `dead ${PATIENCE}` },
    { name: 'suspected is alive when it is on a path again', from: doubt('suspect'), at: 9_000, now: { onPath: true }, to: 'alive' },
    {
      name: 'suspected gets its time anew with a newer record',
      from: doubt('suspect'),
      at: 9_000,
      now: { version: 2 },
      to: 'suspect 9000',
    },
    { name: 'dead stays so', from: doubt('dead'), at: 1e9, now: {}, to: 'dead 0' },
    { name: 'dead is alive when it is on a path again', from: doubt('dead'), at: 5, now: { onPath: true }, to: 'alive' },
    { name: 'dead is suspected again with a newer record', from: doubt('dead'), at: 5, now: { version: 2 }, to: 'suspect 5' },
    { name: 'dead is suspected again in a newer life', from: doubt('dead'), at: 5, now: { incarnation: 2 }, to: 'suspect 5' },
    { name: 'alive has left when it says so and is off every path', from: nobodyDoubted, at: 5, now: { hasLeft: true }, to: 'left 5' },
    {
      name: 'alive is so while it is on a path, whatever it says',
      from: nobodyDoubted,
      at: 5,
      now: { hasLeft: true, onPath: true },
      to: 'alive',
    },
    {
      name: 'suspected has left when it turns out to have said so',
      from: doubt('suspect'),
      at: 5,
      now: { hasLeft: true, version: 2 },
      to: 'left 5',
    },
    {
      name: 'dead has left when it turns out to have said so',
      from: doubt('dead'),
      at: 5,
      now: { hasLeft: true, version: 2 },
      to: 'left 5',
    },
    { name: 'gone stays so', from: doubt('left'), at: 1e9, now: { hasLeft: true }, to: 'left 0' },
    { name: 'gone is suspected when it says something else', from: doubt('left'), at: 5, now: { version: 2 }, to: 'suspect 5' },
    { name: 'gone is alive when it is on a path', from: doubt('left'), at: 5, now: { onPath: true, incarnation: 2 }, to: 'alive' },
  ])('$name', ({ from, at, now, to }) => {
    const { doubts, changes } = look(from, at, now)
    const after = doubts.get(peer)
    expect(after === undefined ? 'alive' : `${after.kind} ${after.since}`).toBe(to)
    const [before, kind] = [from.get(peer)?.kind ?? 'alive', after?.kind ?? 'alive']
    expect(changes).toEqual(before === kind ? [] : [{ name: peer, from: before, to: kind }])
  })
})

describe('the next look', () => {
  const [b, c] = [parsePeerName('bbbbbbbbbbbbbbbb'), parsePeerName('cccccccccccccccc')]
  const records = [peer, b, c].map((name) => ({ ...recordOf({}), name }))
  const patience = suspicionTime(4)

  test('is when the first suspicion is over', () => {
    const first = stepLiveness(nobodyDoubted, { records, isReachable: (name) => name !== b }, millis(10))
    expect(first.wakeAt).toBe(10 + patience)
    const second = stepLiveness(first.doubts, { records, isReachable: (name) => name === c }, millis(500))
    expect(second.wakeAt).toBe(10 + patience)
    const third = stepLiveness(second.doubts, { records, isReachable: (name) => name === c }, millis(10 + patience))
    expect(third.changes).toEqual([{ name: b, from: 'suspect', to: 'dead' }])
    expect(third.wakeAt).toBe(500 + patience)
  })

  test('is not needed when nobody is suspected', () => {
    expect(look(doubt('dead'), 5, {}).wakeAt).toBeUndefined()
    expect(look(doubt('left'), 5, { hasLeft: true }).wakeAt).toBeUndefined()
    expect(look(nobodyDoubted, 5, { onPath: true }).wakeAt).toBeUndefined()
  })

  test('always decides: whatever the moment and the size of the mesh, one that is suspected is dead then', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e9, noNaN: true }), fc.integer({ min: 1, max: 1_000 }), (at, size) => {
        const crowd = Array.from({ length: size }, (_, index) => ({
          ...recordOf({}),
          name: parsePeerName(index.toString(16).padStart(16, '0')),
        }))
        const view = { records: crowd, isReachable: () => false }
        const suspected = stepLiveness(nobodyDoubted, view, millis(at))
        const dead = stepLiveness(suspected.doubts, view, suspected.wakeAt ?? millis(0))
        expect(dead.changes).toHaveLength(size)
        expect(dead.wakeAt).toBeUndefined()
      }),
      { seed: 1, numRuns: 50 },
    )
  })
})

test('one of whom there is no record any more is forgotten', () => {
  expect(stepLiveness(doubt('dead'), { records: [], isReachable: () => false }, millis(5)).doubts).toEqual(nobodyDoubted)
})

test.each([
  { peers: 1, time: 1_000 },
  { peers: 8, time: 1_000 },
  { peers: 16, time: 1_200 },
  { peers: 1_024, time: 2_400 },
])('in a mesh of $peers a suspicion lasts $time ms', ({ peers, time }) => {
  expect(suspicionTime(peers)).toBe(time)
})
