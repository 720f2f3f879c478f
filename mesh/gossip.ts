/**
 * The seam between the mesh and those who share state through it (peer records, the ring of IP ranges).
 *
 * A part is a join-semilattice: merging is commutative, associative and idempotent, so that messages
 * may be lost, repeated and reordered. The mesh carries its deltas eagerly to every neighbour and
 * repairs what was lost by anti-entropy: neighbours compare digests now and then; where these differ
 * each sends its summary and answers the other's with what that one lacks.
 *
 * A part never calls the port from inside `merge`, `missing` or `receive`'s decoding: it may call it
 * afterwards, in the same turn.
 */
import type { PeerName } from './base/brand.ts'
import type { Result } from './base/result.ts'

/** The longest delta, summary or unicast message that a part may hand to the mesh. */
export const GOSSIP_MESSAGE_BYTES_MAX: number = 192 * 1024

export interface GossipPart {
  /** Its channel on the wire: short, lower-case, unique. */
  readonly channel: string
  /** 16 bytes, equal exactly when two peers' states are equal (up to hash collisions). */
  digest(): Uint8Array
  /** A compact description of what we hold, from which another peer can tell what we lack. */
  summary(): Uint8Array
  /** All that the sender of `summary` lacks, as deltas that can be merged alone. */
  missing(summary: Uint8Array): Result<readonly News[], GossipFault>
  /** Merges a delta that `from` sent or relayed. Bad entries are skipped and named in `faults`; they never cost the good ones. */
  merge(delta: Uint8Array, from: PeerName): Result<Merged, GossipFault>
  /** A unicast message from another peer's part of the same channel. */
  receive(message: Uint8Array, from: PeerName): void
  /** Only of parts whose news can be offered: what an offer of another peer stands for. */
  weigh?(offer: Uint8Array): Result<Weighed, GossipFault>
  /** Only of parts whose news can be offered: the newest news with this key. */
  tell?(key: string): News | undefined
}

/** A delta on its way. */
export interface News {
  /** What it is about: while it waits to be sent, a later one with the same key takes its place. */
  readonly key: string | undefined
  readonly delta: Uint8Array
  /** Stands for the delta where there is much to tell: far shorter, and enough for `weigh`. Only of news with a key. */
  readonly offer?: Uint8Array
}

export interface Weighed {
  readonly key: string
  /**
   * - `lacking`: it would be news to us
   * - `held`: it is what we hold
   * - `older`: we hold something newer
   */
  readonly verdict: 'lacking' | 'held' | 'older'
}

/** The longest offer. */
export const OFFER_BYTES_MAX = 64
/** The longest key of news that has an offer, in characters. */
export const KEY_LENGTH_MAX = 64

export interface Merged {
  /** What we had not known, to be relayed to our other neighbours. */
  readonly news: readonly News[]
  /** Keys of what the sender has shown to know as well as we do: nobody need tell it. */
  readonly held: readonly string[]
  readonly faults: readonly GossipFault[]
}

/** What was wrong with a message of another peer. */
export interface GossipFault {
  readonly code: 'malformed' | 'signature' | 'limit' | 'foreign'
  /** For people: which entry, and what is wrong with it. */
  readonly detail: string
}

/** What the mesh offers to a part. */
export interface GossipPort {
  /** Sends a delta of our own to all neighbours soon; whoever misses it gets it by anti-entropy. */
  broadcast(delta: Uint8Array): void
  /** Sends to one peer, best effort, over others if need be. False when no way to it is known now. */
  send(to: PeerName, message: Uint8Array): boolean
  /** Peers that `send` can reach now, in order of name. */
  reachable(): readonly PeerName[]
}
