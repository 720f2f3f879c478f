/**
 * Single-decree Paxos: peers that know nothing but their number agree, once, on who shares out the
 * universe. Every voter is acceptor and proposer; whoever proposed what was decided begins the ring,
 * and the others learn it by the ring itself.
 *
 * Pure: `(state, event) → [state, effects]`. An effect `persist` stands before all others of its step:
 * nothing may be sent of a state that is not on the disk. Whoever cannot write it keeps the state that
 * it had, as if the event had been lost.
 *
 * Why no two values can be decided: a proposer goes on only with promises of a quorum, two quorums have
 * a member in common, and whoever promised tells what it has accepted and accepts nothing lower from
 * then on. A ballot is used once, as its proposer promises it to itself before anybody hears of it.
 */
import type { PeerName } from '../mesh/base/brand.ts'
import { unreachable } from '../mesh/base/result.ts'

/** Of two ballots the one with the higher round is higher; of equal rounds, that of the greater name. */
export interface Ballot {
  readonly round: number
  readonly proposer: PeerName
}

/** The value: the peers that share the universe, sorted. */
export type Seeds = readonly PeerName[]

export interface Proposal {
  readonly ballot: Ballot
  readonly seeds: Seeds
}

/** What must survive everything. */
export interface Vote {
  /** No ballot below it is answered any more. */
  readonly promised: Ballot | undefined
  readonly accepted: Proposal | undefined
}

/** What we try ourselves. */
export type Attempt =
  | { readonly kind: 'idle' }
  | {
      readonly kind: 'preparing'
      readonly ballot: Ballot
      /** Whoever promised, and what it had accepted. */
      readonly promises: ReadonlyMap<PeerName, Proposal | undefined>
      readonly asked: readonly PeerName[]
      /** Those who have not answered yet. */
      readonly silent: ReadonlySet<PeerName>
    }
  | {
      readonly kind: 'proposing'
      readonly proposal: Proposal
      readonly accepted: ReadonlySet<PeerName>
    }
  | { readonly kind: 'decided'; readonly proposal: Proposal }

export interface PaxosState {
  readonly self: PeerName
  /** How many peers vote, in all: the same number everywhere. */
  readonly voters: number
  readonly vote: Vote
  readonly attempt: Attempt
  /** The highest round that we have heard of. */
  readonly round: number
}

export type PaxosMessage =
  | { readonly kind: 'prepare'; readonly ballot: Ballot }
  | { readonly kind: 'promise'; readonly ballot: Ballot; readonly accepted: Proposal | undefined }
  | { readonly kind: 'accept'; readonly proposal: Proposal }
  | { readonly kind: 'accepted'; readonly ballot: Ballot }
  /** `ballot` is too low; the sender has promised `promised`. */
  | { readonly kind: 'refusal'; readonly ballot: Ballot; readonly promised: Ballot }
  /** The sender does not vote. */
  | { readonly kind: 'abstention'; readonly ballot: Ballot }

export type PaxosEvent =
  /** Try to decide, with these others; only when idle. */
  | { readonly kind: 'propose'; readonly others: readonly PeerName[] }
  | { readonly kind: 'message'; readonly from: PeerName; readonly message: PaxosMessage }
  /** Those who have not answered will not. */
  | { readonly kind: 'timeout' }
  /** Give up what we try. */
  | { readonly kind: 'stop' }

export type PaxosEffect =
  | { readonly kind: 'persist'; readonly vote: Vote }
  | { readonly kind: 'send'; readonly to: PeerName; readonly message: PaxosMessage }
  /** The attempt has come to nothing: try again later. */
  | { readonly kind: 'failed' }
  | { readonly kind: 'decided'; readonly seeds: Seeds }

/** A ballot of a higher round is no peer's: a counter of ours would have to run for ages. */
export const ROUND_MAX = 0x7fff_ffff

export function quorumOf(voters: number): number {
  return Math.floor(voters / 2) + 1
}

/** @param vote from the disk; undefined when nothing was ever promised. */
export function paxosState(self: PeerName, voters: number, vote: Vote | undefined): PaxosState {
  const known = vote ?? { promised: undefined, accepted: undefined }
  return { self, voters, vote: known, attempt: { kind: 'idle' }, round: known.promised?.round ?? 0 }
}

type Step = readonly [PaxosState, readonly PaxosEffect[]]

export function paxosStep(state: PaxosState, event: PaxosEvent): Step {
  const [next, effects] = react(state, event)
  return next.vote === state.vote ? [next, effects] : [next, [{ kind: 'persist', vote: next.vote }, ...effects]]
}

function react(state: PaxosState, event: PaxosEvent): Step {
  switch (event.kind) {
    case 'propose':
      return state.attempt.kind === 'idle' ? prepare(state, event.others) : [state, []]
    case 'message':
      return receive(state, event.from, event.message)
    case 'timeout':
      return timeout(state)
    case 'stop':
      return [{ ...state, attempt: { kind: 'idle' } }, []]
    default:
      return unreachable(event)
  }
}

function receive(state: PaxosState, from: PeerName, message: PaxosMessage): Step {
  switch (message.kind) {
    case 'prepare':
      return answer(state, from, message.ballot, undefined)
    case 'accept':
      return answer(state, from, message.proposal.ballot, message.proposal)
    case 'promise':
      return promised(state, from, message.ballot, message.accepted)
    case 'accepted':
      return accepted(state, from, message.ballot)
    case 'refusal':
      return refused(state, message.ballot, message.promised)
    case 'abstention':
      return abstained(state, from, message.ballot)
    default:
      return unreachable(message)
  }
}

/** The acceptor, asked to promise `ballot` or, when there is one, to accept `proposal`. */
function answer(state: PaxosState, from: PeerName, ballot: Ballot, proposal: Proposal | undefined): Step {
  const heard = { ...state, round: Math.max(state.round, ballot.round) }
  const { vote } = state
  if (vote.promised !== undefined && compareBallots(ballot, vote.promised) < 0)
    return [heard, [send(from, { kind: 'refusal', ballot, promised: vote.promised })]]
  if (proposal !== undefined) {
    const isKnown = vote.accepted !== undefined && compareBallots(ballot, vote.accepted.ballot) === 0
    return [isKnown ? heard : { ...heard, vote: { promised: ballot, accepted: proposal } }, [send(from, { kind: 'accepted', ballot })]]
  }
  const isKnown = vote.promised !== undefined && compareBallots(ballot, vote.promised) === 0
  return [
    isKnown ? heard : { ...heard, vote: { ...vote, promised: ballot } },
    [send(from, { kind: 'promise', ballot, accepted: vote.accepted })],
  ]
}

/** The proposer, from here on. Its own promise and acceptance are the first of each. */
function prepare(state: PaxosState, others: readonly PeerName[]): Step {
  const round = Math.max(state.round, state.vote.promised?.round ?? 0) + 1
  if (round > ROUND_MAX) return [state, [{ kind: 'failed' }]]
  const ballot = { round, proposer: state.self }
  const asked = others.filter((other) => other !== state.self)
  const promises = new Map([[state.self, state.vote.accepted]])
  const attempt = { kind: 'preparing', ballot, promises, asked, silent: new Set(asked) } as const
  const next = { ...state, round, vote: { ...state.vote, promised: ballot }, attempt }
  const sends = asked.map((to) => send(to, { kind: 'prepare', ballot }))
  if (asked.length > 0) return [next, sends]
  return proceed(next)
}

function promised(state: PaxosState, from: PeerName, ballot: Ballot, had: Proposal | undefined): Step {
  const { attempt } = state
  if (attempt.kind !== 'preparing' || compareBallots(ballot, attempt.ballot) !== 0) return [state, []]
  const promises = new Map(attempt.promises).set(from, had)
  return heardFrom({ ...state, attempt: { ...attempt, promises } }, from)
}

function abstained(state: PaxosState, from: PeerName, ballot: Ballot): Step {
  const { attempt } = state
  if (attempt.kind !== 'preparing' || compareBallots(ballot, attempt.ballot) !== 0) return [state, []]
  return heardFrom(state, from)
}

/** Waits for all that were asked, so that all of them get a share; `timeout` ends the waiting. */
function heardFrom(state: PaxosState, from: PeerName): Step {
  const { attempt } = state
  if (attempt.kind !== 'preparing') return [state, []]
  const silent = new Set(attempt.silent)
  silent.delete(from)
  const next = { ...state, attempt: { ...attempt, silent } }
  return silent.size === 0 ? proceed(next) : [next, []]
}

/** All promises that will come are here. */
function proceed(state: PaxosState): Step {
  const { attempt, vote, self } = state
  if (attempt.kind !== 'preparing') return [state, []]
  const { ballot, promises, asked } = attempt
  const isOutdone = vote.promised !== undefined && compareBallots(ballot, vote.promised) < 0
  if (isOutdone || promises.size < quorumOf(state.voters)) return fail(state)
  const proposal = { ballot, seeds: highest([...promises.values()])?.seeds ?? [...promises.keys()].sort() }
  const next: PaxosState = {
    ...state,
    vote: { promised: ballot, accepted: proposal },
    attempt: { kind: 'proposing', proposal, accepted: new Set([self]) },
  }
  const [last, effects] = count(next)
  return [last, [...asked.map((to) => send(to, { kind: 'accept', proposal })), ...effects]]
}

function accepted(state: PaxosState, from: PeerName, ballot: Ballot): Step {
  const { attempt } = state
  if (attempt.kind !== 'proposing' || compareBallots(ballot, attempt.proposal.ballot) !== 0) return [state, []]
  return count({ ...state, attempt: { ...attempt, accepted: new Set(attempt.accepted).add(from) } })
}

function count(state: PaxosState): Step {
  const { attempt } = state
  if (attempt.kind !== 'proposing' || attempt.accepted.size < quorumOf(state.voters)) return [state, []]
  const { proposal } = attempt
  return [{ ...state, attempt: { kind: 'decided', proposal } }, [{ kind: 'decided', seeds: proposal.seeds }]]
}

function refused(state: PaxosState, ballot: Ballot, higher: Ballot): Step {
  const heard = { ...state, round: Math.max(state.round, higher.round) }
  const ours = ballotOf(state.attempt)
  return ours !== undefined && compareBallots(ballot, ours) === 0 ? fail(heard) : [heard, []]
}

function timeout(state: PaxosState): Step {
  switch (state.attempt.kind) {
    case 'preparing':
      return proceed(state)
    case 'proposing':
      return fail(state)
    case 'idle':
    case 'decided':
      return [state, []]
    default:
      return unreachable(state.attempt)
  }
}

function fail(state: PaxosState): Step {
  return [{ ...state, attempt: { kind: 'idle' } }, [{ kind: 'failed' }]]
}

/** Of an attempt under way. */
function ballotOf(attempt: Attempt): Ballot | undefined {
  if (attempt.kind === 'preparing') return attempt.ballot
  return attempt.kind === 'proposing' ? attempt.proposal.ballot : undefined
}

function highest(proposals: readonly (Proposal | undefined)[]): Proposal | undefined {
  return proposals.reduce((best, one) => {
    if (one === undefined || best === undefined) return one ?? best
    return compareBallots(one.ballot, best.ballot) > 0 ? one : best
  }, undefined)
}

/** Negative, zero or positive, as for sorting. */
function compareBallots(a: Ballot, b: Ballot): number {
  if (a.round !== b.round) return a.round - b.round
  if (a.proposer === b.proposer) return 0
  return a.proposer < b.proposer ? -1 : 1
}

function send(to: PeerName, message: PaxosMessage): PaxosEffect & { readonly kind: 'send' } {
  return { kind: 'send', to, message }
}
