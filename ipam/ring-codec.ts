/**
 * Rings as bytes: the same form on the wire and in the journal. Big endian.
 *
 *   0        1             23           25             33
 *   | form 3 | universe 22 | retired: n | seed id 8    | n retirements … | items …
 *   universe:   as in universe-codec.ts
 *   retirement: | peer 8 | by 8 |
 *   item:       | token 4 | end 4 | owner 8 | version 4 | epoch 4 |
 *
 * Decoding checks form and size only; what an item says is checked when it is merged, one by one.
 */
import { type PeerName, parsePeerName } from '../mesh/base/brand.ts'
import { fromHex, toHex } from '../mesh/base/bytes.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import type { Retirement, RingItem, RingNews, SeedId } from './ring.ts'
import type { Universe } from './universe.ts'
import { putUniverse, UNIVERSE_BYTES, universeAt } from './universe-codec.ts'

/** Which ring something is of. */
export interface RingHead {
  readonly universe: Universe
  /** Undefined when the sender has no ring yet: then there is nothing to tell of it. */
  readonly seedId: SeedId | undefined
}

/** Some of what a ring says. */
export interface RingDelta extends RingHead, RingNews {}

const UNIVERSE_AT = 1
const COUNT_AT = UNIVERSE_AT + UNIVERSE_BYTES
const SEED_AT = COUNT_AT + 2
export const RING_HEAD_BYTES: number = SEED_AT + 8
const ITEM_BYTES = 24
const RETIREMENT_BYTES = 16
/** Form 2 is that of verdicts (verdicts.ts), which travel beside. */
const FORM = 3
const NO_SEED = '0000000000000000'

/** 96 KiB a message: well below the mesh's limit, so that one chunk does not hold up other traffic. */
export const DELTA_ITEMS_MAX = 4_096
/** 32 KiB more. */
export const DELTA_RETIRED_MAX = 2_048

export function encodeDelta({ universe, seedId, items, retired }: RingDelta): Uint8Array {
  const bytes = new Uint8Array(RING_HEAD_BYTES + retired.length * RETIREMENT_BYTES + items.length * ITEM_BYTES)
  bytes.set(encodeHead({ universe, seedId }, retired.length))
  const view = new DataView(bytes.buffer)
  const bytesOf = remembering(fromHex)
  let at = RING_HEAD_BYTES
  for (const { peer, by } of retired) {
    bytes.set(bytesOf(peer), at)
    bytes.set(bytesOf(by), at + 8)
    at += RETIREMENT_BYTES
  }
  for (const { token, end, owner, version, epoch } of items) {
    view.setUint32(at, token)
    view.setUint32(at + 4, end)
    bytes.set(bytesOf(owner), at + 8)
    view.setUint32(at + 16, version)
    view.setUint32(at + 20, epoch)
    at += ITEM_BYTES
  }
  return bytes
}

export function decodeDelta(bytes: Uint8Array): Result<RingDelta, GossipFault> {
  const head = decodeHead(bytes)
  if (!head.ok) return head
  const { count, ...ring } = head.value
  const start = RING_HEAD_BYTES + count * RETIREMENT_BYTES
  const size = bytes.length - start
  if (size < 0 || size % ITEM_BYTES !== 0) return malformed(`a ring's items take ${size} bytes, not a multiple of ${ITEM_BYTES}`)
  if (size > DELTA_ITEMS_MAX * ITEM_BYTES || count > DELTA_RETIRED_MAX) {
    return err({ code: 'limit', detail: `${size / ITEM_BYTES} items and ${count} retirements in a ring message` })
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const peerOf = remembering(peerOfNumber)
  const retired: Retirement[] = []
  for (let at = RING_HEAD_BYTES; at < start; at += RETIREMENT_BYTES) {
    retired.push({ peer: peerOf(view.getBigUint64(at)), by: peerOf(view.getBigUint64(at + 8)) })
  }
  const items: RingItem[] = []
  for (let at = start; at < bytes.length; at += ITEM_BYTES) {
    items.push({
      token: view.getUint32(at),
      end: view.getUint32(at + 4),
      owner: peerOf(view.getBigUint64(at + 8)),
      version: view.getUint32(at + 16),
      epoch: view.getUint32(at + 20),
    })
  }
  if (ring.seedId === undefined && items.length + count > 0) return malformed('items of a ring without a seed id')
  return ok({ ...ring, items, retired })
}

/** The beginning of every message about rings. */
export function encodeHead({ universe, seedId }: RingHead, count = 0): Uint8Array {
  const bytes = new Uint8Array(RING_HEAD_BYTES)
  bytes[0] = FORM
  putUniverse(bytes, UNIVERSE_AT, universe)
  new DataView(bytes.buffer).setUint16(COUNT_AT, count)
  bytes.set(fromHex(seedId ?? NO_SEED), SEED_AT)
  return bytes
}

export function decodeHead(bytes: Uint8Array): Result<RingHead & { readonly count: number }, GossipFault> {
  if (bytes.length < RING_HEAD_BYTES) return malformed(`a ring message of ${bytes.length} bytes is too short`)
  if (bytes[0] !== FORM) return malformed(`a ring message of form ${bytes[0]}; we know ${FORM}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const seedId = toHex(bytes.subarray(SEED_AT, RING_HEAD_BYTES))
  try {
    const universe = universeAt(bytes, UNIVERSE_AT)
    return ok({ universe, seedId: seedId === NO_SEED ? undefined : (seedId as SeedId), count: view.getUint16(COUNT_AT) })
  } catch (error) {
    if (error instanceof RangeError) return malformed(error.message)
    throw error
  }
}

function peerOfNumber(name: bigint): PeerName {
  return parsePeerName(name.toString(16).padStart(16, '0'))
}

/** Of all that a ring says most names come again and again. */
function remembering<K, V>(compute: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>()
  return (key) => {
    const value = known.get(key) ?? compute(key)
    known.set(key, value)
    return value
  }
}

function malformed(detail: string): { readonly ok: false; readonly error: GossipFault } {
  return err({ code: 'malformed', detail })
}
