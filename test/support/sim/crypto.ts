/**
 * Cheap, reproducible cryptography for simulations. It protects nothing (anybody can sign for anybody, and what is
 * sealed can be read), but a changed message, key or signature fails its check as with the real one.
 */
import { bytesEqual, concatBytes } from '../../../mesh/base/bytes.ts'
import { type Random, randomBelow } from '../../../mesh/base/random.ts'
import { type CryptoSuite, DATA_KEY_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES } from '../../../mesh/crypto.ts'
import { NOISE_KEY_BYTES, NOISE_TAG_BYTES, type NoiseSuite } from '../../../mesh/noise-suite.ts'

export function simCrypto(random: Random): CryptoSuite {
  const sign = (message: Uint8Array, publicKey: Uint8Array) => hash(concatBytes([publicKey, message]), SIGNATURE_BYTES)
  return {
    randomBytes: (count) => Uint8Array.from({ length: count }, () => randomBelow(random, 256)),
    hash,
    signingKeys: (seed) => ({ publicKey: hash(seed, PUBLIC_KEY_BYTES), secretKey: seed }),
    sign: (message, keys) => sign(message, keys.publicKey),
    verify: (signature, message, publicKey) => publicKey.length === PUBLIC_KEY_BYTES && bytesEqual(signature, sign(message, publicKey)),
    noise: simNoise,
  }
}

const simNoise: NoiseSuite = {
  name: 'simulated',
  publicKeyBytes: DATA_KEY_BYTES,
  hashBytes: 32,
  blockBytes: 64,
  keys: (secretKey) => ({ publicKey: secretKey.map((byte) => byte ^ 0xa5), secretKey }),
  // Exclusive or: the same whichever side computes it.
  dh: (secretKey, publicKey) =>
    hash(
      secretKey.map((byte, index) => byte ^ 0xa5 ^ (publicKey[index] ?? 0)),
      DATA_KEY_BYTES,
    ),
  hash: (message) => hash(message, 32),
  seal: (key, counter, ad, plaintext) => concatBytes([plaintext, tagOf(key, counter, ad, plaintext)]),
  open(key, counter, ad, sealed) {
    const plaintext = sealed.slice(0, sealed.length - NOISE_TAG_BYTES)
    return bytesEqual(sealed.subarray(plaintext.length), tagOf(key, counter, ad, plaintext)) ? plaintext : undefined
  },
  rekey: (key) => hash(key, NOISE_KEY_BYTES),
}

function tagOf(key: Uint8Array, counter: number, ad: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const keyed = mix(mix(counter, key, 0x85ebca6b), ad, 0xc2b2ae35)
  return spread([keyed, mix(keyed, plaintext, 0x9e3779b1)], NOISE_TAG_BYTES)
}

/** Four lanes of 32 bits, in one pass: enough that no two of a simulation's messages meet by chance. */
function hash(message: Uint8Array, bytes: number): Uint8Array {
  const whole = message.length & ~3
  let [a, b, c, d] = [1 ^ message.length, 2 ^ message.length, 3 ^ message.length, 4 ^ message.length]
  for (let at = 0; at < message.length; at += at < whole ? 4 : 1) {
    const word = at < whole ? wordAt(message, at) : (message[at] ?? 0)
    a = Math.imul(a ^ word, 0x85ebca6b)
    a ^= a >>> 15
    b = Math.imul(b ^ word, 0xc2b2ae35)
    b ^= b >>> 13
    c = Math.imul(c ^ word, 0x9e3779b1)
    c ^= c >>> 16
    d = Math.imul(d ^ word, 0x27d4eb2f)
    d ^= d >>> 14
  }
  return spread([a, b, c, d], bytes)
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24)
}

/** Each step is a bijection of the state for one word, and of the word for one state: a single change is never lost. */
function mix(start: number, bytes: Uint8Array, odd: number): number {
  const whole = bytes.length & ~3
  let state = start ^ Math.imul(bytes.length, odd)
  for (let at = 0; at < whole; at += 4) {
    const word = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24) | 0
    state = Math.imul(state ^ word, odd)
    state ^= state >>> 15
  }
  for (let at = whole; at < bytes.length; at += 1) {
    state = Math.imul(state ^ (bytes[at] ?? 0), odd)
    state ^= state >>> 15
  }
  return state
}

function spread(lanes: readonly number[], bytes: number): Uint8Array {
  const out = new Uint8Array(bytes)
  let state = lanes.reduce((sum, lane) => Math.imul(sum, 31) + lane, bytes)
  for (let at = 0; at < bytes; at += 1) {
    if ((at & 3) === 0) {
      state = Math.imul(state ^ (lanes[(at >> 2) % lanes.length] ?? 0) ^ at, 0x2c1b3c6d)
      state ^= state >>> 13
    }
    out[at] = state >>> ((at & 3) * 8)
  }
  return out
}
