/** What Noise needs of cryptography, as an argument: the product's is in `mesh/crypto.ts`. */

export interface NoiseKeys {
  readonly publicKey: Uint8Array
  readonly secretKey: Uint8Array
}

/** Diffie-Hellman, authenticated encryption and hash. Keys of the cipher are `NOISE_KEY_BYTES` long, tags `NOISE_TAG_BYTES`. */
export interface NoiseSuite {
  /** As in a protocol's name: `25519_ChaChaPoly_BLAKE2b`. */
  readonly name: string
  readonly publicKeyBytes: number
  readonly hashBytes: number
  /** Of the hash, for HMAC; at least `hashBytes`. */
  readonly blockBytes: number
  /** The key pair of a secret of `NOISE_KEY_BYTES` random bytes. */
  keys(secretKey: Uint8Array): NoiseKeys
  /** Undefined when the public key is one with which every secret would be the same. */
  dh(secretKey: Uint8Array, publicKey: Uint8Array): Uint8Array | undefined
  hash(message: Uint8Array): Uint8Array
  /** @param counter unique under the key. @returns what `open` takes, `NOISE_TAG_BYTES` longer. */
  seal(key: Uint8Array, counter: number, ad: Uint8Array, plaintext: Uint8Array): Uint8Array
  /** Undefined when anything is not as it was sealed. Never throws. */
  open(key: Uint8Array, counter: number, ad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined
  /** The key that follows `key`, from which that one cannot be found. */
  rekey(key: Uint8Array): Uint8Array
}

export const NOISE_KEY_BYTES = 32
export const NOISE_TAG_BYTES = 16
