/**
 * The preshared key of two peers: what their sessions are made of besides their own keys, so that whoever is not of the cluster, or
 * breaks X25519 one day, has no session with either. Both derive it from a key of the cluster, by themselves.
 *
 *   BLAKE2b-256(domain ‖ secret of the cluster ‖ lower X25519 key ‖ higher X25519 key)
 *
 * Which of the cluster's keys: see `pairKeyId`. While the cluster's key is rotated, each peer changes over once, when it knows that
 * the other one can. In between the two differ, for as long as a record travels, or as long as one of them hears of nothing. What
 * runs between them goes on meanwhile: WireGuard takes a preshared key into handshakes only, makes a new one 120 s after the last,
 * and uses the old session for 60 s more while it tries again every 5 s. Two that begin to talk in between wait up to 5 s more.
 */
import { compareBytes, concatBytes } from './base/bytes.ts'
import type { CryptoSuite } from './crypto.ts'
import { findKey, type KeyId, type Keyring, keyIdsOf } from './keyring.ts'
import type { PeerRecord } from './record.ts'

interface Pair {
  /** Ours, as our record says it. */
  readonly keyring: Keyring
  /** Our X25519 public key. */
  readonly dataKey: Uint8Array
  readonly peer: Pick<PeerRecord, 'dataKey' | 'keyIds'>
}

const DOMAIN = new TextEncoder().encode('weft pair key 1\0')
/** What WireGuard takes. */
const PAIR_KEY_BYTES = 32

export function pairKey({ keyring, dataKey, peer }: Pair, crypto: CryptoSuite): Uint8Array {
  const id = pairKeyId(keyIdsOf(keyring), peer.keyIds)
  // Without one in common our own is as good as any: there is no session until a later record of the peer is here.
  const { secret } = (id === undefined ? undefined : findKey(keyring, id)) ?? keyring.primary
  const [low, high] = compareBytes(dataKey, peer.dataKey) < 0 ? [dataKey, peer.dataKey] : [peer.dataKey, dataKey]
  return crypto.hash(concatBytes([DOMAIN, secret, low, high]), PAIR_KEY_BYTES)
}

/**
 * The key that two peers with these keys use, whichever of them asks: the one that both dial with, else one that both take, else
 * none. In a rotation from one key to another this is the old one until a moment, and from then on the new one.
 */
export function pairKeyId(a: readonly KeyId[], b: readonly KeyId[]): KeyId | undefined {
  if (a[0] === b[0]) return a[0]
  // Any order will do that is the same at both ends.
  return a.filter((id) => b.includes(id)).sort()[0]
}
