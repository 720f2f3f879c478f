/**
 * Finding out what another peer lacks of the ring without sending the ring: one digest of all, and a
 * summary of up to 256 hashes, each of the entries in an equal part of the universe. Only the parts
 * that differ are sent.
 *
 *   summary: | head 32, as in ring-codec.ts | hash 8 | hash 8 | …   (a power of two of them; none: no ring)
 */
import { createHash } from 'node:crypto'
import { bytesEqual, concatBytes } from '../mesh/base/bytes.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import { type Ring, type RingEntry, withEnds } from './ring.ts'
import { DELTA_ITEMS_MAX, decodeHead, encodeDelta, encodeHead, RING_HEAD_BYTES, type RingDelta } from './ring-codec.ts'
import type { Universe } from './universe.ts'

const HASH_BYTES = 8
/** 2 KiB of summary. More would cost more in summaries than it spares in entries, for the rings we expect. */
const PARTS_MAX = 256
/** About so many entries in a part, so that the summary of a small ring is small. */
const PART_ENTRIES = 8

/** 16 bytes, equal exactly when the rings are (up to collisions). */
export function ringDigest(universe: Universe, ring: Ring | undefined): Uint8Array {
  return hash(universe, ring, ring?.entries ?? []).subarray(0, 16)
}

export function ringSummary(universe: Universe, ring: Ring | undefined): Uint8Array {
  const head = encodeHead(universe, ring?.seedId)
  if (ring === undefined) return head
  const count = Math.min(PARTS_MAX, 2 ** Math.ceil(Math.log2(Math.max(1, ring.entries.length / PART_ENTRIES))), ring.size)
  return concatBytes([head, ...partHashes(universe, ring, count)])
}

export interface RingSummary extends Omit<RingDelta, 'items'> {
  readonly hashes: readonly Uint8Array[]
}

export function decodeSummary(bytes: Uint8Array): Result<RingSummary, GossipFault> {
  const head = decodeHead(bytes)
  if (!head.ok) return head
  const count = (bytes.length - RING_HEAD_BYTES) / HASH_BYTES
  const sound = head.value.seedId === undefined ? count === 0 : Number.isInteger(Math.log2(count)) && count <= PARTS_MAX
  if (!sound) return err({ code: 'malformed', detail: `a ring summary of ${count} parts` })
  const hashes = Array.from({ length: count }, (_, index) => {
    const at = RING_HEAD_BYTES + index * HASH_BYTES
    return bytes.subarray(at, at + HASH_BYTES)
  })
  return ok({ ...head.value, hashes })
}

/** Deltas with every entry of the parts that differ; all of them when the other has none. */
export function missingDeltas(universe: Universe, ring: Ring, summary: RingSummary): readonly Uint8Array[] {
  const count = Math.max(1, summary.hashes.length)
  const ours = partHashes(universe, ring, count)
  const differ = ours.map((part, index) => !bytesEqual(part, summary.hashes[index] ?? new Uint8Array()))
  return encodeChunks(
    universe,
    ring,
    ring.entries.filter(({ token }) => differ[partOf(token, count, ring.size)]),
  )
}

/** `entries`, which are of `ring`, as deltas of bounded size, each mergeable alone. */
function encodeChunks(universe: Universe, ring: Ring, entries: readonly RingEntry[]): readonly Uint8Array[] {
  const chunks: Uint8Array[] = []
  for (let at = 0; at < entries.length; at += DELTA_ITEMS_MAX) {
    const items = withEnds(ring, entries.slice(at, at + DELTA_ITEMS_MAX))
    chunks.push(encodeDelta({ universe, seedId: ring.seedId, items }))
  }
  return chunks
}

function partHashes(universe: Universe, ring: Ring, count: number): readonly Uint8Array[] {
  const parts: RingEntry[][] = Array.from({ length: count }, () => [])
  for (const entry of ring.entries) parts[partOf(entry.token, count, ring.size)]?.push(entry)
  return parts.map((entries) => hash(universe, ring, entries).subarray(0, HASH_BYTES))
}

function partOf(token: number, count: number, size: number): number {
  return Math.floor((token * count) / size)
}

/** Ends are left out: they follow from the other tokens, which may be of another part. */
function hash(universe: Universe, ring: Ring | undefined, entries: readonly RingEntry[]): Uint8Array {
  const items = entries.map((entry) => ({ ...entry, end: 0 }))
  return createHash('sha256')
    .update(encodeDelta({ universe, seedId: ring?.seedId, items }))
    .digest()
}
