/**
 * Netlink attributes: type, length, value; nested ones have attributes as their value.
 *
 *   0        2        4                    length   next multiple of 4
 *   | length | type   | value …            | zeros  |
 *
 * `length` counts the header but not the padding. Numbers are in the machine's order: Weft runs on x64
 * and arm64, both little endian. What arrives is read with bounds checks and never throws.
 */
import { type Ipv4, ipv4Bytes, ipv4FromBytes } from '../../../mesh/base/address.ts'
import { type Ip, ipv6Bytes, ipv6OnLink, isIpv4 } from '../../../mesh/base/ip.ts'
import { assert } from '../../../mesh/base/result.ts'
import { type Mac, macBytes, macFromBytes } from '../mac.ts'

/** By type. Of attributes that occur twice the last one counts, as in the kernel. */
export type Attributes = ReadonlyMap<number, Uint8Array>

const HEADER_BYTES = 4
const LENGTH_MAX = 0xffff
const ALIGNMENT = 4

/** Says that the value holds attributes; the kernel's strict checks want it where its policy says so. */
const NESTED = 0x8000
/** The two highest bits of the type are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER). */
const TYPE_MASK = 0x3fff

export function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT
}

export function attribute(type: number, value: Uint8Array): Uint8Array {
  const length = HEADER_BYTES + value.length
  assert(length <= LENGTH_MAX, `attribute ${type} has ${value.length} bytes`)
  const bytes = new Uint8Array(align(length))
  const view = new DataView(bytes.buffer)
  view.setUint16(0, length, true)
  view.setUint16(2, type, true)
  bytes.set(value, HEADER_BYTES)
  return bytes
}

export function nested(type: number, children: readonly Uint8Array[]): Uint8Array {
  return attribute(type | NESTED, Buffer.concat(children))
}

export function u8(type: number, number: number): Uint8Array {
  return attribute(type, Uint8Array.of(number))
}

export function u16(type: number, number: number): Uint8Array {
  const bytes = new Uint8Array(2)
  new DataView(bytes.buffer).setUint16(0, number, true)
  return attribute(type, bytes)
}

export function u32(type: number, number: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, number, true)
  return attribute(type, bytes)
}

/** Network byte order. */
export function be16(type: number, number: number): Uint8Array {
  const bytes = new Uint8Array(2)
  new DataView(bytes.buffer).setUint16(0, number, false)
  return attribute(type, bytes)
}

/** Network byte order; `number` fits 2^53. */
export function be64(type: number, number: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(number), false)
  return attribute(type, bytes)
}

/** A string with its closing zero. */
export function text(type: number, value: string): Uint8Array {
  assert(!value.includes('\0'), `attribute ${type} has a zero byte in its text`)
  return attribute(type, Buffer.from(`${value}\0`, 'utf8'))
}

export function ipv4(type: number, address: Ipv4): Uint8Array {
  return attribute(type, ipv4Bytes(address))
}

export function ip(type: number, address: Ip): Uint8Array {
  return isIpv4(address) ? ipv4(type, address) : attribute(type, ipv6Bytes(address))
}

export function mac(type: number, address: Mac): Uint8Array {
  return attribute(type, macBytes(address))
}

/** An attribute only when there is a value. */
export function given<T>(value: T | undefined, encode: (type: number, value: T) => Uint8Array, type: number): readonly Uint8Array[] {
  return value === undefined ? [] : [encode(type, value)]
}

/** Everything up to the first malformed attribute. The values are views into `bytes`. */
export function readAttributes(bytes: Uint8Array): Attributes {
  return new Map(readEach(bytes))
}

function* readEach(bytes: Uint8Array): Generator<readonly [number, Uint8Array]> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  while (at + HEADER_BYTES <= bytes.length) {
    const length = view.getUint16(at, true)
    if (length < HEADER_BYTES || at + length > bytes.length) break
    yield [view.getUint16(at + 2, true) & TYPE_MASK, bytes.subarray(at + HEADER_BYTES, at + length)]
    at += align(length)
  }
}

/** The attributes inside attribute `type`; none when it is not there. */
export function readNested(attributes: Attributes, type: number): Attributes {
  return readAttributes(attributes.get(type) ?? new Uint8Array(0))
}

/** Attribute `type` as a list, each item of which has attributes inside: their types say nothing, their order does. */
export function readList(attributes: Attributes, type: number): readonly Attributes[] {
  return [...readEach(attributes.get(type) ?? new Uint8Array(0))].map(([, value]) => readAttributes(value))
}

/** The value of attribute `type` when it is there and `bytes` long. */
function sized(attributes: Attributes, type: number, bytes: number): DataView | undefined {
  const value = attributes.get(type)
  return value?.length === bytes ? new DataView(value.buffer, value.byteOffset, bytes) : undefined
}

export function getU8(attributes: Attributes, type: number): number | undefined {
  return sized(attributes, type, 1)?.getUint8(0)
}

export function getU16(attributes: Attributes, type: number): number | undefined {
  return sized(attributes, type, 2)?.getUint16(0, true)
}

export function getU32(attributes: Attributes, type: number): number | undefined {
  return sized(attributes, type, 4)?.getUint32(0, true)
}

export function getBe16(attributes: Attributes, type: number): number | undefined {
  return sized(attributes, type, 2)?.getUint16(0, false)
}

/** Undefined, too, when it does not fit 2^53. */
export function getU64(attributes: Attributes, type: number): number | undefined {
  const number = Number(sized(attributes, type, 8)?.getBigUint64(0, true) ?? Number.NaN)
  return Number.isSafeInteger(number) ? number : undefined
}

/** Undefined, too, when it does not fit 2^53. */
export function getBe64(attributes: Attributes, type: number): number | undefined {
  const number = Number(sized(attributes, type, 8)?.getBigUint64(0, false) ?? Number.NaN)
  return Number.isSafeInteger(number) ? number : undefined
}

export function getText(attributes: Attributes, type: number): string | undefined {
  const value = attributes.get(type)
  if (value === undefined) return undefined
  const end = value.indexOf(0)
  return Buffer.from(value.subarray(0, end === -1 ? value.length : end)).toString('utf8')
}

export function getIpv4(attributes: Attributes, type: number): Ipv4 | undefined {
  const value = attributes.get(type)
  return value?.length === 4 ? ipv4FromBytes(value) : undefined
}

/** The family is told by the length. */
export function getIp(attributes: Attributes, type: number): Ip | undefined {
  const value = attributes.get(type)
  return value?.length === 16 ? ipv6OnLink(value) : getIpv4(attributes, type)
}

export function getMac(attributes: Attributes, type: number): Mac | undefined {
  const value = attributes.get(type)
  return value === undefined ? undefined : macFromBytes(value)
}
