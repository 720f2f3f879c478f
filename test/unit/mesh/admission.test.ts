/** Handshakes under way are bounded, in all and per source. */
import { describe, expect, test } from 'vitest'
import {
  admit,
  DIALLED_CONNECTIONS_MAX,
  HALF_OPEN_MAX,
  HALF_OPEN_PER_SOURCE_MAX,
  type HalfOpen,
  noneHalfOpen,
  release,
  whoMakesRoom,
} from '../../../mesh/admission.ts'
import { ipv4 } from '../../../mesh/base/address.ts'
import { parsePeerName } from '../../../mesh/base/brand.ts'

/** Admits as many of `count` from each source as may come in. */
function flood(halfOpen: HalfOpen, sources: readonly number[], count: number): { readonly halfOpen: HalfOpen; readonly admitted: number } {
  let state = halfOpen
  let admitted = 0
  for (const source of sources) {
    for (let at = 0; at < count; at += 1) {
      const next = admit(state, ipv4(source))
      if (next.ok) admitted += 1
      state = next.ok ? next.value : state
    }
  }
  return { halfOpen: state, admitted }
}

test('one source can only take its share, and others still come in', () => {
  const { halfOpen, admitted } = flood(noneHalfOpen, [1], 1_000)
  expect(admitted).toBe(HALF_OPEN_PER_SOURCE_MAX)
  expect(admit(halfOpen, ipv4(1))).toEqual({ ok: false, error: '8 handshakes from 0.0.0.1 are under way' })
  expect(admit(halfOpen, ipv4(2)).ok).toBe(true)
})

test('all sources together have a limit', () => {
  const { halfOpen, admitted } = flood(
    noneHalfOpen,
    Array.from({ length: 100 }, (_, source) => source),
    8,
  )
  expect(admitted).toBe(HALF_OPEN_MAX)
  expect(admit(halfOpen, ipv4(1_000))).toEqual({ ok: false, error: '64 handshakes are under way' })
})

test('a place is free again once its handshake is over, and nothing is left of sources that are gone', () => {
  let { halfOpen } = flood(noneHalfOpen, [1, 2], 8)
  halfOpen = release(halfOpen, ipv4(1))
  expect(flood(halfOpen, [1], 3).admitted).toBe(1)
  for (let count = 0; count < 16; count += 1) halfOpen = release(release(halfOpen, ipv4(1)), ipv4(2))
  expect(halfOpen).toEqual(noneHalfOpen)
})

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
