/** Which addresses a caller would take: any, one of a subnet, or exactly one. */
import { type Cidr, cidrContains, cidrSize, formatCidr, formatIpv4, type Ipv4, type Range, rangeToCidrs } from '../mesh/base/address.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import { addressRange, hostNumber, isReserved } from './universe.ts'

const ADDRESS_BITS = 32

export interface Wish {
  readonly kind: 'any' | 'subnet' | 'address'
  /** The host numbers that would do; one of them where it is an address. */
  readonly within: Range
}

/** As a caller puts it. */
export interface Wanted {
  readonly address?: Ipv4 | undefined
  readonly subnet?: Cidr | undefined
}

export function anyWish(universe: Cidr): Wish {
  return { kind: 'any', within: { start: 0, end: cidrSize(universe) } }
}

/** The error says why it can never be fulfilled. */
export function wishFor(universe: Cidr, wanted: Wanted): Result<Wish, string> {
  const { address, subnet } = wanted
  const fault = subnetFault(universe, wanted) ?? (address === undefined ? undefined : addressFault(universe, address))
  if (fault !== undefined) return err(fault)
  if (address !== undefined) return ok({ kind: 'address', within: rangeOf(universe, { base: address, length: ADDRESS_BITS }) })
  if (subnet === undefined || subnet.length === universe.length) return ok(anyWish(universe))
  return ok({ kind: 'subnet', within: rangeOf(universe, subnet) })
}

export function isGranted(wish: Wish, host: number): boolean {
  return host >= wish.within.start && host < wish.within.end
}

/** `10.32.0.5`, or the subnet, or the universe. */
export function wishText(universe: Cidr, { kind, within }: Wish): string {
  return rangeToCidrs(addressRange(universe, within))
    .map((prefix) => (kind === 'address' ? formatIpv4(prefix.base) : formatCidr(prefix)))
    .join(', ')
}

function subnetFault(universe: Cidr, { address, subnet }: Wanted): string | undefined {
  if (subnet === undefined) return undefined
  const isInside = subnet.length >= universe.length && cidrContains(universe, subnet.base)
  if (!isInside) return `the subnet ${formatCidr(subnet)} is outside of ${formatCidr(universe)}, from which pods get their addresses`
  if (subnet.length === ADDRESS_BITS && addressFault(universe, subnet.base) !== undefined)
    return `no pod gets an address of ${formatCidr(subnet)}`
  if (address === undefined || cidrContains(subnet, address)) return undefined
  return `${formatIpv4(address)} is outside of the subnet ${formatCidr(subnet)}`
}

function addressFault(universe: Cidr, address: Ipv4): string | undefined {
  if (!cidrContains(universe, address))
    return `${formatIpv4(address)} is outside of ${formatCidr(universe)}, from which pods get their addresses`
  if (!isReserved(cidrSize(universe), hostNumber(universe, address))) return undefined
  return `${formatIpv4(address)} is the first or the last address of ${formatCidr(universe)}, which no pod gets`
}

function rangeOf(universe: Cidr, subnet: Cidr): Range {
  const start = hostNumber(universe, subnet.base)
  return { start, end: start + cidrSize(subnet) }
}
