/**
 * What two peers say to each other about peers that are gone or leave. Big endian; the kinds follow those
 * of messages.ts, as both travel on one channel.
 *
 *   proposal: | 4 | id 4 | peer 8 | ring delta … |   `peer` is gone: this is its estate as I know it
 *   consent:  | 5 | id 4 |                           I know it so too, and take no more from that peer
 *   dissent:  | 6 | id 4 | ring delta … |            I know otherwise: this
 *   refusal:  | 7 | id 4 | reason 1 |                1: I take over from it myself; 2: it lives; 3: I have another ring
 *   handover: | 8 | id 4 | ring delta … |            I leave: keep this; consent says that it is on your disk
 *   inquiry:  | 9 | id 4 |                           has my name been retired, and which ring have you?
 *   answer:   | 10 | id 4 | ring delta … |           with the retirement, if it has
 */
import type { PeerName } from '../mesh/base/brand.ts'
import { parsePeerName } from '../mesh/base/brand.ts'
import { concatBytes, fromHex, toHex } from '../mesh/base/bytes.ts'
import { err, ok, type Result, unreachable } from '../mesh/base/result.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import { decodeDelta, encodeDelta, type RingDelta } from './ring-codec.ts'

export type RefusalReason = 'busy' | 'alive' | 'apart'

export type TakeoverMessage =
  | { readonly kind: 'proposal'; readonly id: number; readonly peer: PeerName; readonly delta: RingDelta }
  | { readonly kind: 'consent'; readonly id: number }
  | { readonly kind: 'dissent'; readonly id: number; readonly delta: RingDelta }
  | { readonly kind: 'refusal'; readonly id: number; readonly reason: RefusalReason }
  | { readonly kind: 'handover'; readonly id: number; readonly delta: RingDelta }
  | { readonly kind: 'inquiry'; readonly id: number }
  | { readonly kind: 'answer'; readonly id: number; readonly delta: RingDelta }

const Kind = { proposal: 4, consent: 5, dissent: 6, refusal: 7, handover: 8, inquiry: 9, answer: 10 } as const
const KINDS = new Map<number, TakeoverMessage['kind']>(
  Object.entries(Kind).map(([kind, number]) => [number, kind as TakeoverMessage['kind']]),
)
const REASONS: readonly RefusalReason[] = ['busy', 'alive', 'apart']
const HEAD_BYTES = 5
const NAME_BYTES = 8

/** Whether a message of the channel is one of these. */
export function isTakeoverMessage(bytes: Uint8Array): boolean {
  return KINDS.has(bytes[0] ?? 0)
}

export function encodeTakeoverMessage(message: TakeoverMessage): Uint8Array {
  const head = new Uint8Array(HEAD_BYTES)
  head[0] = Kind[message.kind]
  new DataView(head.buffer).setUint32(1, message.id)
  switch (message.kind) {
    case 'consent':
    case 'inquiry':
      return head
    case 'refusal':
      return concatBytes([head, Uint8Array.of(REASONS.indexOf(message.reason) + 1)])
    case 'proposal':
      return concatBytes([head, fromHex(message.peer), encodeDelta(message.delta)])
    case 'dissent':
    case 'handover':
    case 'answer':
      return concatBytes([head, encodeDelta(message.delta)])
    default:
      return unreachable(message)
  }
}

export function decodeTakeoverMessage(bytes: Uint8Array): Result<TakeoverMessage, GossipFault> {
  const kind = KINDS.get(bytes[0] ?? 0)
  if (kind === undefined || bytes.length < HEAD_BYTES) return malformed(`a message of kind ${bytes[0]} with ${bytes.length} bytes`)
  const id = new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(1)
  const rest = bytes.subarray(HEAD_BYTES)
  switch (kind) {
    case 'consent':
    case 'inquiry':
      return ok({ kind, id })
    case 'refusal': {
      const reason = REASONS[(rest[0] ?? 0) - 1]
      return reason === undefined ? malformed(`a refusal for the reason ${rest[0]}`) : ok({ kind, id, reason })
    }
    case 'proposal': {
      if (rest.length < NAME_BYTES) return malformed('a proposal without a name')
      const delta = decodeDelta(rest.subarray(NAME_BYTES))
      return delta.ok ? ok({ kind, id, peer: parsePeerName(toHex(rest.subarray(0, NAME_BYTES))), delta: delta.value }) : delta
    }
    case 'dissent':
    case 'handover':
    case 'answer': {
      const delta = decodeDelta(rest)
      return delta.ok ? ok({ kind, id, delta: delta.value }) : delta
    }
    default:
      return unreachable(kind)
  }
}

function malformed(detail: string): { readonly ok: false; readonly error: GossipFault } {
  return err({ code: 'malformed', detail })
}
