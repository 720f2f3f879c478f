/** Types that only a parser can make: a plain string or number is never a peer or a moment. */

/** A `T` that carries the proof that it was checked. */
export type Brand<T, B extends string> = T & { readonly __brand: B }

/** A peer's identity: the first 8 bytes of BLAKE2b of its Ed25519 public key, as 16 lower-case hex digits. */
export type PeerName = Brand<string, 'PeerName'>

/** A duration, or a moment of the clock in use, in milliseconds. */
export type Millis = Brand<number, 'Millis'>

const PEER_NAME = /^[0-9a-f]{16}$/

/** @throws {RangeError} when `text` is not 16 lower-case hex digits. */
export function parsePeerName(text: string): PeerName {
  if (!PEER_NAME.test(text)) throw new RangeError(`not a peer name: ${JSON.stringify(text)}`)
  return text as PeerName
}

export function isPeerName(text: string): text is PeerName {
  return PEER_NAME.test(text)
}

/** @throws {RangeError} when `count` is negative or not finite. */
export function millis(count: number): Millis {
  if (!(Number.isFinite(count) && count >= 0)) throw new RangeError(`not a duration: ${count}`)
  return count as Millis
}

export function seconds(count: number): Millis {
  return millis(count * 1_000)
}
