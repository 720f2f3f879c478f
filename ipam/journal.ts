/**
 * The journal: what the state directory holds, as bytes. A header, then one record per change; the
 * state is what applying them in order gives. Big endian.
 *
 *   record:   | length 4 | CRC-32 of length and payload 4 | payload, length bytes |
 *   payload:  | kind 1 | …
 *     1 header    | format 2 | peer name 8 | universe 22, as in universe-codec.ts | cluster, UTF-8 |
 *     2 ring      | a delta, as in ring-codec.ts |
 *     3 allocate  | host number 4 | key, UTF-8 |
 *     4 free      | key, UTF-8 |
 *     5 cursor    | host number 4 |
 *     6 rest      | host number 4 | host number 4 | …
 *    16 doubt     | 1: some of our past is lost, or 0: not any more |
 *
 * A file cut or damaged anywhere yields the records before the damage. A checksum that holds over a
 * payload that makes no sense counts as damage too.
 *
 * The snapshot is the beginning of the same file: whatever replaces the one replaces the other, so that
 * no log is ever read on top of a snapshot that is not its own.
 */
import { crc32 } from 'node:zlib'
import { type PeerName, parsePeerName } from '../mesh/base/brand.ts'
import { concatBytes, fromHex, toHex } from '../mesh/base/bytes.ts'
import { unreachable } from '../mesh/base/result.ts'
import { type AttachmentKey, parseAttachmentKey } from './attachment.ts'
import { decodeDelta, encodeDelta, type RingDelta } from './ring-codec.ts'
import type { Universe } from './universe.ts'
import { putUniverse, UNIVERSE_BYTES, universeAt } from './universe-codec.ts'

export type JournalRecord =
  | { readonly kind: 'ring'; readonly delta: RingDelta }
  | { readonly kind: 'allocate'; readonly key: AttachmentKey; readonly host: number }
  | { readonly kind: 'free'; readonly key: AttachmentKey }
  /** Where the search for a free number goes on: only needed where the allocations that moved it were left out. */
  | { readonly kind: 'cursor'; readonly host: number }
  /** What was freed and is free, in this order: only needed where the records that tell it were left out. */
  | { readonly kind: 'rest'; readonly hosts: readonly number[] }
  /** Whether records that we had written, and acted on, are lost: see `Ledger.inDoubt`. */
  | { readonly kind: 'doubt'; readonly isOpen: boolean }

/** Whose journal it is. A journal of other values must not be used. */
export interface JournalHeader {
  readonly peer: PeerName
  readonly universe: Universe
  /** Its id; empty when it is not known, and then not compared. */
  readonly cluster: string
}

/** 1 had rings of tokens in it, which cannot tell what was taken over. */
export const JOURNAL_FORMAT = 2
const Kind = { header: 1, ring: 2, allocate: 3, free: 4, cursor: 5, rest: 6, doubt: 16 } as const
const FRAME_BYTES = 8
const UNIVERSE_AT = 10
const HEADER_FIXED_BYTES: number = UNIVERSE_AT + UNIVERSE_BYTES
/** More than twice the longest ring record, which has as many items as a message; a longer one can only be damage. */
const PAYLOAD_BYTES_MAX = 256 * 1024

export type JournalHead =
  | { readonly kind: 'known'; readonly header: JournalHeader }
  | { readonly kind: 'other-format'; readonly format: number }
  | { readonly kind: 'damaged' }

export interface JournalScan {
  readonly head: JournalHead
  readonly records: readonly JournalRecord[]
  /** How many bytes from the start are good; all, when nothing is damaged. */
  readonly goodBytes: number
  /**
   * What is behind them: nothing; the beginning of a record whose writing was cut short, so that nobody was told that
   * it was written; or damage, behind or in which records may have been that were.
   */
  readonly end: 'whole' | 'torn' | 'damaged'
}

export function encodeHeader({ peer, universe, cluster }: JournalHeader): Uint8Array {
  const name = Buffer.from(cluster)
  const payload = new Uint8Array(HEADER_FIXED_BYTES + name.length)
  payload.set(name, HEADER_FIXED_BYTES)
  payload.set([Kind.header, JOURNAL_FORMAT])
  payload.set(fromHex(peer), 2)
  putUniverse(payload, UNIVERSE_AT, universe)
  return frame(payload)
}

export function encodeRecords(records: readonly JournalRecord[]): Uint8Array {
  return concatBytes(records.map((record) => frame(encodePayload(record))))
}

/** Never throws, whatever the bytes. */
export function scanJournal(bytes: Uint8Array): JournalScan {
  const first = payloadAt(bytes, 0)
  const head = first === undefined ? ({ kind: 'damaged' } as const) : decodeHeader(first)
  const records: JournalRecord[] = []
  if (first === undefined || head.kind !== 'known') return { head, records, goodBytes: 0, end: 'damaged' }
  let at = FRAME_BYTES + first.length
  for (let payload = payloadAt(bytes, at); payload !== undefined; payload = payloadAt(bytes, at)) {
    const record = attempt(payload, decodePayload)
    if (record === undefined) break
    records.push(record)
    at += FRAME_BYTES + payload.length
  }
  return { head, records, goodBytes: at, end: endOf(bytes.subarray(at)) }
}

function frame(payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(FRAME_BYTES + payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, payload.length)
  view.setUint32(4, checksum(bytes.subarray(0, 4), payload))
  bytes.set(payload, FRAME_BYTES)
  return bytes
}

/** Undefined at the end, and where the bytes are no good record. */
function payloadAt(bytes: Uint8Array, at: number): Uint8Array | undefined {
  if (bytes.length < at + FRAME_BYTES) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, FRAME_BYTES)
  const length = view.getUint32(0)
  const start = at + FRAME_BYTES
  if (length === 0 || length > PAYLOAD_BYTES_MAX || bytes.length < start + length) return undefined
  const payload = bytes.subarray(start, start + length)
  return checksum(bytes.subarray(at, at + 4), payload) === view.getUint32(4) ? payload : undefined
}

/**
 * A record that was cut short is told from damage by its length, which reaches beyond the end. So may a damaged length:
 * where one bit of it makes the record good again, or a good one follows, it is not the end that is missing.
 */
function endOf(rest: Uint8Array): JournalScan['end'] {
  if (rest.length === 0) return 'whole'
  if (rest.length < FRAME_BYTES) return 'torn'
  const length = new DataView(rest.buffer, rest.byteOffset, FRAME_BYTES).getUint32(0)
  if (length > PAYLOAD_BYTES_MAX || FRAME_BYTES + length <= rest.length) return 'damaged'
  const isCut = !(isGoodButForOneBit(rest) || isFollowed(rest))
  return isCut ? 'torn' : 'damaged'
}

function isGoodButForOneBit(rest: Uint8Array): boolean {
  const copy = rest.slice()
  const view = new DataView(copy.buffer)
  const length = view.getUint32(0)
  for (let bit = 0; bit < 32; bit++) {
    view.setUint32(0, (length ^ (1 << bit)) >>> 0)
    if (payloadAt(copy, 0) !== undefined) return true
  }
  return false
}

function isFollowed(rest: Uint8Array): boolean {
  for (let at = 1; at + FRAME_BYTES < rest.length; at++) if (payloadAt(rest, at) !== undefined) return true
  return false
}

function checksum(length: Uint8Array, payload: Uint8Array): number {
  return crc32(payload, crc32(length))
}

function encodePayload(record: JournalRecord): Uint8Array {
  switch (record.kind) {
    case 'ring':
      return concatBytes([Uint8Array.of(Kind.ring), encodeDelta(record.delta)])
    case 'allocate':
      return concatBytes([Uint8Array.of(Kind.allocate), uint32(record.host), Buffer.from(record.key)])
    case 'free':
      return concatBytes([Uint8Array.of(Kind.free), Buffer.from(record.key)])
    case 'cursor':
      return concatBytes([Uint8Array.of(Kind.cursor), uint32(record.host)])
    case 'rest':
      return restPayload(record.hosts)
    case 'doubt':
      return Uint8Array.of(Kind.doubt, Number(record.isOpen))
    default:
      return unreachable(record)
  }
}

/** Thousands of numbers, written anew with each snapshot. */
function restPayload(hosts: readonly number[]): Uint8Array {
  const payload = new Uint8Array(1 + 4 * hosts.length)
  payload[0] = Kind.rest
  const view = new DataView(payload.buffer)
  for (const [index, host] of hosts.entries()) view.setUint32(1 + 4 * index, host)
  return payload
}

function decodeHeader(payload: Uint8Array): JournalHead {
  if (payload[0] !== Kind.header) return { kind: 'damaged' }
  if (payload[1] !== JOURNAL_FORMAT) return { kind: 'other-format', format: payload[1] ?? 0 }
  const header = attempt(payload, (bytes) => ({
    peer: parsePeerName(toHex(bytes.subarray(2, 10))),
    universe: universeAt(bytes, UNIVERSE_AT),
    cluster: Buffer.from(bytes.subarray(HEADER_FIXED_BYTES)).toString(),
  }))
  return header === undefined || payload.length < HEADER_FIXED_BYTES ? { kind: 'damaged' } : { kind: 'known', header }
}

/** @throws {RangeError} when it makes no sense. */
function decodePayload(payload: Uint8Array): JournalRecord {
  switch (payload[0]) {
    case Kind.ring: {
      const delta = decodeDelta(payload.subarray(1))
      if (!delta.ok) throw new RangeError(delta.error.detail)
      return { kind: 'ring', delta: delta.value }
    }
    case Kind.allocate:
      return { kind: 'allocate', host: readUint32(payload, 1), key: keyIn(payload.subarray(5)) }
    case Kind.free:
      return { kind: 'free', key: keyIn(payload.subarray(1)) }
    case Kind.cursor:
      return { kind: 'cursor', host: readUint32(payload, 1) }
    case Kind.rest:
      return { kind: 'rest', hosts: Array.from({ length: (payload.length - 1) / 4 }, (_, index) => readUint32(payload, 1 + 4 * index)) }
    case Kind.doubt:
      return { kind: 'doubt', isOpen: payload[1] === 1 }
    default:
      throw new RangeError(`not a kind of record: ${payload[0]}`)
  }
}

/** What `decode` gives, or undefined when it finds the bytes out of range. */
function attempt<T>(payload: Uint8Array, decode: (payload: Uint8Array) => T): T | undefined {
  try {
    return decode(payload)
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function keyIn(bytes: Uint8Array): AttachmentKey {
  return parseAttachmentKey(Buffer.from(bytes).toString())
}

function uint32(number: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, number)
  return bytes
}

/** @throws {RangeError} when fewer than 4 bytes are left. */
function readUint32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(at)
}
