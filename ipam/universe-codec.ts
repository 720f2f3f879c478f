/**
 * A universe as bytes, the same wherever IPAM says whose ring, verdict or journal something is. Big endian.
 *
 *   | base 4 | /length 1 | base of IPv6 16 | /length of IPv6 1 |   (no IPv6: zeros)
 */
import { cidr, ipv4 } from '../mesh/base/address.ts'
import { ipv6Bytes, ipv6OnLink } from '../mesh/base/ip.ts'
import { cidr6 } from '../mesh/base/prefix.ts'
import type { Universe } from './universe.ts'

export const UNIVERSE_BYTES = 22
const LENGTH_AT = 4
const BASE6_AT = 5
const LENGTH6_AT = 21

/** Writes it into `bytes` at `at`. */
export function putUniverse(bytes: Uint8Array, at: number, { base, length, v6 }: Universe): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, UNIVERSE_BYTES)
  view.setUint32(0, base)
  view.setUint8(LENGTH_AT, length)
  if (v6 !== undefined) bytes.set([...ipv6Bytes(v6.base), v6.length], at + BASE6_AT)
}

/** @throws {RangeError} when it makes no sense. */
export function universeAt(bytes: Uint8Array, at: number): Universe {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, UNIVERSE_BYTES)
  const [length, length6] = [view.getUint8(LENGTH_AT), view.getUint8(LENGTH6_AT)]
  const v6 = length6 === 0 ? undefined : cidr6(ipv6OnLink(bytes.subarray(at + BASE6_AT, at + LENGTH6_AT)), length6)
  return { ...cidr(ipv4(view.getUint32(0)), length), v6 }
}
