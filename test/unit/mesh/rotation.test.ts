/** Changing the key of a cluster: in no state that peers can be in do two of them lack a common key. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../mesh/base/random.ts'
import { findKey, type Keyring, keyIdsOf } from '../../../mesh/keyring.ts'
import {
  applyRotation,
  compareRotations,
  decodeRotation,
  encodeRotation,
  laggards,
  type Rotation,
  type Stage,
  stageAfter,
} from '../../../mesh/rotation.ts'
import { keyOf, keyringOf } from '../../support/keyrings.ts'
import { must, mustFail } from '../../support/result.ts'
import { simCrypto } from '../../support/sim/crypto.ts'

const crypto = simCrypto(seededRandom(1))
const [old, next] = [keyOf(1, crypto), keyOf(2, crypto)]

const rotation = (stage: Stage, startedAt = 5, key = next): Rotation => ({ startedAt, key, stage })
const ids = (keyring: Keyring) => keyIdsOf(keyring)

test('a peer goes from the old key over both to the new one', () => {
  const before = keyringOf(1, crypto)()
  const accepted = applyRotation(before, rotation('accept'))
  const promoted = applyRotation(accepted, rotation('promote'))
  const dropped = applyRotation(promoted, rotation('drop'))
  expect([accepted, promoted, dropped].map(ids)).toEqual([[old.id, next.id], [next.id, old.id], [next.id]])
})

test('what is done already changes nothing', () => {
  for (const stage of ['accept', 'promote', 'drop'] as const) {
    const keyring = applyRotation(keyringOf(1, crypto)(), rotation(stage))
    expect(applyRotation(keyring, rotation(stage))).toBe(keyring)
  }
})

test('of a rotation that was begun and left, nothing stays', () => {
  const third = keyOf(3, crypto)
  const left = applyRotation(keyringOf(1, crypto)(), rotation('accept'))
  expect(ids(applyRotation(left, rotation('accept', 6, third)))).toEqual([old.id, third.id])
  expect(ids(applyRotation(left, rotation('promote', 6, third)))).toEqual([third.id, old.id])
})

test('whichever peers are a stage behind, each can dial each other', () => {
  const stages = ['accept', 'promote', 'drop'] as const
  const keyrings = [keyringOf(1, crypto)()]
  for (const stage of stages) keyrings.push(applyRotation(keyrings.at(-1) ?? keyringOf(1, crypto)(), rotation(stage)))
  for (let at = 0; at + 1 < keyrings.length; at += 1) {
    for (const dialler of keyrings.slice(at, at + 2)) {
      for (const acceptor of keyrings.slice(at, at + 2)) {
        expect(keyIdsOf(dialler).some((id) => findKey(acceptor, id) !== undefined)).toBe(true)
      }
    }
  }
})

test('when a second rotation begins at any moment of the first, each can still dial each other', () => {
  const stages = ['accept', 'promote', 'drop'] as const
  const third = keyOf(3, crypto)
  const first = [keyringOf(1, crypto)()]
  for (const stage of stages) first.push(applyRotation(first.at(-1) ?? keyringOf(1, crypto)(), rotation(stage)))
  for (let at = 0; at + 1 < first.length; at += 1) {
    const before = first.slice(at, at + 2)
    const all = [...before, ...before.map((keyring) => applyRotation(keyring, rotation('accept', 6, third)))]
    for (const dialler of all)
      for (const acceptor of all) expect(keyIdsOf(dialler).some((id) => findKey(acceptor, id) !== undefined)).toBe(true)
  }
})

test.each([
  { stage: 'accept' as const, lags: [[old.id]], fits: [[old.id, next.id], [next.id, old.id], [next.id]] },
  { stage: 'promote' as const, lags: [[old.id], [old.id, next.id]], fits: [[next.id, old.id], [next.id]] },
  { stage: 'drop' as const, lags: [[old.id], [old.id, next.id], [next.id, old.id], []], fits: [[next.id]] },
])('at the stage $stage, records tell who lags', ({ stage, lags, fits }) => {
  expect(
    laggards(
      rotation(stage),
      lags.map((keyIds) => ({ keyIds })),
    ),
  ).toHaveLength(lags.length)
  expect(
    laggards(
      rotation(stage),
      fits.map((keyIds) => ({ keyIds })),
    ),
  ).toEqual([])
})

test('one stage follows the other, and none the last', () => {
  expect([stageAfter('accept'), stageAfter('promote'), stageAfter('drop')]).toEqual(['promote', 'drop', undefined])
})

const rotations = fc
  .record({
    startedAt: fc.integer({ min: 1, max: 3 }),
    index: fc.integer({ min: 1, max: 3 }),
    stage: fc.constantFrom('accept' as const, 'promote', 'drop'),
  })
  .map(({ startedAt, index, stage }) => rotation(stage, startedAt, keyOf(index, crypto)))

describe('the later of two rotations', () => {
  test('is the same for all, in whatever order they hear of them', () => {
    fc.assert(
      fc.property(rotations, rotations, rotations, (a, b, c) => {
        expect(Math.sign(compareRotations(a, b))).toBe(-Math.sign(compareRotations(b, a)) + 0)
        if (compareRotations(a, b) > 0 && compareRotations(b, c) > 0) expect(compareRotations(a, c)).toBeGreaterThan(0)
        if (compareRotations(a, b) === 0) expect(a).toEqual(b)
      }),
      { seed: 1 },
    )
  })
})

test('every rotation survives the wire, and no bytes make the decoder throw', () => {
  fc.assert(
    fc.property(rotations, fc.uint8Array({ maxLength: 60 }), (wanted, bytes) => {
      expect(must(decodeRotation(encodeRotation(wanted), crypto))).toEqual(wanted)
      expect(typeof mustFail(decodeRotation(bytes, crypto))).toBe('string')
    }),
    { seed: 1 },
  )
})
