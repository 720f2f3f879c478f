/**
 * How this peer comes to a ring: by a list of seeds that is known at once, or named by somebody else later,
 * or agreed on by consensus; or by waiting for the ring of others. Once there is a ring all this is over,
 * but for telling those who still ask.
 */
import { type BackoffPolicy, backoff } from '../mesh/base/backoff.ts'
import { type PeerName, seconds } from '../mesh/base/brand.ts'
import type { Clock } from '../mesh/base/clock.ts'
import { describeError } from '../mesh/base/errors.ts'
import type { Random } from '../mesh/base/random.ts'
import { err, ok, type Result, unreachable } from '../mesh/base/result.ts'
import type { GossipFault, GossipPort } from '../mesh/gossip.ts'
import { openBeside } from './beside.ts'
import { Consensus, type ConsensusStatus } from './consensus.ts'
import { type Disk, VOTE_FILE } from './disk.ts'
import { namesOf } from './names.ts'
import type { Seeds } from './paxos.ts'
import type { SeedId } from './ring.ts'
import { type IpamInit, isSeedList, listedSeeds, type SeedSource, seedIdOf } from './seed.ts'
import type { Universe } from './universe.ts'
import { type BootstrapMessage, decodeBootstrap, encodeBootstrap } from './vote.ts'

interface BootstrapPorts {
  readonly self: PeerName
  readonly universe: Universe
  readonly clock: Clock
  readonly random: Random
  /** Where IPAM keeps its journal. */
  readonly disk: Disk
  /** Undefined when there is no ring yet. */
  seedId(): SeedId | undefined
  /** Some of the journal is lost, and the others have not told us yet what was in it. */
  isDamaged(): boolean
  /** Begins the ring; false when it cannot be written now. */
  seed(seeds: Seeds): boolean
  /** Undefined as long as there is no network. */
  network(): GossipPort | undefined
  trouble(text: string): void
}

export type BootstrapStatus =
  | { readonly mode: 'observer' }
  /** Which peers, or who names them. */
  | { readonly mode: 'seed'; readonly source: string }
  | ({ readonly mode: 'consensus' } & ConsensusStatus)

const ASK_AGAIN: BackoffPolicy = { first: seconds(1), max: seconds(30) }

export class Bootstrap implements Disposable {
  readonly #init: IpamInit
  readonly #ports: BootstrapPorts
  readonly #resources = new DisposableStack()
  readonly #stop = new AbortController()
  #consensus: Consensus | undefined
  #retry: Disposable | undefined
  #asked = 0
  /** Whose list we were given, and did not follow as long as there is doubt. */
  #heldUp: SeedSource | undefined

  constructor(init: IpamInit, ports: BootstrapPorts) {
    this.#init = init
    this.#ports = ports
  }

  /** A ring of our own making is only for a node that never had one: after damage it may have had, and the others know better. */
  begin(): void {
    const init = this.#init
    switch (init.kind) {
      case 'await':
        return
      case 'seed':
        this.#ask(listedSeeds(init.peers))
        return
      case 'named':
        this.#ask(init.source)
        return
      case 'consensus':
        this.#consensus = this.#resources.use(this.#vote(init.voters))
        return
      default:
        unreachable(init)
    }
  }

  /** The others have been heard since the damage, or will not be: who still has no ring may begin one. Votes begin again by themselves. */
  resume(): void {
    const source = this.#heldUp
    if (source === undefined || this.#lost() !== undefined) return
    this.#heldUp = undefined
    this.#ask(source)
  }

  /** There is a ring now, from wherever: nobody need name one any more. */
  ringKnown(): void {
    // With every allocation, and the error is dear.
    if (!this.#stop.signal.aborted) this.#stop.abort(new Error('there is a ring'))
    this.#retry?.[Symbol.dispose]()
  }

  receive(bytes: Uint8Array, from: PeerName): Result<void, GossipFault> {
    const decoded = decodeBootstrap(bytes)
    if (!decoded.ok) return decoded
    const { message } = decoded.value
    if (this.#consensus !== undefined) this.#consensus.receive(from, decoded.value)
    else if (message.kind === 'prepare') {
      const kind = this.#ports.seedId() === undefined ? 'abstention' : 'settled'
      this.#send(from, { kind, ballot: message.ballot })
    }
    return ok(undefined)
  }

  /** In Weave Net's words, for as long as there is no ring. */
  headline(): string {
    const init = this.#init
    switch (init.kind) {
      case 'await':
      case 'seed':
        return 'awaiting a ring from another peer'
      case 'named':
        return `awaiting the seeds from ${init.source.name}`
      case 'consensus': {
        const { quorum, heard } = this.#consensus?.status() ?? { quorum: 0, heard: [] }
        return `awaiting consensus (quorum: ${quorum}, known: ${heard.length + 1})`
      }
      default:
        return unreachable(init)
    }
  }

  /** Why there is no ring, and so no address. */
  waiting(): string {
    if (this.#consensus !== undefined) return this.#consensus.waiting()
    const lost = this.#lost()
    if (lost !== undefined) return `${lost}; we wait to hear of it from another peer`
    return this.#init.kind === 'named' ? `${this.#init.source.name} has not named the seeds` : 'no other peer has told us of one'
  }

  status(): BootstrapStatus {
    const init = this.#init
    switch (init.kind) {
      case 'await':
        return { mode: 'observer' }
      case 'seed':
        return { mode: 'seed', source: namesOf(init.peers) }
      case 'named':
        return { mode: 'seed', source: init.source.name }
      case 'consensus':
        return {
          mode: 'consensus',
          ...(this.#consensus?.status() ?? { voters: init.voters, quorum: 0, heard: [], leader: undefined, round: 0 }),
        }
      default:
        return unreachable(init)
    }
  }

  [Symbol.dispose](): void {
    this.#stop.abort(new Error('the router stops'))
    this.#retry?.[Symbol.dispose]()
    this.#resources[Symbol.dispose]()
  }

  #vote(voters: number): Consensus {
    const { self, universe, clock, random, seedId, seed, trouble, network } = this.#ports
    const disk = this.#resources.use(openBeside(this.#ports.disk, VOTE_FILE))
    const send = (to: PeerName, message: BootstrapMessage): void => this.#send(to, message)
    const reachable = (): readonly PeerName[] => network()?.reachable() ?? []
    const hasRing = (): boolean => seedId() !== undefined
    const lost = (): string | undefined => this.#lost()
    return new Consensus(voters, { self, universe, clock, random, disk, hasRing, lost, seed, send, reachable, trouble })
  }

  /** What a damaged journal has cost us, when it may have been a ring. */
  #lost(): string | undefined {
    return this.#ports.isDamaged() && this.#ports.seedId() === undefined ? 'our ring was lost with the damage' : undefined
  }

  #ask(source: SeedSource): void {
    const seeds = source.seeds(this.#stop.signal)
    if (!isSeedList(seeds)) void this.#await(source, seeds)
    else if (!this.#named(source, seeds)) this.#askLater(source)
  }

  async #await(source: SeedSource, asked: Promise<Seeds>): Promise<void> {
    const seeds = await asked.then(
      (value) => ok(value),
      (error: unknown) => err(describeError(error)),
    )
    if (this.#stop.signal.aborted) return
    if (seeds.ok && this.#named(source, seeds.value)) return
    if (!seeds.ok) this.#ports.trouble(`${source.name} does not name the seeds: ${seeds.error}`)
    this.#askLater(source)
  }

  #askLater(source: SeedSource): void {
    this.#asked += 1
    this.#retry = this.#ports.clock.after(backoff(ASK_AGAIN, this.#asked, this.#ports.random), () => this.#ask(source))
  }

  /** False when it should be tried again. */
  #named(source: SeedSource, seeds: Seeds): boolean {
    const { universe, seedId, seed, trouble } = this.#ports
    const known = seedId()
    if (known !== undefined) {
      if (known !== seedIdOf(universe, seeds)) trouble('the seed list is not the one that our ring began with; we keep our ring')
      return true
    }
    const lost = this.#lost()
    if (lost !== undefined) {
      trouble(`${lost}; we wait to hear of it from another peer`)
      this.#heldUp = source
      return true
    }
    return seed(seeds)
  }

  /** After the present call, as the mesh may be in the midst of calling us. */
  #send(to: PeerName, message: BootstrapMessage): void {
    const voters = this.#init.kind === 'consensus' ? this.#init.voters : 0
    const bytes = encodeBootstrap({ voters, universe: this.#ports.universe }, message)
    queueMicrotask(() => this.#ports.network()?.send(to, bytes))
  }
}
