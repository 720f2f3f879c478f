/** IP addresses among wire values: a number of 32 bits for IPv4, 16 bytes for IPv6. */
import { ipv4 } from './address.ts'
import { type Ip, ipv6Bytes, ipv6FromBytes, isIpv4 } from './ip.ts'
import type { WireValue } from './wire.ts'

export function encodeIp(address: Ip): WireValue {
  return isIpv4(address) ? address : ipv6Bytes(address)
}

/** Undefined for what is no address, or one that says nothing elsewhere, as a link-local one. */
export function readIp(value: WireValue): Ip | undefined {
  if (typeof value === 'number') return Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff ? ipv4(value) : undefined
  if (!(value instanceof Uint8Array)) return undefined
  try {
    return ipv6FromBytes(value)
  } catch {
    return undefined
  }
}
