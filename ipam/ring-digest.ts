/**
 * Finding out what another peer lacks of the ring without sending the ring: one digest of all, and a
 * summary of up to 256 hashes, each of the runs in an equal part of the universe. Only the parts
 * that differ are sent. Of the retired names there is one hash: they change rarely.
 *
 *   summary: | head, as in ring-codec.ts | of the retired 8 | of a part 8 | of a part 8 | …
 *            (a power of two of parts; without a ring the head alone)
 */
import { createHash } from 'node:crypto'
import { bytesEqual, concatBytes } from '../mesh/base/bytes.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import { entriesWithin, type Retirement, type Ring, type RingItem, type RingNews, ringNews } from './ring.ts'
import { DELTA_ITEMS_MAX, DELTA_RETIRED_MAX, decodeHead, encodeDelta, encodeHead, RING_HEAD_BYTES, type RingHead } from './ring-codec.ts'
import type { Universe } from './universe.ts'

const HASH_BYTES = 8
/** 2 KiB of summary. More would cost more in summaries than it spares in entries, for the rings we expect. */
const PARTS_MAX = 256
/** About so many entries in a part, so that the summary of a small ring is small. */
const PART_ENTRIES = 8

/** 16 bytes, equal exactly when the rings are (up to collisions). */
export function ringDigest(universe: Universe, ring: Ring | undefined): Uint8Array {
  return hash(universe, ring, { items: ring?.entries ?? [], retired: ring === undefined ? [] : retiredOf(ring) }).subarray(0, 16)
}

export function ringSummary(universe: Universe, ring: Ring | undefined): Uint8Array {
  const head = encodeHead({ universe, seedId: ring?.seedId })
  if (ring === undefined) return head
  const count = Math.min(PARTS_MAX, 2 ** Math.ceil(Math.log2(Math.max(1, ring.entries.length / PART_ENTRIES))), ring.size)
  return concatBytes([head, retiredHash(universe, ring), ...parts(ring, count).map((items) => partHash(universe, ring, items))])
}

export interface RingSummary extends RingHead {
  /** None when the sender has no ring. */
  readonly hashes: readonly Uint8Array[]
  readonly retiredHash: Uint8Array
}

export function decodeSummary(bytes: Uint8Array): Result<RingSummary, GossipFault> {
  const decoded = decodeHead(bytes)
  if (!decoded.ok) return decoded
  const { universe, seedId } = decoded.value
  const start = RING_HEAD_BYTES + (seedId === undefined ? 0 : HASH_BYTES)
  const count = (bytes.length - start) / HASH_BYTES
  const sound = seedId === undefined ? count === 0 : count >= 1 && Number.isInteger(Math.log2(count)) && count <= PARTS_MAX
  if (!sound) return err({ code: 'malformed', detail: `a ring summary of ${count} parts` })
  const hashes = Array.from({ length: count }, (_, index) => {
    const at = start + index * HASH_BYTES
    return bytes.subarray(at, at + HASH_BYTES)
  })
  return ok({ universe, seedId, hashes, retiredHash: bytes.subarray(RING_HEAD_BYTES, start) })
}

/** Deltas with what our ring says of the parts that differ, and the retired names if those do; all when the other has none. */
export function missingDeltas(universe: Universe, ring: Ring, summary: RingSummary): readonly Uint8Array[] {
  const count = Math.min(Math.max(1, summary.hashes.length), ring.size)
  const items = parts(ring, count).flatMap((part, index) =>
    bytesEqual(partHash(universe, ring, part), summary.hashes[index] ?? new Uint8Array()) ? [] : part,
  )
  const retired = bytesEqual(retiredHash(universe, ring), summary.retiredHash) ? [] : retiredOf(ring)
  return chunksOf({ items, retired }).map((news) => encodeDelta({ universe, seedId: ring.seedId, ...news }))
}

/** News in portions that fit a message, each mergeable alone. */
export function chunksOf({ items, retired }: RingNews): readonly RingNews[] {
  const chunks: RingNews[] = []
  for (let [item, name] = [0, 0]; item < items.length || name < retired.length; item += DELTA_ITEMS_MAX, name += DELTA_RETIRED_MAX) {
    chunks.push({ items: items.slice(item, item + DELTA_ITEMS_MAX), retired: retired.slice(name, name + DELTA_RETIRED_MAX) })
  }
  return chunks
}

/** The runs cut at the borders of `count` equal parts. */
function parts(ring: Ring, count: number): readonly (readonly RingItem[])[] {
  const size = ring.size / count
  return Array.from({ length: count }, (_, index) => entriesWithin(ring, { start: index * size, end: (index + 1) * size }))
}

function partHash(universe: Universe, ring: Ring, items: readonly RingItem[]): Uint8Array {
  return hash(universe, ring, { items, retired: [] }).subarray(0, HASH_BYTES)
}

function retiredHash(universe: Universe, ring: Ring): Uint8Array {
  return hash(universe, ring, { items: [], retired: retiredOf(ring) }).subarray(0, HASH_BYTES)
}

/** In an order that is the same everywhere. */
function retiredOf(ring: Ring): readonly Retirement[] {
  return ringNews(ring).retired.toSorted((a, b) => (a.peer < b.peer ? -1 : 1))
}

function hash(universe: Universe, ring: Ring | undefined, news: RingNews): Uint8Array {
  const hashed = createHash('sha256').update(encodeHead({ universe, seedId: ring?.seedId }))
  for (const chunk of chunksOf(news)) hashed.update(encodeDelta({ universe, seedId: ring?.seedId, ...chunk }))
  return hashed.digest()
}
