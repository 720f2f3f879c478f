/** Connections are bounded, and the best connected makes room. */
import { describe, expect, test } from 'vitest'
import { DIALLED_CONNECTIONS_MAX, whoMakesRoom } from '../../../mesh/admission.ts'
import { parsePeerName } from '../../../mesh/base/brand.ts'

describe('room for one more', () => {
  const [a, b, c] = ['a', 'b', 'c'].map((digit) => parsePeerName(digit.repeat(16)))
  const many = DIALLED_CONNECTIONS_MAX
  test.each([
    { name: 'is made by the best connected', degrees: [many + 1, many + 3, many + 2], who: b },
    { name: 'is made by the first of equals', degrees: [many + 2, many + 2, many + 2], who: a },
    { name: 'is not made by one that would dial again', degrees: [many, 1, 0], who: undefined },
  ])('$name', ({ degrees, who }) => {
    const [x = 0, y = 0, z = 0] = degrees
    if (a === undefined || b === undefined || c === undefined) throw new Error('there are three names')
    expect(
      whoMakesRoom(
        new Map([
          [c, z],
          [b, y],
          [a, x],
        ]),
      ),
    ).toBe(who)
  })
})
