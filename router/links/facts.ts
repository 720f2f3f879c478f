/**
 * What the data path of a node tells those of others, in its signed record: MessagePack
 *
 *   [1, mode, [[address, length]…], [length|nil…], [kind…], names]
 *
 * with the trusted subnets, the lengths of the subnets of the record's addresses, the kinds of links that it can do, and
 * the names, 8 bytes each, of peers that no link of its leads to. Later versions append fields.
 */

import type { PeerName } from '../../mesh/base/brand.ts'
import { fromHex, toHex } from '../../mesh/base/bytes.ts'
import { isIpv4 } from '../../mesh/base/ip.ts'
import { decodeWire, encodeWire, type WireValue } from '../../mesh/base/wire.ts'
import { encodeIp, readIp } from '../../mesh/base/wire-ip.ts'
import { ADDRESSES_MAX, DATAPATH_BYTES_MAX, type PeerRecord } from '../../mesh/record.ts'
import { type LinkKind, WIRE_KINDS } from './kind.ts'
import { ENCRYPT_MODES, type EncryptMode, type PolicyFacts, type Subnet, TRUSTED_SUBNETS_MAX } from './policy.ts'

/** Of a record, together with what it says itself. */
export interface DatapathFacts {
  readonly mode: EncryptMode
  readonly trusted: readonly Subnet[]
  /** Of the subnet of each address of the record; undefined where it is not known. */
  readonly lengths: readonly (number | undefined)[]
  readonly can: readonly LinkKind[]
  /** Living peers that no link of its leads to, in order of name: the first of them, if there are more than `UNREACHABLE_MAX`. */
  readonly unreachable: readonly PeerName[]
}

/** Where more are missing no choice of relays helps. */
export const UNREACHABLE_MAX = 96

const VERSION = 1
const NAME_BYTES = 8
/** With room for kinds of later versions. */
const KINDS_MAX = 32
/** `DATAPATH_BYTES_MAX` bytes at most. */
export function encodeFacts({ mode, trusted, lengths, can, unreachable }: DatapathFacts): Uint8Array {
  const names = new Uint8Array(NAME_BYTES * Math.min(unreachable.length, UNREACHABLE_MAX))
  for (const [index, name] of unreachable.slice(0, UNREACHABLE_MAX).entries()) names.set(fromHex(name), index * NAME_BYTES)
  const subnets = trusted.map(({ address, length }) => [encodeIp(address), length])
  const kinds = can.map((kind) => WIRE_KINDS.indexOf(kind))
  return encodeWire([VERSION, ENCRYPT_MODES.indexOf(mode), subnets, [...lengths], kinds, names])
}

/** Undefined when they are none that we can read: whoever sent them gets no plain packets. */
export function decodeFacts(bytes: Uint8Array): DatapathFacts | undefined {
  if (bytes.length > DATAPATH_BYTES_MAX) return undefined
  const decoded = decodeWire(bytes)
  if (!decoded.ok || !Array.isArray(decoded.value)) return undefined
  const [version, modeNumber, subnets, lengths, kinds, names] = decoded.value as readonly WireValue[]
  const mode = typeof modeNumber === 'number' ? ENCRYPT_MODES[modeNumber] : undefined
  const trusted = readList(subnets, TRUSTED_SUBNETS_MAX, readSubnet)
  const subnetLengths = readList(lengths, ADDRESSES_MAX, (length) => (length === undefined ? { length } : readLength(length, 128)))
  const can = readList(kinds, KINDS_MAX, (kind) => (typeof kind === 'number' ? { kind: WIRE_KINDS[kind] } : undefined))
  const unreachable = readNames(names)
  if (version !== VERSION || mode === undefined || !trusted || !subnetLengths || !can || !unreachable) return undefined
  // Kinds of later versions are none that we could use.
  const known = can.flatMap(({ kind }) => (kind === undefined ? [] : [kind]))
  return { mode, trusted, lengths: subnetLengths.map(({ length }) => length), can: known, unreachable }
}

/** What policy asks of a peer. Of one whose facts cannot be read: that it be always sealed, by a link that it does not have. */
export function policyFactsOf(record: PeerRecord, facts: DatapathFacts | undefined): PolicyFacts {
  const { name, nickname, zone, addresses } = record
  const underlay = addresses.map((address, index) => ({ address, length: facts?.lengths[index] }))
  if (facts === undefined) return { name, nickname, mode: 'always', zone, trusted: [], underlay, can: [] }
  return { name, nickname, mode: facts.mode, zone, trusted: facts.trusted, underlay, can: facts.can }
}

function readList<T>(value: WireValue, max: number, read: (item: WireValue) => T | undefined): readonly T[] | undefined {
  if (!Array.isArray(value) || value.length > max) return undefined
  const items = (value as readonly WireValue[]).map(read)
  return items.every((item) => item !== undefined) ? items : undefined
}

function readSubnet(item: WireValue): Subnet | undefined {
  const [place, length] = Array.isArray(item) ? (item as readonly WireValue[]) : []
  const address = readIp(place)
  if (address === undefined) return undefined
  const read = readLength(length, isIpv4(address) ? 32 : 128)
  return read === undefined ? undefined : { address, length: read.length }
}

function readLength(value: WireValue, max: number): { readonly length: number } | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max ? { length: value } : undefined
}

function readNames(value: WireValue): readonly PeerName[] | undefined {
  if (!(value instanceof Uint8Array) || value.length % NAME_BYTES !== 0 || value.length > NAME_BYTES * UNREACHABLE_MAX) return undefined
  return Array.from({ length: value.length / NAME_BYTES }, (_, index) => {
    return toHex(value.subarray(index * NAME_BYTES, (index + 1) * NAME_BYTES)) as PeerName
  })
}
