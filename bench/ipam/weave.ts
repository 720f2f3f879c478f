/**
 * What Weave Net costs, as far as it was measured for this project, on machines of this class: two cores of a virtual
 * machine. None of it is measured anew in a run.
 */

export const WEAVE_NAME = 'Weave Net 2.8'

/**
 * One client, one address after the other, `POST /ip/ID` of its HTTP API: no plugin is started, no interface is made,
 * nothing is freed. It writes its whole ring and all its allocations, and syncs each: reference of Weave Net, 3.4, point 8.
 */
export const WEAVE_ALLOCATION = { perSecond: 57, p50Milliseconds: 13, syncs: 3 } as const

/** Merging a ring of 1,000 entries. What of it is decoding was not noted: see `GO_RING`. */
export const WEAVE_MERGE_MICROSECONDS = 491

/**
 * The loops of its `Ring.Merge`, and Go's gob over its structures (`gossipState`, `Ring`, `entry`), in a program of their
 * own, Go 1.19: less than its router does, which also asks the actor for allocations, and re-counts free space.
 */
export const GO_RING = {
  entries: 1_000,
  peers: 100,
  mergeMicroseconds: 98,
  encodeMicroseconds: 135,
  decodeMicroseconds: 142,
  bytes: 24_322,
} as const

/** By that program: what it sends of a ring of three peers, which is the same whether one address has changed or all. */
export const WEAVE_RING_OF_3_BYTES = 475
export const WHOLE_RING: string = `${WEAVE_NAME}, its ring to 1 neighbour`

/** Every peer sends the whole to up to 2·log2(peers) of its neighbours so often: reference of Weave Net, 1.2. */
export const WEAVE_GOSSIP_SECONDS = 30
