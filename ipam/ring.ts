/**
 * The ring: who owns which host numbers, and which names are retired. A replicated map host number →
 * stamp (epoch, version, owner), kept as **runs**: stretches of equal stamps, in order, none touching
 * another of the same stamp. Host numbers that nobody has told us of are in no run.
 *
 * Rules that keep an address from having two owners:
 *  1. The stamps of each number are in total order (epoch, version, owner); the greatest wins. So merging
 *     is commutative, associative and idempotent, for every number by itself, and whoever has seen only a
 *     part of a change never takes more for its own than it was given.
 *  2. Only the owner of a number writes a greater version at it. It gives it away so, or coalesces its
 *     own runs, but never raises the epoch.
 *  3. Only a takeover raises the epoch (takeover.ts). It beats all that the peer that is gone wrote
 *     before, and whatever it may still write: its versions count no more.
 *  4. A name is retired once and for all. Who bears it owns no number any more, whatever its runs say.
 *
 * Runs of one owner that touch are one run as soon as their stamps are equal, which the owner sees to.
 * So a range that is given away and comes back leaves no trace: what a ring costs follows from who owns
 * what now, not from what has happened to it.
 *
 * Everything here is pure: a ring is a value that is replaced, never changed.
 */
import type { Range } from '../mesh/base/address.ts'
import type { Brand, PeerName } from '../mesh/base/brand.ts'
import type { GossipFault } from '../mesh/gossip.ts'

/** Tells rings of different beginnings apart: 16 hex digits, a hash of the universe and of what seeded it. */
export type SeedId = Brand<string, 'SeedId'>

/** A run, in memory, on the wire and on disk: the host numbers from `token` up to, not including, `end`. */
export interface RingItem {
  readonly token: number
  readonly end: number
  readonly owner: PeerName
  /** 0 for a guess, which any other stamp beats: see takeovers.ts. */
  readonly version: number
  /** Raised when a range is taken over from a peer that is gone. */
  readonly epoch: number
}

/** A peer that is gone for good, and the one that a person told so. Of several who were told, the greatest name stands. */
export interface Retirement {
  readonly peer: PeerName
  readonly by: PeerName
}

export interface Ring {
  readonly seedId: SeedId
  /** Of the universe: a power of two. */
  readonly size: number
  /** In ascending order, disjoint. */
  readonly entries: readonly RingItem[]
  /** By whom each of them was retired. */
  readonly retired: ReadonlyMap<PeerName, PeerName>
}

/** What one peer tells another of a ring. */
export interface RingNews {
  readonly items: readonly RingItem[]
  readonly retired: readonly Retirement[]
}

export interface RingMerge {
  readonly ring: Ring
  /** The parts of the items that the merge took, in order, and the retirements that it learned of. */
  readonly news: RingNews
  readonly faults: readonly GossipFault[]
}

/** A thousand peers with 64 fragments each. Whoever sends more is broken, and would fill our memory. */
export const RING_ENTRIES_MAX = 65_536

/** 50 nodes replaced every day for three years. A name costs 16 bytes; nobody knows when it could be forgotten. */
export const RETIRED_MAX = 65_536

/** Leaves room above it in 32 bits: a peer that floods versions cannot make the next owner's overflow. */
export const VERSION_MAX = 0x7fff_ffff

/** How no owner is written where there must be one: no peer can have this name by chance. */
const NOBODY = '0000000000000000'

export function emptyRing(seedId: SeedId, size: number): Ring {
  return { seedId, size, entries: [], retired: new Map() }
}

/** Takes of each item that is sound what is greater than ours; names the others. Returns the same ring when nothing was news. */
export function mergeRing(ring: Ring, { items, retired }: RingNews): RingMerge {
  const faults: GossipFault[] = []
  const sound = items.filter((item) => {
    const fault = faultOf(item, ring.size)
    if (fault !== undefined) faults.push(fault)
    return fault === undefined
  })
  const joined = joinWithin(ring.entries, sound, faults)
  const names = joinRetired(ring.retired, retired, faults)
  if (joined.won.length === 0 && names.news.length === 0) return { ring, news: { items: [], retired: [] }, faults }
  const entries = joined.won.length === 0 ? ring.entries : joined.runs
  return { ring: { ...ring, entries, retired: names.all }, news: { items: joined.won, retired: names.news }, faults }
}

/** Negative, zero or positive, as for sorting: epoch first, then version, then owner. */
export function compareStamps(a: RingItem, b: RingItem): number {
  if (a.epoch !== b.epoch) return a.epoch - b.epoch
  if (a.version !== b.version) return a.version - b.version
  if (a.owner === b.owner) return 0
  return a.owner < b.owner ? -1 : 1
}

/** All that a ring says, as it travels. */
export function ringNews({ entries, retired }: Ring): RingNews {
  return { items: entries, retired: [...retired].map(([peer, by]) => ({ peer, by })) }
}

/** The run that holds `host`; undefined when its owner is not known. */
export function entryOver({ entries }: Ring, host: number): RingItem | undefined {
  const entry = entries[firstAfter(entries, host) - 1]
  return entry !== undefined && host < entry.end ? entry : undefined
}

/** What the runs, cut at the ends of `range`, say of it. */
export function entriesWithin({ entries }: Pick<Ring, 'entries'>, { start, end }: Range): readonly RingItem[] {
  const from = Math.max(0, firstAfter(entries, start) - 1)
  return entries
    .slice(from, firstAfter(entries, end - 1))
    .map((entry) => ({ ...entry, token: Math.max(entry.token, start), end: Math.min(entry.end, end) }))
    .filter((entry) => entry.token < entry.end)
}

/** What nobody has told us of, in order. */
export function gapsOf({ entries, size }: Ring): readonly Range[] {
  const starts = [0, ...entries.map(({ end }) => end)]
  const ends = [...entries.map(({ token }) => token), size]
  return starts.map((start, index) => ({ start, end: ends[index] ?? size })).filter(({ start, end }) => start < end)
}

/** A range and its owner; adjacent runs of one owner are one range. Gaps are left out. In order. */
export interface HostRange {
  readonly owner: PeerName
  readonly range: Range
}

export function ownedRanges({ entries }: Ring): readonly HostRange[] {
  return touching(entries).flatMap((stretch) => {
    const [first, last] = [stretch[0], stretch.at(-1)]
    return first === undefined || last === undefined ? [] : [{ owner: first.owner, range: { start: first.token, end: last.end } }]
  })
}

/**
 * What the owner of all of `block` must write to give it to `to`. Undefined when that cannot be written:
 * `block` is not all `owner`'s, or a limit is reached.
 */
export function grantItems(ring: Ring, owner: PeerName, block: Range, to: PeerName): readonly RingItem[] | undefined {
  const inside = entriesWithin(ring, block)
  const covered = inside.reduce((sum, entry) => sum + entry.end - entry.token, 0)
  if (covered !== block.end - block.start || ring.entries.length + 2 > RING_ENTRIES_MAX) return undefined
  if (inside.some((entry) => entry.owner !== owner || entry.version >= VERSION_MAX)) return undefined
  return inside.map((entry) => ({ ...entry, owner: to, version: entry.version + 1 }))
}

/**
 * What `owner` must write so that its runs that touch are one. Only those of one epoch become one: an owner that
 * raised an epoch could outrun a takeover of its own ranges.
 */
export function coalesceItems(ring: Ring, owner: PeerName): readonly RingItem[] {
  return touching(ring.entries, (a, b) => a.epoch === b.epoch).flatMap((stretch) => {
    const [first, last] = [stretch[0], stretch.at(-1)]
    const version = Math.max(...stretch.map((entry) => entry.version)) + 1
    if (first === undefined || last === undefined || stretch.length < 2 || first.owner !== owner || version > VERSION_MAX) return []
    return [{ ...first, end: last.end, version }]
  })
}

/** What is wrong with a ring, for tests and assertions; undefined when it is sound. */
export function checkInvariants({ entries, size }: Ring): string | undefined {
  for (const [index, entry] of entries.entries()) {
    const previous = entries[index - 1]
    if (previous !== undefined && previous.end > entry.token) return `the run at ${entry.token} overlaps the one at ${previous.token}`
    if (previous?.end === entry.token && compareStamps(previous, entry) === 0) return `the run at ${entry.token} goes on at ${entry.token}`
    const fault = faultOf(entry, size)
    if (fault !== undefined) return fault.detail
  }
  return undefined
}

/** Runs of one owner without a gap between them, together. */
function touching(
  entries: readonly RingItem[],
  alike: (a: RingItem, b: RingItem) => boolean = () => true,
): readonly (readonly RingItem[])[] {
  const stretches: RingItem[][] = []
  for (const entry of entries) {
    const stretch = stretches.at(-1)
    const last = stretch?.at(-1)
    if (last?.end === entry.token && last.owner === entry.owner && alike(last, entry)) stretch?.push(entry)
    else stretches.push([entry])
  }
  return stretches
}

function faultOf({ token, end, owner, version, epoch }: RingItem, size: number): GossipFault | undefined {
  if (!(token < end && end <= size)) return { code: 'malformed', detail: `entry ${token} reaches to ${end} in a ring of ${size}` }
  if (version > VERSION_MAX || epoch > VERSION_MAX) {
    return { code: 'limit', detail: `entry ${token} has version ${version} of epoch ${epoch}, above ${VERSION_MAX}` }
  }
  if ((version === 0 && epoch > 0) || owner === NOBODY)
    return { code: 'malformed', detail: `entry ${token} has version ${version} and the owner ${owner}` }
  return undefined
}

interface Joined {
  readonly runs: readonly RingItem[]
  /** What of the second came to stand in place of the first. */
  readonly won: readonly RingItem[]
}

/** Joins items, which may overlap each other, with runs; those for which there is no room are named in `faults`. */
function joinWithin(runs: readonly RingItem[], items: readonly RingItem[], faults: GossipFault[]): Joined {
  const joined = join(runs, runsOf(items))
  if (joined.runs.length <= RING_ENTRIES_MAX || items.length === 0) return joined
  const [first] = items
  if (items.length === 1 && first !== undefined) {
    faults.push({ code: 'limit', detail: `no room for entry ${first.token}: the ring has ${RING_ENTRIES_MAX} already` })
    return { runs, won: [] }
  }
  const half = items.length >>> 1
  const left = joinWithin(runs, items.slice(0, half), faults)
  const right = joinWithin(left.runs, items.slice(half), faults)
  return { runs: right.runs, won: join(left.won, right.won).runs }
}

/** As runs. Items that nobody has tampered with are in order already; others may overlap, and are joined by halves. */
function runsOf(items: readonly RingItem[]): readonly RingItem[] {
  if (items.every(({ token }, index) => (items[index - 1]?.end ?? 0) <= token)) {
    const runs: RingItem[] = []
    for (const item of items) extend(runs, item, item.token, item.end)
    return runs
  }
  const half = items.length >>> 1
  return join(runsOf(items.slice(0, half)), runsOf(items.slice(half))).runs
}

/** The greater of both for every host number: from border to border, up to the last. */
function join(a: readonly RingItem[], b: readonly RingItem[]): Joined {
  const [runs, won]: [RingItem[], RingItem[]] = [[], []]
  const [ours, theirs] = [new Walk(a), new Walk(b)]
  let at = 0
  for (let end = 0; end < Number.POSITIVE_INFINITY; at = end) {
    const [mine, other] = [ours.over(at), theirs.over(at)]
    end = Math.min(ours.borderAfter(at), theirs.borderAfter(at))
    const isNews = other !== undefined && (mine === undefined || compareStamps(other, mine) > 0)
    const best = isNews ? other : mine
    if (best !== undefined) extend(runs, best, at, end)
    if (isNews) extend(won, other, at, end)
  }
  return { runs, won }
}

/** Runs, looked up for host numbers that only go up. */
class Walk {
  readonly #runs: readonly RingItem[]
  #index = 0

  constructor(runs: readonly RingItem[]) {
    this.#runs = runs
  }

  /** The run over `host`. */
  over(host: number): RingItem | undefined {
    while ((this.#runs[this.#index]?.end ?? Number.POSITIVE_INFINITY) <= host) this.#index += 1
    const run = this.#runs[this.#index]
    return run !== undefined && run.token <= host ? run : undefined
  }

  /** Where a run begins or ends next after `host`, which `over` was asked about. */
  borderAfter(host: number): number {
    const run = this.#runs[this.#index]
    if (run === undefined) return Number.POSITIVE_INFINITY
    return run.token > host ? run.token : run.end
  }
}

/** Adds what `run` says of `token` up to `end`, as part of the last one if it goes on with it. */
function extend(runs: RingItem[], run: RingItem, token: number, end: number): void {
  const last = runs.at(-1)
  if (last?.end === token && compareStamps(last, run) === 0) runs[runs.length - 1] = { ...last, end }
  else runs.push(run.token === token && run.end === end ? run : { ...run, token, end })
}

function joinRetired(
  ours: ReadonlyMap<PeerName, PeerName>,
  theirs: readonly Retirement[],
  faults: GossipFault[],
): { readonly all: ReadonlyMap<PeerName, PeerName>; readonly news: readonly Retirement[] } {
  const all = new Map(ours)
  const news = new Set<PeerName>()
  for (const { peer, by } of theirs) {
    const known = all.get(peer)
    if (known !== undefined && known >= by) continue
    if (known === undefined && all.size >= RETIRED_MAX) {
      faults.push({ code: 'limit', detail: `no room for one more retired name, ${peer}: there are ${RETIRED_MAX} already` })
      continue
    }
    all.set(peer, by)
    news.add(peer)
  }
  return news.size === 0 ? { all: ours, news: [] } : { all, news: [...news].map((peer) => ({ peer, by: all.get(peer) ?? peer })) }
}

/** The index of the first run whose token is above `host`. */
function firstAfter(entries: readonly RingItem[], host: number): number {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((entries[middle]?.token ?? Number.POSITIVE_INFINITY) > host) high = middle
    else low = middle + 1
  }
  return low
}
