/**
 * What a peer tells all others about itself, signed by itself, so that whoever relays it can neither change nor
 * invent it. Encoded once by its owner; the bytes that were signed are kept and relayed as they came.
 *
 *   signed    = [format, publicKey, incarnation, version, nickname, [address…], port, mtuBytes, zone|nil,
 *                [[name, address, port, outbound]…], left]     (MessagePack; later versions may add fields)
 *   signature = Ed25519(domain ‖ signed)
 */
import { type Ipv4, ipv4 } from './base/address.ts'
import type { PeerName } from './base/brand.ts'
import { bytesEqual, concatBytes, fromHex, toHex } from './base/bytes.ts'
import { err, ok, type Result } from './base/result.ts'
import { decodeWire, encodeWire, type WireValue } from './base/wire.ts'
import { type CryptoSuite, PUBLIC_KEY_BYTES, SIGNATURE_BYTES } from './crypto.ts'
import { type Endpoint, isPort } from './endpoint.ts'
import type { GossipFault } from './gossip.ts'
import { type Identity, peerNameOf } from './identity.ts'
import { isPrintable } from './text.ts'

export interface PeerRecord {
  readonly name: PeerName
  readonly publicKey: Uint8Array
  /** Grows with every start of the peer: wall time in milliseconds, or one more than the highest it has seen of itself. */
  readonly incarnation: number
  /** Grows with every change within one incarnation, from 1. */
  readonly version: number
  /** For people: 1 to 63 printable characters; need not be unique. */
  readonly nickname: string
  /** Underlay addresses at which others may reach it, best first. */
  readonly addresses: readonly Ipv4[]
  /** Where its mesh listens, at each of the addresses. */
  readonly port: number
  /** MTU of its underlay. */
  readonly mtuBytes: number
  /** Where it is, when it was told. */
  readonly zone: string | undefined
  /** Those it has a mesh connection with, in order of name. */
  readonly neighbours: readonly Neighbour[]
  /** It has said goodbye: nobody need look for it. */
  readonly hasLeft: boolean
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
}

export const NICKNAME_LENGTH_MAX = 63
export const ZONE_LENGTH_MAX = 63
/** Interfaces of a machine on which peers might reach it: more is a mistake. */
export const ADDRESSES_MAX = 8
/** What every IPv4 host must take. */
export const MTU_BYTES_MIN = 576
export const MTU_BYTES_MAX = 65_535
/** As many connections as a mesh has at most. */
export const NEIGHBOURS_MAX = 64
/** The limits above, encoded, with room for fields of later versions. */
export const RECORD_BYTES_MAX = 4_096

const FORMAT = 1
const NAME_BYTES = 8
/** In MessagePack the head of a short array takes one byte, the format one, the head of a short byte string two. */
const KEY_AT = 4
/** So that a signature of a record is never one of anything else. */
const DOMAIN = new TextEncoder().encode('weft peer record 1\0')

/** What its owner decides about a record. */
export type RecordFacts = Omit<PeerRecord, 'name' | 'publicKey'>

export function signRecord(facts: RecordFacts, identity: Identity, crypto: CryptoSuite): SignedRecord {
  const { name, keys } = identity
  const signed = encodeRecord(facts, identity)
  return { record: { name, publicKey: keys.publicKey, ...facts }, signed, signature: crypto.sign(concatBytes([DOMAIN, signed]), keys) }
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

/** Checks everything but the signature. Copies what it keeps. */
export function parseRecord(signed: Uint8Array, signature: Uint8Array, crypto: CryptoSuite): Result<SignedRecord, GossipFault> {
  if (signed.length > RECORD_BYTES_MAX)
    return err({ code: 'limit', detail: `a record of ${signed.length} bytes, more than ${RECORD_BYTES_MAX}` })
  if (signature.length !== SIGNATURE_BYTES) return malformed('a signature of a wrong length')
  const own = new Uint8Array(signed)
  const decoded = decodeWire(own)
  if (!decoded.ok) return malformed(decoded.error)
  const record = Array.isArray(decoded.value) ? readRecord(decoded.value, crypto) : 'not an array'
  if (typeof record === 'string') return malformed(record)
  return ok({ record, signed: own, signature: new Uint8Array(signature) })
}

/** The bytes that are to be signed. */
export function encodeRecord(facts: RecordFacts, { keys: { publicKey } }: Identity): Uint8Array {
  const { incarnation, version, nickname, addresses, port, mtuBytes, zone, neighbours, hasLeft } = facts
  const links = neighbours.map((neighbour) => [fromHex(neighbour.name), neighbour.address, neighbour.port, neighbour.outbound])
  return encodeWire([FORMAT, publicKey, incarnation, version, nickname, addresses, port, mtuBytes, zone, links, hasLeft])
}

/** A string says what is wrong. */
function readRecord(fields: readonly WireValue[], crypto: CryptoSuite): PeerRecord | string {
  const [format, publicKey, incarnation, version, nickname, addresses, port, mtuBytes, zone, neighbours, left] = fields
  if (format !== FORMAT) return `a record of format ${typeof format === 'number' ? format : typeof format}`
  if (!isBytes(publicKey, PUBLIC_KEY_BYTES)) return 'a record without a proper key'
  const name = peerNameOf(publicKey, crypto)
  if (!isCount(incarnation) || !isCount(version)) return `the record of ${name} has no proper version`
  if (typeof nickname !== 'string' || !isPrintable(nickname, NICKNAME_LENGTH_MAX)) return `the record of ${name} has no proper nickname`
  if (!isAddressList(addresses)) return `the record of ${name} has no proper addresses`
  if (typeof port !== 'number' || !isPort(port)) return `the record of ${name} has no proper port`
  if (!isWhole(mtuBytes, MTU_BYTES_MIN, MTU_BYTES_MAX)) return `the record of ${name} has no proper MTU`
  if (!isZone(zone)) return `the record of ${name} has no proper zone`
  const links = readNeighbours(neighbours)
  if (links === undefined) return `the record of ${name} has no proper neighbours`
  if (typeof left !== 'boolean') return `the record of ${name} does not tell whether it has left`
  const places = { addresses: addresses.map(ipv4), port, mtuBytes, zone, neighbours: links }
  return { name, publicKey: new Uint8Array(publicKey), incarnation, version, nickname, ...places, hasLeft: left }
}

function readNeighbours(list: WireValue): readonly Neighbour[] | undefined {
  if (!Array.isArray(list) || list.length > NEIGHBOURS_MAX) return undefined
  const neighbours = (list as readonly WireValue[]).map(readNeighbour)
  return neighbours.every((neighbour) => neighbour !== undefined) ? neighbours : undefined
}

function readNeighbour(item: WireValue): Neighbour | undefined {
  const [name, address, port, outbound] = Array.isArray(item) ? (item as readonly WireValue[]) : []
  if (!isBytes(name, NAME_BYTES) || !isAddress(address)) return undefined
  if (typeof port !== 'number' || !isPort(port) || typeof outbound !== 'boolean') return undefined
  return { name: toHex(name) as PeerName, address: ipv4(address), port, outbound }
}

function isAddressList(value: WireValue): value is readonly number[] {
  return Array.isArray(value) && value.length <= ADDRESSES_MAX && (value as readonly WireValue[]).every(isAddress)
}

function isAddress(value: WireValue): value is number {
  return isWhole(value, 0, 0xffff_ffff)
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

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b)
}

function malformed(detail: string): Result<never, GossipFault> {
  return err({ code: 'malformed', detail })
}
