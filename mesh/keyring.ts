/**
 * The secrets of a cluster: whoever has one of its keys may join. A peer offers its primary key when it dials, and takes
 * either of its two when others dial: so the key can be changed peer by peer, with all of them connected.
 */
import type { Brand } from './base/brand.ts'
import { concatBytes, fromHex, toHex } from './base/bytes.ts'
import type { CryptoSuite } from './crypto.ts'
import { NOISE_KEY_BYTES } from './noise-suite.ts'

/** Eight lower-case hex digits that tell keys apart. It may be known to all: nobody finds the key from it. */
export type KeyId = Brand<string, 'KeyId'>

export interface ClusterKey {
  readonly id: KeyId
  /** The secret itself, `SECRET_BYTES` long. */
  readonly secret: Uint8Array
  /** What handshakes are protected with. */
  readonly psk: Uint8Array
}

export interface Keyring {
  readonly primary: ClusterKey
  /** Accepted, and offered to those who do not have the primary one. */
  readonly other: ClusterKey | undefined
}

export const SECRET_BYTES = 32
export const KEY_ID_BYTES = 4

const ID_DOMAIN = new TextEncoder().encode('weft key id 1\0')
const PSK_DOMAIN = new TextEncoder().encode('weft handshake psk 1\0')
const OPEN_DOMAIN = new TextEncoder().encode('weft open cluster 1\0')
/** The shortest hash there is. */
const ID_HASH_BYTES = 16

/** @param secret `SECRET_BYTES` that nobody can guess. */
export function clusterKey(secret: Uint8Array, crypto: CryptoSuite): ClusterKey {
  const id = toHex(crypto.hash(concatBytes([ID_DOMAIN, secret]), ID_HASH_BYTES).subarray(0, KEY_ID_BYTES)) as KeyId
  return { id, secret, psk: crypto.hash(concatBytes([PSK_DOMAIN, secret]), NOISE_KEY_BYTES) }
}

/** The key of a cluster without a secret: anybody who knows its name has it. */
export function openKey(cluster: string, crypto: CryptoSuite): ClusterKey {
  return clusterKey(crypto.hash(concatBytes([OPEN_DOMAIN, new TextEncoder().encode(cluster)]), SECRET_BYTES), crypto)
}

/** The key that the other side means, if we have it. */
export function findKey({ primary, other }: Keyring, id: KeyId): ClusterKey | undefined {
  return [primary, other].find((key) => key?.id === id)
}

/** The ids of all its keys, the primary one first. */
export function keyIdsOf({ primary, other }: Keyring): readonly KeyId[] {
  return other === undefined ? [primary.id] : [primary.id, other.id]
}

export function encodeKeyId(id: KeyId): Uint8Array {
  return fromHex(id)
}

/** @param bytes `KEY_ID_BYTES`. */
export function decodeKeyId(bytes: Uint8Array): KeyId {
  return toHex(bytes) as KeyId
}
