/** Handshakes under way are bounded, in all and per source; and whoever means it comes in all the same. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  admit,
  HALF_OPEN_MAX,
  HALF_OPEN_MEMBERS_MAX,
  HALF_OPEN_PER_SOURCE_MAX,
  type HalfOpen,
  noneHalfOpen,
  release,
} from '../../../mesh/admission.ts'
import { ipv4 } from '../../../mesh/base/address.ts'
import { type Ip, parseIp } from '../../../mesh/base/ip.ts'

interface Door {
  readonly halfOpen: HalfOpen
  /** Numbers of those that came in, and of those that had to go for others, in order. */
  readonly admitted: readonly number[]
  readonly evicted: readonly number[]
  readonly refused: readonly string[]
}

const nobody: ReadonlySet<number> = new Set()
const closed: Door = { halfOpen: noneHalfOpen, admitted: [], evicted: [], refused: [] }

/** Each begins a handshake; they are numbered from `firstId`. */
function arrive(door: Door, addresses: readonly Ip[], { isMember = false, firstId = 1, earnest = nobody } = {}): Door {
  let { halfOpen } = door
  const [admitted, evicted, refused] = [[...door.admitted], [...door.evicted], [...door.refused]]
  for (const [index, address] of addresses.entries()) {
    const result = admit(halfOpen, { id: firstId + index, address, isMember }, earnest)
    if (!result.ok) {
      refused.push(result.error)
      continue
    }
    halfOpen = result.value.halfOpen
    admitted.push(firstId + index)
    if (result.value.evicted !== undefined) evicted.push(result.value.evicted)
  }
  return { halfOpen, admitted, evicted, refused }
}

const many = (count: number, first = 1): readonly Ip[] => Array.from({ length: count }, (_, index) => ipv4(first + index))
const repeated = (address: Ip, count: number): readonly Ip[] => new Array<Ip>(count).fill(address)

test('one source can only take its share, and others still come in', () => {
  const door = arrive(closed, repeated(ipv4(1), 1_000))
  expect(door.admitted).toHaveLength(HALF_OPEN_PER_SOURCE_MAX)
  expect(door.refused.at(-1)).toBe('8 handshakes from 0.0.0.1 are under way')
  expect(arrive(door, [ipv4(2)], { firstId: 2_000 }).admitted).toContain(2_000)
})

test('a whole /64 of IPv6 is one source, unless members have it', () => {
  const addresses = Array.from({ length: 20 }, (_, index) => parseIp(`2001:db8::${(index + 1).toString(16)}`))
  const door = arrive(closed, addresses)
  expect(door.admitted).toHaveLength(HALF_OPEN_PER_SOURCE_MAX)
  expect(door.refused.at(-1)).toBe('8 handshakes from 2001:db8::/64 are under way')
  expect(arrive(door, [parseIp('2001:db8:0:1::1')], { firstId: 100 }).admitted).toContain(100)
  expect(arrive(door, addresses, { isMember: true, firstId: 100 }).admitted).toHaveLength(HALF_OPEN_PER_SOURCE_MAX + addresses.length)
})

test('when all places are taken, the oldest of whoever holds the most gives way', () => {
  const quiet = many(HALF_OPEN_MAX - 5, 100)
  const full = arrive(closed, [...quiet, ...repeated(ipv4(1), 2), ...repeated(ipv4(2), 3)])
  expect(full.halfOpen).toHaveLength(HALF_OPEN_MAX)
  const door = arrive(full, [ipv4(3)], { firstId: 1_000 })
  expect(door).toMatchObject({ refused: [], evicted: [quiet.length + 3] })
  expect(door.halfOpen).toHaveLength(HALF_OPEN_MAX)
})

test('when every source holds one place, the oldest gives way', () => {
  const door = arrive(closed, many(HALF_OPEN_MAX + 2))
  expect(door).toMatchObject({ refused: [], evicted: [1, 2] })
})

test('whoever has said something right keeps its place, however many it has', () => {
  const full = arrive(closed, [...repeated(ipv4(1), 8), ...many(HALF_OPEN_MAX - 8, 100)])
  expect(arrive(full, [ipv4(2)], { firstId: 1_000, earnest: new Set([1, 2, 3]) }).evicted).toEqual([4])
  const all = new Set(full.admitted)
  expect(arrive(full, [ipv4(2)], { firstId: 1_000, earnest: all })).toMatchObject({ evicted: [], refused: ['64 handshakes are under way'] })
})

test('strangers never take the place of a member', () => {
  const members = arrive(closed, many(HALF_OPEN_MEMBERS_MAX, 10_000), { isMember: true })
  const door = arrive(members, many(1_000), { firstId: 1_000 })
  expect(door.halfOpen).toHaveLength(HALF_OPEN_MEMBERS_MAX + HALF_OPEN_MAX)
  expect(door.evicted.filter((id) => id < 1_000)).toEqual([])
  expect(door.halfOpen.filter(({ isMember }) => isMember)).toHaveLength(HALF_OPEN_MEMBERS_MAX)
})

test('a place is free again once its handshake is over, and nothing is left of those that are gone', () => {
  const door = arrive(closed, repeated(ipv4(1), 8))
  const halfOpen = release(door.halfOpen, 3)
  expect(arrive({ ...closed, halfOpen }, repeated(ipv4(1), 3), { firstId: 100 }).admitted).toEqual([100])
  expect(door.admitted.reduce(release, door.halfOpen)).toEqual(noneHalfOpen)
})

test('whatever comes and goes, the limits hold and nobody is lost', () => {
  const step = fc.record({ address: fc.nat(30).map(ipv4), isMember: fc.boolean(), leaves: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      let halfOpen = noneHalfOpen
      for (const [id, { address, isMember, leaves }] of steps.entries()) {
        const before = halfOpen.length
        const result = admit(halfOpen, { id, address, isMember }, new Set([id - 1, id - 7]))
        if (result.ok) expect(result.value.halfOpen).toHaveLength(before + (result.value.evicted === undefined ? 1 : 0))
        halfOpen = result.ok ? result.value.halfOpen : halfOpen
        if (leaves) halfOpen = release(halfOpen, id)
        expect(halfOpen.length).toBeLessThanOrEqual(HALF_OPEN_MAX + HALF_OPEN_MEMBERS_MAX)
      }
    }),
    { seed: 1 },
  )
})
