/** Handshakes under way are bounded, in all and per source. */
import { expect, test } from 'vitest'
import { admit, HALF_OPEN_MAX, HALF_OPEN_PER_SOURCE_MAX, type HalfOpen, noneHalfOpen, release } from '../../../mesh/admission.ts'
import { ipv4 } from '../../../mesh/base/address.ts'

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
