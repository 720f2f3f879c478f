/**
 * What becomes of the ranges of a peer that is gone (its **estate**): pure functions on rings. Who may
 * write these, and when, is in takeovers.ts.
 *
 * A takeover writes one stamp over all of the estate: an epoch above every one in it. So whatever the peer
 * that is gone has written, or still writes without knowing of it, counts no more (fencing).
 */
import type { PeerName } from '../mesh/base/brand.ts'
import { compareStamps, entriesWithin, type Ring, type RingItem, VERSION_MAX } from './ring.ts'

/** The runs that are `peer`'s, in order. */
export function estateOf(entries: readonly RingItem[], peer: PeerName): readonly RingItem[] {
  return entries.filter(({ owner }) => owner === peer)
}

/** What `heir` writes to own all of `estate`; undefined when there can be no higher epoch. */
export function claimItems(estate: readonly RingItem[], heir: PeerName): readonly RingItem[] | undefined {
  const epoch = Math.max(...estate.map((entry) => entry.epoch)) + 1
  return epoch > VERSION_MAX ? undefined : estate.map((entry) => ({ ...entry, owner: heir, version: 1, epoch }))
}

export function sameEntries(a: readonly RingItem[], b: readonly RingItem[]): boolean {
  return a.length === b.length && a.every((entry, index) => isSame(entry, b[index]))
}

/**
 * What of `gains`, which `ring` does not have yet, comes too late: given to us by a peer that we know to be
 * retired. Whoever takes over from it was told that we know of no such gift, and counts on that. So we give
 * it back to the estate: what to write. A gain of a higher epoch is of somebody who took over before us.
 */
export function lateItems(ring: Pick<Ring, 'entries' | 'retired'>, gains: readonly RingItem[]): readonly RingItem[] {
  return gains.flatMap((gain) =>
    entriesWithin(ring, { start: gain.token, end: gain.end })
      .filter(({ owner, epoch }) => owner !== gain.owner && ring.retired.has(owner) && epoch === gain.epoch)
      .filter(() => gain.version < VERSION_MAX)
      .map(({ token, end, owner }) => ({ ...gain, token, end, owner, version: gain.version + 1 })),
  )
}

/** For people: what has become of the peer whose name was retired. */
export function retirementText(self: PeerName, by: PeerName): string {
  return by === self
    ? `${self} has handed over its addresses and left the cluster`
    : `${self} was removed from the cluster by ${by}, which has taken over its addresses`
}

function isSame(a: RingItem, b: RingItem | undefined): boolean {
  return b !== undefined && a.token === b.token && a.end === b.end && compareStamps(a, b) === 0
}
