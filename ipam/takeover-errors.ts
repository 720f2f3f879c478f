/** Why nothing was taken over from a peer, and what a person can do about it. */
import type { PeerName } from '../mesh/base/brand.ts'

/**
 * Why nothing was taken over:
 * - `self`, `alive`, `unknown`: the peer is we ourselves; can be reached; was never heard of
 * - `absent`: others cannot be reached, and were not left out
 * - `silent`: others did not answer
 * - `busy`: another peer takes over from it at this moment
 * - `apart`: another peer has another ring, or ours was given up for another one meanwhile
 * - `retired`: our own name is retired
 * - `no-ring`, `limit`, `store`: there is no ring yet; the estate is in too many pieces; the disk failed
 */
export interface TakeoverError {
  readonly code: 'self' | 'alive' | 'unknown' | 'absent' | 'silent' | 'busy' | 'apart' | 'retired' | 'no-ring' | 'limit' | 'store'
  readonly text: string
  readonly hint?: string
  /** Those that are meant: who cannot be reached, does not answer, or is busy. */
  readonly peers: readonly PeerName[]
}

export function noRing(): TakeoverError {
  return { code: 'no-ring', text: 'no ring of IP ranges is known yet', hint: 'wait until this node has joined', peers: [] }
}

export function absence(absent: readonly PeerName[]): TakeoverError {
  return {
    code: 'absent',
    text: 'these peers cannot be reached, and might be told the same',
    hint: 'start them; remove those that are gone too; or leave them out with --leave-absent, if nobody removes the same peer there',
    peers: absent,
  }
}

export function alive(peer: PeerName, witness: PeerName): TakeoverError {
  return {
    code: 'alive',
    text: `${peer} lives: ${witness} reaches it`,
    hint: 'stop its router first, and its pods; or run `weft reset` there',
    peers: [witness],
  }
}

export function busy(peer: PeerName, by: PeerName): TakeoverError {
  return {
    code: 'busy',
    text: `${by} takes over from ${peer} at this moment`,
    hint: 'see `weft status ipam` in a few seconds',
    peers: [by],
  }
}

export function apart(peer: PeerName): TakeoverError {
  return {
    code: 'apart',
    text: `${peer} has a ring that began apart from ours`,
    hint: 'decide first which one stands, with `weft ipam resolve`; or leave that peer out with --leave-absent',
    peers: [peer],
  }
}

export function overtaken(): TakeoverError {
  return { code: 'apart', text: 'our ring was given up for another one meanwhile', hint: 'try again', peers: [] }
}

export function silent(peers: readonly PeerName[]): TakeoverError {
  return { code: 'silent', text: 'these peers did not answer', hint: 'nothing was taken over; try again', peers }
}

export function tooMany(peer: PeerName): TakeoverError {
  return { code: 'limit', text: `the ranges of ${peer} are in too many pieces, or their epoch is at its limit`, peers: [] }
}
