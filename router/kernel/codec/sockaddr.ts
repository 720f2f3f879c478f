/**
 * Socket addresses as attributes have them (netinet/in.h): an IP address of either family and a port.
 *
 *   0        2      4          8                 16
 *   | family | port | IPv4     | zeros           |
 *   | family | port | flow     | IPv6, 16 bytes … 24 | scope | 28
 *
 * The family is in the machine's order, port and address in the network's.
 */
import { ipv4Bytes, ipv4FromBytes } from '../../../mesh/base/address.ts'
import { type Ip, ipv6Bytes, ipv6FromBytes, isIpv4 } from '../../../mesh/base/ip.ts'
import { Family } from './numbers.ts'

export interface SocketAddress {
  readonly address: Ip
  readonly port: number
}

const IPV4_BYTES = 16
const IPV6_BYTES = 28
const ADDRESS_AT = 4
const IPV6_ADDRESS_AT = 8

export function encodeSocketAddress({ address, port }: SocketAddress): Uint8Array {
  const bytes = new Uint8Array(isIpv4(address) ? IPV4_BYTES : IPV6_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, isIpv4(address) ? Family.inet : Family.inet6, true)
  view.setUint16(2, port, false)
  bytes.set(ipBytes(address), isIpv4(address) ? ADDRESS_AT : IPV6_ADDRESS_AT)
  return bytes
}

/** Undefined when it is malformed, or link-local: see `Ip`. */
export function decodeSocketAddress(bytes: Uint8Array): SocketAddress | undefined {
  if (bytes.length < ADDRESS_AT) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const [family, port] = [view.getUint16(0, true), view.getUint16(2, false)]
  if (family === Family.inet && bytes.length === IPV4_BYTES) return withPort(ipOf(bytes.subarray(ADDRESS_AT, ADDRESS_AT + 4)), port)
  if (family !== Family.inet6 || bytes.length !== IPV6_BYTES) return undefined
  return withPort(ipOf(bytes.subarray(IPV6_ADDRESS_AT, IPV6_ADDRESS_AT + 16)), port)
}

/** 4 or 16 bytes, in the network's order. */
export function ipBytes(address: Ip): Uint8Array {
  return isIpv4(address) ? ipv4Bytes(address) : ipv6Bytes(address)
}

/** Undefined when it has another length than 4 or 16 bytes, or is link-local. */
export function ipOf(bytes: Uint8Array): Ip | undefined {
  try {
    return bytes.length === 4 ? ipv4FromBytes(bytes) : ipv6FromBytes(bytes)
  } catch {
    return undefined
  }
}

function withPort(address: Ip | undefined, port: number): SocketAddress | undefined {
  return address === undefined ? undefined : { address, port }
}
