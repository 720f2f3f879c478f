/** An underlay address leads to one peer, however many records name it. */
import { expect, test } from 'vitest'
import { parsePeerName } from '../../../../mesh/base/brand.ts'
import { parseIp } from '../../../../mesh/base/ip.ts'
import type { Liveness } from '../../../../mesh/liveness.ts'
import { destinationsOf } from '../../../../router/datapath/destinations.ts'
import { bareRecord } from '../../../support/mesh-records.ts'

const [one, two] = [parsePeerName('1'.repeat(16)), parsePeerName('2'.repeat(16))]
const four = parseIp('192.0.2.4')

test.each<{ name: string; states: [Liveness, Liveness]; incarnations: [number, number]; winner: string }>([
  { name: 'the living one', states: ['alive', 'dead'], incarnations: [1, 9], winner: one },
  { name: 'the living one, whatever has become of the other', states: ['left', 'alive'], incarnations: [9, 1], winner: two },
  { name: 'the one that started last, when both live as far as we know', states: ['alive', 'alive'], incarnations: [1, 2], winner: two },
  { name: 'the one that started last, when none does', states: ['dead', 'left'], incarnations: [2, 1], winner: one },
])('of two peers with one address: $name', ({ states, incarnations, winner }) => {
  const records = [one, two].map((name, at) => bareRecord(name, { addresses: [four], incarnation: incarnations[at] ?? 0 }))
  const destinations = destinationsOf(records, (name) => states[name === one ? 0 : 1])
  expect([...destinations.values()]).toEqual([{ peer: winner, underlay: four, mtuBytes: 1_500 }])
  expect([...destinations.keys()]).toEqual([winner])
})

test('the first IPv4 address counts; a peer without one is nowhere', () => {
  const records = [
    bareRecord(one, { addresses: [parseIp('2001:db8::1'), four, parseIp('192.0.2.5')] }),
    bareRecord(two, { addresses: [parseIp('2001:db8::1')] }),
  ]
  expect([...destinationsOf(records, () => 'alive').values()]).toEqual([{ peer: one, underlay: four, mtuBytes: 1_500 }])
})
