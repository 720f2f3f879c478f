/**
 * A probe: the datagram that shows that a link works, and how much it carries. It travels as a pod's packet would, so it
 * is as long as the packet that it stands for. The answer is the same with another bit, and as long.
 *
 *     0     1       2      3       4        6           8          16          24        32       48
 *     | ver | flags | kind | zero  | size   | proven    | sender   | receiver  | id      | MAC    | zeros …
 *
 * Whole numbers are big-endian. `size` is that of the whole IPv4 packet, `proven` the largest that the sender knows to
 * come back. The MAC is 16 bytes of BLAKE2b, with a key that all members of the cluster have: no stranger can make a link
 * look up or down. A probe has nothing to hide, so it is not sealed where the link does not seal. What follows the MAC is
 * padding that nobody reads; its length is part of what the MAC covers.
 *
 * A datagram that is played back is harmless: an answer counts once, while it is awaited; a probe is answered again, but
 * what it says counts only when its id is above all others of its sender by that link. And all that it can say is that a
 * link is in doubt, or how much it carries: proof are answers to probes of our own.
 */
import type { PeerName } from '../../mesh/base/brand.ts'
import { bytesEqual, concatBytes, fromHex, toHex } from '../../mesh/base/bytes.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import type { CryptoSuite } from '../../mesh/crypto.ts'
import { type LinkKind, WIRE_KINDS } from './kind.ts'

export interface Probe {
  readonly isReply: boolean
  /** Its sender has not heard the receiver by this link: it has no proof at the moment that the link works. */
  readonly isDoubted: boolean
  readonly kind: LinkKind
  /** Of the IPv4 packet that carries it, in bytes. */
  readonly sizeBytes: number
  /** The largest such packet that the sender knows to come back; 0: none. */
  readonly provenBytes: number
  readonly sender: PeerName
  readonly receiver: PeerName
  /** Grows with every probe of its sender, in later lives too, so it begins with the wall time in microseconds. */
  readonly id: number
}

export type ProbeFault = { readonly code: 'short' | 'version' | 'forged' } | { readonly code: 'malformed'; readonly detail: string }

const VERSION = 1
const ID_AT = 24
const MAC_AT = 32
const MAC_BYTES = 16
const HEAD_BYTES = MAC_AT + MAC_BYTES
/** IPv4 without options, and UDP. */
const PACKET_HEADERS_BYTES = 20 + 8
/** Of the packet that carries a probe. */
export const PROBE_BYTES_MIN: number = PACKET_HEADERS_BYTES + HEAD_BYTES
export const PROBE_BYTES_MAX = 65_535

const IS_REPLY = 1
const IS_DOUBTED = 2
const FLAGS = IS_REPLY | IS_DOUBTED

const DOMAIN = new TextEncoder().encode('weft link probe 1\0')

/** The key for MACs of probes, from a key of the cluster, so that neither tells anything of the other. */
export function probeKey(clusterKey: Uint8Array, crypto: CryptoSuite): Uint8Array {
  return crypto.hash(concatBytes([DOMAIN, clusterKey]), 32)
}

/**
 * The UDP payload of a probe.
 * @throws {RangeError} when its size is not `PROBE_BYTES_MIN` to `PROBE_BYTES_MAX`.
 */
export function encodeProbe(probe: Probe, key: Uint8Array, crypto: CryptoSuite): Uint8Array {
  const { sizeBytes, provenBytes } = probe
  if (!(sizeBytes >= PROBE_BYTES_MIN && sizeBytes <= PROBE_BYTES_MAX)) throw new RangeError(`a probe of ${sizeBytes} bytes`)
  const bytes = new Uint8Array(sizeBytes - PACKET_HEADERS_BYTES)
  const view = new DataView(bytes.buffer)
  bytes[0] = VERSION
  bytes[1] = (probe.isReply ? IS_REPLY : 0) | (probe.isDoubted ? IS_DOUBTED : 0)
  bytes[2] = WIRE_KINDS.indexOf(probe.kind)
  view.setUint16(4, sizeBytes)
  view.setUint16(6, provenBytes)
  bytes.set(fromHex(probe.sender), 8)
  bytes.set(fromHex(probe.receiver), 16)
  view.setBigUint64(ID_AT, BigInt(probe.id))
  bytes.set(macOf(bytes, key, crypto), MAC_AT)
  return bytes
}

/** @param keys of all that the cluster takes at the moment: two while they are changed. */
export function parseProbe(payload: Uint8Array, keys: readonly Uint8Array[], crypto: CryptoSuite): Result<Probe, ProbeFault> {
  if (payload.length < HEAD_BYTES) return err({ code: 'short' })
  const [version, flags = 0, kindNumber = 0, zero] = payload
  if (version !== VERSION) return err({ code: 'version' })
  const mac = payload.subarray(MAC_AT, HEAD_BYTES)
  if (!keys.some((key) => bytesEqual(mac, macOf(payload, key, crypto)))) return err({ code: 'forged' })
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  const kind = WIRE_KINDS[kindNumber]
  const sizeBytes = view.getUint16(4)
  const id = Number(view.getBigUint64(ID_AT))
  if (kind === undefined) return malformed(`a link of kind ${kindNumber}`)
  if (zero !== 0 || (flags & ~FLAGS) !== 0) return malformed('unknown flags')
  if (sizeBytes !== payload.length + PACKET_HEADERS_BYTES) return malformed(`a probe for ${sizeBytes} bytes of ${payload.length}`)
  if (!(Number.isSafeInteger(id) && id > 0)) return malformed('an id out of range')
  return ok({
    isReply: (flags & IS_REPLY) !== 0,
    isDoubted: (flags & IS_DOUBTED) !== 0,
    kind,
    sizeBytes,
    provenBytes: view.getUint16(6),
    sender: toHex(payload.subarray(8, 16)) as PeerName,
    receiver: toHex(payload.subarray(16, ID_AT)) as PeerName,
    id,
  })
}

/** BLAKE2b cannot be lengthened, so the key in front makes a MAC of it. */
function macOf(bytes: Uint8Array, key: Uint8Array, crypto: CryptoSuite): Uint8Array {
  return crypto.hash(concatBytes([key, bytes.subarray(0, MAC_AT)]), MAC_BYTES)
}

function malformed(detail: string): Result<never, ProbeFault> {
  return err({ code: 'malformed', detail })
}
