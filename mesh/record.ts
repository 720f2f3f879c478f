/**
 * What a peer tells all others about itself, signed by itself, so that whoever relays it can neither change nor
 * invent it. Encoded once by its owner; the bytes that were signed are kept and relayed as they came.
 *
 *   signed    = [format, publicKey, incarnation, version, nickname, [address…], port, mtuBytes, zone|nil,
 *                [[name, address, port, outbound]…], dataKey, [keyId…], left, datapath]     (MessagePack; later versions may add fields)
 *   address   = a number of 32 bits for IPv4, 16 bytes for IPv6
 *   signature = Ed25519(domain ‖ signed)
 */
import type { PeerName } from './base/brand.ts'
import { bytesEqual, compareBytes, concatBytes, fromHex, toHex } from './base/bytes.ts'
import type { Ip } from './base/ip.ts'
import { err, ok, type Result } from './base/result.ts'
import { decodeWire, describeWire, encodeWire, type WireValue } from './base/wire.ts'
import { encodeIp, readIp } from './base/wire-ip.ts'
import { type CryptoSuite, DATA_KEY_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES } from './crypto.ts'
import { type Endpoint, isPort } from './endpoint.ts'
import type { GossipFault } from './gossip.ts'
import { type Identity, peerNameOf } from './identity.ts'
import { decodeKeyId, encodeKeyId, KEY_ID_BYTES, type KeyId } from './keyring.ts'
import { isPrintable } from './text.ts'

export interface PeerRecord {
  readonly name: PeerName
  readonly publicKey: Uint8Array
  /** X25519, `DATA_KEY_BYTES` long: what to encrypt to it with. */
  readonly dataKey: Uint8Array
  /** Grows with every start of the peer: wall time in milliseconds, or one more than the highest it has seen of itself. */
  readonly incarnation: number
  /** Grows with every change within one incarnation, from 1. */
  readonly version: number
  /** For people: 1 to 63 printable characters; need not be unique. */
  readonly nickname: string
  /** Underlay addresses of either family at which others may reach it, best first. */
  readonly addresses: readonly Ip[]
  /** Where its mesh listens, at each of the addresses. */
  readonly port: number
  /** MTU of its underlay. */
  readonly mtuBytes: number
  /** Where it is, when it was told. */
  readonly zone: string | undefined
  /** Keys of the cluster that it takes, the one that it dials with first. */
  readonly keyIds: readonly KeyId[]
  /** Those it has a mesh connection with, in order of name. */
  readonly neighbours: readonly Neighbour[]
  /** It has said goodbye: nobody need look for it. */
  readonly hasLeft: boolean
  /** What its data path tells those of others, `DATAPATH_BYTES_MAX` long at most. The mesh only carries it. */
  readonly datapath: Uint8Array
}

export interface Neighbour extends Endpoint {
  readonly name: PeerName
  /** The owner of the record has dialled, and address and port are what it dialled; otherwise what it saw. */
  readonly outbound: boolean
}

/** A record with the proof that its owner made it. */
export interface SignedRecord {
  readonly record: PeerRecord
  readonly signed: Uint8Array
  readonly signature: Uint8Array
  /** As it travels: signature ‖ signed, of which the two are views. */
  readonly delta: Uint8Array
  /** Of the signed bytes alone, as there may be several good signatures of them: `RECORD_HASH_BYTES` long. */
  readonly hash: Uint8Array
}

export const NICKNAME_LENGTH_MAX = 63
export const ZONE_LENGTH_MAX = 63
/** Interfaces of a machine on which peers might reach it: more is a mistake. */
export const ADDRESSES_MAX = 8
/** What every IPv4 host must take. */
export const MTU_BYTES_MIN = 576
export const MTU_BYTES_MAX = 65_535
/** Several times as many connections as a peer has. */
export const NEIGHBOURS_MAX = 64
export const DATAPATH_BYTES_MAX = 1_024
/** The limits above, encoded, with room for fields of later versions. */
export const RECORD_BYTES_MAX = 4_096

const FORMAT = 2
export const RECORD_HASH_BYTES = 16
const NAME_BYTES = 8
/** In MessagePack the head of a short array takes one byte, the format one, the head of a short byte string two. */
const KEY_AT = 4
/** So that a signature of a record is never one of anything else. */
const DOMAIN = new TextEncoder().encode('weft peer record 1\0')

/** What its owner decides about a record. */
export type RecordFacts = Omit<PeerRecord, 'name' | 'publicKey' | 'dataKey'>

export function signRecord(facts: RecordFacts, identity: Identity, crypto: CryptoSuite): SignedRecord {
  const { name, keys, dataKeys } = identity
  const signed = encodeRecord(facts, identity)
  const record = { name, publicKey: keys.publicKey, dataKey: dataKeys.publicKey, ...facts }
  return signedRecord(record, concatBytes([crypto.sign(concatBytes([DOMAIN, signed]), keys), signed]), crypto)
}

function signedRecord(record: PeerRecord, delta: Uint8Array, crypto: CryptoSuite): SignedRecord {
  const signed = delta.subarray(SIGNATURE_BYTES)
  return { record, signed, signature: delta.subarray(0, SIGNATURE_BYTES), delta, hash: crypto.hash(signed, RECORD_HASH_BYTES) }
}

/** Whether the owner named in the record has signed it. */
export function isRecordGenuine({ record, signed, signature }: SignedRecord, crypto: CryptoSuite): boolean {
  return crypto.verify(signature, concatBytes([DOMAIN, signed]), record.publicKey)
}

/** Positive when `a` is to replace `b` of the same peer: a total order, so that all peers end with the same one. */
export function compareRecords(a: SignedRecord, b: SignedRecord): number {
  return a.record.incarnation - b.record.incarnation || a.record.version - b.record.version || compareBytes(a.signed, b.signed)
}

/** Two different records with one number: their owner made a mistake, or there are two of it. */
export function isConflict(a: SignedRecord, b: SignedRecord): boolean {
  return a.record.incarnation === b.record.incarnation && a.record.version === b.record.version && !bytesEqual(a.signed, b.signed)
}

/** Where the public key of a record is, unchecked: enough to find the record that we have of the same peer. */
export function publicKeyOf(signed: Uint8Array): Uint8Array {
  return signed.subarray(KEY_AT, KEY_AT + PUBLIC_KEY_BYTES)
}

/** As `parseRecord`: a simulation of many peers in one process reads once for all what each of them reads. */
export type RecordReader = typeof parseRecord

/** Checks everything but the signature. Copies what it keeps. */
export function parseRecord(signed: Uint8Array, signature: Uint8Array, crypto: CryptoSuite): Result<SignedRecord, GossipFault> {
  if (signed.length > RECORD_BYTES_MAX)
    return err({ code: 'limit', detail: `a record of ${signed.length} bytes, more than ${RECORD_BYTES_MAX}` })
  if (signature.length !== SIGNATURE_BYTES) return malformed('a signature of a wrong length')
  const delta = concatBytes([signature, signed])
  const decoded = decodeWire(delta.subarray(SIGNATURE_BYTES))
  if (!decoded.ok) return malformed(decoded.error)
  const record = Array.isArray(decoded.value) ? readRecord(decoded.value, crypto) : 'not an array'
  if (typeof record === 'string') return malformed(record)
  return ok(signedRecord(record, delta, crypto))
}

/** The bytes that are to be signed. */
export function encodeRecord(facts: RecordFacts, { keys: { publicKey }, dataKeys }: Identity): Uint8Array {
  const { incarnation, version, nickname, addresses, port, mtuBytes, zone, neighbours, keyIds, hasLeft, datapath } = facts
  const links = neighbours.map((neighbour) => [fromHex(neighbour.name), encodeIp(neighbour.address), neighbour.port, neighbour.outbound])
  const places = [addresses.map(encodeIp), port, mtuBytes, zone, links]
  const keys = [dataKeys.publicKey, keyIds.map(encodeKeyId)]
  return encodeWire([FORMAT, publicKey, incarnation, version, nickname, ...places, ...keys, hasLeft, datapath])
}

/** A string says what is wrong. */
function readRecord(fields: readonly WireValue[], crypto: CryptoSuite): PeerRecord | string {
  const [format, publicKey, incarnation, version, nickname, addresses, port, mtuBytes, zone, neighbours, dataKey, keyIds, ...rest] = fields
  if (format !== FORMAT) return `a record of format ${describeWire(format)}`
  if (!isBytes(publicKey, PUBLIC_KEY_BYTES)) return 'a record without a proper key'
  const name = peerNameOf(publicKey, crypto)
  if (!isCount(incarnation) || !isCount(version)) return `the record of ${name} has no proper version`
  if (typeof nickname !== 'string' || !isPrintable(nickname, NICKNAME_LENGTH_MAX)) return `the record of ${name} has no proper nickname`
  const places = readAddresses(addresses)
  if (places === undefined) return `the record of ${name} has no proper addresses`
  if (typeof port !== 'number' || !isPort(port)) return `the record of ${name} has no proper port`
  if (!isWhole(mtuBytes, MTU_BYTES_MIN, MTU_BYTES_MAX)) return `the record of ${name} has no proper MTU`
  if (!isZone(zone)) return `the record of ${name} has no proper zone`
  const links = readNeighbours(neighbours)
  if (links === undefined) return `the record of ${name} has no proper neighbours`
  if (!isBytes(dataKey, DATA_KEY_BYTES)) return `the record of ${name} has no proper data key`
  if (!isKeyIdList(keyIds)) return `the record of ${name} has no proper key ids`
  const end = readEnd(rest)
  if (typeof end === 'string') return `the record of ${name} ${end}`
  const keys = { publicKey: new Uint8Array(publicKey), dataKey: new Uint8Array(dataKey), keyIds: keyIds.map(decodeKeyId) }
  const where = { addresses: places, port, mtuBytes, zone, neighbours: links }
  return { name, incarnation, version, nickname, ...keys, ...where, ...end }
}

function readEnd([hasLeft, datapath]: readonly WireValue[]): Pick<PeerRecord, 'hasLeft' | 'datapath'> | string {
  if (typeof hasLeft !== 'boolean') return 'does not tell whether it has left'
  if (!(datapath instanceof Uint8Array) || datapath.length > DATAPATH_BYTES_MAX) return 'has no proper data path'
  return { hasLeft, datapath: new Uint8Array(datapath) }
}

function readNeighbours(list: WireValue): readonly Neighbour[] | undefined {
  if (!Array.isArray(list) || list.length > NEIGHBOURS_MAX) return undefined
  const neighbours = (list as readonly WireValue[]).map(readNeighbour)
  return neighbours.every((neighbour) => neighbour !== undefined) ? neighbours : undefined
}

function readNeighbour(item: WireValue): Neighbour | undefined {
  const [name, place, port, outbound] = Array.isArray(item) ? (item as readonly WireValue[]) : []
  const address = readIp(place)
  if (!isBytes(name, NAME_BYTES) || address === undefined) return undefined
  if (typeof port !== 'number' || !isPort(port) || typeof outbound !== 'boolean') return undefined
  return { name: toHex(name) as PeerName, address, port, outbound }
}

function readAddresses(list: WireValue): readonly Ip[] | undefined {
  if (!Array.isArray(list) || list.length > ADDRESSES_MAX) return undefined
  const addresses = (list as readonly WireValue[]).map(readIp)
  return addresses.every((address) => address !== undefined) ? addresses : undefined
}

/** As many as a keyring has at most. */
const KEY_IDS_MAX = 2

function isKeyIdList(value: WireValue): value is readonly Uint8Array[] {
  return Array.isArray(value) && value.length <= KEY_IDS_MAX && (value as readonly WireValue[]).every((id) => isBytes(id, KEY_ID_BYTES))
}

function isZone(value: WireValue): value is string | undefined {
  return value === undefined || (typeof value === 'string' && isPrintable(value, ZONE_LENGTH_MAX))
}

/** 1 to 2^52: one more is still exact. */
function isCount(value: WireValue): value is number {
  return isWhole(value, 1, 2 ** 52)
}

function isWhole(value: WireValue, min: number, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
}

function isBytes(value: WireValue, length: number): value is Uint8Array {
  return value instanceof Uint8Array && value.length === length
}

function malformed(detail: string): Result<never, GossipFault> {
  return err({ code: 'malformed', detail })
}
