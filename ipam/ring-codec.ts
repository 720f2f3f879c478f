/**
 * Rings as bytes: the same form on the wire and in the journal. Big endian.
 *
 *   0        1        2         3      4        8                  16                                 32
 *   | form 3 | /length| /length6 | zero | base | seed id          | base of IPv6 (zeros: none)       | items …
 *   item: | token 4 | end 4 | owner 8 (zero: nobody) | version 4 | epoch 4 |
 *
 * Decoding checks form and size only; what an item says is checked when it is merged, one by one.
 */
import { cidr, ipv4 } from '../mesh/base/address.ts'
import type { PeerName } from '../mesh/base/brand.ts'
import { fromHex, toHex } from '../mesh/base/bytes.ts'
import { ipv6Bytes, ipv6OnLink } from '../mesh/base/ip.ts'
import { cidr6 } from '../mesh/base/prefix.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import type { RingItem, SeedId } from './ring.ts'
import type { Universe } from './universe.ts'

/** Some of a ring's entries, and which ring they are of. */
export interface RingDelta {
  readonly universe: Universe
  /** Undefined when the sender has no ring yet: then there are no items. */
  readonly seedId: SeedId | undefined
  readonly items: readonly RingItem[]
}

export const RING_HEAD_BYTES = 32
const ITEM_BYTES = 24
const FORM = 3
const SEED_AT = 8
const BASE6_AT = 16
const NOBODY = '0000000000000000'

/** 96 KiB a message: well below the mesh's limit, so that one chunk does not hold up other traffic. */
export const DELTA_ITEMS_MAX = 4_096

export function encodeDelta({ universe, seedId, items }: RingDelta): Uint8Array {
  const bytes = new Uint8Array(RING_HEAD_BYTES + items.length * ITEM_BYTES)
  bytes.set(encodeHead(universe, seedId))
  const view = new DataView(bytes.buffer)
  let at = RING_HEAD_BYTES
  for (const { token, end, owner, version, epoch } of items) {
    view.setUint32(at, token)
    view.setUint32(at + 4, end)
    bytes.set(fromHex(owner ?? NOBODY), at + 8)
    view.setUint32(at + 16, version)
    view.setUint32(at + 20, epoch)
    at += ITEM_BYTES
  }
  return bytes
}

export function decodeDelta(bytes: Uint8Array): Result<RingDelta, GossipFault> {
  const head = decodeHead(bytes)
  if (!head.ok) return head
  const size = bytes.length - RING_HEAD_BYTES
  if (size % ITEM_BYTES !== 0) return malformed(`a ring's items take ${size} bytes, not a multiple of ${ITEM_BYTES}`)
  if (size > DELTA_ITEMS_MAX * ITEM_BYTES) {
    return err({ code: 'limit', detail: `${size / ITEM_BYTES} items in a ring message, more than ${DELTA_ITEMS_MAX}` })
  }
  const items: RingItem[] = []
  for (let at = RING_HEAD_BYTES; at < bytes.length; at += ITEM_BYTES) items.push(decodeItem(bytes, at))
  if (head.value.seedId === undefined && items.length > 0) return malformed('items of a ring without a seed id')
  return ok({ ...head.value, items })
}

/** The first 32 bytes of every message about rings. */
export function encodeHead(universe: Universe, seedId: SeedId | undefined): Uint8Array {
  const bytes = new Uint8Array(RING_HEAD_BYTES)
  bytes.set([FORM, universe.length, universe.v6?.length ?? 0])
  new DataView(bytes.buffer).setUint32(4, universe.base)
  bytes.set(fromHex(seedId ?? NOBODY), SEED_AT)
  if (universe.v6 !== undefined) bytes.set(ipv6Bytes(universe.v6.base), BASE6_AT)
  return bytes
}

export function decodeHead(bytes: Uint8Array): Result<Omit<RingDelta, 'items'>, GossipFault> {
  if (bytes.length < RING_HEAD_BYTES) return malformed(`a ring message of ${bytes.length} bytes is too short`)
  if (bytes[0] !== FORM) return malformed(`a ring message of form ${bytes[0]}; we know ${FORM}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const seedId = toHex(bytes.subarray(SEED_AT, BASE6_AT))
  const length6 = bytes[2] ?? 0
  try {
    const v4 = cidr(ipv4(view.getUint32(4)), bytes[1] ?? 0)
    const v6 = length6 === 0 ? undefined : cidr6(ipv6OnLink(bytes.subarray(BASE6_AT, RING_HEAD_BYTES)), length6)
    return ok({ universe: { ...v4, v6 }, seedId: seedId === NOBODY ? undefined : (seedId as SeedId) })
  } catch (error) {
    if (error instanceof RangeError) return malformed(error.message)
    throw error
  }
}

function decodeItem(bytes: Uint8Array, at: number): RingItem {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, ITEM_BYTES)
  const owner = toHex(bytes.subarray(at + 8, at + 16))
  return {
    token: view.getUint32(0),
    end: view.getUint32(4),
    owner: owner === NOBODY ? undefined : (owner as PeerName),
    version: view.getUint32(16),
    epoch: view.getUint32(20),
  }
}

function malformed(detail: string): { readonly ok: false; readonly error: GossipFault } {
  return err({ code: 'malformed', detail })
}
