/**
 * The probe's UDP messages. The big one fills the largest datagram that IPv4 carries (IPv6: 20 bytes more), so that it travels in many
 * fragments; the receiver checks every byte and acknowledges it with the sender's address as it saw it.
 *
 *   0               4               8
 *   | run           | sequence      | pattern…             probe, 65507 bytes
 *   | run           | sequence      | observed address |   acknowledgement, 12 bytes, or 24 for IPv6
 */
import { ipv4Bytes, ipv4FromBytes } from '../../../mesh/base/address.ts'
import { type Ip, ipv6Bytes, ipv6OnLink, isIpv4 } from '../../../mesh/base/ip.ts'

/** 65535 less the headers of IPv4 (20) and UDP (8). */
export const DATAGRAM_BYTES = 65_507

const HEADER_BYTES = 8
const ACKNOWLEDGEMENT_BYTES = 12
const ACKNOWLEDGEMENT6_BYTES = 24

/** Differs from its neighbours and from fragment to fragment, so that swapped or repeated pieces show. */
const PATTERN: Buffer = Buffer.from(Uint8Array.from({ length: DATAGRAM_BYTES - HEADER_BYTES }, (_, at) => (at * 31 + (at >> 8) * 7) & 0xff))

export interface ProbeId {
  /** 32 bits, new for each check: late answers to an earlier one are nobody's. */
  readonly run: number
  /** 32 bits. */
  readonly sequence: number
}

export type ProbeMessage = (ProbeId & { readonly kind: 'probe' }) | (ProbeId & { readonly kind: 'acknowledgement'; readonly observed: Ip })

export function encodeProbe({ run, sequence }: ProbeId): Uint8Array {
  const bytes = new Uint8Array(DATAGRAM_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, run)
  view.setUint32(4, sequence)
  bytes.set(PATTERN, HEADER_BYTES)
  return bytes
}

export function encodeAcknowledgement({ run, sequence }: ProbeId, observed: Ip): Uint8Array {
  const bytes = new Uint8Array(isIpv4(observed) ? ACKNOWLEDGEMENT_BYTES : ACKNOWLEDGEMENT6_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, run)
  view.setUint32(4, sequence)
  bytes.set(isIpv4(observed) ? ipv4Bytes(observed) : ipv6Bytes(observed), HEADER_BYTES)
  return bytes
}

/** Undefined when it is neither, or a probe with a wrong byte. */
export function decodeProbeMessage(bytes: Uint8Array): ProbeMessage | undefined {
  if (![ACKNOWLEDGEMENT_BYTES, ACKNOWLEDGEMENT6_BYTES, DATAGRAM_BYTES].includes(bytes.length)) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const id = { run: view.getUint32(0), sequence: view.getUint32(4) }
  const rest = bytes.subarray(HEADER_BYTES)
  if (bytes.length === ACKNOWLEDGEMENT_BYTES) return { kind: 'acknowledgement', ...id, observed: ipv4FromBytes(rest) }
  if (bytes.length === ACKNOWLEDGEMENT6_BYTES) return { kind: 'acknowledgement', ...id, observed: ipv6OnLink(rest) }
  return PATTERN.equals(rest) ? { kind: 'probe', ...id } : undefined
}
