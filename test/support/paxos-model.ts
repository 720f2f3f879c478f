/**
 * Voters of `ipam/paxos.ts` in a world where messages are lost, repeated and reordered, and voters crash
 * between any two effects and come back with what is on their disks. It notes every acceptance that was
 * told, and so knows what is decided without asking anybody.
 */
import fc from 'fast-check'
import {
  type PaxosEffect,
  type PaxosEvent,
  type PaxosMessage,
  type PaxosState,
  type Proposal,
  paxosState,
  paxosStep,
  type Vote,
} from '../../ipam/paxos.ts'
import type { PeerName } from '../../mesh/base/brand.ts'
import { peerNumber } from './ipam.ts'

/** Numbers stand for voters and messages, modulo how many there are. */
export type PaxosAction =
  | { readonly kind: 'propose'; readonly voter: number; readonly others: number }
  | { readonly kind: 'deliver' | 'repeat' | 'lose'; readonly message: number }
  | { readonly kind: 'timeout' | 'restart' | 'stop'; readonly voter: number }
  /** What the next event of this voter makes it do is cut short after so many effects, and it restarts. */
  | { readonly kind: 'crash'; readonly voter: number; readonly after: number }
  /** What the next event of this voter makes it write fails. */
  | { readonly kind: 'full'; readonly voter: number }

interface Voter {
  readonly name: PeerName
  state: PaxosState
  disk: Vote | undefined
  crashAfter: number | undefined
  isFull: boolean
}

interface Flight {
  readonly from: PeerName
  readonly to: PeerName
  readonly message: PaxosMessage
}

const IN_FLIGHT_MAX = 60

const small = fc.nat(1_000)
const frequent = (kind: 'deliver' | 'repeat' | 'lose') => fc.record({ kind: fc.constant(kind), message: small })
const ofVoter = (kind: 'timeout' | 'restart' | 'stop' | 'full') => fc.record({ kind: fc.constant(kind), voter: small })

const paxosActions: fc.Arbitrary<readonly PaxosAction[]> = fc.array(
  fc.oneof(
    { weight: 60, arbitrary: frequent('deliver') },
    { weight: 12, arbitrary: fc.record({ kind: fc.constant('propose' as const), voter: small, others: small }) },
    { weight: 8, arbitrary: ofVoter('timeout') },
    { weight: 6, arbitrary: frequent('repeat') },
    { weight: 5, arbitrary: frequent('lose') },
    { weight: 4, arbitrary: ofVoter('restart') },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('crash' as const), voter: small, after: fc.nat(3) }) },
    { weight: 1, arbitrary: ofVoter('stop') },
    { weight: 1, arbitrary: ofVoter('full') },
  ) as fc.Arbitrary<PaxosAction>,
  { minLength: 20, maxLength: 250, size: 'max' },
)

export class PaxosModel {
  readonly voters: readonly Voter[]
  /** By ballot: the value, and who has said that it accepted it. */
  readonly #accepted = new Map<string, { readonly seeds: string; readonly by: Set<PeerName> }>()
  readonly #decided = new Set<string>()
  readonly #counted: number
  #flights: Flight[] = []

  /** @param counted how many they take themselves for: `count`, unless they are wrong. */
  constructor(count: number, counted: number = count) {
    this.#counted = counted
    this.voters = Array.from({ length: count }, (_, index) => {
      const name = peerNumber(index)
      return { name, state: paxosState(name, counted, undefined), disk: undefined, crashAfter: undefined, isFull: false }
    })
  }

  /** Values that are decided: by what proposers found, and by what acceptors said. */
  get decided(): ReadonlySet<string> {
    const majority = [...this.#accepted.values()].filter(({ by }) => 2 * by.size > this.voters.length)
    return new Set([...this.#decided, ...majority.map(({ seeds }) => seeds)])
  }

  /** @throws {Error} saying which promise of Paxos was broken. */
  act(action: PaxosAction): void {
    switch (action.kind) {
      case 'propose':
        this.propose(
          this.#voter(action.voter),
          this.voters.filter((_, index) => (action.others >> index) & 1),
        )
        return
      case 'crash':
        this.#voter(action.voter).crashAfter = action.after
        return
      case 'full':
        this.#voter(action.voter).isFull = true
        return
      case 'restart':
        this.#restart(this.#voter(action.voter))
        return
      case 'timeout':
      case 'stop':
        this.#handle(this.#voter(action.voter), { kind: action.kind })
        return
      default:
        this.#fly(action)
    }
  }

  propose(voter: Voter, others: readonly Voter[]): void {
    this.#handle(voter, { kind: 'propose', others: others.map(({ name }) => name) })
  }

  /** Everything between `connected` arrives, until nothing is under way; the rest is lost. */
  calm(connected: readonly Voter[]): void {
    const names = new Set(connected.map(({ name }) => name))
    for (let flight = this.#flights.shift(); flight !== undefined; flight = this.#flights.shift()) {
      if (names.has(flight.from) && names.has(flight.to)) this.#arrive(flight)
    }
  }

  check(): void {
    if (this.decided.size > 1) throw new Error(`decided: ${[...this.decided].join(' and ')}`)
  }

  #voter(number: number): Voter {
    const voter = this.voters[number % this.voters.length]
    if (voter === undefined) throw new Error('no voters')
    return voter
  }

  #fly({ kind, message }: { readonly kind: 'deliver' | 'repeat' | 'lose'; readonly message: number }): void {
    const at = message % Math.max(1, this.#flights.length)
    const flight = this.#flights[at]
    if (flight === undefined) return
    if (kind !== 'repeat') this.#flights.splice(at, 1)
    if (kind !== 'lose') this.#arrive(flight)
  }

  #arrive({ from, to, message }: Flight): void {
    const voter = this.voters.find(({ name }) => name === to)
    if (voter !== undefined) this.#handle(voter, { kind: 'message', from, message })
  }

  #handle(voter: Voter, event: PaxosEvent): void {
    const [next, effects] = paxosStep(voter.state, event)
    const { crashAfter, isFull } = voter
    voter.crashAfter = undefined
    voter.isFull = false
    if (isFull && effects.some(({ kind }) => kind === 'persist')) return
    voter.state = next
    for (const effect of effects.slice(0, crashAfter)) this.#perform(voter, effect)
    if (crashAfter !== undefined) this.#restart(voter)
    else this.#acceptOwn(voter)
  }

  #perform(voter: Voter, effect: PaxosEffect): void {
    if (effect.kind === 'persist') voter.disk = effect.vote
    if (effect.kind === 'decided') this.#decided.add(effect.seeds.join())
    if (effect.kind !== 'send') return
    const { to, message } = effect
    if (message.kind === 'accept') this.#note(message.proposal, voter.name)
    if (message.kind === 'accepted' && voter.state.vote.accepted !== undefined) this.#note(voter.state.vote.accepted, voter.name)
    this.#flights.push({ from: voter.name, to, message })
    if (this.#flights.length > IN_FLIGHT_MAX) this.#flights.shift()
  }

  /** A proposer's own acceptance is told to nobody. */
  #acceptOwn({ name, state: { attempt } }: Voter): void {
    if (attempt.kind === 'proposing' || attempt.kind === 'decided') this.#note(attempt.proposal, name)
  }

  #note({ ballot, seeds }: Proposal, by: PeerName): void {
    const key = `${ballot.round}.${ballot.proposer}`
    const known = this.#accepted.get(key) ?? { seeds: seeds.join(), by: new Set() }
    if (known.seeds !== seeds.join()) throw new Error(`ballot ${key} stands for two values`)
    this.#accepted.set(key, { ...known, by: known.by.add(by) })
  }

  #restart(voter: Voter): void {
    voter.state = paxosState(voter.name, this.#counted, voter.disk)
  }
}

/** The property: whatever happens, one value at most; and with a majority that hears each other, one. */
export const paxosAgrees: fc.IPropertyWithHooks<[number, readonly PaxosAction[], number]> = fc.property(
  fc.integer({ min: 1, max: 6 }),
  paxosActions,
  small,
  (count, actions, first) => {
    const model = new PaxosModel(count)
    for (const action of actions) {
      model.act(action)
      model.check()
    }
    const majority = model.voters.filter((_, index) => (index + first) % count < Math.floor(count / 2) + 1)
    for (let round = 0; round < 3 * count && !majority.some(({ state }) => state.attempt.kind === 'decided'); round++) {
      for (const voter of majority) model.act({ kind: 'stop', voter: model.voters.indexOf(voter) })
      const proposer = majority[round % majority.length]
      if (proposer !== undefined) model.propose(proposer, majority)
      model.calm(majority)
      model.check()
    }
    if (!majority.some(({ state }) => state.attempt.kind === 'decided')) throw new Error('a connected majority decides nothing')
  },
)
