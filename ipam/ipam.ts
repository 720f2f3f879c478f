/**
 * IPAM for the rest of Weft: binds the allocator to the mesh's gossip, a clock and a state directory.
 * It decides nothing: it decodes what comes, passes it on and performs the effects.
 */
import { type Cidr, formatCidr, formatIpv4, type Ipv4, type Range } from '../mesh/base/address.ts'
import type { Millis, PeerName } from '../mesh/base/brand.ts'
import { millis } from '../mesh/base/brand.ts'
import type { Clock } from '../mesh/base/clock.ts'
import type { Logger } from '../mesh/base/log.ts'
import type { Random } from '../mesh/base/random.ts'
import { err, ok, type Result, unreachable } from '../mesh/base/result.ts'
import type { GossipFault, GossipPart, GossipPort, Merged, News } from '../mesh/gossip.ts'
import { type AllocateError, Allocator, type AllocatorEffect } from './allocator.ts'
import type { AttachmentKey } from './attachment.ts'
import { Awaited } from './awaited.ts'
import { type Disk, openDisk } from './disk.ts'
import { Faults } from './faults.ts'
import { type LeaveError, type LeaveOptions, Leaving, type LeavingEffect, type Left } from './leaving.ts'
import { Ledger } from './ledger.ts'
import { decodeSpaceMessage } from './messages.ts'
import { ownedRanges, type Ring } from './ring.ts'
import { decodeDelta, type RingDelta } from './ring-codec.ts'
import { decodeSummary, missingDeltas, ringDigest, ringSummary } from './ring-digest.ts'
import { type IpamInit, seedIdOf, seedRing } from './seed.ts'
import { type IpamStatus, ipamStatus } from './status.ts'
import { openStore, type StoreError } from './store.ts'
import { retirementText } from './takeover.ts'
import { decodeTakeoverMessage, isTakeoverMessage } from './takeover-messages.ts'
import { type TakeoverError, type TakeoverOptions, Takeovers } from './takeovers.ts'
import { addressRange, checkUniverse, hostAddress } from './universe.ts'

/** A range of addresses, base + n, and its owner. */
export interface OwnedRange {
  readonly owner: PeerName
  readonly range: Range
}

export interface IpamOptions {
  readonly self: PeerName
  readonly universe: Cidr
  /** How the ring begins, should this node have none. */
  readonly init: IpamInit
  /** Ours alone; made if need be. */
  readonly directory: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

/** Our own name was retired: we allocate nothing any more, and must join under another name. */
export interface OwnRetirement {
  readonly by: PeerName
  /** What pods of this node have, and others may be given now; empty when we left in good order. */
  readonly lost: ReadonlyMap<AttachmentKey, Ipv4>
}

const CLOSING = 'the router is shutting down'

type Effect = AllocatorEffect | LeavingEffect

/** Owns the state directory and one timer. */
export class Ipam implements AsyncDisposable {
  /** To be registered with the mesh, before `attach`. */
  readonly part: GossipPart
  readonly #ledger: Ledger
  readonly #allocator: Allocator
  readonly #takeovers: Takeovers
  readonly #leaving: Leaving
  readonly #clock: Clock
  readonly #log: Logger
  readonly #resources: Disposable
  readonly #faults = new Faults()
  readonly #allocated = new Awaited<Result<number, AllocateError>>()
  readonly #taken = new Awaited<Result<number, TakeoverError>>()
  readonly #left = new Awaited<Result<Left, LeaveError>>()
  readonly #listeners = new Set<() => void>()
  #onRetired: ((retirement: OwnRetirement) => void) | undefined
  #isRetirementTold = false
  /** It had a ring before it started: what has become of that meanwhile? */
  #isBack = false
  #digest: { readonly ring: Ring | undefined; readonly bytes: Uint8Array } | undefined
  #port: GossipPort | undefined
  #outbox: (Effect & { kind: 'send' | 'broadcast' })[] = []
  #wake: Disposable | undefined
  #changed = false
  #requests = 0
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
    const { store, records, warning } = openStore(disk, { peer: options.self, universe: options.universe })
    const ipam = new Ipam(new Ledger(options.self, options.universe, store, records), store, options)
    if (warning !== undefined) ipam.#trouble(warning)
    ipam.#isBack = ipam.#ledger.ring !== undefined
    ipam.#begin(options.init, warning !== undefined)
    opening.move()
    return ipam
  }

  private constructor(ledger: Ledger, resources: Disposable, { clock, random, log }: Omit<IpamOptions, 'directory'>) {
    this.#ledger = ledger
    this.#resources = resources
    this.#clock = clock
    this.#log = log
    const reachable = (): readonly PeerName[] => this.#port?.reachable() ?? []
    const merge = (delta: RingDelta, now: Millis): Result<unknown, GossipFault> => this.#allocator.merge(delta, now)
    this.#leaving = new Leaving({ ledger, random, reachable, merge })
    this.#takeovers = new Takeovers({ ledger, random, reachable, merge })
    this.#allocator = new Allocator(ledger, random, { reachable, isHeld: () => this.#leaving.isHeld })
    this.part = {
      channel: 'ipam',
      digest: () => this.#currentDigest(),
      summary: () => ringSummary(ledger.universe, ledger.ring),
      missing: (summary) => this.#missing(summary),
      merge: (delta, from) => this.#merge(delta, from),
      receive: (message, from) => this.#receive(message, from),
    }
  }

  /** From now on other peers can be asked for space. */
  attach(port: GossipPort): void {
    this.#port = port
    if (this.#isBack) this.#leaving.comeBack(this.#now())
    this.#allocator.tick(this.#now())
    this.#perform()
  }

  /**
   * Takes over all ranges of `peer`, which a person says is gone, and retires its name: how many addresses are
   * ours now. Never waits longer than 8 s. `takeovers.ts` says what is promised.
   */
  takeOver(peer: PeerName, options: TakeoverOptions): Promise<Result<number, TakeoverError>> {
    if (this.#closed) return Promise.resolve(err({ code: 'silent', text: CLOSING, peers: [] }))
    const request = this.#requests++
    const settled = this.#taken.wait(request)
    this.#takeovers.start(request, peer, options, this.#now())
    this.#servePerform()
    return settled
  }

  /** Hands over all that no pod uses, and retires our own name. Never waits longer than 8 s. */
  leave(options: LeaveOptions): Promise<Result<Left, LeaveError>> {
    if (this.#closed) return Promise.resolve(err({ code: 'silent', text: CLOSING }))
    const request = this.#requests++
    const settled = this.#left.wait(request)
    this.#leaving.leave(request, options, this.#now())
    this.#servePerform()
    return settled
  }

  /** By whom our own name was retired. */
  get retiredBy(): PeerName | undefined {
    return this.#ledger.retiredBy
  }

  /** Calls `listener` once when our own name is found to be retired; at once if it is already. */
  onRetired(listener: (retirement: OwnRetirement) => void): void {
    this.#onRetired = listener
    this.#isRetirementTold = false
    this.#tellRetirement()
  }

  /** The same address again for the same key. Never waits longer than 10 s. */
  async allocate(key: AttachmentKey, signal: AbortSignal): Promise<Result<Ipv4, AllocateError>> {
    if (signal.aborted || this.#closed) return err({ code: 'cancelled', text: this.#closed ? CLOSING : 'the caller went away' })
    const request = this.#requests++
    const cancel = (): void => {
      this.#allocator.cancel(request)
      this.#perform()
    }
    signal.addEventListener('abort', cancel, { once: true })
    const settled = this.#allocated.wait(request)
    this.#allocator.allocate(request, key, this.#now())
    this.#perform()
    const result = await settled
    signal.removeEventListener('abort', cancel)
    return result.ok ? ok(hostAddress(this.#ledger.universe, result.value)) : result
  }

  /** Idempotent: the address that is free now, undefined when `key` had none. */
  free(key: AttachmentKey): Promise<Result<Ipv4 | undefined, StoreError>> {
    const freed = this.#allocator.free(key, this.#now())
    this.#perform()
    if (!freed.ok) return Promise.resolve(freed)
    return Promise.resolve(ok(freed.value === undefined ? undefined : hostAddress(this.#ledger.universe, freed.value)))
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
    return ipamStatus(this.#ledger, this.#allocator, this.#faults.list())
  }

  /** Whoever waits is told that we are closing. */
  [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return Promise.resolve()
    this.#closed = true
    this.#allocator.close()
    this.#perform()
    this.#taken.settleAll(err({ code: 'silent', text: CLOSING, peers: [] }))
    this.#left.settleAll(err({ code: 'silent', text: CLOSING }))
    this.#listeners.clear()
    return Promise.try(() => this.#resources[Symbol.dispose]())
  }

  /** A ring of our own making is only for a node that never had one: after damage it may have had, and the others know better. */
  #begin(init: IpamInit, damaged: boolean): void {
    const { ring, universe } = this.#ledger
    if (init.kind === 'await') return
    if (ring !== undefined) {
      if (ring.seedId !== seedIdOf(universe, init.peers))
        this.#trouble('the seed list is not the one that our ring began with; we keep our ring')
      return
    }
    if (damaged) {
      this.#trouble('our ring was lost with the damage; we wait to hear of it from another peer')
      return
    }
    const seeded = this.#allocator.seed(seedRing(universe, init.peers), this.#now())
    if (!seeded.ok) this.#trouble(seeded.error.text)
    else this.#log.info({ range: formatCidr(universe), count: init.peers.length }, 'IP ranges seeded')
  }

  #currentDigest(): Uint8Array {
    const { ring, universe } = this.#ledger
    if (this.#digest === undefined || this.#digest.ring !== ring) this.#digest = { ring, bytes: ringDigest(universe, ring) }
    return this.#digest.bytes
  }

  #missing(bytes: Uint8Array): Result<readonly News[], GossipFault> {
    const summary = decodeSummary(bytes)
    if (!summary.ok) return summary
    const foreign = this.#ledger.foreign(summary.value)
    if (foreign !== undefined) {
      this.#faults.add(foreign.detail)
      return err(foreign)
    }
    const { ring, universe } = this.#ledger
    const deltas = ring === undefined ? [] : missingDeltas(universe, ring, summary.value)
    return ok(deltas.map((delta) => ({ key: undefined, delta })))
  }

  #merge(bytes: Uint8Array, from: PeerName): Result<Merged, GossipFault> {
    const delta = decodeDelta(bytes)
    const merged = delta.ok ? this.#allocator.merge(delta.value, this.#now()) : delta
    const faults = merged.ok ? merged.value.faults : [merged.error]
    for (const { detail } of faults) this.#faults.add(`from ${from}: ${detail}`)
    this.#perform()
    return merged
  }

  #receive(bytes: Uint8Array, from: PeerName): void {
    const received = isTakeoverMessage(bytes) ? this.#receiveTakeover(bytes, from) : this.#receiveSpace(bytes, from)
    if (!received.ok) this.#faults.add(`from ${from}: ${received.error.detail}`)
    this.#servePerform()
  }

  #receiveSpace(bytes: Uint8Array, from: PeerName): Result<void, GossipFault> {
    const message = decodeSpaceMessage(bytes)
    return message.ok ? this.#allocator.receive(from, message.value, this.#now()) : message
  }

  #receiveTakeover(bytes: Uint8Array, from: PeerName): Result<void, GossipFault> {
    const message = decodeTakeoverMessage(bytes)
    if (!message.ok) return message
    const received = this.#takeovers.receive(from, message.value, this.#now())
    return received.ok ? this.#leaving.receive(from, message.value, this.#now()) : received
  }

  /** There may be free addresses, or none any more, after what was done. */
  #servePerform(): void {
    this.#allocator.serve(this.#now())
    this.#perform()
  }

  /** What goes to others is sent after the present call, as the mesh may be in the midst of calling us. */
  #perform(): void {
    for (const effect of [...this.#allocator.drain(), ...this.#takeovers.drain(), ...this.#leaving.drain()]) this.#do(effect)
    this.#tellRetirement()
    this.#rearm()
  }

  #do(effect: Effect): void {
    switch (effect.kind) {
      case 'broadcast':
      case 'send':
        if (this.#outbox.length === 0) queueMicrotask(() => this.#flush())
        this.#outbox.push(effect)
        break
      case 'settle':
        this.#allocated.settle(effect)
        break
      case 'taken':
        this.#taken.settle(effect)
        break
      case 'left':
        this.#left.settle(effect)
        break
      case 'changed':
        if (!this.#changed) queueMicrotask(() => this.#tell())
        this.#changed = true
        break
      case 'lost':
        this.#trouble(`allocated here, but taken by another peer: ${effect.hosts.map((host) => this.#text(host)).join(', ')}`)
        break
      case 'trouble':
        this.#trouble(effect.text)
        break
      default:
        unreachable(effect)
    }
  }

  #flush(): void {
    const outbox = this.#outbox
    this.#outbox = []
    for (const effect of outbox) {
      if (effect.kind === 'broadcast') this.#port?.broadcast(effect.delta)
      else if (this.#port?.send(effect.to, effect.message) === true) continue
      else if (!isTakeoverMessage(effect.message)) this.#allocator.unsent(effect.to, this.#now())
    }
    this.#perform()
  }

  #tell(): void {
    this.#changed = false
    for (const listener of this.#listeners) listener()
  }

  #rearm(): void {
    this.#wake?.[Symbol.dispose]()
    const now = this.#now()
    const moments = [this.#allocator.wakeAt(now), this.#takeovers.wakeAt(), this.#leaving.wakeAt()].filter((at) => at !== undefined)
    this.#wake =
      this.#closed || moments.length === 0
        ? undefined
        : this.#clock.after(millis(Math.max(0, Math.min(...moments) - now)), () => {
            this.#takeovers.tick(this.#now())
            this.#leaving.tick(this.#now())
            this.#allocator.tick(this.#now())
            this.#servePerform()
          })
  }

  #tellRetirement(): void {
    const by = this.#ledger.retiredBy
    if (by === undefined || this.#isRetirementTold || this.#onRetired === undefined) return
    this.#isRetirementTold = true
    const lost = by === this.#ledger.self ? new Map() : this.allocations()
    this.#trouble(retirementText(this.#ledger.self, by))
    this.#onRetired({ by, lost })
  }

  #trouble(text: string): void {
    this.#faults.add(text)
    this.#log.warn({ reason: text }, 'IPAM trouble')
  }

  #text(host: number): string {
    return formatIpv4(hostAddress(this.#ledger.universe, host))
  }

  #now(): Millis {
    return this.#clock.now()
  }
}
