/**
 * The records of all peers, as state that gossip keeps equal everywhere: the newest record of each peer wins, and
 * only one that its owner has signed counts.
 *
 * Records fall into 256 buckets by the first byte of their peer's name, which is a hash. A summary is the hash of
 * each bucket that is not empty; who compares one with its own sends the records of the buckets that differ:
 *
 *   summary = (bucket: 1 byte, hash: 8 bytes)…    in order of bucket
 *   delta   = [[signed, signature]…]              (MessagePack)
 */
import type { PeerName } from './base/brand.ts'
import { concatBytes, toHex } from './base/bytes.ts'
import { err, ok, type Result } from './base/result.ts'
import { decodeWire, encodeWire, type WireValue } from './base/wire.ts'
import type { CryptoSuite } from './crypto.ts'
import type { GossipFault, GossipPart, Merged } from './gossip.ts'
import type { Identity } from './identity.ts'
import {
  compareRecords,
  isConflict,
  isRecordGenuine,
  type PeerRecord,
  parseRecord,
  RECORD_BYTES_MAX,
  type RecordFacts,
  type SignedRecord,
  signRecord,
} from './record.ts'

export interface PeersOptions {
  readonly identity: Identity
  readonly crypto: CryptoSuite
  /** Of this life of ours, from 1: wall time in milliseconds. */
  readonly incarnation: number
}

/** What we tell about ourselves; the numbers that order our records are this file's affair. */
export type OwnFacts = Omit<RecordFacts, 'incarnation' | 'version'>

/** Four times the biggest cluster we aim at; without a limit, anybody who is let in could fill our memory with peers that it invents. */
export const PEERS_MAX = 4_096
/** About 80 records: checking their signatures holds up nothing else for long. */
const DELTA_BYTES_MAX = 32 * 1024
const DELTA_RECORDS_MAX = 1_024
const RECORD_HASH_BYTES = 16
const BUCKET_HASH_BYTES = 8
const SUMMARY_ENTRY_BYTES = 1 + BUCKET_HASH_BYTES
const BUCKETS = 256
const DIGEST_BYTES = 16

interface Entry extends SignedRecord {
  /** Of the signed bytes alone: there may be several good signatures of them. */
  readonly hash: Uint8Array
}

interface Bucket {
  readonly entries: Map<PeerName, Entry>
  /** Unknown after a change, until somebody asks. */
  hash: Uint8Array | undefined
}

/** What came of one entry of a delta; nothing when it was known. */
interface Outcome {
  readonly news?: SignedRecord
  readonly fault?: GossipFault
}

export class Peers implements GossipPart {
  readonly channel = 'peers'
  readonly #options: PeersOptions
  readonly #buckets = new Map<number, Bucket>()
  /** Hashes, in hex, of the records we hold: most of what arrives is known from them at a glance. */
  readonly #known = new Set<string>()
  #count = 0
  #incarnation: number
  #version = 0
  #supersessions = 0
  /** Both unknown after a change, until somebody asks. */
  #sorted: readonly PeerRecord[] | undefined
  #digest: Uint8Array | undefined

  constructor(options: PeersOptions) {
    this.#options = options
    this.#incarnation = options.incarnation
  }

  /** How often a record of ours turned up that is newer than what we had published: from an earlier life, or from somebody with our key. */
  get supersessions(): number {
    return this.#supersessions
  }

  /** All records, our own included, in order of name. */
  list(): readonly PeerRecord[] {
    this.#sorted ??= this.#entries().map(({ record }) => record)
    return this.#sorted
  }

  get(name: PeerName): PeerRecord | undefined {
    return this.#entry(name)?.record
  }

  /** Makes and signs our next record. Returns the delta that tells others. */
  publish(facts: OwnFacts): Uint8Array {
    const { identity, crypto } = this.#options
    this.#version += 1
    const record = signRecord({ ...facts, incarnation: this.#incarnation, version: this.#version }, identity, crypto)
    this.#put(record)
    return encodeDelta([record])
  }

  digest(): Uint8Array {
    this.#digest ??= this.#options.crypto.hash(this.summary(), DIGEST_BYTES)
    return this.#digest
  }

  summary(): Uint8Array {
    return concatBytes(this.#bucketNumbers().flatMap((number) => [Uint8Array.of(number), this.#bucketHash(number)]))
  }

  missing(summary: Uint8Array): Result<readonly Uint8Array[], GossipFault> {
    const theirs = parseSummary(summary)
    if (!theirs.ok) return theirs
    const differing = this.#bucketNumbers().filter((number) => theirs.value.get(number) !== toHex(this.#bucketHash(number)))
    return ok(packDeltas(differing.flatMap((number) => this.#bucketEntries(number))))
  }

  merge(delta: Uint8Array, _from: PeerName): Result<Merged, GossipFault> {
    const items = parseDelta(delta)
    if (!items.ok) return items
    const news: SignedRecord[] = []
    const faults: GossipFault[] = []
    for (const item of items.value) {
      const outcome = this.#mergeOne(item)
      if (outcome.news !== undefined) news.push(outcome.news)
      if (outcome.fault !== undefined) faults.push(outcome.fault)
    }
    return ok({ news: news.length === 0 ? undefined : encodeDelta(news), faults })
  }

  /** Records travel by gossip alone. */
  receive(): void {}

  #mergeOne(item: WireValue): Outcome {
    const [signed, signature] = Array.isArray(item) ? (item as readonly WireValue[]) : []
    if (!(signed instanceof Uint8Array && signature instanceof Uint8Array))
      return fault('malformed', 'an entry that is not a signed record')
    if (signed.length <= RECORD_BYTES_MAX && this.#known.has(toHex(this.#hash(signed)))) return {}
    const parsed = parseRecord(signed, signature, this.#options.crypto)
    return parsed.ok ? this.#mergeRecord(parsed.value) : { fault: parsed.error }
  }

  #mergeRecord(theirs: SignedRecord): Outcome {
    const { identity, crypto } = this.#options
    const { name, version } = theirs.record
    const ours = this.#entry(name)
    const isNewer = ours === undefined || compareRecords(theirs, ours) > 0
    const isTwice = ours !== undefined && isConflict(theirs, ours)
    if (!(isNewer || isTwice)) return {}
    if (ours === undefined && this.#count >= PEERS_MAX) return fault('limit', `no room for ${name}: there are ${PEERS_MAX} peers`)
    // What costs most comes last.
    if (!isRecordGenuine(theirs, crypto)) return fault('signature', `a record of ${name} that it has not signed`)
    if (name === identity.name) {
      this.#jumpAbove(theirs.record)
      return {}
    }
    if (isNewer) this.#put(theirs)
    return { ...(isNewer && { news: theirs }), ...(isTwice && fault('malformed', `${name} has made two records of version ${version}`)) }
  }

  /** Our next record will win over this one, which we have not made in this life. */
  #jumpAbove({ incarnation }: PeerRecord): void {
    this.#incarnation = incarnation + 1
    this.#version = 0
    this.#supersessions += 1
  }

  #put(record: SignedRecord): void {
    const { name } = record.record
    const number = bucketOf(name)
    const bucket = this.#buckets.get(number) ?? { entries: new Map<PeerName, Entry>(), hash: undefined }
    const old = bucket.entries.get(name)
    const hash = this.#hash(record.signed)
    if (old === undefined) this.#count += 1
    else this.#known.delete(toHex(old.hash))
    this.#known.add(toHex(hash))
    bucket.entries.set(name, { ...record, hash })
    bucket.hash = undefined
    this.#buckets.set(number, bucket)
    this.#sorted = undefined
    this.#digest = undefined
  }

  #hash(signed: Uint8Array): Uint8Array {
    return this.#options.crypto.hash(signed, RECORD_HASH_BYTES)
  }

  #entry(name: PeerName): Entry | undefined {
    return this.#buckets.get(bucketOf(name))?.entries.get(name)
  }

  #entries(): readonly Entry[] {
    return this.#bucketNumbers().flatMap((number) => this.#bucketEntries(number))
  }

  #bucketNumbers(): readonly number[] {
    return [...this.#buckets.keys()].sort((a, b) => a - b)
  }

  #bucketEntries(number: number): readonly Entry[] {
    const entries = [...(this.#buckets.get(number)?.entries.values() ?? [])]
    return entries.sort((a, b) => (a.record.name < b.record.name ? -1 : 1))
  }

  #bucketHash(number: number): Uint8Array {
    const known = this.#buckets.get(number)?.hash
    if (known !== undefined) return known
    const hashes = concatBytes(this.#bucketEntries(number).map(({ hash }) => hash))
    const hash = this.#options.crypto.hash(hashes, RECORD_HASH_BYTES).subarray(0, BUCKET_HASH_BYTES)
    const bucket = this.#buckets.get(number)
    if (bucket !== undefined) bucket.hash = hash
    return hash
  }
}

function fault(code: GossipFault['code'], detail: string): Outcome {
  return { fault: { code, detail } }
}

function bucketOf(name: PeerName): number {
  return Number.parseInt(name.slice(0, 2), 16)
}

function encodeDelta(records: readonly SignedRecord[]): Uint8Array {
  return encodeWire(records.map(({ signed, signature }) => [signed, signature]))
}

/** As few deltas as hold them, none much longer than `DELTA_BYTES_MAX`. */
function packDeltas(records: readonly SignedRecord[]): readonly Uint8Array[] {
  const deltas: Uint8Array[] = []
  let batch: SignedRecord[] = []
  let bytes = 0
  for (const record of records) {
    batch.push(record)
    bytes += record.signed.length + record.signature.length
    if (bytes >= DELTA_BYTES_MAX) {
      deltas.push(encodeDelta(batch))
      batch = []
      bytes = 0
    }
  }
  return batch.length === 0 ? deltas : [...deltas, encodeDelta(batch)]
}

function parseDelta(delta: Uint8Array): Result<readonly WireValue[], GossipFault> {
  const decoded = decodeWire(delta)
  if (!decoded.ok) return err({ code: 'malformed', detail: `a delta that is ${decoded.error}` })
  if (!Array.isArray(decoded.value)) return err({ code: 'malformed', detail: 'a delta that is not a list' })
  if (decoded.value.length > DELTA_RECORDS_MAX) return err({ code: 'limit', detail: `a delta of more than ${DELTA_RECORDS_MAX} records` })
  return ok(decoded.value)
}

/** Hash, in hex, of each bucket that is not empty. */
function parseSummary(summary: Uint8Array): Result<ReadonlyMap<number, string>, GossipFault> {
  if (summary.length % SUMMARY_ENTRY_BYTES !== 0 || summary.length > BUCKETS * SUMMARY_ENTRY_BYTES) {
    return err({ code: 'malformed', detail: `a summary of ${summary.length} bytes` })
  }
  const hashes = new Map<number, string>()
  for (let at = 0; at < summary.length; at += SUMMARY_ENTRY_BYTES) {
    hashes.set(summary[at] ?? 0, toHex(summary.subarray(at + 1, at + SUMMARY_ENTRY_BYTES)))
  }
  return ok(hashes)
}
