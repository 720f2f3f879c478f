/**
 * The records of all peers, as state that gossip keeps equal everywhere: the newest record of each peer wins, and
 * only one that its owner has signed counts.
 *
 * Records fall into 256 buckets by the first byte of their peer's name, which is a hash. A summary is the hash of
 * each bucket that is not empty; who compares one with its own sends the records of the buckets that differ:
 *
 *   summary = (bucket: 1 byte, hash: 8 bytes)…    in order of bucket
 *   delta   = signature: 64 bytes, signed         one record, see record.ts
 *   offer   = name: 8 bytes, incarnation and version: 8 bytes each, hash: 4 bytes
 */
import type { PeerName } from './base/brand.ts'
import { bytesEqual, concatBytes, fromHex, toHex } from './base/bytes.ts'
import { err, ok, type Result } from './base/result.ts'
import { type CryptoSuite, SIGNATURE_BYTES } from './crypto.ts'
import type { GossipFault, GossipPart, Merged, News, Weighed } from './gossip.ts'
import type { Identity } from './identity.ts'
import type { ChannelMessage } from './messages.ts'
import {
  compareRecords,
  encodeRecord,
  isConflict,
  isRecordGenuine,
  type PeerRecord,
  parseRecord,
  publicKeyOf,
  RECORD_HASH_BYTES,
  type RecordFacts,
  type RecordReader,
  type SignedRecord,
  signRecord,
} from './record.ts'

export interface PeersOptions {
  readonly identity: Identity
  readonly crypto: CryptoSuite
  /** Of this life of ours, from 1: wall time in milliseconds. */
  readonly incarnation: number
  /** How bytes become a record; `parseRecord` unless told otherwise. */
  readonly read?: RecordReader | undefined
}

/** What we tell about ourselves; the numbers that order our records are this file's affair. */
export type OwnFacts = Omit<RecordFacts, 'incarnation' | 'version'>

/** Four times the biggest cluster we aim at; without a limit, anybody who is let in could fill our memory with peers that it invents. */
export const PEERS_MAX = 4_096
const BUCKET_HASH_BYTES = 8
const SUMMARY_ENTRY_BYTES = 1 + BUCKET_HASH_BYTES
const BUCKETS = 256
const DIGEST_BYTES = 16
/** Of an offer: where its fields begin, and how long it is. */
const OFFER = { name: 0, incarnation: 8, version: 16, hash: 24, bytes: 28 } as const

interface Bucket {
  readonly entries: Map<PeerName, SignedRecord>
  /** Unknown after a change, until somebody asks. */
  hash: Uint8Array | undefined
}

export class Peers implements GossipPart {
  readonly channel = 'peers'
  readonly #options: PeersOptions
  readonly #buckets = new Map<number, Bucket>()
  readonly #byName = new Map<PeerName, SignedRecord>()
  /** In order. */
  readonly #names: PeerName[] = []
  /** By public key, as text of one character a byte: most of what arrives is known from it at a glance. */
  readonly #byKey = new Map<string, SignedRecord>()
  #incarnation: number
  #version = 0
  #supersessions = 0
  #superseder: PeerRecord | undefined
  #revision = 0
  /** Both unknown after a change, until somebody asks. */
  #sorted: readonly PeerRecord[] | undefined
  #digest: Uint8Array | undefined

  constructor(options: PeersOptions) {
    this.#options = options
    this.#incarnation = options.incarnation
  }

  /** Of this life: above all that we have heard of earlier ones. */
  get incarnation(): number {
    return this.#incarnation
  }

  /** How often a record of ours turned up that is newer than what we had published: from an earlier life, or from somebody with our key. */
  get supersessions(): number {
    return this.#supersessions
  }

  /** The latest of these. */
  get superseder(): PeerRecord | undefined {
    return this.#superseder
  }

  /** All records, our own included, in order of name. */
  list(): readonly PeerRecord[] {
    this.#sorted ??= this.#names.map((name) => this.#byName.get(name)?.record).filter((record) => record !== undefined)
    return this.#sorted
  }

  get(name: PeerName): PeerRecord | undefined {
    return this.#entry(name)?.record
  }

  /** Grows with every change of what we hold, and with every record of ours that turned up. */
  get revision(): number {
    return this.#revision
  }

  /** Makes and signs our next record, if it says anything new. Returns what tells others. */
  publish(facts: OwnFacts): News | undefined {
    const { identity, crypto } = this.#options
    const ours = this.#entry(identity.name)
    const number = { incarnation: this.#incarnation, version: this.#version }
    if (ours !== undefined && this.#version > 0 && bytesEqual(encodeRecord({ ...facts, ...number }, identity), ours.signed))
      return undefined
    this.#version += 1
    const record = signRecord({ ...facts, incarnation: this.#incarnation, version: this.#version }, identity, crypto)
    return newsOf(this.#put(record))
  }

  digest(): Uint8Array {
    this.#digest ??= this.#options.crypto.hash(this.summary(), DIGEST_BYTES)
    return this.#digest
  }

  summary(): Uint8Array {
    return concatBytes(this.#bucketNumbers().flatMap((number) => [Uint8Array.of(number), this.#bucketHash(number)]))
  }

  missing(summary: Uint8Array): Result<readonly News[], GossipFault> {
    const theirs = parseSummary(summary)
    if (!theirs.ok) return theirs
    const differing = this.#bucketNumbers().filter((number) => theirs.value.get(number) !== toHex(this.#bucketHash(number)))
    return ok(differing.flatMap((number) => this.#bucketEntries(number)).map(newsOf))
  }

  merge(delta: Uint8Array, _from: PeerName): Result<Merged, GossipFault> {
    const signature = delta.subarray(0, SIGNATURE_BYTES)
    const signed = delta.subarray(SIGNATURE_BYTES)
    const known = this.#byKey.get(keyText(publicKeyOf(signed)))
    if (known !== undefined && bytesEqual(known.signed, signed)) return ok({ news: [], held: [known.record.name], faults: [] })
    const { crypto, read = parseRecord } = this.#options
    const parsed = read(signed, signature, crypto)
    return parsed.ok ? this.#mergeRecord(parsed.value) : parsed
  }

  tell(key: string): News | undefined {
    const entry = this.#byName.get(key as PeerName)
    return entry === undefined ? undefined : newsOf(entry)
  }

  /** The newest records of these peers, of those that we know. */
  told(names: readonly PeerName[]): ChannelMessage {
    return { kind: 'deltas', channel: this.channel, deltas: names.flatMap((name) => this.tell(name)?.delta ?? []) }
  }

  weigh(offer: Uint8Array): Result<Weighed, GossipFault> {
    if (offer.length !== OFFER.bytes) return err({ code: 'malformed', detail: `an offer of ${offer.length} bytes` })
    const key = toHex(offer.subarray(OFFER.name, OFFER.incarnation))
    const ours = this.#byName.get(key as PeerName)
    if (ours === undefined) return ok({ key, verdict: 'lacking' })
    const fields = new DataView(offer.buffer, offer.byteOffset, offer.byteLength)
    const newer = fields.getFloat64(OFFER.incarnation) - ours.record.incarnation || fields.getFloat64(OFFER.version) - ours.record.version
    if (newer < 0) return ok({ key, verdict: 'older' })
    const isSame = newer === 0 && bytesEqual(offer.subarray(OFFER.hash), ours.hash.subarray(0, OFFER.bytes - OFFER.hash))
    return ok({ key, verdict: isSame ? 'held' : 'lacking' })
  }

  /** Records travel by gossip alone. */
  receive(): void {}

  #mergeRecord(theirs: SignedRecord): Result<Merged, GossipFault> {
    const { identity, crypto } = this.#options
    const { name, version } = theirs.record
    const ours = this.#entry(name)
    const isNewer = ours === undefined || compareRecords(theirs, ours) > 0
    const isTwice = ours !== undefined && isConflict(theirs, ours)
    if (!(isNewer || isTwice)) return ok({ news: [], held: [], faults: [] })
    if (ours === undefined && this.#byKey.size >= PEERS_MAX)
      return err({ code: 'limit', detail: `no room for ${name}: there are ${PEERS_MAX} peers` })
    // What costs most comes last.
    if (!isRecordGenuine(theirs, crypto)) return err({ code: 'signature', detail: `a record of ${name} that it has not signed` })
    if (name === identity.name) {
      this.#jumpAbove(theirs.record)
      return ok({ news: [], held: [], faults: [] })
    }
    const entry = isNewer ? this.#put(theirs) : undefined
    const twice: GossipFault = { code: 'malformed', detail: `${name} has made two records of version ${version}` }
    return ok({ news: entry === undefined ? [] : [newsOf(entry)], held: isNewer ? [name] : [], faults: isTwice ? [twice] : [] })
  }

  /** Our next record will win over this one, which we have not made in this life. */
  #jumpAbove(theirs: PeerRecord): void {
    const { incarnation } = theirs
    // We have jumped already, and only not published since: it comes from several neighbours.
    if (incarnation < this.#incarnation) return
    this.#incarnation = incarnation + 1
    this.#version = 0
    this.#supersessions += 1
    this.#superseder = theirs
    this.#revision += 1
  }

  #put(entry: SignedRecord): SignedRecord {
    const { name, publicKey } = entry.record
    const number = bucketOf(name)
    const bucket = this.#buckets.get(number) ?? { entries: new Map<PeerName, SignedRecord>(), hash: undefined }
    const old = bucket.entries.get(name)
    if (old !== undefined) this.#byKey.delete(keyText(old.record.publicKey))
    this.#byKey.set(keyText(publicKey), entry)
    bucket.entries.set(name, entry)
    if (old === undefined) this.#enlist(name)
    this.#byName.set(name, entry)
    bucket.hash = undefined
    this.#buckets.set(number, bucket)
    this.#sorted = undefined
    this.#digest = undefined
    this.#revision += 1
    return entry
  }

  #enlist(name: PeerName): void {
    let [from, to] = [0, this.#names.length]
    while (from < to) {
      const middle = (from + to) >> 1
      if ((this.#names[middle] ?? name) < name) from = middle + 1
      else to = middle
    }
    this.#names.splice(from, 0, name)
  }

  #entry(name: PeerName): SignedRecord | undefined {
    return this.#byName.get(name)
  }

  #bucketNumbers(): readonly number[] {
    return [...this.#buckets.keys()].sort((a, b) => a - b)
  }

  #bucketEntries(number: number): readonly SignedRecord[] {
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

function bucketOf(name: PeerName): number {
  return Number.parseInt(name.slice(0, 2), 16)
}

/** Made once for each record: every neighbour is told or offered the same. */
const newsOfRecord = new WeakMap<SignedRecord, News>()

function newsOf(entry: SignedRecord): News {
  const known = newsOfRecord.get(entry)
  if (known !== undefined) return known
  const news: News = { key: entry.record.name, delta: entry.delta, offer: offerOf(entry) }
  newsOfRecord.set(entry, news)
  return news
}

function offerOf({ record: { name, incarnation, version }, hash }: SignedRecord): Uint8Array {
  const offer = new Uint8Array(OFFER.bytes)
  const fields = new DataView(offer.buffer)
  offer.set(fromHex(name), OFFER.name)
  fields.setFloat64(OFFER.incarnation, incarnation)
  fields.setFloat64(OFFER.version, version)
  offer.set(hash.subarray(0, OFFER.bytes - OFFER.hash), OFFER.hash)
  return offer
}

function keyText(publicKey: Uint8Array): string {
  return Buffer.from(publicKey.buffer, publicKey.byteOffset, publicKey.byteLength).toString('latin1')
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
