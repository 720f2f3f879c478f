/** What a node's data path tells in its record: the form, its limits, and what comes of anything else. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ipv4 } from '../../../../mesh/base/address.ts'
import type { PeerName } from '../../../../mesh/base/brand.ts'
import { parseIp } from '../../../../mesh/base/ip.ts'
import { encodeWire, type WireValue } from '../../../../mesh/base/wire.ts'
import { DATAPATH_BYTES_MAX } from '../../../../mesh/record.ts'
import { type DatapathFacts, decodeFacts, encodeFacts, policyFactsOf, UNREACHABLE_MAX } from '../../../../router/links/facts.ts'
import { LINK_KINDS } from '../../../../router/links/kind.ts'
import { ENCRYPT_MODES, requirement } from '../../../../router/links/policy.ts'
import { bareRecord } from '../../../support/mesh-records.ts'

const v4 = fc.record({ address: fc.integer({ min: 0, max: 2 ** 32 - 1 }).map(ipv4), length: fc.nat(32) })
const v6 = fc.record({ address: fc.constantFrom(parseIp('fd00::1'), parseIp('2001:db8::')), length: fc.nat(128) })
const name = fc.stringMatching(/^[0-9a-f]{16}$/).map((text) => text as PeerName)
const facts: fc.Arbitrary<DatapathFacts> = fc.record({
  mode: fc.constantFrom(...ENCRYPT_MODES),
  trusted: fc.array(fc.oneof(v4, v6), { maxLength: 8 }),
  lengths: fc.array(fc.option(fc.nat(128), { nil: undefined }), { maxLength: 8 }),
  can: fc.subarray([...LINK_KINDS]),
  unreachable: fc.array(name, { maxLength: UNREACHABLE_MAX }),
})

test('comes back as it went, and fits into a record', () => {
  fc.assert(
    fc.property(facts, (wanted) => {
      const bytes = encodeFacts(wanted)
      expect(bytes.length).toBeLessThanOrEqual(DATAPATH_BYTES_MAX)
      expect(decodeFacts(bytes)).toEqual(wanted)
    }),
    { seed: 1 },
  )
})

const worst: DatapathFacts = {
  mode: 'between-zones',
  trusted: Array.from({ length: 8 }, () => ({ address: parseIp('fd00::1'), length: 128 })),
  lengths: Array.from({ length: 8 }, () => 128),
  can: LINK_KINDS,
  unreachable: Array.from({ length: 1_000 }, (_, index) => index.toString(16).padStart(16, '0') as PeerName),
}

test('of too many peers that cannot be reached the first are named', () => {
  const bytes = encodeFacts(worst)
  expect(bytes.length).toBeLessThanOrEqual(DATAPATH_BYTES_MAX)
  expect(decodeFacts(bytes)?.unreachable).toEqual(worst.unreachable.slice(0, UNREACHABLE_MAX))
})

const GOOD: readonly WireValue[] = [1, 1, [[1, 24]], [24, undefined], [0, 1], new Uint8Array(16)]

test('a kind that only a later version knows is passed over, and so is what it appends', () => {
  expect(decodeFacts(encodeWire([...GOOD.with(4, [0, 9]), 'more']))).toMatchObject({ can: ['direct'] })
})

test.each<[string, readonly WireValue[]]>([
  ['nothing', []],
  ['another version', GOOD.with(0, 2)],
  ['a mode that is none', GOOD.with(1, 3)],
  ['nine trusted subnets', GOOD.with(2, new Array(9).fill([1, 24]))],
  ['a length of 33 for IPv4', GOOD.with(2, [[1, 33]])],
  ['half a length', GOOD.with(3, [1.5])],
  ['nine lengths', GOOD.with(3, new Array(9).fill(24))],
  ['a kind in words', GOOD.with(4, ['vxlan'])],
  ['half a name', GOOD.with(5, new Uint8Array(12))],
  ['97 names', GOOD.with(5, new Uint8Array(97 * 8))],
])('%s is refused', (_, value) => expect(decodeFacts(encodeWire([...value]))).toBeUndefined())

test('no bytes make it throw', () => {
  const good = encodeFacts(worst)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(good.length), (bytes, at) => {
      const mixed = good.slice()
      mixed.set(bytes.subarray(0, mixed.length - at), at)
      decodeFacts(mixed)
      decodeFacts(bytes)
    }),
    { seed: 1, numRuns: 1_000 },
  )
})

test('whoever says nothing that can be read gets no plain packets, and has no link', () => {
  const record = bareRecord('aaaaaaaaaaaaaaaa' as PeerName, { zone: 'one' })
  const mute = policyFactsOf(record, undefined)
  const other = policyFactsOf({ ...record, name: 'bbbbbbbbbbbbbbbb' as PeerName }, { ...worst, mode: 'never' })
  expect(mute.can).toEqual([])
  expect(requirement(mute, other).sealed).toBe(true)
})
