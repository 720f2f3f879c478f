/** Socket addresses and numbers of sockets, as Linux has them on all its little-endian machines. */
import { ipv4Bytes } from '../../../mesh/base/address.ts'
import { type Ip, ipv6Bytes, isIpv4 } from '../../../mesh/base/ip.ts'

export const AF_INET = 2
export const AF_INET6 = 10
export const SOCK_STREAM = 1
export const SOCK_DGRAM = 2
export const SOCK_RAW = 3
export const IPPROTO_ICMP = 1
export const IPPROTO_ICMPV6 = 58

export const SOL_SOCKET = 1
/** Sizes of buffers beyond the system's limit, for CAP_NET_ADMIN. */
export const SO_SNDBUFFORCE = 32
export const SO_RCVBUFFORCE = 33

export const SOL_IP = 0
export const IP_MTU_DISCOVER = 10
/** Sets DF and ignores what earlier packets taught about the path, so that each one tries the path anew. */
export const IP_PMTUDISC_PROBE = 3
/** Of a connected socket: what the route to the other side carries. */
export const IP_MTU = 14

export const SOL_IPV6 = 41
/** As IP_MTU_DISCOVER, with the same values. */
export const IPV6_MTU_DISCOVER = 23
export const IPV6_MTU = 24

export const SOL_RAW = 255
export const SOL_ICMPV6 = 58
/** A mask of the ICMP types that the socket does not want; the number is the same for both families. */
export const ICMP_FILTER = 1

const SOCKADDR_IN_BYTES = 16
const SOCKADDR_IN6_BYTES = 28

/** struct sockaddr_in: family, port, address, padding; struct sockaddr_in6: family, port, flow, address, scope. */
export function sockaddr(address: Ip, port = 0): Uint8Array {
  const bytes = new Uint8Array(isIpv4(address) ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, isIpv4(address) ? AF_INET : AF_INET6, true)
  view.setUint16(2, port)
  if (isIpv4(address)) bytes.set(ipv4Bytes(address), 4)
  else bytes.set(ipv6Bytes(address), 8)
  return bytes
}

/** Any address of the family of `address`, and a port that the kernel chooses. */
export function sockaddrAny(address: Ip): Uint8Array {
  return sockaddr(address).fill(0, 2)
}

/** An `int` or a mask, as socket options take it. */
export function int32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value >>> 0, true)
  return bytes
}
