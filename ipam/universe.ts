/**
 * The universe: the prefixes that all pods of a cluster get their addresses from. Inside `ipam/` everything is a host
 * number n in [0, size): the IPv4 address is base + n and, where there is a prefix of IPv6, the IPv6 address is that
 * one's base + n. So one ring and one journal serve both families.
 */
import { createHash } from 'node:crypto'
import { type Cidr, cidrSize, formatCidr, type Ipv4, ipv4, type Range } from '../mesh/base/address.ts'
import { WeftError } from '../mesh/base/errors.ts'
import { type Ip, type Ipv6, ipv6Bytes, ipv6OnLink, isGlobal, isIpv4 } from '../mesh/base/ip.ts'
import { type Cidr6, formatPrefix, IPV4_BITS, IPV6_BITS } from '../mesh/base/prefix.ts'

/** The prefix of IPv4, which says how many host numbers there are; and that of IPv6, of at least as many addresses. */
export interface Universe extends Cidr {
  /** Undefined: pods have IPv4 alone. */
  readonly v6?: Cidr6 | undefined
}

/** Bigger than /8 would not fit a ring message's host numbers and no private range is; smaller than /29 leaves nothing to share. */
const LENGTH_MIN = 8
const LENGTH_MAX = 29

/** @throws {WeftError} USAGE when it is bigger than a /8 or smaller than a /29, or its IPv6 prefix cannot hold as many addresses. */
export function checkUniverse(universe: Universe): void {
  if (universe.length < LENGTH_MIN || universe.length > LENGTH_MAX) {
    throw new WeftError('USAGE', `cannot allocate from ${formatCidr(universe)}: its length must be ${LENGTH_MIN} to ${LENGTH_MAX}`, {
      hint: 'use a range such as 10.32.0.0/12',
    })
  }
  const fault = rangeFault6(universe, universe.v6)
  if (fault !== undefined) throw new WeftError('USAGE', fault, { hint: 'use a range such as fd00:77:65::/64' })
}

/** Why `v6` cannot be the IPv6 range beside the IPv4 range `v4`; undefined when it can. */
export function rangeFault6(v4: Cidr, v6: Cidr6 | undefined): string | undefined {
  if (v6 === undefined) return undefined
  const longest = v4.length + IPV6_BITS - IPV4_BITS
  if (!isGlobal(v6.base)) return `${formatPrefix(v6)} is neither of fc00::/7, for networks of one's own, nor of 2000::/3`
  if (v6.length <= longest) return undefined
  return `${formatPrefix(v6)} has fewer addresses than ${formatCidr(v4)}: its length must be ${longest} at most`
}

/**
 * What a cluster uses when no IPv6 range was given: a /64 of its own under fd00::/8 (RFC 4193, section 3.2). The 40 bits
 * that make it unlikely that two networks have the same come from the cluster's id, so that all routers agree on them
 * unasked; routers of another id never talk to each other.
 */
export function defaultRange6(cluster: string): Cidr6 {
  const hash = createHash('sha256').update(`weft pods ${cluster}`).digest()
  return { base: ipv6OnLink(Buffer.concat([Uint8Array.of(0xfd), hash.subarray(0, 5), new Uint8Array(10)])), length: 64 }
}

/** `10.32.0.0/12`, or `10.32.0.0/12,fd00::/64`: equal texts for equal universes. */
export function formatUniverse({ v6, ...v4 }: Universe): string {
  return v6 === undefined ? formatCidr(v4) : `${formatCidr(v4)},${formatPrefix(v6)}`
}

/** How a person asks for it. */
export function universeSetting(universe: Universe): string {
  return universe.v6 === undefined ? `${formatCidr(universe)},none` : formatUniverse(universe)
}

/** The network address and the broadcast address are never given to a pod. */
export function isReserved(size: number, host: number): boolean {
  return host === 0 || host === size - 1
}

export function hostAddress(universe: Cidr, host: number): Ipv4 {
  return ipv4(universe.base + host)
}

/** Outside the universe it is none of its numbers. */
export function hostNumber(universe: Cidr, address: Ipv4): number {
  return address - universe.base
}

/** The IPv6 address of whoever has this IPv4 address of the universe; undefined where there is no IPv6. */
export function address6(universe: Universe, address: Ipv4): Ipv6 | undefined {
  return universe.v6 === undefined ? undefined : add(universe.v6.base, hostNumber(universe, address))
}

/** The IPv4 address of whoever has this address of either family; undefined outside the universe's IPv6 range, or where there is none. */
export function address4(universe: Universe, address: Ip): Ipv4 | undefined {
  if (isIpv4(address)) return address
  const bytes = ipv6Bytes(address)
  const low = new DataView(bytes.buffer, bytes.byteOffset).getUint32(12)
  const base = universe.v6 === undefined ? undefined : ipv6Bytes(universe.v6.base)
  const host = base === undefined ? 0 : low - new DataView(base.buffer, base.byteOffset).getUint32(12)
  if (host < 0 || host >= cidrSize(universe)) return undefined
  const found = hostAddress(universe, host)
  return address6(universe, found) === address ? found : undefined
}

/** The IPv6 addresses of those who have the addresses of this prefix, which is of the universe. */
export function prefix6(universe: Universe, prefix: Cidr): Cidr6 | undefined {
  const base = address6(universe, prefix.base)
  return base === undefined ? undefined : { base, length: prefix.length + IPV6_BITS - IPV4_BITS }
}

/** The bits of `host` are zero in `base`, as its range is as big as the universe and aligned to its size. */
function add(base: Ipv6, host: number): Ipv6 {
  const bytes = ipv6Bytes(base)
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  view.setUint32(12, view.getUint32(12) + host)
  return ipv6OnLink(bytes)
}

/** From host numbers to addresses. */
export function addressRange(universe: Cidr, { start, end }: Range): Range {
  return { start: universe.base + start, end: universe.base + end }
}

/** How many addresses in total pods can get. */
export function usableSize(universe: Cidr): number {
  return cidrSize(universe) - 2
}
