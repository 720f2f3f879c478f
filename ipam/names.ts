/** Names of peers in a sentence. */
import type { PeerName } from '../mesh/base/brand.ts'

/** Names enough to know where to look. */
const NAMED_PEERS_MAX = 3

/** `a, b, c and 4 more`. */
export function namesOf(peers: readonly PeerName[]): string {
  const shown = peers.slice(0, NAMED_PEERS_MAX).join(', ')
  return peers.length > NAMED_PEERS_MAX ? `${shown} and ${peers.length - NAMED_PEERS_MAX} more` : shown
}
