/**
 * What two peers say to each other about space. Big endian.
 *
 *   ask:    | 1 | id 4 | seed id 8 | and, when only a part of the universe will do: first host number 4 | end 4 |
 *   grant:  | 2 | id 4 | free 4 | ring delta … |
 *   denial: | 3 | id 4 | free 4 |
 *
 * The seed id says which ring the asker has: nobody gives away a part of his to somebody who would refuse it.
 * `free` is how many addresses the donor has left, in that part, so that the asker knows whether to come again. Who denies
 * and has some cannot give them now; who is in doubt, or has another ring or none, does not know.
 */
import type { Range } from '../mesh/base/address.ts'
import { concatBytes, fromHex, toHex } from '../mesh/base/bytes.ts'
import { err, ok, type Result, unreachable } from '../mesh/base/result.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import type { SeedId } from './ring.ts'
import { decodeDelta, encodeDelta, type RingDelta } from './ring-codec.ts'

export type SpaceMessage =
  | { readonly kind: 'ask'; readonly id: number; readonly seedId: SeedId; readonly within?: Range | undefined }
  | { readonly kind: 'grant'; readonly id: number; readonly free: number; readonly delta: RingDelta }
  | { readonly kind: 'denial'; readonly id: number; readonly free: number }

/** As `free`: nobody can say. */
export const FREE_UNKNOWN = 0xffff_ffff

const Kind = { ask: 1, grant: 2, denial: 3 } as const
const HEAD_BYTES = 5
const ASK_BYTES = 13
const ASK_WITHIN_BYTES = 21
const GRANT_HEAD_BYTES = 9
const DENIAL_BYTES = 9

const LEAST_BYTES: Readonly<Record<number, number>> = { [Kind.ask]: ASK_BYTES, [Kind.grant]: GRANT_HEAD_BYTES, [Kind.denial]: DENIAL_BYTES }

export function encodeSpaceMessage(message: SpaceMessage): Uint8Array {
  switch (message.kind) {
    case 'ask':
      return concatBytes([head(message.kind, [message.id]), fromHex(message.seedId), rangeBytes(message.within)])
    case 'denial':
      return head(message.kind, [message.id, message.free])
    case 'grant':
      return concatBytes([head(message.kind, [message.id, message.free]), encodeDelta(message.delta)])
    default:
      return unreachable(message)
  }
}

export function decodeSpaceMessage(bytes: Uint8Array): Result<SpaceMessage, GossipFault> {
  const kind = bytes[0]
  if (bytes.length < (LEAST_BYTES[kind ?? 0] ?? HEAD_BYTES)) return malformed(`a message about space of ${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const id = view.getUint32(1)
  switch (kind) {
    case Kind.ask:
      return ok({ kind: 'ask', id, seedId: toHex(bytes.subarray(HEAD_BYTES, ASK_BYTES)) as SeedId, within: readRange(view) })
    case Kind.grant: {
      const delta = decodeDelta(bytes.subarray(GRANT_HEAD_BYTES))
      return delta.ok ? ok({ kind: 'grant', id, free: view.getUint32(HEAD_BYTES), delta: delta.value }) : delta
    }
    case Kind.denial:
      return ok({ kind: 'denial', id, free: view.getUint32(HEAD_BYTES) })
    default:
      return malformed(`a message about space of kind ${kind}`)
  }
}

function head(kind: keyof typeof Kind, numbers: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(1 + 4 * numbers.length)
  bytes[0] = Kind[kind]
  const view = new DataView(bytes.buffer)
  for (const [index, number] of numbers.entries()) view.setUint32(1 + 4 * index, number)
  return bytes
}

function rangeBytes(range: Range | undefined): Uint8Array {
  const bytes = new Uint8Array(range === undefined ? 0 : ASK_WITHIN_BYTES - ASK_BYTES)
  if (range === undefined) return bytes
  const view = new DataView(bytes.buffer)
  view.setUint32(0, range.start)
  view.setUint32(4, range.end)
  return bytes
}

/** One that ends before it begins is empty: there is nothing to give in it. */
function readRange(ask: DataView): Range | undefined {
  if (ask.byteLength < ASK_WITHIN_BYTES) return undefined
  return { start: ask.getUint32(ASK_BYTES), end: ask.getUint32(ASK_BYTES + 4) }
}

function malformed(detail: string): { readonly ok: false; readonly error: GossipFault } {
  return err({ code: 'malformed', detail })
}
