/** Socket addresses and numbers of IPv4 sockets, as Linux has them on all its little-endian machines. */
import { type Ipv4, ipv4, ipv4Bytes } from '../../../mesh/base/address.ts'

export const AF_INET = 2
export const SOCK_STREAM = 1
export const SOCK_DGRAM = 2
export const SOCK_RAW = 3
export const IPPROTO_ICMP = 1

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

export const SOL_RAW = 255
/** A mask of the ICMP types that the socket does not want. */
export const ICMP_FILTER = 1

const ANY: Ipv4 = ipv4(0)

/** struct sockaddr_in: family, port, address, padding. */
export function sockaddrIn(address: Ipv4 = ANY, port = 0): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, AF_INET, true)
  view.setUint16(2, port)
  bytes.set(ipv4Bytes(address), 4)
  return bytes
}

/** An `int` or a mask, as socket options take it. */
export function int32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value >>> 0, true)
  return bytes
}
