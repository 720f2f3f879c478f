/** Prefixes of IPv6, and of either family. Parsed once at the edge. */
import { type Cidr, formatCidr } from './address.ts'
import { formatIp, type Ip, type Ipv6, ipv6Bytes, ipv6OnLink, isIpv4, parseIpv6 } from './ip.ts'

/** An IPv6 prefix; the bits below `length` are zero. */
export interface Cidr6 {
  readonly base: Ipv6
  /** 0 to 128. */
  readonly length: number
}

/** Of either family: its base says which. */
export type Prefix = Cidr | Cidr6

export const IPV4_BITS = 32
export const IPV6_BITS = 128

/** @throws {RangeError} when `text` is not ADDRESS/LENGTH of IPv6, or has bits set below its length. */
export function parseCidr6(text: string): Cidr6 {
  const [address = '', length, more] = text.split('/')
  if (!address.includes(':') || length === undefined || more !== undefined || !/^\d{1,3}$/.test(length)) {
    throw new RangeError(`not a prefix like fd00::/64: ${JSON.stringify(text)}`)
  }
  return cidr6(parseIpv6(address), Number(length))
}

/** @throws {RangeError} when `length` is not 0 to 128, or `base` has bits set below it. */
export function cidr6(base: Ipv6, length: number): Cidr6 {
  if (!(Number.isInteger(length) && length >= 0 && length <= IPV6_BITS)) throw new RangeError(`not a prefix length: ${length}`)
  const floor = maskIpv6(base, length)
  if (floor !== base) throw new RangeError(`${base}/${length} has host bits set (did you mean ${floor}/${length}?)`)
  return { base, length }
}

export function formatPrefix(prefix: Prefix): string {
  return isCidr6(prefix) ? `${prefix.base}/${prefix.length}` : formatCidr(prefix)
}

export function isCidr6(prefix: Prefix): prefix is Cidr6 {
  return typeof prefix.base === 'string'
}

/** The prefix of one address. */
export function hostPrefix(address: Ip): Prefix {
  return isIpv4(address) ? { base: address, length: IPV4_BITS } : { base: address, length: IPV6_BITS }
}

/** ADDRESS/32 or ADDRESS/128. */
export function formatHostPrefix(address: Ip): string {
  return `${formatIp(address)}/${hostPrefix(address).length}`
}

export function cidr6Contains({ base, length }: Cidr6, address: Ipv6): boolean {
  return maskIpv6(address, length) === base
}

/** The first `length` bits of an address, and zeros. */
function maskIpv6(address: Ipv6, length: number): Ipv6 {
  return ipv6OnLink(ipv6Bytes(address).map((byte, at) => byte & (0xff00 >> Math.min(8, Math.max(0, length - 8 * at)))))
}
