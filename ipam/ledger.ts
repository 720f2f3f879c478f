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
import { cidrSize, formatIpv4, type Range } from '../mesh/base/address.ts'
import type { PeerName } from '../mesh/base/brand.ts'
import { err, ok, type Result, unreachable } from '../mesh/base/result.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import type { AttachmentKey } from './attachment.ts'
import type { JournalRecord } from './journal.ts'
import {
  coalesceItems,
  emptyRing,
  entriesWithin,
  entryOver,
  grantItems,
  mergeRing,
  ownedRanges,
  type Ring,
  type RingItem,
  type RingNews,
  ringNews,
  type SeedId,
} from './ring.ts'
import { DELTA_ITEMS_MAX, type RingDelta, type RingHead } from './ring-codec.ts'
import { chunksOf } from './ring-digest.ts'
import { Space } from './space.ts'
import type { Store, StoreError } from './store.ts'
import { lateItems } from './takeover.ts'
import { formatUniverse, hostAddress, isReserved, type Universe } from './universe.ts'

export interface LedgerMerge {
  /** What was new to us. */
  readonly news: RingNews
  /** What we wrote ourselves in answer to it: all others are to hear of it. */
  readonly own: readonly RingItem[]
  /** Host numbers that are allocated here and were ours until now. */
  readonly lost: readonly number[]
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

const NO_NEWS: RingNews = { items: [], retired: [] }

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

  /** Of the host numbers of `within`. */
  freeIn(within: Range): number {
    return this.#space.freeIn(within)
  }

  /** What has this host number here, whether it is ours or not. */
  holderOf(host: number): AttachmentKey | undefined {
    if (!this.#space.isUsed(host)) return undefined
    for (const [key, its] of this.#allocations) if (its === host) return key
    return undefined
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

  /** By whom this peer's own name was retired: then it allocates and gives nothing any more. */
  get retiredBy(): PeerName | undefined {
    return this.#ring?.retired.get(this.self)
  }

  /** Allocated here, although the ring says that they are another's: two pods may have them. */
  strays(): readonly number[] {
    return [...this.#allocations.values()].filter((host) => !this.#isOurs(host, this.#ring))
  }

  /** Ranges of ours without an address in use. */
  unused(): readonly Range[] {
    return this.#space.unused()
  }

  /** Begins the ring; only for a peer that has none. */
  seed(ring: Ring): Result<void, StoreError> {
    return this.#commit(this.#ringRecords(ring.seedId, ringNews(ring)), 'durable')
  }

  /** The same address again for the same key; else one of `within`, undefined when none is free here. */
  allocate(key: AttachmentKey, within?: Range): Result<number | undefined, StoreError> {
    const host = this.#allocations.get(key) ?? (this.#inDoubt ? undefined : this.#space.next(within))
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

  /** Gives part of our free space, of `within`, to `to`: what to tell of; undefined when we have nothing to give. */
  grant(to: PeerName, within?: Range): Result<RingDelta | undefined, StoreError> {
    // Who may have forgotten a grant of its own could call it back by writing in that range.
    const block = this.#inDoubt ? undefined : this.#space.blockToGive(within)
    if (this.#ring === undefined || block === undefined || this.#ring.retired.has(to)) return ok(undefined)
    const items = grantItems(this.#ring, this.self, block, to)
    // A grant must be one message; a block of more fragments than fit in one stays with us.
    if (items === undefined || items.length > DELTA_ITEMS_MAX) return ok(undefined)
    const { seedId } = this.#ring
    const written = this.write({ items, retired: [] })
    return written.ok ? ok({ universe: this.universe, seedId, items, retired: [] }) : written
  }

  /** Writes what we may say of the ring, durably. Nothing happens when we have none. */
  write(news: RingNews): Result<void, StoreError> {
    return this.#ring === undefined ? ok(undefined) : this.#commit(this.#ringRecords(this.#ring.seedId, news), 'durable')
  }

  /**
   * Gives to `to` exactly these of our host numbers, but for those that are allocated here, which are named.
   * @returns also the entries of all of `hosts`, whoever has them; undefined when we cannot say.
   */
  yieldHosts(to: PeerName, hosts: readonly number[]): Result<YieldedHosts | undefined, StoreError> {
    if (this.#ring === undefined || this.#inDoubt || this.retiredBy !== undefined || this.#ring.retired.has(to)) return ok(undefined)
    const { seedId } = this.#ring
    const inUse = new Set(this.#allocations.values())
    const claimed = [...new Set(hosts)].filter((host) => host < this.#size && !isReserved(this.#size, host))
    const used = claimed.filter((host) => inUse.has(host) && this.#isOurs(host, this.#ring))
    let ring = this.#ring
    const written: RingItem[] = []
    for (const host of claimed) {
      if (inUse.has(host) || !this.#isOurs(host, ring)) continue
      const merged = mergeRing(ring, { items: grantItems(ring, this.self, { start: host, end: host + 1 }, to) ?? [], retired: [] })
      written.push(...merged.news.items)
      ring = merged.ring
    }
    const items = claimed.flatMap((host) => entriesWithin(ring, { start: host, end: host + 1 }))
    const committed = written.length === 0 ? ok(undefined) : this.write({ items: written, retired: [] })
    const delta = { universe: this.universe, seedId, items, retired: [] }
    return committed.ok ? ok({ used, isNews: written.length > 0, delta }) : committed
  }

  /**
   * Leaves our ring, whose beginning was another one, for `ring`. What is allocated stays so, and counts as stray where
   * `ring` gives it to others. Names that were retired in our ring are not in that one: their ranges went with it, and who
   * was gone for us may be alive, and an owner, there.
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
    const nothing = { news: NO_NEWS, own: [], lost: [], faults: [], unwritten: undefined, forgotten: undefined }
    if (delta.seedId === undefined) return ok(nothing)
    const before = this.#ring ?? emptyRing(delta.seedId, this.#size)
    const { ring, news, faults } = mergeRing(before, delta)
    if (ring === before) return ok({ ...nothing, faults })
    const forgotten = this.#inDoubt ? undefined : this.#forgottenIn(news.items)
    const gains = news.items.filter(({ owner }) => owner === this.self)
    // In doubt we write nothing over ranges that we may have given away.
    const own = gains.length === 0 || this.#inDoubt || forgotten !== undefined ? [] : this.#answerTo(before, ring, gains)
    const doubts = forgotten === undefined ? [] : [{ kind: 'doubt', isOpen: true } as const]
    const records = [...this.#ringRecords(delta.seedId, news), ...this.#ringRecords(delta.seedId, { items: own, retired: [] }), ...doubts]
    const isOfWeight = gains.length > 0 || news.retired.length > 0 || forgotten !== undefined
    const written = this.#commitAnyway(records, isOfWeight ? 'durable' : 'buffered')
    const lost = [...this.#allocations.values()].filter((host) => this.#isOurs(host, before) && !this.#isOurs(host, this.#ring))
    return ok({ news, own, lost, faults, unwritten: written.ok ? undefined : written.error, forgotten })
  }

  /** Why a message about the ring `theirs` is not for ours; undefined when it is. */
  foreign(theirs: RingHead): GossipFault | undefined {
    const [range, ourRange] = [formatUniverse(theirs.universe), formatUniverse(this.universe)]
    if (range !== ourRange) return { code: 'foreign', detail: `a ring of the range ${range}; ours is ${ourRange}` }
    if (theirs.seedId === undefined || this.#ring === undefined || theirs.seedId === this.#ring.seedId) return undefined
    return {
      code: 'foreign',
      detail: `a ring of ${range} with seed id ${theirs.seedId}; ours has ${this.#ring.seedId}: they were begun by different seed lists`,
    }
  }

  /** Whose name is retired owns nothing any more. */
  #own(ring: Ring): void {
    const usable = ring.retired.has(this.self) ? [] : ownedRanges(ring).filter(({ owner }) => owner === this.self)
    this.#space.own(usable.map(({ range }) => range))
  }

  /** What comes too late goes back; what touches our other ranges becomes one with them. */
  #answerTo(before: Ring, merged: Ring, gains: readonly RingItem[]): readonly RingItem[] {
    const late = lateItems(before, gains)
    const { ring } = mergeRing(merged, { items: late, retired: [] })
    return ring.retired.has(this.self) ? late : [...late, ...coalesceItems(ring, this.self)]
  }

  #isOurs(host: number, ring: Ring | undefined): boolean {
    return ring !== undefined && entryOver(ring, host)?.owner === this.self
  }

  #ringRecords(seedId: SeedId, news: RingNews): readonly JournalRecord[] {
    return chunksOf(news).map((chunk) => ({ kind: 'ring', delta: { universe: this.universe, seedId, ...chunk } }))
  }

  /**
   * Within an epoch only the owner of a number writes a greater version at it. The same version of another owner is of two
   * who took over from one peer, as no consent was asked of either.
   */
  #forgottenIn(news: readonly RingItem[]): string | undefined {
    const ring = this.#ring
    if (ring === undefined) return undefined
    const [lost] = news.flatMap((item) =>
      entriesWithin(ring, { start: item.token, end: item.end })
        .filter(({ owner, epoch, version }) => owner === this.self && epoch === item.epoch && version < item.version)
        .map(({ token }) => ({ token, version: item.version })),
    )
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
    const ring = this.#ring === undefined ? [] : this.#ringRecords(this.#ring.seedId, ringNews(this.#ring))
    const allocations = [...this.#allocations].map(([key, host]) => ({ kind: 'allocate', key, host }) as const)
    const { resting, cursor } = this.#space
    const rest = resting.length > 0 ? [{ kind: 'rest', hosts: resting } as const] : []
    const doubt = this.#inDoubt ? [{ kind: 'doubt', isOpen: true } as const] : []
    return [...ring, ...allocations, ...rest, { kind: 'cursor', host: cursor }, ...doubt]
  }

  /** The only place where the state changes. Records of another ring, or of no host of ours, are as good as absent. */
  #apply(record: JournalRecord): void {
    switch (record.kind) {
      case 'ring': {
        const { seedId } = record.delta
        if (seedId === undefined || this.foreign(record.delta) !== undefined) return
        this.#ring = mergeRing(this.#ring ?? emptyRing(seedId, this.#size), record.delta).ring
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
      case 'rest':
        this.#space.rest(record.hosts)
        return
      case 'doubt':
        this.#inDoubt = record.isOpen
        return
      default:
        unreachable(record)
    }
  }
}
