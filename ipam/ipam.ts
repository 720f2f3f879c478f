/**
 * IPAM for the rest of Weft: binds the allocator to the mesh's gossip, a clock and a state directory.
 * It decides nothing: it builds the parts, and performs their effects. What other peers say comes by `exchange.ts`.
 */
import type { Ipv4, Range } from '../mesh/base/address.ts'
import type { Millis, PeerName } from '../mesh/base/brand.ts'
import { millis } from '../mesh/base/brand.ts'
import type { Clock } from '../mesh/base/clock.ts'
import type { Logger } from '../mesh/base/log.ts'
import type { Random } from '../mesh/base/random.ts'
import { type Result, unreachable } from '../mesh/base/result.ts'
import type { GossipPart, GossipPort } from '../mesh/gossip.ts'
import { type AllocateError, Allocator, type AllocatorEffect } from './allocator.ts'
import type { AttachmentKey } from './attachment.ts'
import { Bootstrap } from './bootstrap.ts'
import { Claims } from './claims.ts'
import { type Disk, openDisk } from './disk.ts'
import { Exchange } from './exchange.ts'
import { Faults } from './faults.ts'
import { Ledger } from './ledger.ts'
import { Members, type MembersEffect } from './members.ts'
import type { Seeds } from './paxos.ts'
import { Requests } from './requests.ts'
import { ownedRanges, type Ring, ringNews, type SeedId } from './ring.ts'
import { encodeDelta } from './ring-codec.ts'
import { chunksOf } from './ring-digest.ts'
import { Rivalry } from './rivalry.ts'
import { type IpamInit, seedRing } from './seed.ts'
import { type IpamStatus, ipamStatus } from './status.ts'
import { openStore, type StoreError } from './store.ts'
import { addressRange, checkUniverse, formatUniverse, hostAddress, type Universe } from './universe.ts'
import { Upkeep } from './upkeep.ts'
import type { Wanted } from './wish.ts'

/** A range of addresses, base + n, and its owner. */
export interface OwnedRange {
  readonly owner: PeerName
  readonly range: Range
}

export interface IpamOptions {
  readonly self: PeerName
  readonly universe: Universe
  /** Its id, so that a journal of another cluster is refused. */
  readonly cluster?: string
  /** How the ring begins, should this node have none. */
  readonly init: IpamInit
  /** Ours alone; made if need be. */
  readonly directory: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

interface Opened {
  readonly store: Disposable
  readonly disk: Disk
}

type Effect = AllocatorEffect | MembersEffect

/** Owns the state directory and its timers. */
export class Ipam implements AsyncDisposable {
  /** To be registered with the mesh, before `attach`. */
  readonly part: GossipPart
  /** What became of losses, and what the other peers say. */
  readonly upkeep: Upkeep
  /** Who belongs to the ring, and whether we do. */
  readonly members: Members
  readonly #ledger: Ledger
  readonly #allocator: Allocator
  readonly #bootstrap: Bootstrap
  readonly #rivalry: Rivalry
  readonly #claims: Claims
  readonly #requests: Requests
  readonly #clock: Clock
  readonly #log: Logger
  readonly #resources: Disposable
  readonly #faults = new Faults()
  readonly #listeners = new Set<() => void>()
  /** It had a ring before it started: what has become of that meanwhile? */
  #isBack = false
  #port: GossipPort | undefined
  #known: () => readonly PeerName[] = () => []
  #outbox: (Effect & { kind: 'send' | 'broadcast' })[] = []
  #wake: Disposable | undefined
  #changed = false
  #closed = false

  /**
   * @throws {WeftError} USAGE when the universe is too big or small; STATE when the directory is in use,
   * or its files are of another peer or universe, or cannot be read.
   */
  static open(options: IpamOptions): Promise<Ipam> {
    return Promise.try(() => {
      checkUniverse(options.universe)
      return Ipam.onDisk(openDisk(options.directory), options)
    })
  }

  /** As `open`, on a disk of the caller's, which is closed with it. */
  static onDisk(disk: Disk, options: Omit<IpamOptions, 'directory'>): Ipam {
    using opening = new DisposableStack()
    opening.use(disk)
    const { self, universe, cluster = '' } = options
    const { store, records, warning, isDamaged } = openStore(disk, { peer: self, universe, cluster })
    const ledger = new Ledger(self, universe, store, records)
    const ipam = new Ipam(ledger, { store, disk }, options)
    if (warning !== undefined) ipam.#trouble(warning)
    const mended = isDamaged ? ledger.doubt(true) : ledger.repair()
    if (!mended.ok) ipam.#trouble(mended.error.text)
    ipam.#isBack = ledger.ring !== undefined
    ipam.#bootstrap.begin()
    opening.move()
    return ipam
  }

  private constructor(ledger: Ledger, { store, disk }: Opened, options: Omit<IpamOptions, 'directory'>) {
    const { clock, random, log, self, universe, init } = options
    this.#ledger = ledger
    this.#resources = store
    this.#clock = clock
    this.#log = log
    const reachable = (): readonly PeerName[] => this.#port?.reachable() ?? []
    this.#allocator = new Allocator(ledger, random, { reachable, isHeld: () => this.members.isHeld })
    this.members = new Members({
      ...{ ledger, clock, random, reachable },
      merge: (delta, now) => this.#allocator.merge(delta, now),
      trouble: (text) => this.#trouble(text),
      serve: () => this.#serve(),
    })
    const ports = {
      ...{ self, universe, clock, random, disk },
      seedId: () => ledger.ring?.seedId,
      isDamaged: () => ledger.inDoubt,
      seed: (seeds: Seeds) => this.#seed(seeds),
      network: () => this.#port,
      trouble: (text: string) => this.#trouble(text),
    }
    this.#bootstrap = new Bootstrap(init, ports)
    this.#rivalry = new Rivalry({
      ...{ universe, clock, log, disk },
      ring: () => ledger.ring,
      adopt: (ring) => this.#adopt(ring),
      broadcast: (delta) => this.#post({ kind: 'broadcast', delta }),
      trouble: (text) => this.#trouble(text),
    })
    this.#claims = new Claims({
      ...{ ledger, clock, reachable },
      send: (to, message) => this.#port?.send(to, message) === true,
      claimed: (from, claim) => this.#allocator.claimed(from, claim),
      merge: (delta) => this.#allocator.merge(delta, this.#now()),
      answered: (from, answer) => this.#allocator.claimAnswered(from, answer, this.#now()),
      changed: () => this.#changes(),
    })
    this.#requests = new Requests({
      ...{ ledger, allocator: this.#allocator },
      now: () => this.#now(),
      perform: () => this.#perform(),
      explained: (error) => this.#explained(error),
    })
    this.upkeep = new Upkeep({
      ...{ ledger, clock, random, log },
      ...bystandersOf(init),
      digest: () => this.part.digest(),
      trouble: (text) => this.#trouble(text),
      changed: () => this.#resume(),
    })
    this.part = new Exchange({
      ...{ ledger, allocator: this.#allocator, bootstrap: this.#bootstrap, rivalry: this.#rivalry },
      ...{ claims: this.#claims, upkeep: this.upkeep, members: this.members, faults: this.#faults },
      now: () => this.#now(),
      serve: () => this.#serve(),
    })
  }

  /**
   * From now on other peers can be asked for space.
   * @param known all peers of which the mesh knows, whether they can be reached or not: who has lost its journal asks them all.
   */
  attach(port: GossipPort, known: () => readonly PeerName[] = () => port.reachable()): void {
    this.#port = port
    this.#known = known
    if (this.#isBack) this.members.comeBack(known())
    this.upkeep.attach(port, known)
    this.#claims.poke()
    this.#allocator.tick(this.#now())
    this.#perform()
  }

  /**
   * The same address again for the same key, which must be as wanted then too. Never waits longer than 10 s.
   * @param wanted an address to get exactly that one, be it of another peer's range; a subnet to get any of it.
   */
  allocate(key: AttachmentKey, signal: AbortSignal, wanted: Wanted = {}): Promise<Result<Ipv4, AllocateError>> {
    return this.#requests.allocate(key, signal, wanted)
  }

  /** Idempotent: the address that is free now, undefined when `key` had none. Also when it cannot be written: then once it can. */
  free(key: AttachmentKey): Promise<Ipv4 | undefined> {
    const host = this.#allocator.free(key, this.#now())
    this.#perform()
    return Promise.resolve(host === undefined ? undefined : hostAddress(this.#ledger.universe, host))
  }

  lookup(key: AttachmentKey): Ipv4 | undefined {
    const host = this.#ledger.allocations.get(key)
    return host === undefined ? undefined : hostAddress(this.#ledger.universe, host)
  }

  /** A copy, in order of allocation. */
  allocations(): ReadonlyMap<AttachmentKey, Ipv4> {
    return new Map([...this.#ledger.allocations].map(([key, host]) => [key, hostAddress(this.#ledger.universe, host)]))
  }

  /** The whole ring, in order; adjacent ranges of one owner are one. Ranges whose owner is not known yet are left out. */
  ranges(): readonly OwnedRange[] {
    const { ring, universe } = this.#ledger
    if (ring === undefined) return []
    return ownedRanges(ring).map(({ owner, range }) => ({ owner, range: addressRange(universe, range) }))
  }

  /** Calls `listener` when the ring or the allocations have changed, once for all changes of a turn. */
  onChange(listener: () => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) }
  }

  status(): IpamStatus {
    return ipamStatus({
      ...{ ledger: this.#ledger, allocator: this.#allocator, bootstrap: this.#bootstrap, rivalry: this.#rivalry },
      ...{ conflicts: this.conflicts(), doubt: this.upkeep.words(), faults: this.#faults.list() },
    })
  }

  /** Attachments whose addresses a pod of another peer has as well, and which peer that is. */
  conflicts(): ReadonlyMap<AttachmentKey, PeerName> {
    return this.#claims.conflicts()
  }

  /**
   * Decides between our ring and another one that has met it: see `Rivalry.resolve`.
   * @throws {WeftError} USAGE when there is nothing to decide.
   */
  resolve(keep: 'ours' | 'theirs', theirs: string | undefined): SeedId {
    return this.#rivalry.resolve(keep, theirs)
  }

  /** Whoever waits is told that we are closing. */
  [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return Promise.resolve()
    this.#closed = true
    this.upkeep[Symbol.dispose]()
    this.#bootstrap[Symbol.dispose]()
    this.#claims[Symbol.dispose]()
    this.#rivalry[Symbol.dispose]()
    this.#requests.close()
    this.members.close()
    this.#listeners.clear()
    return Promise.try(() => this.#resources[Symbol.dispose]())
  }

  /** Begins the ring, and tells of it: the others may know nothing of these seeds. False when it cannot be written. */
  #seed(seeds: Seeds): boolean {
    const { universe } = this.#ledger
    const isWritten = this.#wrote(this.#allocator.seed(seedRing(universe, seeds), this.#now()))
    const { ring } = this.#ledger
    if (isWritten && ring !== undefined) {
      this.#log.info({ range: formatUniverse(universe), count: seeds.length }, 'IP ranges seeded')
      for (const chunk of chunksOf(ringNews(ring)))
        this.#post({ kind: 'broadcast', delta: encodeDelta({ universe, seedId: ring.seedId, ...chunk }) })
    }
    this.#perform()
    return isWritten
  }

  /** Takes another ring in the place of ours. There our name may be retired. */
  #adopt(ring: Ring): boolean {
    const isWritten = this.#wrote(this.#allocator.adopt(ring, this.#now()))
    if (isWritten) this.members.comeBack(this.#known())
    return isWritten
  }

  #wrote(result: Result<void, StoreError>): boolean {
    if (!result.ok) this.#trouble(result.error.text)
    return result.ok
  }

  /** In the words of whoever knows what is waited for. */
  #explained(error: AllocateError): AllocateError {
    if (error.code === 'no-ring') return { code: 'no-ring', text: `no ring of IP ranges is known yet: ${this.#bootstrap.waiting()}` }
    const doubt = error.code === 'in-doubt' ? this.upkeep.words() : undefined
    return doubt === undefined ? error : { code: 'in-doubt', text: doubt }
  }

  /** The doubt is over, or the disk is good again: something that was held up may go on. */
  #resume(): void {
    this.#bootstrap.resume()
    this.#allocator.serve(this.#now())
    this.#claims.poke()
    this.#changes()
    this.#perform()
  }

  /** There may be free addresses, or none any more, after what was done. */
  #serve(): void {
    this.#allocator.serve(this.#now())
    this.#perform()
  }

  /** What goes to others is sent after the present call, as the mesh may be in the midst of calling us. */
  #perform(): void {
    for (const effect of [...this.#allocator.drain(), ...this.members.drain()]) this.#do(effect)
    this.upkeep.poke()
    this.#rearm()
  }

  #do(effect: Effect): void {
    switch (effect.kind) {
      case 'broadcast':
      case 'send':
        this.#post(effect)
        break
      case 'settle':
        this.#requests.settle(effect)
        break
      case 'changed':
        if (this.#ledger.ring !== undefined) this.#bootstrap.ringKnown()
        this.#claims.poke()
        this.#changes()
        break
      case 'trouble':
        this.#trouble(effect.text)
        break
      default:
        unreachable(effect)
    }
  }

  #post(effect: Effect & { kind: 'send' | 'broadcast' }): void {
    if (this.#outbox.length === 0) queueMicrotask(() => this.#flush())
    this.#outbox.push(effect)
  }

  #flush(): void {
    const outbox = this.#outbox
    this.#outbox = []
    for (const effect of outbox) {
      if (effect.kind === 'broadcast') this.#port?.broadcast(effect.delta)
      else if (this.#port?.send(effect.to, effect.message) !== true) this.#allocator.unsent(effect.to, this.#now())
    }
    this.#perform()
  }

  #changes(): void {
    if (!this.#changed) queueMicrotask(() => this.#tell())
    this.#changed = true
  }

  #tell(): void {
    this.#changed = false
    for (const listener of this.#listeners) listener()
  }

  #rearm(): void {
    this.#wake?.[Symbol.dispose]()
    const now = this.#now()
    const moments = [this.#allocator.wakeAt(now), this.members.wakeAt()].filter((at) => at !== undefined)
    this.#wake =
      this.#closed || moments.length === 0
        ? undefined
        : this.#clock.after(millis(Math.max(0, Math.min(...moments) - now)), () => {
            this.members.tick()
            this.#allocator.tick(this.#now())
            this.#serve()
          })
  }

  #trouble(text: string): void {
    this.#faults.add(text)
    this.#log.warn({ reason: text }, 'IPAM trouble')
  }

  #now(): Millis {
    return this.#clock.now()
  }
}

/** Who may know of our ring, should we lose it, as far as the way to begin one tells. */
function bystandersOf(init: IpamInit): { readonly seeds: readonly PeerName[]; readonly voters: number } {
  return { seeds: init.kind === 'seed' ? init.peers : [], voters: init.kind === 'consensus' ? init.voters : 0 }
}
