/**
 * The graph that records draw: who is connected with whom, who can be reached from here, and over which neighbour.
 *
 * An edge between two others counts only when both say so in records that each has signed itself: nobody can claim a
 * connection with somebody who does not know of it, and a peer that is gone is on no path as soon as its neighbours
 * have noticed, whatever its own last record says. Our own edges are the connections that we have.
 */
import type { PeerName } from './base/brand.ts'
import type { PeerRecord } from './record.ts'

export interface Topology {
  /** Every peer that some path leads to, this one not included, with the neighbour that the shortest path begins with. */
  readonly nextHops: ReadonlyMap<PeerName, PeerName>
}

/** Names in each record's list of neighbours: made once per record, as most records stay while others change. */
const listed = new WeakMap<PeerRecord, ReadonlySet<PeerName>>()

/**
 * Breadth first, neighbours in order of name: all peers that know the same records walk alike.
 * @param neighbours those we have a connection with, in order of name.
 */
export function computeTopology(
  self: PeerName,
  neighbours: readonly PeerName[],
  recordOf: (name: PeerName) => PeerRecord | undefined,
): Topology {
  const nextHops = new Map<PeerName, PeerName>()
  for (const name of neighbours) nextHops.set(name, name)
  // A map is walked in order of entry, also what is entered while walking: it is the queue of the search.
  for (const [name, nextHop] of nextHops) {
    for (const other of recordOf(name)?.neighbours ?? []) {
      if (other.name === self || nextHops.has(other.name)) continue
      const record = recordOf(other.name)
      if (record !== undefined && isListed(record, name)) nextHops.set(other.name, nextHop)
    }
  }
  return { nextHops }
}

function isListed(record: PeerRecord, name: PeerName): boolean {
  let names = listed.get(record)
  if (names === undefined) {
    names = new Set(record.neighbours.map((neighbour) => neighbour.name))
    listed.set(record, names)
  }
  return names.has(name)
}
