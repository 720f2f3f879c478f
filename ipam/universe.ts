/**
 * The universe: the one prefix that all pods of a cluster get their addresses from. Inside `ipam/`
 * everything is a host number n in [0, size): the address is base + n.
 */
import { type Cidr, cidrSize, formatCidr, type Ipv4, ipv4, type Range } from '../mesh/base/address.ts'
import { WeftError } from '../mesh/base/errors.ts'

/** Bigger than /8 would not fit a ring message's host numbers and no private range is; smaller than /29 leaves nothing to share. */
const LENGTH_MIN = 8
const LENGTH_MAX = 29

/** @throws {WeftError} USAGE when it is bigger than a /8 or smaller than a /29. */
export function checkUniverse(universe: Cidr): void {
  if (universe.length < LENGTH_MIN || universe.length > LENGTH_MAX) {
    throw new WeftError('USAGE', `cannot allocate from ${formatCidr(universe)}: its length must be ${LENGTH_MIN} to ${LENGTH_MAX}`, {
      hint: 'use a range such as 10.32.0.0/12',
    })
  }
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

/** From host numbers to addresses. */
export function addressRange(universe: Cidr, { start, end }: Range): Range {
  return { start: universe.base + start, end: universe.base + end }
}

/** How many addresses in total pods can get. */
export function usableSize(universe: Cidr): number {
  return cidrSize(universe) - 2
}
