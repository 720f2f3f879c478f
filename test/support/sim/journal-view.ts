/** What a journal says, for whoever wants to know what a router has on its disk: the ring and the allocations. */
import type { AttachmentKey } from '../../../ipam/attachment.ts'
import { scanJournal } from '../../../ipam/journal.ts'
import { emptyRing, mergeRing, type Ring } from '../../../ipam/ring.ts'
import { type Cidr, cidrSize, type Ipv4, ipv4 } from '../../../mesh/base/address.ts'

export function ringIn(bytes: Uint8Array, universe: Cidr): Ring | undefined {
  let ring: Ring | undefined
  for (const record of scanJournal(bytes).records) {
    if (record.kind !== 'ring' || record.delta.seedId === undefined) continue
    ring ??= emptyRing(record.delta.seedId, cidrSize(universe))
    if (ring.seedId === record.delta.seedId) ring = mergeRing(ring, record.delta).ring
  }
  return ring
}

export function allocationsIn(bytes: Uint8Array, universe: Cidr): ReadonlyMap<AttachmentKey, Ipv4> {
  const allocations = new Map<AttachmentKey, Ipv4>()
  for (const record of scanJournal(bytes).records) {
    if (record.kind === 'allocate') allocations.set(record.key, ipv4(universe.base + record.host))
    else if (record.kind === 'free') allocations.delete(record.key)
  }
  return allocations
}
