/** Who a peer is: an Ed25519 key, and the name that follows from it. Nothing of the machine enters it, so clones of a machine do not collide. */
import { type PeerName, parsePeerName } from './base/brand.ts'
import { toHex } from './base/bytes.ts'
import type { CryptoSuite, SigningKeys } from './crypto.ts'

export interface Identity {
  readonly name: PeerName
  readonly keys: SigningKeys
}

const NAME_HASH_BYTES = 32
const NAME_BYTES = 8

export function identityFromSeed(seed: Uint8Array, crypto: CryptoSuite): Identity {
  const keys = crypto.signingKeys(seed)
  return { name: peerNameOf(keys.publicKey, crypto), keys }
}

/** The first 8 bytes of BLAKE2b-256 of the public key. */
export function peerNameOf(publicKey: Uint8Array, crypto: CryptoSuite): PeerName {
  return parsePeerName(toHex(crypto.hash(publicKey, NAME_HASH_BYTES).subarray(0, NAME_BYTES)))
}
