/**
 * What two connected peers say to each other, each message one frame: an array of a type number and its fields.
 * A message with more fields than we know is one of a later version, and its known fields are taken.
 */
import { type Millis, millis, type PeerName } from './base/brand.ts'
import { fromHex, toHex } from './base/bytes.ts'
import { err, ok, type Result, unreachable } from './base/result.ts'
import { decodeWire, describeWire, encodeWire, type WireValue } from './base/wire.ts'
import { GOSSIP_MESSAGE_BYTES_MAX, KEY_LENGTH_MAX, OFFER_BYTES_MAX } from './gossip.ts'
import { isPrintable, printable } from './text.ts'

export type Message =
  /** The sender lives, and says so again within this time. It may want to hear the same at once. */
  | { readonly kind: 'heartbeat'; readonly within: Millis; readonly wantsAnswer: boolean }
  /** The sender is closing the connection, and why: for people, and for programs. */
  | { readonly kind: 'bye'; readonly reason: string; readonly code: ByeCode }
  | GossipMessage

/**
 * - `full`: the sender has as many connections as it may have; this one was never in use
 * - `surplus`: both ends have more connections than they need
 * - `other`: anything else
 */
export type ByeCode = 'full' | 'surplus' | 'other'

export type GossipMessage =
  /** Parts of a channel's state that are news to the receiver, or may be; each can be merged alone. */
  | { readonly kind: 'deltas'; readonly channel: string; readonly deltas: readonly Uint8Array[] }
  /** What the sender could tell of a channel's state, if the receiver lacks it. */
  | { readonly kind: 'offers'; readonly channel: string; readonly offers: readonly Uint8Array[] }
  /** Keys of what the receiver has offered, and the sender lacks. */
  | { readonly kind: 'wants'; readonly channel: string; readonly keys: readonly string[] }
  /** The digest of each channel's state. */
  | { readonly kind: 'digests'; readonly digests: readonly ChannelDigest[] }
  /** What the sender holds of a channel; `wantsOurs` asks the receiver for its own in return. */
  | { readonly kind: 'summary'; readonly channel: string; readonly bytes: Uint8Array; readonly wantsOurs: boolean }
  /** A parcel for some peer, see `parcel.ts`; `hops` is how many more connections it may pass. */
  | { readonly kind: 'parcel'; readonly hops: number; readonly bytes: Uint8Array }
  /** The sender hears nothing of a neighbour of both. */
  | { readonly kind: 'doubt'; readonly peer: PeerName }

/** The messages that are about the state of channels. */
export type ChannelMessage = Exclude<GossipMessage, { kind: 'parcel' | 'doubt' }>

export interface ChannelDigest {
  readonly channel: string
  readonly digest: Uint8Array
}

const Type = { heartbeat: 0, bye: 1, deltas: 2, digests: 3, summary: 4, parcel: 5, offers: 6, wants: 7, doubt: 8 } as const
const BYE_CODES: readonly ByeCode[] = ['other', 'full', 'surplus']

const REASON_LENGTH_MAX = 200
/** Many small ones travel together; more than these are no longer small. */
export const DELTAS_MAX = 1_024
/** More than any path through a mesh of `PEERS_MAX` is long. */
export const HOPS_MAX = 16
/** Far more channels than there will be. */
const CHANNELS_MAX = 32
const DIGEST_BYTES = 16
/** A message of a part, with the envelope that a parcel puts around it. */
const BODY_BYTES_MAX = GOSSIP_MESSAGE_BYTES_MAX + 1_024
const NAME_BYTES = 8
/** In milliseconds: an hour. */
const WITHIN_MAX = 3_600_000
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
      return [Type.heartbeat, message.within, message.wantsAnswer]
    case 'bye':
      return [Type.bye, printable(message.reason, REASON_LENGTH_MAX), BYE_CODES.indexOf(message.code)]
    case 'deltas':
      return [Type.deltas, message.channel, message.deltas]
    case 'offers':
      return [Type.offers, message.channel, message.offers]
    case 'wants':
      return [Type.wants, message.channel, message.keys]
    case 'digests':
      return [Type.digests, message.digests.map(({ channel, digest }) => [channel, digest])]
    case 'summary':
      return [Type.summary, message.channel, message.bytes, message.wantsOurs]
    case 'parcel':
      return [Type.parcel, message.hops, message.bytes]
    case 'doubt':
      return [Type.doubt, fromHex(message.peer)]
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
      return decodeHeartbeat(fields)
    case Type.bye:
      return decodeBye(fields)
    case Type.digests:
      return decodeDigests(fields)
    case Type.deltas:
      return decodeDeltas(fields)
    case Type.offers:
      return decodeOffers(fields)
    case Type.wants:
      return decodeWants(fields)
    case Type.parcel:
      return decodeParcel(fields)
    case Type.doubt:
      return decodeDoubt(fields)
    case Type.summary:
      return decodeSummary(fields)
    default:
      return err(`of an unknown type ${describeWire(type)}`)
  }
}

function decodeHeartbeat([within, wantsAnswer]: readonly WireValue[]): Result<Message, string> {
  if (typeof within !== 'number' || !(within >= 0 && within <= WITHIN_MAX)) return err('a heartbeat without a proper promise')
  return ok({ kind: 'heartbeat', within: millis(within), wantsAnswer: wantsAnswer === true })
}

function decodeBye([reason, code]: readonly WireValue[]): Result<Message, string> {
  if (typeof reason !== 'string' || !isPrintable(reason, REASON_LENGTH_MAX)) return err('a bye without a proper reason')
  return ok({ kind: 'bye', reason, code: (typeof code === 'number' ? BYE_CODES[code] : undefined) ?? 'other' })
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

function decodeDeltas([channel, list]: readonly WireValue[]): Result<Message, string> {
  if (typeof channel !== 'string' || !isChannel(channel)) return err('without a proper channel')
  if (!Array.isArray(list)) return err('deltas that are not a list')
  if (list.length > DELTAS_MAX) return err(`of more than ${DELTAS_MAX} deltas`)
  const deltas = list as readonly WireValue[]
  for (const delta of deltas) {
    const wrong = wrongBody(delta)
    if (wrong !== undefined) return err(wrong)
  }
  return ok({ kind: 'deltas', channel, deltas: deltas as readonly Uint8Array[] })
}

function decodeOffers([channel, list]: readonly WireValue[]): Result<Message, string> {
  if (typeof channel !== 'string' || !isChannel(channel)) return err('without a proper channel')
  if (!Array.isArray(list) || list.length > DELTAS_MAX) return err(`offers that are not a list of at most ${DELTAS_MAX}`)
  const offers = list as readonly WireValue[]
  const isProper = offers.every((offer) => offer instanceof Uint8Array && offer.length <= OFFER_BYTES_MAX)
  return isProper ? ok({ kind: 'offers', channel, offers: offers as readonly Uint8Array[] }) : err('without a proper offer')
}

function decodeWants([channel, list]: readonly WireValue[]): Result<Message, string> {
  if (typeof channel !== 'string' || !isChannel(channel)) return err('without a proper channel')
  if (!Array.isArray(list) || list.length > DELTAS_MAX) return err(`wants that are not a list of at most ${DELTAS_MAX}`)
  const keys = list as readonly WireValue[]
  const isProper = keys.every((key) => typeof key === 'string' && key.length <= KEY_LENGTH_MAX)
  return isProper ? ok({ kind: 'wants', channel, keys: keys as readonly string[] }) : err('without a proper key')
}

function decodeSummary([channel, bytes, wantsOurs]: readonly WireValue[]): Result<Message, string> {
  if (typeof channel !== 'string' || !isChannel(channel)) return err('without a proper channel')
  const wrong = wrongBody(bytes)
  return wrong === undefined ? ok({ kind: 'summary', channel, bytes: bytes as Uint8Array, wantsOurs: wantsOurs === true }) : err(wrong)
}

function decodeParcel([hops, bytes]: readonly WireValue[]): Result<Message, string> {
  if (typeof hops !== 'number' || !Number.isInteger(hops) || hops < 0 || hops > HOPS_MAX) return err('a parcel without proper hops')
  const wrong = wrongBody(bytes)
  return wrong === undefined ? ok({ kind: 'parcel', hops, bytes: bytes as Uint8Array }) : err(wrong)
}

function decodeDoubt([peer]: readonly WireValue[]): Result<Message, string> {
  const isName = peer instanceof Uint8Array && peer.length === NAME_BYTES
  return isName ? ok({ kind: 'doubt', peer: toHex(peer) as PeerName }) : err('a doubt without a proper name')
}

function wrongBody(bytes: WireValue): string | undefined {
  if (!(bytes instanceof Uint8Array)) return 'without a body of bytes'
  return bytes.length > BODY_BYTES_MAX ? `a body of ${bytes.length} bytes, more than ${BODY_BYTES_MAX}` : undefined
}
