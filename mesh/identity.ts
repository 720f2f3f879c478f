/** Who a peer is: an Ed25519 key, and the name that follows from it. Nothing of the machine enters it, so clones of a machine do not collide, unless they were cloned with it: see clones.ts. */
import { type PeerName, parsePeerName } from './base/brand.ts'
import { concatBytes, toHex } from './base/bytes.ts'
import { type CryptoSuite, SEED_BYTES, type SigningKeys } from './crypto.ts'
import type { NoiseKeys } from './noise-suite.ts'

export interface Identity {
  readonly name: PeerName
  readonly keys: SigningKeys
  /** X25519: what others encrypt to. A key that signs must not do that, so it is another one, of the same seed. */
  readonly dataKeys: NoiseKeys
}

const NAME_HASH_BYTES = 32
const NAME_BYTES = 8
const DATA_KEY_DOMAIN = new TextEncoder().encode('weft data key 1\0')

export function identityFromSeed(seed: Uint8Array, crypto: CryptoSuite): Identity {
  const keys = crypto.signingKeys(seed)
  const dataKeys = crypto.noise.keys(crypto.hash(concatBytes([DATA_KEY_DOMAIN, seed]), SEED_BYTES))
  return { name: peerNameOf(keys.publicKey, crypto), keys, dataKeys }
}

/** The first 8 bytes of BLAKE2b-256 of the public key. */
export function peerNameOf(publicKey: Uint8Array, crypto: CryptoSuite): PeerName {
  return parsePeerName(toHex(crypto.hash(publicKey, NAME_HASH_BYTES).subarray(0, NAME_BYTES)))
}
