/** Which connection stays when a peer that we are connected with connects again. Both ends come to the same answer. */
import { type Millis, seconds } from './base/brand.ts'

/** What is known of one of two connections with one peer. */
export interface Rival {
  readonly outbound: boolean
  readonly connectionId: string
  /** The other side's process, and since when that has been alive. */
  readonly instance: string
  readonly incarnation: number
}

export interface Verdict {
  readonly keep: 'old' | 'new'
  /** Of the end of the other one. */
  readonly code: 'duplicate' | 'collision'
  readonly reason: string
}

/**
 * Two peers that dial each other at the same moment are done with both handshakes within the deadlines of dialling
 * and handshake. Who dials later has found that it has no connection: then ours is dead, and we have not noticed.
 */
export const CROSSING_WINDOW: Millis = seconds(15)

/**
 * Called by the dialling side before it gives its proof, so before the other side takes the new connection for made:
 * it can still withdraw and nobody is disturbed.
 * @param age how long the old connection has been established.
 */
export function chooseConnection(old: Rival, next: Rival, age: Millis): Verdict {
  if (old.instance !== next.instance) {
    if (next.incarnation > old.incarnation) return { keep: 'new', code: 'duplicate', reason: 'the peer has restarted' }
    return { keep: 'old', code: 'collision', reason: 'peer name collision: a newer process with this identity key is connected' }
  }
  if (next.outbound) return { keep: 'old', code: 'duplicate', reason: 'already connected' }
  if (!old.outbound || age > CROSSING_WINDOW) return { keep: 'new', code: 'duplicate', reason: 'the peer has connected anew' }
  return { keep: next.connectionId < old.connectionId ? 'new' : 'old', code: 'duplicate', reason: 'duplicate connection' }
}
