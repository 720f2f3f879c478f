/**
 * ICMPv6 as the probe needs it (RFC 4443):
 *
 *   0       1       2               4               6               8
 *   | type  | code  | checksum      | identifier    | sequence      | payload…          echo request 128, reply 129
 *   | type  | code  | checksum      | next-hop MTU, or unused       | IPv6 packet…      unreachable 1, too big 2, time exceeded 3
 *
 * A raw socket receives what follows the IPv6 header, and learns the sender's address beside it. The kernel makes the checksum.
 */
import { type Ipv6, ipv6OnLink } from '../../../mesh/base/ip.ts'
import { type Echo, echoOf, encodeEcho, ICMP_HEADER_BYTES, type IcmpMessage, viewOf } from './icmp.ts'

export const IPV6_HEADER_BYTES = 40
const NEXT_HEADER_AT = 6
const NEXT_HEADER_ICMP = 58

const UNREACHABLE = 1
const TOO_BIG = 2
const TIME_EXCEEDED = 3
const ECHO_REQUEST = 128
const ECHO_REPLY = 129
const WANTED_TYPES = [UNREACHABLE, TOO_BIG, TIME_EXCEEDED, ECHO_REPLY]

/** struct icmp6_filter: a bit for each of the 256 types, set for those that the socket does not want. */
export function unwantedTypes6(): Uint8Array {
  const words = new Uint32Array(8).fill(0xffff_ffff)
  for (const type of WANTED_TYPES) words[type >> 5] = (words[type >> 5] ?? 0) & ~(1 << (type & 31))
  return new Uint8Array(words.buffer)
}

/** RFC 4443's codes of "unreachable", in the words that the probe has for those of IPv4. */
const UNREACHABLE_CODES: Readonly<Record<number, string>> = {
  0: 'network unreachable',
  1: 'filtered',
  3: 'host unreachable',
  4: 'port unreachable',
  5: 'source address refused',
  6: 'network prohibited',
}

export function encodeEchoRequest6(echo: Echo, payload: Uint8Array): Uint8Array {
  return encodeEcho(ECHO_REQUEST, echo, payload)
}

/** Undefined for whatever is not about an echo request, or is too short to tell. */
export function decodeIcmp6(message: Uint8Array, from: Ipv6): IcmpMessage | undefined {
  if (message.length < ICMP_HEADER_BYTES) return undefined
  const view = viewOf(message)
  const [type, code] = [view.getUint8(0), view.getUint8(1)]
  if (type === ECHO_REPLY) return { kind: 'reply', from, ...echoOf(view), payload: message.subarray(ICMP_HEADER_BYTES) }
  const packet = message.subarray(ICMP_HEADER_BYTES)
  const request = packet.subarray(IPV6_HEADER_BYTES)
  const isAboutRequest = packet[NEXT_HEADER_AT] === NEXT_HEADER_ICMP && request.length >= ICMP_HEADER_BYTES && request[0] === ECHO_REQUEST
  if (!WANTED_TYPES.includes(type) || !isAboutRequest) return undefined
  const nextHopMtu = view.getUint32(4)
  const refused = { kind: 'refused', from, ...echoOf(viewOf(request)), reason: refusal(type, code, nextHopMtu) } as const
  return type === TOO_BIG ? { ...refused, fitsBytes: nextHopMtu } : refused
}

/** From the struct sockaddr_in6 that came with a message. Undefined when it is none. */
export function senderOf(address: Uint8Array): Ipv6 | undefined {
  return address.length >= 24 ? ipv6OnLink(address.subarray(8, 24)) : undefined
}

function refusal(type: number, code: number, nextHopMtu: number): string {
  if (type === TIME_EXCEEDED) return 'the packet went round until its time to live was over'
  if (type === TOO_BIG) return `packets of more than ${nextHopMtu} bytes do not fit`
  return UNREACHABLE_CODES[code] ?? `unreachable (code ${code})`
}
