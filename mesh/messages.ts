/**
 * What two connected peers say to each other, each message one frame: an array of a type number and its fields.
 * A message with more fields than we know is one of a later version, and its known fields are taken.
 */
import { err, ok, type Result, unreachable } from './base/result.ts'
import { decodeWire, encodeWire, type WireValue } from './base/wire.ts'
import { GOSSIP_MESSAGE_BYTES_MAX } from './gossip.ts'
import { isPrintable, printable } from './text.ts'

export type Message =
  /** Nothing to say, but we live. */
  | { readonly kind: 'heartbeat' }
  /** The sender is closing the connection, and why. */
  | { readonly kind: 'bye'; readonly reason: string }
  | GossipMessage

export type GossipMessage =
  /** A part of a channel's state that is news to the receiver, or may be. */
  | { readonly kind: 'delta'; readonly channel: string; readonly bytes: Uint8Array }
  /** The digest of each channel's state. */
  | { readonly kind: 'digests'; readonly digests: readonly ChannelDigest[] }
  /** What the sender holds of a channel; `wantsOurs` asks the receiver for its own in return. */
  | { readonly kind: 'summary'; readonly channel: string; readonly bytes: Uint8Array; readonly wantsOurs: boolean }
  /** From the sender's part of a channel to the receiver's. */
  | { readonly kind: 'unicast'; readonly channel: string; readonly bytes: Uint8Array }

export interface ChannelDigest {
  readonly channel: string
  readonly digest: Uint8Array
}

const Type = { heartbeat: 0, bye: 1, delta: 2, digests: 3, summary: 4, unicast: 5 } as const

const REASON_LENGTH_MAX = 200
/** Far more channels than there will be. */
const CHANNELS_MAX = 32
const DIGEST_BYTES = 16
const CHANNEL = /^[a-z][a-z0-9-]{0,31}$/

/** A channel's name as it may appear on the wire. */
export function isChannel(text: string): boolean {
  return CHANNEL.test(text)
}

export function encodeMessage(message: Message): Uint8Array {
  return encodeWire(fieldsOf(message))
}

function fieldsOf(message: Message): readonly WireValue[] {
  switch (message.kind) {
    case 'heartbeat':
      return [Type.heartbeat]
    case 'bye':
      return [Type.bye, printable(message.reason, REASON_LENGTH_MAX)]
    case 'delta':
      return [Type.delta, message.channel, message.bytes]
    case 'digests':
      return [Type.digests, message.digests.map(({ channel, digest }) => [channel, digest])]
    case 'summary':
      return [Type.summary, message.channel, message.bytes, message.wantsOurs]
    case 'unicast':
      return [Type.unicast, message.channel, message.bytes]
    default:
      return unreachable(message)
  }
}

/** Byte strings in the message are views of `payload`. The error is a sentence for people. */
export function decodeMessage(payload: Uint8Array): Result<Message, string> {
  const decoded = decodeWire(payload)
  if (!decoded.ok) return decoded
  if (!Array.isArray(decoded.value)) return err('not an array')
  const [type, ...fields] = decoded.value as readonly WireValue[]
  switch (type) {
    case Type.heartbeat:
      return ok({ kind: 'heartbeat' })
    case Type.bye:
      return decodeBye(fields)
    case Type.digests:
      return decodeDigests(fields)
    case Type.delta:
      return decodeChanneled(fields, (channel, bytes) => ({ kind: 'delta', channel, bytes }))
    case Type.unicast:
      return decodeChanneled(fields, (channel, bytes) => ({ kind: 'unicast', channel, bytes }))
    case Type.summary:
      return decodeChanneled(fields, (channel, bytes) => ({ kind: 'summary', channel, bytes, wantsOurs: fields[2] === true }))
    default:
      return err(`of an unknown type ${JSON.stringify(type)?.slice(0, 20)}`)
  }
}

function decodeBye([reason]: readonly WireValue[]): Result<Message, string> {
  if (typeof reason !== 'string' || !isPrintable(reason, REASON_LENGTH_MAX)) return err('a bye without a proper reason')
  return ok({ kind: 'bye', reason })
}

function decodeDigests([list]: readonly WireValue[]): Result<Message, string> {
  if (!Array.isArray(list)) return err('digests that are not a list')
  if (list.length > CHANNELS_MAX) return err(`digests of more than ${CHANNELS_MAX} channels`)
  const digests: ChannelDigest[] = []
  for (const item of list as readonly WireValue[]) {
    const [channel, digest] = Array.isArray(item) ? (item as readonly WireValue[]) : []
    if (typeof channel !== 'string' || !isChannel(channel)) return err('a digest without a proper channel')
    if (!(digest instanceof Uint8Array) || digest.length !== DIGEST_BYTES) return err(`a digest that is not ${DIGEST_BYTES} bytes`)
    digests.push({ channel, digest })
  }
  return ok({ kind: 'digests', digests })
}

function decodeChanneled(
  [channel, bytes]: readonly WireValue[],
  make: (channel: string, bytes: Uint8Array) => Message,
): Result<Message, string> {
  if (typeof channel !== 'string' || !isChannel(channel)) return err('without a proper channel')
  if (!(bytes instanceof Uint8Array)) return err('without a body of bytes')
  if (bytes.length > GOSSIP_MESSAGE_BYTES_MAX) return err(`a body of ${bytes.length} bytes, more than ${GOSSIP_MESSAGE_BYTES_MAX}`)
  return ok(make(channel, bytes))
}
