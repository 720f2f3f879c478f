/**
 * The ring: who owns which host numbers. A replicated map token → entry, where an entry owns
 * [token, next token) and the last one owns up to the end of the universe.
 *
 * Rules that keep an address from having two owners:
 *  1. Each token's entries are in total order (epoch, version, owner); the greatest wins. Tokens are
 *     never deleted. So merging is commutative, associative and idempotent.
 *  2. Only the owner of a range gives it away: it writes a greater version at the tokens in it, and
 *     inserts tokens only in its own range. It knows every token there, as whoever gave it the range did.
 *  3. An entry never travels without its **end**, the next token in its sender's ring, and both are
 *     taken or skipped together. A receiver that does not know the token at `end` keeps it as a
 *     **boundary**: a token whose owner is not known yet. So no peer's idea of an entry reaches further
 *     than that of whoever made the entry, however few of the other tokens it has seen, and nobody
 *     takes itself for the owner of what it was not given. The token at `end` must not bring its own
 *     owner along for this purpose: *its* end would be missing, and that owner may be the receiver.
 *
 * Everything here is pure: a ring is a value that is replaced, never changed.
 */
import type { Range } from '../mesh/base/address.ts'
import type { Brand, PeerName } from '../mesh/base/brand.ts'
import type { GossipFault } from '../mesh/gossip.ts'

/** Tells rings of different beginnings apart: 16 hex digits, a hash of the universe and of what seeded it. */
export type SeedId = Brand<string, 'SeedId'>

export interface RingEntry {
  /** The first host number of the range. */
  readonly token: number
  /** Undefined for a boundary: then version and epoch are 0. */
  readonly owner: PeerName | undefined
  readonly version: number
  /** Raised when a range is taken over from a peer that is gone. */
  readonly epoch: number
}

/** An entry as it travels and as it is stored: with the next token. */
export interface RingItem extends RingEntry {
  readonly end: number
}

export interface Ring {
  readonly seedId: SeedId
  /** Of the universe: a power of two. */
  readonly size: number
  /** In ascending order of token, each token once. */
  readonly entries: readonly RingEntry[]
}

export interface RingMerge {
  readonly ring: Ring
  /** The entries that the merge changed or added, in order of token. */
  readonly news: readonly RingEntry[]
  readonly faults: readonly GossipFault[]
}

/** A thousand peers with 64 fragments each. Whoever sends more is broken, and would fill our memory. */
export const RING_ENTRIES_MAX = 65_536

/** Leaves room above it in 32 bits: a peer that floods versions cannot make the next owner's overflow. */
export const VERSION_MAX = 0x7fff_ffff

export function emptyRing(seedId: SeedId, size: number): Ring {
  return { seedId, size, entries: [] }
}

/** Takes each item that is sound and greater than ours; names the others. Returns the same ring when nothing was news. */
export function mergeRing(ring: Ring, items: readonly RingItem[]): RingMerge {
  const changes = new Map<number, RingEntry>()
  const faults: GossipFault[] = []
  let tokens = ring.entries.length
  const offer = (entry: RingEntry): void => {
    const ours = changes.get(entry.token) ?? entryAt(ring, entry.token)
    if (ours !== undefined && compareEntries(entry, ours) <= 0) return
    if (ours === undefined) tokens += 1
    changes.set(entry.token, entry)
  }
  for (const item of items) {
    const fault = faultOf(item, ring.size) ?? (tokens + 2 > RING_ENTRIES_MAX ? tooMany(item) : undefined)
    if (fault !== undefined) {
      faults.push(fault)
      continue
    }
    offer({ token: item.token, owner: item.owner, version: item.version, epoch: item.epoch })
    if (item.end < ring.size) offer({ token: item.end, owner: undefined, version: 0, epoch: 0 })
  }
  if (changes.size === 0) return { ring, news: [], faults }
  const news = [...changes.values()].sort((a, b) => a.token - b.token)
  return { ring: { ...ring, entries: weave(ring.entries, news) }, news, faults }
}

/** Negative, zero or positive, as for sorting: epoch first, then version, then owner. */
export function compareEntries(a: RingEntry, b: RingEntry): number {
  if (a.epoch !== b.epoch) return a.epoch - b.epoch
  if (a.version !== b.version) return a.version - b.version
  const [left, right] = [a.owner ?? '', b.owner ?? '']
  if (left === right) return 0
  return left < right ? -1 : 1
}

/** `entries`, which are of `ring`, each with its end in that ring. */
export function withEnds(ring: Ring, entries: readonly RingEntry[]): readonly RingItem[] {
  return entries.map((entry) => ({ ...entry, end: ring.entries[indexAfter(ring, entry.token)]?.token ?? ring.size }))
}

/** The whole ring, as it travels. */
export function ringItems(ring: Ring): readonly RingItem[] {
  return ring.entries.map((entry, index) => ({ ...entry, end: ring.entries[index + 1]?.token ?? ring.size }))
}

/** Undefined when no entry stands exactly at `token`. */
export function entryAt(ring: Ring, token: number): RingEntry | undefined {
  const entry = entryOver(ring, token)
  return entry?.token === token ? entry : undefined
}

/** The entry whose range holds `host`; undefined before the first token. */
export function entryOver(ring: Ring, host: number): RingEntry | undefined {
  return ring.entries[indexAfter(ring, host) - 1]
}

/** A range and its owner; adjacent entries of one owner are one range. Boundaries and gaps are left out. In order. */
export interface HostRange {
  readonly owner: PeerName
  readonly range: Range
}

export function ownedRanges(ring: Ring): readonly HostRange[] {
  const ranges: HostRange[] = []
  for (const { token, owner, end } of ringItems(ring)) {
    if (owner === undefined) continue
    const last = ranges.at(-1)
    if (last !== undefined && last.owner === owner && last.range.end === token) {
      ranges[ranges.length - 1] = { owner, range: { start: last.range.start, end } }
    } else {
      ranges.push({ owner, range: { start: token, end } })
    }
  }
  return ranges
}

/**
 * What the owner of all of `block` must write to give it to `to`: every token in it, and one at its
 * end. Undefined when that cannot be written: `block` is not all `owner`'s, or a limit is reached.
 */
export function grantItems(ring: Ring, owner: PeerName, { start, end }: Range, to: PeerName): readonly RingItem[] | undefined {
  const over = entryOver(ring, start)
  const inside = ring.entries.slice(indexAfter(ring, start - 1), indexAfter(ring, end - 1))
  const last = inside.at(-1) ?? over
  if (over === undefined || last === undefined || ring.entries.length + 2 > RING_ENTRIES_MAX) return undefined
  if ([over, ...inside].some((entry) => entry.owner !== owner || entry.version >= VERSION_MAX)) return undefined
  const written: RingEntry[] = inside.map((entry) => ({ ...entry, owner: to, version: entry.version + 1 }))
  if (inside[0]?.token !== start) written.unshift({ token: start, owner: to, version: 1, epoch: over.epoch })
  if (end < ring.size) written.push(entryAt(ring, end) ?? { token: end, owner, version: 1, epoch: last.epoch })
  return withEnds({ ...ring, entries: weave(ring.entries, written) }, written)
}

/** What is wrong with a ring, for tests and assertions; undefined when it is sound. */
export function checkInvariants({ entries, size }: Ring): string | undefined {
  for (const [index, entry] of entries.entries()) {
    const previous = entries[index - 1]
    if (previous !== undefined && previous.token >= entry.token) return `token ${entry.token} comes after ${previous.token}`
    const fault = faultOf({ ...entry, end: entries[index + 1]?.token ?? size }, size)
    if (fault !== undefined) return fault.detail
  }
  return undefined
}

function faultOf({ token, end, owner, version, epoch }: RingItem, size: number): GossipFault | undefined {
  if (!(token < end && end <= size)) return { code: 'malformed', detail: `entry ${token} reaches to ${end} in a ring of ${size}` }
  if (version > VERSION_MAX || epoch > VERSION_MAX) {
    return { code: 'limit', detail: `entry ${token} has version ${version} of epoch ${epoch}, above ${VERSION_MAX}` }
  }
  if ((owner === undefined) !== (version === 0) || (owner === undefined && epoch !== 0)) {
    return { code: 'malformed', detail: `entry ${token} has version ${version} and ${owner ?? 'no'} owner` }
  }
  return undefined
}

function tooMany({ token }: RingItem): GossipFault {
  return { code: 'limit', detail: `no room for entry ${token}: the ring has ${RING_ENTRIES_MAX} already` }
}

/** Two sorted lists as one; where both have a token, `changes` wins. */
function weave(entries: readonly RingEntry[], changes: readonly RingEntry[]): readonly RingEntry[] {
  const woven: RingEntry[] = []
  let at = 0
  for (const change of changes) {
    for (let entry = entries[at]; entry !== undefined && entry.token <= change.token; entry = entries[++at]) {
      if (entry.token < change.token) woven.push(entry)
    }
    woven.push(change)
  }
  return woven.concat(entries.slice(at))
}

/** The index of the first entry whose token is above `host`. */
function indexAfter({ entries }: Ring, host: number): number {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((entries[middle]?.token ?? Number.POSITIVE_INFINITY) > host) high = middle
    else low = middle + 1
  }
  return low
}
