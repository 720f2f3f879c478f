/** The small tools that every layer uses. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { backoff } from '../../../../mesh/base/backoff.ts'
import { isPeerName, millis, parsePeerName, seconds } from '../../../../mesh/base/brand.ts'
import { bytesEqual, concatBytes, fromHex, toHex } from '../../../../mesh/base/bytes.ts'
import { diff } from '../../../../mesh/base/diff.ts'
import { describeError, errnoCode, WeftError } from '../../../../mesh/base/errors.ts'
import { pick, randomBelow, seededRandom } from '../../../../mesh/base/random.ts'

describe('brands', () => {
  test.each(['', '0123456789abcde', '0123456789ABCDEF', '0123456789abcdef0', 'g123456789abcdef'])('%j is not a peer name', (text) => {
    expect(isPeerName(text)).toBe(false)
    expect(() => parsePeerName(text)).toThrow(RangeError)
  })

  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('%d is not a duration', (count) => {
    expect(() => millis(count)).toThrow(RangeError)
  })
})

describe('diff', () => {
  test('applied to what there is gives what is wanted, and touches nothing else', () => {
    const items = fc.uniqueArray(fc.integer({ min: 0, max: 20 }))
    fc.assert(
      fc.property(items, items, (want, have) => {
        const { add, remove } = diff(want, have, String)
        const result = have.filter((item) => !remove.includes(item)).concat(add)
        expect(result.toSorted()).toEqual(want.toSorted())
        expect(add.filter((item) => have.includes(item))).toEqual([])
        expect(remove.filter((item) => want.includes(item))).toEqual([])
      }),
      { seed: 1 },
    )
  })

  test('removes what is there twice only down to once', () => {
    expect(diff(['a'], ['a', 'a'], String)).toEqual({ add: [], remove: ['a'] })
  })
})

describe('backoff', () => {
  const policy = { first: seconds(1), max: seconds(60) }
  test.each([
    { attempt: 1, least: 500, most: 1_000 },
    { attempt: 3, least: 2_000, most: 4_000 },
    { attempt: 7, least: 30_000, most: 60_000 },
    { attempt: 5_000, least: 30_000, most: 60_000 },
  ])('after $attempt failures waits $least to $most ms', ({ attempt, least, most }) => {
    expect(backoff(policy, attempt, () => 0)).toBe(least)
    expect(backoff(policy, attempt, () => 1)).toBe(most)
  })
})

describe('chance', () => {
  test('from one seed is one sequence, evenly spread', () => {
    const [one, same, other] = [seededRandom(7), seededRandom(7), seededRandom(8)]
    const draws = Array.from({ length: 1_000 }, () => randomBelow(one, 10))
    expect(Array.from({ length: 1_000 }, () => randomBelow(same, 10))).toEqual(draws)
    expect(Array.from({ length: 1_000 }, () => randomBelow(other, 10))).not.toEqual(draws)
    for (let digit = 0; digit < 10; digit++) expect(draws.filter((draw) => draw === digit).length).toBeGreaterThan(60)
  })

  test('picks nothing from nothing', () => {
    expect(pick(seededRandom(1), [])).toBeUndefined()
  })
})

describe('bytes', () => {
  test('hex leads back', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => bytesEqual(fromHex(toHex(bytes)), bytes)),
      { seed: 1 },
    )
    expect(() => fromHex('abc')).toThrow(RangeError)
  })

  test('join in order', () => {
    expect(concatBytes([Uint8Array.of(1), Uint8Array.of(), Uint8Array.of(2, 3)])).toEqual(Uint8Array.of(1, 2, 3))
  })
})

describe('errors', () => {
  test('are told with their causes, once', () => {
    const inner = Object.assign(new Error('connect ENOENT'), { code: 'ENOENT' })
    const outer = new WeftError('UNREACHABLE', 'no router', { cause: inner, hint: 'start one' })
    expect(describeError(outer)).toBe('no router: connect ENOENT')
    expect(describeError(new WeftError('STATE', 'it said connect ENOENT', { cause: inner }))).toBe('it said connect ENOENT')
    expect(errnoCode(inner)).toBe('ENOENT')
    expect(errnoCode(new Error('plain'))).toBeUndefined()
  })
})
