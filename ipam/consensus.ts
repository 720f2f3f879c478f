/**
 * `consensus=N`: runs `paxos.ts` with a clock, a file and the other peers. It decides when to propose,
 * and whom to count: peers that say the same N. Of the others it says why they do not count.
 *
 * Whoever has a ring does not vote any more. It says so, and whoever asked waits for that ring, which
 * comes by gossip: so nobody can begin a second one beside a ring that somebody in reach has.
 */
import { type BackoffPolicy, backoff } from '../mesh/base/backoff.ts'
import { type Millis, millis, type PeerName, seconds } from '../mesh/base/brand.ts'
import { type Clock, every } from '../mesh/base/clock.ts'
import { describeError } from '../mesh/base/errors.ts'
import type { Random } from '../mesh/base/random.ts'
import { unreachable } from '../mesh/base/result.ts'
import type { Disk } from './disk.ts'
import { namesOf } from './names.ts'
import {
  type Ballot,
  type PaxosEvent,
  type PaxosMessage,
  type PaxosState,
  paxosState,
  paxosStep,
  quorumOf,
  type Seeds,
  type Vote,
} from './paxos.ts'
import { formatUniverse, type Universe } from './universe.ts'
import { type BootstrapMessage, type DecodedBootstrap, decodeVote, encodeVote } from './vote.ts'

export interface ConsensusPorts {
  readonly self: PeerName
  readonly universe: Universe
  readonly clock: Clock
  readonly random: Random
  /** Of the acceptor alone. */
  readonly disk: Disk
  hasRing(): boolean
  /** What we may have known and have lost, so that others may count on what we said; undefined when there is nothing such. */
  lost(): string | undefined
  /** Begins the ring; false when it cannot be written now. */
  seed(seeds: Seeds): boolean
  send(to: PeerName, message: BootstrapMessage): void
  reachable(): readonly PeerName[]
  trouble(text: string): void
}

export interface ConsensusStatus {
  readonly voters: number
  readonly quorum: number
  /** Peers in reach that vote, as far as we know, without ourselves. */
  readonly heard: readonly PeerName[]
  /** Whose ballot is the highest that we have promised; undefined when there was none. */
  readonly leader: PeerName | undefined
  readonly round: number
}

/** How often to look whether enough peers are in reach, and whether those asked have answered. */
const POLL: Millis = millis(250)
/** A moment for more peers to come into reach, so that they get a share; the peer with the least name goes first, each after it has so much time. */
const TURN: Millis = millis(500)
const TURNS_MAX = 8
/** For an answer; doubled each time that it was too short. */
const ANSWER: BackoffPolicy = { first: seconds(1), max: seconds(8) }
const RETRY: BackoffPolicy = { first: seconds(1), max: seconds(15) }
/** So long we leave it to another one that proposes. */
const PATIENCE: Millis = seconds(2)
/** After so long without its ring, whoever said that it has one is asked again. */
const SETTLED_FOR: Millis = seconds(15)

/** What a peer has shown to be, lately. */
type Role =
  | { readonly kind: 'voter' }
  | { readonly kind: 'observer' }
  | { readonly kind: 'settled'; readonly until: Millis }
  /** It counts to another number, or in another range. */
  | { readonly kind: 'stranger'; readonly words: string }

export class Consensus implements Disposable {
  readonly #ports: ConsensusPorts
  readonly #voters: number
  readonly #roles = new Map<PeerName, Role>()
  readonly #timer: Disposable
  /** Why we must not vote at all. */
  readonly #broken: string | undefined
  /** Undefined when we must not vote at all. */
  #state: PaxosState | undefined
  #failures = 0
  #answersDue: Millis = millis(0)
  /** No attempt before it; undefined as long as too few peers are in reach. */
  #notBefore: Millis | undefined

  constructor(voters: number, ports: ConsensusPorts) {
    this.#ports = ports
    this.#voters = voters
    const vote = this.#readVote()
    if (typeof vote === 'string') {
      this.#broken = vote
      ports.trouble(vote)
    } else this.#state = paxosState(ports.self, voters, vote)
    this.#timer = every(ports.clock, POLL, () => this.#poll())
  }

  /** Why there is no ring yet. */
  waiting(): string {
    const mute = this.#mute()
    if (mute !== undefined) return `${mute}; we do not vote, and wait for the ring of the others`
    const quorum = quorumOf(this.#voters)
    const voters = this.#electors()
    const reasons = [...this.#ports.reachable()].flatMap((name) => {
      const role = this.#roles.get(name)
      return role?.kind === 'stranger' ? [`${name} ${role.words}`] : []
    })
    const settled = this.#settled()
    if (settled.length > 0) reasons.push(`waiting for the ring of ${namesOf(settled)}`)
    else if (this.#crowd() > this.#voters)
      reasons.push(`${this.#crowd()} peers vote, more than consensus=${this.#voters}: ${namesOf(voters)}`)
    else if (voters.length + 1 < quorum) {
      const heard = voters.length === 0 ? 'nobody' : namesOf(voters)
      reasons.push(`waiting for ${quorum - 1 - voters.length} more of ${this.#voters} peers; in reach: ${heard}`)
    } else reasons.push(`${voters.length + 1} of ${this.#voters} peers are in reach, and agree on who begins`)
    return reasons.join('; ')
  }

  status(): ConsensusStatus {
    const promised = this.#state?.vote.promised
    return {
      voters: this.#voters,
      quorum: quorumOf(this.#voters),
      heard: this.#electors(),
      leader: promised?.proposer,
      round: promised?.round ?? 0,
    }
  }

  receive(from: PeerName, decoded: DecodedBootstrap): void {
    const { message } = decoded
    const isQuestion = message.kind === 'prepare' || message.kind === 'accept'
    if (this.#ports.hasRing() && !isQuestion) return
    switch (message.kind) {
      case 'settled':
        this.#roles.set(from, { kind: 'settled', until: millis(this.#ports.clock.now() + SETTLED_FOR) })
        this.#handle({ kind: 'stop' })
        return
      case 'abstention':
        // Whoever counts otherwise tells us so by this, as its number is in it.
        if (decoded.voters === 0 || this.#counts(from, decoded)) this.#roles.set(from, { kind: 'observer' })
        this.#handle({ kind: 'message', from, message })
        return
      case 'prepare':
      case 'accept':
        this.#question(from, decoded, message)
        return
      default:
        if (this.#counts(from, decoded)) this.#handle({ kind: 'message', from, message })
    }
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]()
  }

  #readVote(): Vote | undefined | string {
    const { disk, self, universe } = this.#ports
    try {
      const bytes = disk.read()
      if (bytes === undefined) return undefined
      const vote = decodeVote(self, universe, bytes)
      return vote.ok ? vote.value : `${disk.path}, where we keep what we have voted, ${vote.error}`
    } catch (error) {
      return `cannot read ${disk.path}: ${describeError(error)}`
    }
  }

  #question(from: PeerName, decoded: DecodedBootstrap, message: PaxosMessage & { kind: 'prepare' | 'accept' }): void {
    const ballot = message.kind === 'accept' ? message.proposal.ballot : message.ballot
    if (this.#ports.hasRing()) this.#ports.send(from, { kind: 'settled', ballot })
    else if (!this.#counts(from, decoded) || this.#mute() !== undefined) this.#ports.send(from, { kind: 'abstention', ballot })
    else {
      this.#yieldTo(ballot)
      this.#handle({ kind: 'message', from, message })
    }
  }

  /** Whether what `from` says counts together with what we say. */
  #counts(from: PeerName, { voters, universe }: DecodedBootstrap): boolean {
    const range = formatUniverse(this.#ports.universe)
    if (universe === range && voters === this.#voters) {
      this.#roles.set(from, { kind: 'voter' })
      // With more voters than the number says, two majorities of it need not have a member in common.
      return this.#crowd() <= this.#voters
    }
    const words =
      universe === range ? `says consensus=${voters}, and we consensus=${this.#voters}` : `votes on another range than ours, ${range}`
    const known = this.#roles.get(from)
    if (!(known?.kind === 'stranger' && known.words === words)) this.#ports.trouble(`${from} ${words}: it does not count`)
    this.#roles.set(from, { kind: 'stranger', words })
    return false
  }

  #poll(): void {
    if (this.#ports.hasRing()) {
      this.#handle({ kind: 'stop' })
      this.#timer[Symbol.dispose]()
      return
    }
    // Whoever comes back may have become another one.
    const inReach = new Set(this.#ports.reachable())
    for (const name of this.#roles.keys()) if (!inReach.has(name)) this.#roles.delete(name)
    const attempt = this.#state?.attempt
    const now = this.#ports.clock.now()
    switch (attempt?.kind) {
      case 'idle':
        this.#consider(now)
        return
      case 'preparing':
      case 'proposing':
        if (this.#crowd() > this.#voters) this.#handle({ kind: 'stop' })
        else if (now >= this.#answersDue) this.#handle({ kind: 'timeout' })
        return
      case 'decided':
        // It could not be written then.
        if (this.#notBefore === undefined || now >= this.#notBefore) this.#begin(attempt.proposal.seeds)
        return
      default:
    }
  }

  /** Proposes, if it is time to. */
  #consider(now: Millis): void {
    if (!this.#mayPropose()) {
      this.#notBefore = undefined
      return
    }
    const electors = this.#electors()
    this.#notBefore ??= millis(now + TURN * (0.5 + this.#ports.random() / 2 + this.#turn(electors)))
    if (now < this.#notBefore) return
    this.#answersDue = millis(now + backoff(ANSWER, this.#failures + 1, () => 1))
    this.#handle({ kind: 'propose', others: electors })
  }

  #mayPropose(): boolean {
    if (this.#mute() !== undefined) return false
    return this.#electors().length + 1 >= quorumOf(this.#voters) && this.#crowd() <= this.#voters && this.#settled().length === 0
  }

  #turn(electors: readonly PeerName[]): number {
    return Math.min(TURNS_MAX, electors.filter((name) => name < this.#ports.self).length)
  }

  /** In reach, and not known not to vote. */
  #electors(): readonly PeerName[] {
    return this.#ports.reachable().filter((name) => (this.#roles.get(name)?.kind ?? 'voter') === 'voter')
  }

  #settled(): readonly PeerName[] {
    const now = this.#ports.clock.now()
    return this.#ports.reachable().filter((name) => {
      const role = this.#roles.get(name)
      if (role?.kind !== 'settled') return false
      if (role.until <= now) this.#roles.delete(name)
      return role.until > now
    })
  }

  /** How many peers in reach have voted, and we. */
  #crowd(): number {
    return 1 + this.#ports.reachable().filter((name) => this.#roles.get(name)?.kind === 'voter').length
  }

  /** Another one proposes: two that do so in turns could hinder each other for ever. */
  #yieldTo(ballot: Ballot): void {
    const { clock, random } = this.#ports
    const promised = this.#state?.vote.promised
    if (promised !== undefined && ballot.round < promised.round) return
    this.#notBefore = millis(Math.max(this.#notBefore ?? 0, clock.now() + PATIENCE * (1 + random())))
  }

  #retryLater(): void {
    const { clock, random } = this.#ports
    this.#failures += 1
    this.#notBefore = millis(Math.max(this.#notBefore ?? 0, clock.now() + backoff(RETRY, this.#failures, random)))
  }

  #begin(seeds: Seeds): void {
    if (!this.#ports.seed(seeds)) this.#retryLater()
  }

  /** Why we do not vote; undefined when we do. */
  #mute(): string | undefined {
    return this.#ports.lost() ?? this.#broken
  }

  /** What cannot be written has not happened. */
  #handle(event: PaxosEvent): void {
    if (this.#state === undefined || this.#mute() !== undefined) return
    const before = this.#state
    const [next, effects] = paxosStep(before, event)
    for (const effect of effects) {
      switch (effect.kind) {
        case 'persist':
          if (!this.#write(effect.vote)) {
            this.#retryLater()
            return
          }
          break
        case 'send':
          this.#ports.send(effect.to, effect.message)
          break
        case 'failed':
          this.#retryLater()
          break
        case 'decided':
          this.#state = next
          this.#begin(effect.seeds)
          break
        default:
          unreachable(effect)
      }
    }
    this.#state = next
    if (before.attempt.kind === 'preparing' && next.attempt.kind === 'proposing')
      this.#answersDue = millis(this.#ports.clock.now() + backoff(ANSWER, this.#failures + 1, () => 1))
  }

  #write(vote: Vote): boolean {
    const { disk, self, universe, trouble } = this.#ports
    try {
      disk.replace(encodeVote(self, universe, vote))
      return true
    } catch (error) {
      trouble(`cannot write ${disk.path}, so that we cannot vote: ${describeError(error)}`)
      return false
    }
  }
}
