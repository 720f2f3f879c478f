/**
 * What this peer knows and has promised: the ring, and which address is allocated to what. It is what
 * applying the journal's records in order gives, at start as later: a change is worked out first, then
 * written, and applied only once it is written. So memory is never ahead of the disk in what matters:
 *
 *  - a grant is on the device before anybody hears of it: we cannot come back from a power loss and
 *    use what we gave away;
 *  - what we are given is on the device before we allocate from it;
 *  - an allocation or release is in the file before the caller hears of it.
 *
 * What others tell of the ring is kept in memory even when it cannot be written, so that a full disk
 * does not stop the routes; and so is the release of an address, so that pods can go. No promise can be
 * built on what is not written: the next change of ours must write the whole state first.
 *
 * Who has lost some of what was written is **in doubt**: we may have given ranges away and do not know it.
 * Then nothing is given to anybody, pod or peer, until the others have told us what they know. This is
 * noticed by damage to the journal, or when others tell of changes in our ranges that only we can have made.
 */
import { cidrSize, formatIpv4 } from '../mesh/base/address.ts'
import type { PeerName } from '../mesh/base/brand.ts'
import { err, ok, type Result, unreachable } from '../mesh/base/result.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import type { AttachmentKey } from './attachment.ts'
import type { JournalRecord } from './journal.ts'
import {
  emptyRing,
  entryOver,
  grantItems,
  mergeRing,
  ownedRanges,
  type Ring,
  type RingEntry,
  type RingItem,
  ringItems,
  type SeedId,
  withEnds,
} from './ring.ts'
import { DELTA_ITEMS_MAX, type RingDelta } from './ring-codec.ts'
import { Space } from './space.ts'
import type { Store, StoreError } from './store.ts'
import { formatUniverse, hostAddress, isReserved, type Universe } from './universe.ts'

export interface LedgerMerge {
  /** Entries that were new to us, as they are in our ring. */
  readonly news: readonly RingEntry[]
  readonly faults: readonly GossipFault[]
  /** Set when the news could not be written: they are in memory only. */
  readonly unwritten: StoreError | undefined
  /** Set when the news shows that we have forgotten something. */
  readonly forgotten: string | undefined
}

/** An answer to a claim. */
export interface YieldedHosts {
  /** Those that are allocated here. */
  readonly used: readonly number[]
  /** Some were given. */
  readonly isNews: boolean
  readonly delta: RingDelta
}

export class Ledger {
  readonly self: PeerName
  readonly universe: Universe
  readonly #size: number
  readonly #store: Store
  readonly #space: Space
  readonly #allocations = new Map<AttachmentKey, number>()
  #ring: Ring | undefined
  #inDoubt = false

  constructor(self: PeerName, universe: Universe, store: Store, recovered: readonly JournalRecord[]) {
    this.self = self
    this.universe = universe
    this.#size = cidrSize(universe)
    this.#store = store
    this.#space = new Space(this.#size)
    for (const record of recovered) this.#apply(record)
  }

  get ring(): Ring | undefined {
    return this.#ring
  }

  /** Host numbers of our own that can still be allocated. */
  get free(): number {
    return this.#space.free
  }

  /** In order of allocation. */
  get allocations(): ReadonlyMap<AttachmentKey, number> {
    return this.#allocations
  }

  /** We may have given away what we take for our own. */
  get inDoubt(): boolean {
    return this.#inDoubt
  }

  /** Why the disk is behind; undefined when it is not. */
  get fault(): StoreError | undefined {
    return this.#store.fault
  }

  /** Writes what could not be written before, if there is any. */
  repair(): Result<void, StoreError> {
    return this.#store.broken ? this.#store.rewrite(this.#snapshot()) : ok(undefined)
  }

  /** Begins or ends the doubt. In memory also when it cannot be written: the journal is as damaged as before then. */
  doubt(isOpen: boolean): Result<void, StoreError> {
    if (this.#inDoubt === isOpen) return ok(undefined)
    return this.#commitAnyway([{ kind: 'doubt', isOpen }], 'durable')
  }

  /**
   * Takes up the address of a pod that runs and of which we have lost the record. Kept in memory also when it cannot be
   * written. False when there is no such host number, when it is another's here, or `key` has one.
   */
  relearn(key: AttachmentKey, host: number): boolean {
    if (host < 0 || host >= this.#size || isReserved(this.#size, host)) return false
    if (this.#allocations.has(key) || this.#space.isUsed(host)) return false
    this.#commitAnyway([{ kind: 'allocate', key, host }], 'buffered')
    return true
  }

  /** Allocated here, although the ring says that they are another's: two pods may have them. */
  strays(): readonly number[] {
    return this.#space.strays()
  }

  /** Begins the ring; only for a peer that has none. */
  seed(ring: Ring): Result<void, StoreError> {
    return this.#commit(this.#ringRecords(ring.seedId, ringItems(ring)), 'durable')
  }

  /** The same address again for the same key; undefined when none is free here. */
  allocate(key: AttachmentKey): Result<number | undefined, StoreError> {
    const host = this.#allocations.get(key) ?? (this.#inDoubt ? undefined : this.#space.next())
    if (host === undefined || this.#allocations.has(key)) return ok(host)
    const written = this.#commit([{ kind: 'allocate', key, host }], 'buffered')
    return written.ok ? ok(host) : written
  }

  /** The address that is free now; undefined when `key` had none. `unwritten` is set when the disk does not know yet. */
  release(key: AttachmentKey): { readonly host: number | undefined; readonly unwritten: StoreError | undefined } {
    const host = this.#allocations.get(key)
    if (host === undefined) return { host, unwritten: undefined }
    const written = this.#commitAnyway([{ kind: 'free', key }], 'buffered')
    return { host, unwritten: written.ok ? undefined : written.error }
  }

  /** Gives part of our free space to `to`: the entries to tell of; undefined when we have nothing to give. */
  grant(to: PeerName): Result<RingDelta | undefined, StoreError> {
    const block = this.#inDoubt ? undefined : this.#space.blockToGive()
    if (this.#ring === undefined || block === undefined) return ok(undefined)
    const items = grantItems(this.#ring, this.self, block, to)
    // A grant must be one message; a block of more fragments than fit in one stays with us.
    if (items === undefined || items.length > DELTA_ITEMS_MAX) return ok(undefined)
    const { seedId } = this.#ring
    const written = this.#commit(this.#ringRecords(seedId, items), 'durable')
    return written.ok ? ok({ universe: this.universe, seedId, items }) : written
  }

  /**
   * Gives to `to` exactly these of our host numbers, but for those that are allocated here, which are named.
   * @returns also the entries of all of `hosts`, whoever has them; undefined when we cannot say.
   */
  yieldHosts(to: PeerName, hosts: readonly number[]): Result<YieldedHosts | undefined, StoreError> {
    if (this.#ring === undefined || this.#inDoubt) return ok(undefined)
    const { seedId } = this.#ring
    const inUse = new Set(this.#allocations.values())
    let ring = this.#ring
    const used: number[] = []
    const written: RingEntry[] = []
    for (const host of new Set(hosts)) {
      if (host >= this.#size || isReserved(this.#size, host) || entryOver(ring, host)?.owner !== this.self) continue
      if (inUse.has(host)) {
        used.push(host)
        continue
      }
      const merged = mergeRing(ring, grantItems(ring, this.self, { start: host, end: host + 1 }, to) ?? [])
      written.push(...merged.news)
      ring = merged.ring
    }
    const tokens = new Set([...written.map(({ token }) => token), ...hosts.flatMap((host) => entryOver(ring, host)?.token ?? [])])
    const items = withEnds(
      ring,
      ring.entries.filter(({ token, owner }) => owner !== undefined && tokens.has(token)),
    )
    const committed = written.length === 0 ? ok(undefined) : this.#commit(this.#ringRecords(seedId, items), 'durable')
    return committed.ok ? ok({ used, isNews: written.length > 0, delta: { universe: this.universe, seedId, items } }) : committed
  }

  /**
   * Leaves our ring, whose beginning was another one, for `ring`. What is allocated stays so, and counts as stray where
   * `ring` gives it to others.
   */
  adopt(ring: Ring): Result<void, StoreError> {
    const left = this.#ring
    this.#ring = ring
    const written = this.#store.rewrite(this.#snapshot())
    if (written.ok) this.#own(ring)
    else this.#ring = left
    return written
  }

  /** Takes over what is sound and news in `delta`. A ring of another beginning is refused as a whole. */
  merge(delta: RingDelta): Result<LedgerMerge, GossipFault> {
    const foreign = this.foreign(delta)
    if (foreign !== undefined) return err(foreign)
    if (delta.seedId === undefined) return ok({ news: [], faults: [], unwritten: undefined, forgotten: undefined })
    const merged = mergeRing(this.#ring ?? emptyRing(delta.seedId, this.#size), delta.items)
    const { news, faults } = merged
    if (news.length === 0) return ok({ news, faults, unwritten: undefined, forgotten: undefined })
    const forgotten = this.#inDoubt ? undefined : this.#forgottenIn(news)
    const gains = news.some(({ owner }) => owner === this.self)
    const doubts = forgotten === undefined ? [] : [{ kind: 'doubt', isOpen: true } as const]
    const records = [...this.#ringRecords(delta.seedId, withEnds(merged.ring, news)), ...doubts]
    const written = this.#commitAnyway(records, gains || forgotten !== undefined ? 'durable' : 'buffered')
    return ok({ news, faults, unwritten: written.ok ? undefined : written.error, forgotten })
  }

  /** Why a message about the ring `theirs` is not for ours; undefined when it is. */
  foreign(theirs: Omit<RingDelta, 'items'>): GossipFault | undefined {
    const [range, ourRange] = [formatUniverse(theirs.universe), formatUniverse(this.universe)]
    if (range !== ourRange) return { code: 'foreign', detail: `a ring of the range ${range}; ours is ${ourRange}` }
    if (theirs.seedId === undefined || this.#ring === undefined || theirs.seedId === this.#ring.seedId) return undefined
    return {
      code: 'foreign',
      detail: `a ring of ${range} with seed id ${theirs.seedId}; ours has ${this.#ring.seedId}: they were begun by different seed lists`,
    }
  }

  #own(ring: Ring): void {
    this.#space.own(ownedRanges(ring).flatMap(({ owner, range }) => (owner === this.self ? [range] : [])))
  }

  #ringRecords(seedId: SeedId, items: readonly RingItem[]): readonly JournalRecord[] {
    const records: JournalRecord[] = []
    for (let at = 0; at < items.length; at += DELTA_ITEMS_MAX) {
      const delta = { universe: this.universe, seedId, items: items.slice(at, at + DELTA_ITEMS_MAX) }
      records.push({ kind: 'ring', delta })
    }
    return records
  }

  /** Only an owner writes in its range, unless the range is taken over from it, which raises the epoch. */
  #forgottenIn(news: readonly RingEntry[]): string | undefined {
    const ring = this.#ring
    if (ring === undefined) return undefined
    const lost = news.find(({ token, owner, epoch }) => {
      const ours = entryOver(ring, token)
      return ours !== undefined && ours.owner === this.self && owner !== undefined && epoch === ours.epoch
    })
    if (lost === undefined) return undefined
    return `version ${lost.version} of ${formatIpv4(hostAddress(this.universe, lost.token))}, in a range of ours, is none that we know of, and only we can have made it: some of our journal is lost`
  }

  /** As `#commit`, but the change happens also when it cannot be written. */
  #commitAnyway(records: readonly JournalRecord[], durability: 'buffered' | 'durable'): Result<void, StoreError> {
    const written = this.#commit(records, durability)
    if (!written.ok) for (const record of records) this.#apply(record)
    return written
  }

  #commit(records: readonly JournalRecord[], durability: 'buffered' | 'durable'): Result<void, StoreError> {
    const written = this.#store.broken ? this.#store.rewrite([...this.#snapshot(), ...records]) : this.#store.append(records, durability)
    if (!written.ok) return written
    for (const record of records) this.#apply(record)
    // Its failure costs nothing yet: the change is in the old file. The next change tries again and tells.
    if (this.#store.grown) this.#store.rewrite(this.#snapshot())
    return written
  }

  /** The fewest records that give the present state. */
  #snapshot(): readonly JournalRecord[] {
    const ring = this.#ring === undefined ? [] : this.#ringRecords(this.#ring.seedId, ringItems(this.#ring))
    const allocations = [...this.#allocations].map(([key, host]) => ({ kind: 'allocate', key, host }) as const)
    const doubt = this.#inDoubt ? [{ kind: 'doubt', isOpen: true } as const] : []
    return [...ring, ...allocations, { kind: 'cursor', host: this.#space.cursor }, ...doubt]
  }

  /** The only place where the state changes. Records of another ring, or of no host of ours, are as good as absent. */
  #apply(record: JournalRecord): void {
    switch (record.kind) {
      case 'ring': {
        const { seedId, items } = record.delta
        if (seedId === undefined || this.foreign(record.delta) !== undefined) return
        this.#ring = mergeRing(this.#ring ?? emptyRing(seedId, this.#size), items).ring
        this.#own(this.#ring)
        return
      }
      case 'allocate':
        if (record.host >= this.#size || isReserved(this.#size, record.host)) return
        this.#allocations.set(record.key, record.host)
        this.#space.take(record.host)
        return
      case 'free': {
        const host = this.#allocations.get(record.key)
        this.#allocations.delete(record.key)
        if (host !== undefined) this.#space.release(host)
        return
      }
      case 'cursor':
        this.#space.cursor = record.host
        return
      case 'doubt':
        this.#inDoubt = record.isOpen
        return
      default:
        unreachable(record)
    }
  }
}
