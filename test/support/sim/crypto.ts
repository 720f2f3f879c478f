/**
 * Cheap, reproducible cryptography for simulations. It protects nothing (anybody can sign for anybody), but a changed
 * message, key or signature fails its check as with the real one.
 */
import { createHash } from 'node:crypto'
import { bytesEqual, concatBytes } from '../../../mesh/base/bytes.ts'
import { type Random, randomBelow } from '../../../mesh/base/random.ts'
import { type CryptoSuite, SIGNATURE_BYTES } from '../../../mesh/crypto.ts'

export function simCrypto(random: Random): CryptoSuite {
  const sign = (message: Uint8Array, publicKey: Uint8Array) => hash(concatBytes([publicKey, message]), SIGNATURE_BYTES)
  return {
    randomBytes: (count) => Uint8Array.from({ length: count }, () => randomBelow(random, 256)),
    hash,
    signingKeys: (seed) => ({ publicKey: hash(seed, 32), secretKey: seed }),
    sign: (message, keys) => sign(message, keys.publicKey),
    verify: (signature, message, publicKey) => bytesEqual(signature, sign(message, publicKey)),
  }
}

function hash(message: Uint8Array, bytes: number): Uint8Array {
  return new Uint8Array(createHash('sha512').update(message).digest().subarray(0, bytes))
}
