/** What differs between IPv4 and IPv6 for the probe's sockets. */
import { parseIpv4 } from '../../../mesh/base/address.ts'
import { type Ip, isIpv4, parseIp } from '../../../mesh/base/ip.ts'
import { decodeIcmp, type Echo, encodeEchoRequest, type IcmpMessage, IPV4_HEADER_BYTES, UNWANTED_TYPES } from './icmp.ts'
import { decodeIcmp6, encodeEchoRequest6, IPV6_HEADER_BYTES, senderOf, unwantedTypes6 } from './icmp6.ts'
import * as sockets from './sockaddr.ts'
import { int32 } from './sockaddr.ts'

interface SocketOption {
  readonly level: number
  readonly option: number
}

export interface ProbeFamily {
  readonly domain: number
  readonly datagrams: 'udp4' | 'udp6'
  readonly headerBytes: number
  /** What every link carries (RFC 791, RFC 8200): a hop that claims less is wrong. */
  readonly packetBytesMin: number
  /** Set apart for documentation (RFC 5737, RFC 3849): nobody answers there, so that no path of its own was ever learned for it. */
  readonly nowhere: Ip
  /** Of a connected socket: what the route to the other side carries. */
  readonly mtu: SocketOption
  readonly icmp: {
    readonly protocol: number
    /** Asks the path anew for every packet, whatever earlier ones taught. */
    readonly discover: SocketOption
    readonly filter: SocketOption & { readonly value: Uint8Array }
    encode(echo: Echo, payload: Uint8Array): Uint8Array
    /** @param from the address structure that came with the packet. */
    decode(packet: Uint8Array, from: Uint8Array): IcmpMessage | undefined
  }
}

const INET: ProbeFamily = {
  domain: sockets.AF_INET,
  datagrams: 'udp4',
  headerBytes: IPV4_HEADER_BYTES,
  packetBytesMin: 68,
  nowhere: parseIpv4('192.0.2.1'),
  mtu: { level: sockets.SOL_IP, option: sockets.IP_MTU },
  icmp: {
    protocol: sockets.IPPROTO_ICMP,
    discover: { level: sockets.SOL_IP, option: sockets.IP_MTU_DISCOVER },
    filter: { level: sockets.SOL_RAW, option: sockets.ICMP_FILTER, value: int32(UNWANTED_TYPES) },
    encode: encodeEchoRequest,
    decode: (packet) => decodeIcmp(packet),
  },
}

const INET6: ProbeFamily = {
  domain: sockets.AF_INET6,
  datagrams: 'udp6',
  headerBytes: IPV6_HEADER_BYTES,
  packetBytesMin: 1_280,
  nowhere: parseIp('2001:db8::1'),
  mtu: { level: sockets.SOL_IPV6, option: sockets.IPV6_MTU },
  icmp: {
    protocol: sockets.IPPROTO_ICMPV6,
    discover: { level: sockets.SOL_IPV6, option: sockets.IPV6_MTU_DISCOVER },
    filter: { level: sockets.SOL_ICMPV6, option: sockets.ICMP_FILTER, value: unwantedTypes6() },
    encode: encodeEchoRequest6,
    decode(packet, from) {
      const sender = senderOf(from)
      return sender === undefined ? undefined : decodeIcmp6(packet, sender)
    },
  },
}

export function probeFamily(address: Ip): ProbeFamily {
  return isIpv4(address) ? INET : INET6
}
