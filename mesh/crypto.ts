/** The cryptography that the mesh uses, as an argument; and the real one, by libsodium, which only this file imports. */
import sodium from 'libsodium-wrappers'
import { NOISE_KEY_BYTES, type NoiseSuite } from './noise-suite.ts'

export const SEED_BYTES = 32
export const PUBLIC_KEY_BYTES = 32
export const SIGNATURE_BYTES = 64
/** Of an X25519 public key. */
export const DATA_KEY_BYTES = 32

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
  /** X25519, ChaCha20-Poly1305 and BLAKE2b, for handshakes and sessions. */
  readonly noise: NoiseSuite
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
    noise: sodiumNoise,
  }
}

const HASH_BYTES = 64
const NONCE_BYTES = 12
const NO_BYTES = new Uint8Array(0)

const sodiumNoise: NoiseSuite = {
  name: '25519_ChaChaPoly_BLAKE2b',
  publicKeyBytes: DATA_KEY_BYTES,
  hashBytes: HASH_BYTES,
  blockBytes: 128,
  keys: (secretKey) => ({ publicKey: sodium.crypto_scalarmult_base(secretKey), secretKey }),
  dh: (secretKey, publicKey) => orUndefined(() => sodium.crypto_scalarmult(secretKey, publicKey)),
  hash: (message) => sodium.crypto_generichash(HASH_BYTES, message, null),
  seal: (key, counter, ad, plaintext) => sodium.crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, ad, null, nonce(counter), key),
  open: (key, counter, ad, sealed) =>
    orUndefined(() => sodium.crypto_aead_chacha20poly1305_ietf_decrypt(null, sealed, ad, nonce(counter), key)),
  rekey(key) {
    // The specification's default: the highest counter is kept for this.
    const last = new Uint8Array(NONCE_BYTES).fill(0xff, 4)
    const zeros = new Uint8Array(NOISE_KEY_BYTES)
    return sodium.crypto_aead_chacha20poly1305_ietf_encrypt(zeros, NO_BYTES, null, last, key).slice(0, NOISE_KEY_BYTES)
  },
}

/** As Noise has it for ChaChaPoly: 32 bits of zeros, then the counter, little-endian. */
function nonce(counter: number): Uint8Array {
  const bytes = new Uint8Array(NONCE_BYTES)
  new DataView(bytes.buffer).setBigUint64(4, BigInt(counter), true)
  return bytes
}

/** libsodium throws where the input is not right. */
function orUndefined(compute: () => Uint8Array): Uint8Array | undefined {
  try {
    return compute()
  } catch {
    return undefined
  }
}
