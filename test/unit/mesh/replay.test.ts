/** Which numbers were seen: against a plain set that remembers everything. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ReplayWindow } from '../../../mesh/replay.ts'

/** The same answers, from a set of all numbers seen. */
class NaiveWindow {
  readonly #size: number
  readonly #seen = new Set<number>()
  #highest = 0

  constructor(size: number) {
    this.#size = size
  }

  accept(number: number): boolean {
    if (number <= this.#highest - this.#size || this.#seen.has(number)) return false
    this.#seen.add(number)
    this.#highest = Math.max(this.#highest, number)
    return true
  }
}

/** What a new window of 64 says to these, one after the other. */
function answers(numbers: readonly number[], size = 64): readonly boolean[] {
  const window = new ReplayWindow(size)
  return numbers.map((number) => window.accept(number))
}

describe('a number', () => {
  test.each([
    { name: 'is new once', numbers: [1, 1, 2, 1], expected: [true, false, true, false] },
    { name: 'may be overtaken', numbers: [5, 3, 4, 3], expected: [true, true, true, false] },
    { name: 'may be as old as the window', numbers: [100, 37, 37], expected: [true, true, false] },
    { name: 'older than the window is refused', numbers: [100, 36], expected: [true, false] },
    {
      name: 'is remembered at the edges of words',
      numbers: [31, 32, 33, 63, 64, 31, 32, 33, 63, 64],
      expected: [...new Array(5).fill(true), ...new Array(5).fill(false)],
    },
    { name: 'that jumps far ahead leaves nothing of what was', numbers: [64, 10_064, 10_001, 10_000], expected: [true, true, true, false] },
    { name: 'as big as numbers go is taken once', numbers: [2 ** 53 - 1, 2 ** 53 - 1, 2 ** 53 - 2], expected: [true, false, true] },
    {
      name: 'that is none is refused',
      numbers: [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53],
      expected: new Array(6).fill(false),
    },
  ])('$name', ({ numbers, expected }) => {
    expect(answers(numbers)).toEqual(expected)
  })

  test('that is refused changes nothing', () => {
    expect(answers([2 ** 53, 1])).toEqual([false, true])
  })
})

describe.each([{ size: 32 }, { size: 64 }, { size: 128 }])('a window of $size', ({ size }) => {
  test('answers as a set of all numbers does, whatever the order, the gaps and the jumps', () => {
    const near = fc.integer({ min: -2 * size, max: 2 * size })
    const far = fc.integer({ min: size, max: 2 ** 40 })
    // Relative to the last one: mostly close by, sometimes far ahead.
    const steps = fc.array(fc.oneof({ weight: 20, arbitrary: near }, { weight: 1, arbitrary: far }), { maxLength: 300 })
    fc.assert(
      fc.property(steps, (jumps) => {
        const [window, naive] = [new ReplayWindow(size), new NaiveWindow(size)]
        let number = 1
        for (const jump of jumps) {
          number = Math.max(1, number + jump)
          expect([number, window.accept(number)]).toEqual([number, naive.accept(number)])
        }
      }),
      { seed: 1, numRuns: 300 },
    )
  })
})

test('a window is a multiple of 32', () => {
  expect(() => new ReplayWindow(100)).toThrow('a multiple of 32')
  expect(() => new ReplayWindow(0)).toThrow('a multiple of 32')
})
