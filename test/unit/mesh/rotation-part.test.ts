/** The rotation as shared state: the latest wins, whoever lacks it gets it, and nothing but sealed frames holds its secret. */
import { expect, test } from 'vitest'
import { millis } from '../../../mesh/base/brand.ts'
import { toHex } from '../../../mesh/base/bytes.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { encodeRotation, type Rotation, type Stage } from '../../../mesh/rotation.ts'
import { RotationPart } from '../../../mesh/rotation-part.ts'
import { keyOf } from '../../support/keyrings.ts'
import { must, mustFail } from '../../support/result.ts'
import { simCrypto } from '../../support/sim/crypto.ts'

const crypto = simCrypto(seededRandom(1))
const NOW = 1_000_000_000
const DAY = 24 * 60 * 60 * 1_000

function part(): { readonly part: RotationPart; readonly changes: string[] } {
  const changes: string[] = []
  const made: RotationPart = new RotationPart({
    crypto,
    clock: { wallTime: () => millis(NOW) },
    changed: () => void changes.push(made.latest?.stage ?? ''),
  })
  return { part: made, changes }
}

const rotation = (stage: Stage, startedAt = NOW): Rotation => ({ startedAt, key: keyOf(2, crypto), stage })

test('what is later is news, and what is not changes nothing', () => {
  const { part: own, changes } = part()
  const told = encodeRotation(rotation('promote'))
  expect(must(own.merge(told))).toEqual({ news: [{ key: undefined, delta: told }], held: [], faults: [] })
  expect(must(own.merge(told)).news).toEqual([])
  expect(must(own.merge(encodeRotation(rotation('accept')))).news).toEqual([])
  expect(must(own.merge(encodeRotation(rotation('drop', NOW - 1)))).news).toEqual([])
  expect(changes).toEqual(['promote'])
})

test('who lacks the latest gets it, and then both have the same', () => {
  const [one, other] = [part().part, part().part]
  one.set(rotation('accept'))
  expect(must(other.missing(one.summary()))).toEqual([])
  for (const { delta } of must(one.missing(other.summary()))) must(other.merge(delta))
  expect(toHex(other.digest())).toBe(toHex(one.digest()))
  expect(must(one.missing(other.summary()))).toEqual([])
})

test('neither digest nor summary is made of the secret', () => {
  const [one, other] = [part().part, part().part]
  one.set(rotation('accept'))
  other.set({ ...rotation('accept'), key: { ...keyOf(2, crypto), secret: new Uint8Array(32) } })
  expect(toHex(one.digest())).toBe(toHex(other.digest()))
  expect(toHex(one.summary())).toBe(toHex(one.digest()))
})

test('what is malformed, or begins in the far future, is refused', () => {
  const { part: own, changes } = part()
  expect(mustFail(own.merge(Uint8Array.of(0xc1))).code).toBe('malformed')
  expect(mustFail(own.missing(new Uint8Array(15))).code).toBe('malformed')
  expect(mustFail(own.merge(encodeRotation(rotation('drop', NOW + DAY + 1)))).code).toBe('limit')
  expect(must(own.merge(encodeRotation(rotation('drop', NOW + DAY)))).news).toHaveLength(1)
  expect(changes).toEqual(['drop'])
})
