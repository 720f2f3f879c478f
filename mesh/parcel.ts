/**
 * A message from one peer to another that others may carry: signed by its sender, for one life of its receiver, good once.
 *
 *   parcel = signature: 64 bytes, signed
 *   signed = [format, from, to, incarnation of from, incarnation of to, number, channel, body]   (MessagePack)
 *
 * Who carries it learns no more than these names and the size, and can drop it, but neither change nor invent nor repeat it.
 */
import { isPeerName, type PeerName } from './base/brand.ts'
import { concatBytes, fromHex, toHex } from './base/bytes.ts'
import { err, ok, type Result } from './base/result.ts'
import { decodeWire, encodeWire, type WireValue } from './base/wire.ts'
import { type CryptoSuite, SIGNATURE_BYTES } from './crypto.ts'
import type { Identity } from './identity.ts'
import { isChannel } from './messages.ts'

export interface Parcel {
  readonly from: PeerName
  readonly to: PeerName
  /** Of the sender's life, and of the receiver's as the sender knows it. */
  readonly fromIncarnation: number
  readonly toIncarnation: number
  /** Counts the parcels of the sender's life, from 1. */
  readonly number: number
  readonly channel: string
  readonly body: Uint8Array
}

/** As it travels. */
export interface SealedParcel {
  readonly parcel: Parcel
  readonly signed: Uint8Array
  readonly signature: Uint8Array
}

const FORMAT = 1
/** So that a signature of a parcel is never one of anything else. */
const DOMAIN = new TextEncoder().encode('weft parcel 1\0')

export function sealParcel(parcel: Parcel, identity: Identity, crypto: CryptoSuite): Uint8Array {
  const { from, to, fromIncarnation, toIncarnation, number, channel, body } = parcel
  const signed = encodeWire([FORMAT, fromHex(from), fromHex(to), fromIncarnation, toIncarnation, number, channel, body])
  return concatBytes([crypto.sign(concatBytes([DOMAIN, signed]), identity.keys), signed])
}

/** Checks everything but the signature. Byte strings are views of `bytes`. The error is a sentence for people. */
export function parseParcel(bytes: Uint8Array): Result<SealedParcel, string> {
  const signature = bytes.subarray(0, SIGNATURE_BYTES)
  const signed = bytes.subarray(SIGNATURE_BYTES)
  const decoded = decodeWire(signed)
  if (!decoded.ok) return err(`a parcel that is ${decoded.error}`)
  const parcel = Array.isArray(decoded.value) ? readParcel(decoded.value) : undefined
  return parcel === undefined ? err('a parcel with improper fields') : ok({ parcel, signed, signature })
}

/** Whether the owner of `publicKey` has signed it. */
export function isParcelGenuine({ signed, signature }: SealedParcel, publicKey: Uint8Array, crypto: CryptoSuite): boolean {
  return crypto.verify(signature, concatBytes([DOMAIN, signed]), publicKey)
}

function readParcel([format, from, to, ...rest]: readonly WireValue[]): Parcel | undefined {
  const [fromIncarnation, toIncarnation, number, channel, body] = rest
  const [sender, receiver] = [readName(from), readName(to)]
  if (format !== FORMAT || sender === undefined || receiver === undefined) return undefined
  if (!(isCount(fromIncarnation) && isCount(toIncarnation) && isCount(number))) return undefined
  if (typeof channel !== 'string' || !isChannel(channel) || !(body instanceof Uint8Array)) return undefined
  return { from: sender, to: receiver, fromIncarnation, toIncarnation, number, channel, body }
}

function readName(value: WireValue): PeerName | undefined {
  const text = value instanceof Uint8Array ? toHex(value) : ''
  return isPeerName(text) ? text : undefined
}

function isCount(value: WireValue): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0
}
