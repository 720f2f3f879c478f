/** The cryptography that the mesh uses, as an argument; and the real one, by libsodium, which only this file imports. */
import sodium from 'libsodium-wrappers'

export const SEED_BYTES = 32
export const PUBLIC_KEY_BYTES = 32
export const SIGNATURE_BYTES = 64

export interface SigningKeys {
  /** `PUBLIC_KEY_BYTES` long. */
  readonly publicKey: Uint8Array
  readonly secretKey: Uint8Array
}

/** Simulations pass a cheap deterministic one. */
export interface CryptoSuite {
  /** Unpredictable bytes: keys, challenges, ids. */
  randomBytes(count: number): Uint8Array
  /** BLAKE2b. @param bytes how long the hash is: 16 to 64. */
  hash(message: Uint8Array, bytes: number): Uint8Array
  /** The Ed25519 key pair of a seed of `SEED_BYTES`. */
  signingKeys(seed: Uint8Array): SigningKeys
  /** An Ed25519 signature, `SIGNATURE_BYTES` long. */
  sign(message: Uint8Array, keys: SigningKeys): Uint8Array
  /** Never throws: a key or signature of a wrong length is just not right. */
  verify(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean
}

export async function loadCrypto(): Promise<CryptoSuite> {
  await sodium.ready
  return {
    randomBytes: (count) => sodium.randombytes_buf(count),
    hash: (message, bytes) => sodium.crypto_generichash(bytes, message, null),
    signingKeys(seed) {
      const { publicKey, privateKey } = sodium.crypto_sign_seed_keypair(seed)
      return { publicKey, secretKey: privateKey }
    },
    sign: (message, keys) => sodium.crypto_sign_detached(message, keys.secretKey),
    verify: (signature, message, publicKey) =>
      signature.length === SIGNATURE_BYTES &&
      publicKey.length === PUBLIC_KEY_BYTES &&
      sodium.crypto_sign_verify_detached(signature, message, publicKey),
  }
}
