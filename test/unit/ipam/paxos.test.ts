/** Single-decree Paxos: never two values, whatever is lost, repeated, reordered or crashes; and one, as soon as a majority hears each other. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Ballot,
  type PaxosEvent,
  type PaxosMessage,
  type PaxosState,
  paxosState,
  paxosStep,
  quorumOf,
  ROUND_MAX,
} from '../../../ipam/paxos.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { peer } from '../../support/ipam.ts'
import { PaxosModel, paxosAgrees } from '../../support/paxos-model.ts'

const [a, b, c] = [peer('a'), peer('b'), peer('c')]
const ballot = (round: number, proposer = a): Ballot => ({ round, proposer })

/** The state after these events, and all effects as short words. */
function play(state: PaxosState, ...events: readonly PaxosEvent[]): { readonly state: PaxosState; readonly did: readonly string[] } {
  let now = state
  const did: string[] = []
  for (const event of events) {
    const [next, effects] = paxosStep(now, event)
    now = next
    for (const effect of effects) {
      if (effect.kind === 'send') did.push(`${effect.to[0]}:${effect.message.kind}`)
      else did.push(effect.kind === 'decided' ? `decided ${effect.seeds.map((name) => name[0]).join('')}` : effect.kind)
    }
  }
  return { state: now, did }
}

const from = (name: typeof a, message: PaxosMessage): PaxosEvent => ({ kind: 'message', from: name, message })
const propose = (...others: readonly (typeof a)[]): PaxosEvent => ({ kind: 'propose', others })

test.each([
  [1, 1],
  [2, 2],
  [3, 2],
  [4, 3],
  [5, 3],
  [1_024, 513],
])('of %i voters a quorum is %i: a majority that counts the voter itself', (voters, quorum) => expect(quorumOf(voters)).toBe(quorum))

test('one voter decides for itself, and has written it down first', () => {
  expect(play(paxosState(a, 1, undefined), propose()).did).toEqual(['persist', 'decided a'])
})

test('two voters exchange four messages', () => {
  const first = play(paxosState(a, 2, undefined), propose(b))
  const second = play(paxosState(b, 2, undefined), from(a, { kind: 'prepare', ballot: ballot(1) }))
  const third = play(first.state, from(b, { kind: 'promise', ballot: ballot(1), accepted: undefined }))
  const seeds = [a, b]
  const fourth = play(second.state, from(a, { kind: 'accept', proposal: { ballot: ballot(1), seeds } }))
  const last = play(third.state, from(b, { kind: 'accepted', ballot: ballot(1) }))
  expect([first, second, third, fourth, last].map(({ did }) => did)).toEqual([
    ['persist', 'b:prepare'],
    ['persist', 'a:promise'],
    ['persist', 'b:accept'],
    ['persist', 'a:accepted'],
    ['decided ab'],
  ])
})

describe('a proposer', () => {
  const asked = play(paxosState(a, 3, undefined), propose(b, c)).state
  const promise = (name: typeof a, accepted?: { readonly ballot: Ballot; readonly seeds: readonly (typeof a)[] }): PaxosEvent =>
    from(name, { kind: 'promise', ballot: ballot(1), accepted })

  test('waits for all whom it asked, so that all get a share', () => {
    const { state, did } = play(asked, promise(b))
    expect([did, play(state, promise(c)).did]).toEqual([[], ['persist', 'b:accept', 'c:accept']])
  })

  test('goes on without those who stay silent when it has a quorum, and fails without one', () => {
    expect(play(asked, promise(b), { kind: 'timeout' }).did).toEqual(['persist', 'b:accept', 'c:accept'])
    expect(play(asked, { kind: 'timeout' }).did).toEqual(['failed'])
  })

  test('does not wait for those who do not vote', () => {
    expect(play(asked, from(c, { kind: 'abstention', ballot: ballot(1) }), promise(b)).did).toEqual(['persist', 'b:accept', 'c:accept'])
  })

  test('proposes what was accepted at the highest ballot, not what it would like', () => {
    const old = { ballot: { round: 0, proposer: b }, seeds: [b] }
    const newer = { ballot: { round: 0, proposer: c }, seeds: [c] }
    const { state } = play(asked, promise(b, newer), promise(c, old))
    expect(state.attempt).toMatchObject({ kind: 'proposing', proposal: { seeds: [c] } })
  })

  test('counts nobody twice', () => {
    expect(play(asked, promise(b), promise(b), { kind: 'timeout' }).state.attempt.kind).toBe('proposing')
    const proposing = play(paxosState(a, 5, undefined), propose(b, c), promise(b), promise(c))
    const acceptedByB = from(b, { kind: 'accepted', ballot: ballot(1) })
    expect(play(proposing.state, acceptedByB, acceptedByB, acceptedByB).did).toEqual([])
  })

  test('that is refused comes back with a higher ballot', () => {
    const refusal = from(b, { kind: 'refusal', ballot: ballot(1), promised: ballot(7, c) })
    const { state, did } = play(asked, refusal)
    expect([did, play(state, propose(b)).state.round]).toEqual([['failed'], 8])
  })

  test('ends at the last ballot there is', () => {
    const { state } = play(asked, { kind: 'stop' }, from(b, { kind: 'prepare', ballot: ballot(ROUND_MAX, b) }))
    expect(play(state, propose(b)).did).toEqual(['failed'])
  })
})

describe('an acceptor', () => {
  const fresh = paxosState(b, 3, undefined)

  test('says no to what is below its promise', () => {
    const { state } = play(fresh, from(c, { kind: 'prepare', ballot: ballot(2, c) }))
    const late = from(a, { kind: 'prepare', ballot: ballot(2, a) })
    const later = from(a, { kind: 'accept', proposal: { ballot: ballot(1, a), seeds: [a] } })
    expect(play(state, late, later).did).toEqual(['a:refusal', 'a:refusal'])
  })

  test('answers what was repeated as before, without writing it again', () => {
    const prepare = from(c, { kind: 'prepare', ballot: ballot(2, c) })
    const accept = from(c, { kind: 'accept', proposal: { ballot: ballot(2, c), seeds: [c] } })
    expect(play(fresh, prepare, prepare, accept, accept).did).toEqual([
      'persist',
      'c:promise',
      'c:promise',
      'persist',
      'c:accepted',
      'c:accepted',
    ])
  })

  test('that comes back keeps its promise and tells what it had accepted', () => {
    const before = play(fresh, from(c, { kind: 'accept', proposal: { ballot: ballot(2, c), seeds: [c] } })).state
    const back = paxosState(b, 3, before.vote)
    expect(play(back, from(a, { kind: 'prepare', ballot: ballot(1, a) })).did).toEqual(['a:refusal'])
    const [, effects] = paxosStep(back, from(a, { kind: 'prepare', ballot: ballot(3, a) }))
    expect(effects[1]).toMatchObject({ message: { kind: 'promise', accepted: { ballot: ballot(2, c), seeds: [c] } } })
  })
})

test('never two values; and one as soon as a majority hears each other', () => {
  fc.assert(paxosAgrees, { numRuns: 2_000 })
})

test('ten voters with poor connections, of whom some are cut off for a while: all who find a decision find the same, a hundred times', () => {
  for (let seed = 1; seed <= 100; seed++) {
    const random = seededRandom(seed)
    const model = new PaxosModel(10)
    const number = (): number => Math.floor(random() * 1_024)
    for (let step = 0; step < 3_000; step++) {
      const chance = random()
      if (chance < 0.01) model.act({ kind: 'propose', voter: number(), others: number() | number() })
      else if (chance < 0.03) model.act({ kind: 'timeout', voter: number() })
      else model.act({ kind: random() < 0.5 ? 'deliver' : 'lose', message: number() })
      model.check()
    }
    for (const [index, voter] of model.voters.entries()) {
      model.act({ kind: 'stop', voter: index })
      model.propose(voter, model.voters)
      model.calm(model.voters)
      model.check()
    }
    expect(model.decided.size).toBe(1)
  }
})
