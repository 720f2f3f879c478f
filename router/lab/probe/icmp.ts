/**
 * ICMP as the probe needs it (RFC 792, RFC 1191):
 *
 *   0       1       2               4               6               8
 *   | type  | code  | checksum      | identifier    | sequence      | payload…        echo request 8, reply 0
 *   | type  | code  | checksum      | unused        | next-hop MTU  | IP header, 8 B  unreachable 3, time exceeded 11
 *
 * A raw socket receives whole IP packets: the header stands in front.
 */
import { ipv4FromBytes } from '../../../mesh/base/address.ts'
import type { Ip } from '../../../mesh/base/ip.ts'

export const IPV4_HEADER_BYTES = 20
export const ICMP_HEADER_BYTES = 8

const ECHO_REPLY = 0
const UNREACHABLE = 3
const ECHO_REQUEST = 8
const TIME_EXCEEDED = 11
const FRAGMENTATION_NEEDED = 4

/** What the probe wants to hear of, as a mask of what it does not (icmp_filter in linux/icmp.h). */
export const UNWANTED_TYPES: number = ~((1 << ECHO_REPLY) | (1 << UNREACHABLE) | (1 << TIME_EXCEEDED)) >>> 0

/** RFC 792's names of the codes that routers and firewalls send. */
const UNREACHABLE_CODES: Readonly<Record<number, string>> = {
  0: 'network unreachable',
  1: 'host unreachable',
  2: 'protocol unreachable',
  3: 'port unreachable',
  9: 'network prohibited',
  10: 'host prohibited',
  13: 'filtered',
}

export interface Echo {
  /** 16 bits. */
  readonly identifier: number
  /** 16 bits. */
  readonly sequence: number
}

export type IcmpMessage =
  /** `payload` is a view into the packet. */
  | (Echo & { readonly kind: 'reply'; readonly from: Ip; readonly payload: Uint8Array })
  /** Somebody on the way could not pass on our request. */
  | (Echo & {
      readonly kind: 'refused'
      readonly from: Ip
      readonly reason: string
      /** The biggest packet that goes on from there. */
      readonly fitsBytes?: number
    })

export function encodeEchoRequest(echo: Echo, payload: Uint8Array): Uint8Array {
  const bytes = encodeEcho(ECHO_REQUEST, echo, payload)
  viewOf(bytes).setUint16(2, checksum(bytes))
  return bytes
}

/** Of either family, without its checksum. */
export function encodeEcho(type: number, { identifier, sequence }: Echo, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(ICMP_HEADER_BYTES + payload.length)
  const view = viewOf(bytes)
  view.setUint8(0, type)
  view.setUint16(4, identifier)
  view.setUint16(6, sequence)
  bytes.set(payload, ICMP_HEADER_BYTES)
  return bytes
}

/** Undefined for whatever is not about an echo request, or is too short to tell. */
export function decodeIcmp(packet: Uint8Array): IcmpMessage | undefined {
  const icmp = payloadOf(packet)
  if (icmp === undefined || icmp.length < ICMP_HEADER_BYTES) return undefined
  const from = ipv4FromBytes(packet.subarray(12, 16))
  const view = viewOf(icmp)
  const type = view.getUint8(0)
  if (type === ECHO_REPLY) return { kind: 'reply', from, ...echoOf(view), payload: icmp.subarray(ICMP_HEADER_BYTES) }
  if (type !== UNREACHABLE && type !== TIME_EXCEEDED) return undefined
  const request = payloadOf(icmp.subarray(ICMP_HEADER_BYTES))
  if (request === undefined || request.length < ICMP_HEADER_BYTES || request[0] !== ECHO_REQUEST) return undefined
  const [code, nextHopMtu] = [view.getUint8(1), view.getUint16(6)]
  const refused = { kind: 'refused', from, ...echoOf(viewOf(request)), reason: refusal(type, code, nextHopMtu) } as const
  return type === UNREACHABLE && code === FRAGMENTATION_NEEDED ? { ...refused, fitsBytes: nextHopMtu } : refused
}

function refusal(type: number, code: number, nextHopMtu: number): string {
  if (type === TIME_EXCEEDED) return 'the packet went round until its time to live was over'
  if (code === FRAGMENTATION_NEEDED) return `packets of more than ${nextHopMtu} bytes do not fit`
  return UNREACHABLE_CODES[code] ?? `unreachable (code ${code})`
}

/** Of an echo message of either family. */
export function echoOf(view: DataView): Echo {
  return { identifier: view.getUint16(4), sequence: view.getUint16(6) }
}

/** What follows the IPv4 header, or undefined when this is no IPv4 packet. */
function payloadOf(packet: Uint8Array): Uint8Array | undefined {
  const first = packet[0]
  if (first === undefined || first >> 4 !== 4) return undefined
  const headerBytes = (first & 0xf) * 4
  return headerBytes >= IPV4_HEADER_BYTES && packet.length >= headerBytes ? packet.subarray(headerBytes) : undefined
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** The ones' complement sum of RFC 1071. */
function checksum(bytes: Uint8Array): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x1_0000)
  return ~sum & 0xffff
}
