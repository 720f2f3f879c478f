/** IPv4 addresses, prefixes and ranges as integers. Parsed once at the edge, then plain arithmetic. */
import type { Brand } from './brand.ts'

/** An IPv4 address as an unsigned 32-bit integer in host order. */
export type Ipv4 = Brand<number, 'Ipv4'>

/** An IPv4 prefix; the bits below `length` are zero. */
export interface Cidr {
  readonly base: Ipv4
  /** 0 to 32. */
  readonly length: number
}

/** Whole numbers in [start, end). Used for addresses and for host numbers alike. */
export interface Range {
  readonly start: number
  readonly end: number
}

const OCTET = '(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const IPV4 = new RegExp(`^${OCTET}\\.${OCTET}\\.${OCTET}\\.${OCTET}$`)

/** @throws {RangeError} when `text` is not four decimal octets without leading zeros. */
export function parseIpv4(text: string): Ipv4 {
  const match = IPV4.exec(text)
  if (match === null) throw new RangeError(`not an IPv4 address: ${JSON.stringify(text)}`)
  const [, a, b, c, d] = match
  return (((Number(a) << 24) | (Number(b) << 16) | (Number(c) << 8) | Number(d)) >>> 0) as Ipv4
}

/** @throws {RangeError} when `number` is not in 0 to 2^32 - 1. */
export function ipv4(number: number): Ipv4 {
  if (!(Number.isInteger(number) && number >= 0 && number <= 0xffff_ffff)) throw new RangeError(`not an IPv4 address: ${number}`)
  return number as Ipv4
}

export function formatIpv4(address: Ipv4): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`
}

/** Network byte order. */
export function ipv4Bytes(address: Ipv4): Uint8Array {
  return Uint8Array.of(address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255)
}

/** @throws {RangeError} when `bytes` is not 4 bytes long. */
export function ipv4FromBytes(bytes: Uint8Array): Ipv4 {
  const [a, b, c, d] = bytes
  if (bytes.length !== 4 || a === undefined || b === undefined || c === undefined || d === undefined) {
    throw new RangeError(`an IPv4 address has 4 bytes, not ${bytes.length}`)
  }
  return (((a << 24) | (b << 16) | (c << 8) | d) >>> 0) as Ipv4
}

/** @throws {RangeError} when `text` is not ADDRESS/LENGTH, or has bits set below its length. */
export function parseCidr(text: string): Cidr {
  const [address, length, more] = text.split('/')
  if (address === undefined || length === undefined || more !== undefined || !/^\d{1,2}$/.test(length)) {
    throw new RangeError(`not a prefix like 10.32.0.0/12: ${JSON.stringify(text)}`)
  }
  return cidr(parseIpv4(address), Number(length))
}

/** @throws {RangeError} when `length` is not 0 to 32, or `base` has bits set below it. */
export function cidr(base: Ipv4, length: number): Cidr {
  if (!(Number.isInteger(length) && length >= 0 && length <= 32)) throw new RangeError(`not a prefix length: ${length}`)
  const size = 2 ** (32 - length)
  if (base % size !== 0) {
    const floor = (base - (base % size)) as Ipv4
    throw new RangeError(`${formatIpv4(base)}/${length} has host bits set (did you mean ${formatIpv4(floor)}/${length}?)`)
  }
  return { base, length }
}

export function formatCidr({ base, length }: Cidr): string {
  return `${formatIpv4(base)}/${length}`
}

/** How many addresses it holds: 1 to 2^32. */
export function cidrSize({ length }: Cidr): number {
  return 2 ** (32 - length)
}

export function cidrContains(prefix: Cidr, address: Ipv4): boolean {
  return address >= prefix.base && address < prefix.base + cidrSize(prefix)
}

/** The fewest prefixes that cover [start, end) exactly, in order. */
export function rangeToCidrs({ start, end }: Range): readonly Cidr[] {
  const prefixes: Cidr[] = []
  let at = start
  while (at < end) {
    const size = alignedSize(at, end)
    prefixes.push({ base: at as Ipv4, length: 32 - Math.log2(size) })
    at += size
  }
  return prefixes
}

/** The size of the biggest power-of-two block that starts at `at`, is aligned to its size and ends by `end`. */
export function alignedSize(at: number, end: number): number {
  let size = 1
  while (at % (size * 2) === 0 && at + size * 2 <= end) size *= 2
  return size
}
