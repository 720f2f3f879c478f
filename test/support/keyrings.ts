/** Secrets of clusters for tests. */
import type { CryptoSuite } from '../../mesh/crypto.ts'
import { type ClusterKey, clusterKey, type Keyring, SECRET_BYTES } from '../../mesh/keyring.ts'

/** The key number `index`, 0 to 255. */
export function keyOf(index: number, crypto: CryptoSuite): ClusterKey {
  return clusterKey(new Uint8Array(SECRET_BYTES).fill(index), crypto)
}

/** What a mesh takes: the key number `primary`, and the one number `other` if that is given. */
export function keyringOf(primary: number, crypto: CryptoSuite, other?: number): () => Keyring {
  const keyring = { primary: keyOf(primary, crypto), other: other === undefined ? undefined : keyOf(other, crypto) }
  return () => keyring
}
