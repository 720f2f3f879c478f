/** Paxos as bytes: what goes in comes out, and whatever else comes in is named and harmless. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ROUND_MAX, type Vote } from '../../../ipam/paxos.ts'
import { type BootstrapMessage, decodeBootstrap, decodeVote, encodeBootstrap, encodeVote, isBootstrapMessage } from '../../../ipam/vote.ts'
import { parseCidr } from '../../../mesh/base/address.ts'
import { parseCidr6 } from '../../../mesh/base/prefix.ts'
import { encodeWire } from '../../../mesh/base/wire.ts'
import { peer, peerNumber } from '../../support/ipam.ts'

const universe = parseCidr('10.32.0.0/12')
const poll = { voters: 3, universe }
const ballots = fc.record({ round: fc.nat(ROUND_MAX), proposer: fc.nat(20).map(peerNumber) })
const seedLists = fc.uniqueArray(fc.nat(2_000).map(peerNumber), { minLength: 1, maxLength: 40 }).map((names) => names.sort())
const proposals = fc.record({ ballot: ballots, seeds: seedLists })
const messages: fc.Arbitrary<BootstrapMessage> = fc.oneof(
  fc.record({ kind: fc.constantFrom('prepare', 'accepted', 'abstention', 'settled'), ballot: ballots }),
  fc.record({ kind: fc.constant('promise' as const), ballot: ballots, accepted: fc.option(proposals, { nil: undefined }) }),
  fc.record({ kind: fc.constant('accept' as const), proposal: proposals }),
  fc.record({ kind: fc.constant('refusal' as const), ballot: ballots, promised: ballots }),
) as fc.Arbitrary<BootstrapMessage>
const votes: fc.Arbitrary<Vote> = fc.record({
  promised: fc.option(ballots, { nil: undefined }),
  accepted: fc.option(proposals, { nil: undefined }),
})

describe('a message', () => {
  test('comes out as it went in, and is none about space', () => {
    fc.assert(
      fc.property(messages, (message) => {
        const bytes = encodeBootstrap(poll, message)
        expect(isBootstrapMessage(bytes)).toBe(true)
        expect(decodeBootstrap(bytes)).toEqual({ ok: true, value: { voters: 3, universe: '10.32.0.0/12', message } })
      }),
    )
  })

  test('and a vote are about a range of each family: with another one of IPv6 they do not count', () => {
    const both = { ...universe, v6: parseCidr6('fd00::/64') }
    const message = { kind: 'prepare', ballot: { round: 1, proposer: peer('a') } } as const
    const decoded = decodeBootstrap(encodeBootstrap({ voters: 3, universe: both }, message))
    expect(decoded).toMatchObject({ ok: true, value: { universe: '10.32.0.0/12,fd00::/64' } })
    const vote = encodeVote(peer('a'), both, { promised: undefined, accepted: undefined })
    expect(decodeVote(peer('a'), universe, vote)).toEqual({ ok: false, error: 'is of another peer or range' })
    expect(decodeVote(peer('a'), both, vote).ok).toBe(true)
  })

  test('of the most seeds there may be is one message', () => {
    const seeds = Array.from({ length: 1_024 }, (_, index) => peerNumber(index))
    const message = { kind: 'accept', proposal: { ballot: { round: 1, proposer: peer('a') }, seeds } } as const
    const bytes = encodeBootstrap(poll, message)
    expect(bytes.length).toBeLessThan(20_000)
    expect(decodeBootstrap(bytes)).toMatchObject({ ok: true, value: { message } })
  })

  const [a, b] = [peer('a'), peer('b')]
  const head = [3, '10.32.0.0/12', 1, a] as const
  test.each([
    { name: 'no array', value: 7 },
    { name: 'an empty one', value: [] },
    { name: 'an unknown kind', value: [9, ...head] },
    { name: 'a ballot of nobody', value: [1, 3, '10.32.0.0/12', 1, 'a'] },
    { name: 'a round beyond the last', value: [1, 3, '10.32.0.0/12', ROUND_MAX + 1, a] },
    { name: 'a negative round', value: [1, 3, '10.32.0.0/12', -1, a] },
    { name: 'half a round', value: [1, 3, '10.32.0.0/12', 0.5, a] },
    { name: 'more voters than there may be', value: [1, 1_025, '10.32.0.0/12', 1, a] },
    { name: 'a range that is no text', value: [1, 3, 12, 1, a] },
    { name: 'no seeds', value: [3, ...head, []] },
    { name: 'seeds in another order', value: [3, ...head, [b, a]] },
    { name: 'a seed twice', value: [3, ...head, [a, a]] },
    { name: 'a seed that is no name', value: [3, ...head, ['A'.repeat(16)]] },
    { name: 'too many seeds', value: [3, ...head, Array.from({ length: 1_025 }, (_, index) => peerNumber(index))] },
    { name: 'half of what was accepted', value: [2, ...head, 1, a] },
    { name: 'a refusal without a reason', value: [5, ...head] },
  ])('$name is refused', ({ value }) => {
    expect(decodeBootstrap(encodeWire(value))).toMatchObject({ ok: false, error: { code: 'malformed' } })
  })

  test('whatever the bytes, decoding them ends well', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void decodeBootstrap(bytes)))
    const good = encodeBootstrap(poll, { kind: 'accept', proposal: { ballot: { round: 1, proposer: a }, seeds: [a, b] } })
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), (at, value) => {
        void decodeBootstrap(good.with(at, value))
        expect(decodeBootstrap(good.subarray(0, at)).ok).toBe(false)
      }),
    )
  })
})

describe('the file of an acceptor', () => {
  const self = peer('a')

  test('is read as it was written', () => {
    fc.assert(
      fc.property(votes, (vote) => {
        expect(decodeVote(self, universe, encodeVote(self, universe, vote))).toEqual({ ok: true, value: vote })
      }),
    )
  })

  test('is of no use with a bit changed or its end cut off', () => {
    fc.assert(
      fc.property(votes, fc.nat(), fc.nat(7), (vote, at, bit) => {
        const bytes = encodeVote(self, universe, vote)
        const where = at % bytes.length
        const changed = bytes.with(where, (bytes[where] ?? 0) ^ (1 << bit))
        expect([decodeVote(self, universe, changed), decodeVote(self, universe, bytes.subarray(0, where))]).toMatchObject([
          { ok: false },
          { ok: false },
        ])
      }),
    )
  })

  test('of another peer or range is not ours', () => {
    const bytes = encodeVote(self, universe, { promised: { round: 1, proposer: self }, accepted: undefined })
    const other = { ok: false, error: 'is of another peer or range' }
    expect([decodeVote(peer('b'), universe, bytes), decodeVote(self, parseCidr('10.0.0.0/8'), bytes)]).toEqual([other, other])
  })
})
