/** Seeding: what people may write, and the ring that each seed computes from it. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkInvariants, ownedRanges } from '../../../ipam/ring.ts'
import { parseIpamInit, seedIdOf, seedRing } from '../../../ipam/seed.ts'
import { cidrSize, parseCidr, rangeToCidrs } from '../../../mesh/base/address.ts'
import { WeftError } from '../../../mesh/base/errors.ts'
import { peer, peerNumber, show, universes } from '../../support/ipam.ts'

const SELF = peer('b')
const SMALL = parseCidr('10.0.0.0/29')

test.each([
  { text: '', init: { kind: 'await' } },
  { text: 'observer', init: { kind: 'await' } },
  { text: 'consensus=1', init: { kind: 'consensus', voters: 1 } },
  { text: 'consensus=4', init: { kind: 'consensus', voters: 4 } },
  { text: 'consensus=1024', init: { kind: 'consensus', voters: 1_024 } },
  { text: 'seed=self', init: { kind: 'seed', peers: [SELF] } },
  { text: `seed=${peer('c')},self, ${peer('a')}`, init: { kind: 'seed', peers: [peer('a'), SELF, peer('c')] } },
  { text: `seed=self,${SELF}`, init: { kind: 'seed', peers: [SELF] } },
])('"$text" is understood', ({ text, init }) => expect(parseIpamInit(text, SELF)).toEqual(init))

test.each(['seed=', 'seed', 'consensus', 'seed=node-a', `seed=${peer('a')},`, `seed=${peer('a').toUpperCase()}`, 'SEED=self'])(
  '"%s" is refused with a hint',
  (text) => {
    try {
      parseIpamInit(text, SELF)
      expect.fail('was accepted')
    } catch (error) {
      expect(error).toBeInstanceOf(WeftError)
      expect(error).toMatchObject({ code: 'USAGE', hint: expect.stringContaining('seed=') })
    }
  },
)

test.each(['consensus=', 'consensus=0', 'consensus=-1', 'consensus=1.5', 'consensus=1025', 'consensus=0x3', 'consensus=1e9'])(
  '"%s" is refused with a hint',
  (text) => {
    expect(() => parseIpamInit(text, SELF)).toThrow(
      expect.objectContaining({
        code: 'USAGE',
        message: `${text} is not a number of peers from 1 to 1024`,
        hint: expect.stringContaining('the same number on each'),
      }),
    )
  },
)

test('too many seeds are refused', () => {
  const list = Array.from({ length: 1_025 }, (_, index) => peerNumber(index)).join(',')
  expect(() => parseIpamInit(`seed=${list}`, SELF)).toThrow('1025 seeds')
})

describe('the first ring', () => {
  test.each([
    { seeds: 'a', ring: '0:a:1' },
    { seeds: 'ab', ring: '0:a:1 4:b:1' },
    { seeds: 'abc', ring: '0:a:1 2:b:1 4:c:1' },
    { seeds: 'abcd', ring: '0:a:1 2:b:1 4:c:1 6:d:1' },
    { seeds: 'abcde', ring: '0:a:1 1:b:1 2:c:1 4:d:1 6:e:1' },
    { seeds: '12345678', ring: '0:1:1 1:2:1 2:3:1 3:4:1 4:5:1 5:6:1 6:7:1 7:8:1' },
    { seeds: '123456789a', ring: '0:1:1 1:3:1 2:4:1 3:5:1 4:6:1 5:8:1 6:9:1 7:a:1' },
  ])('of the seeds $seeds is $ring', ({ seeds, ring }) => expect(show(seedRing(SMALL, [...seeds].map(peer)))).toBe(ring))

  test('is the same in whatever order the seeds are named, covers the universe, and gives each seed one aligned block', () => {
    fc.assert(
      fc.property(universes, fc.uniqueArray(fc.nat(500), { minLength: 1, maxLength: 30 }), (universe, numbers) => {
        const peers = numbers.map(peerNumber)
        const ring = seedRing(universe, peers)
        const owned = ownedRanges(ring)
        expect(seedRing(universe, [...peers].reverse())).toEqual(ring)
        expect(checkInvariants(ring)).toBeUndefined()
        expect(owned.reduce((sum, { range }) => sum + range.end - range.start, 0)).toBe(cidrSize(universe))
        expect(owned).toHaveLength(Math.min(peers.length, cidrSize(universe)))
        expect(owned.every(({ range }) => rangeToCidrs(range).length === 1)).toBe(true)
      }),
      { seed: 1 },
    )
  })

  test('has another seed id for other seeds and for another universe', () => {
    const ids = [
      seedIdOf(SMALL, [peer('a')]),
      seedIdOf(SMALL, [peer('a'), peer('b')]),
      seedIdOf(parseCidr('10.0.0.0/28'), [peer('a')]),
      seedIdOf(parseCidr('10.0.0.8/29'), [peer('a')]),
    ]
    expect(new Set(ids).size).toBe(4)
    expect(seedIdOf(SMALL, [peer('b'), peer('a')])).toBe(ids[1])
  })
})
