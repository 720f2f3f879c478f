/**
 * How two peers that have just opened a stream find out who the other is. Both send a hello at once:
 *
 *   0       4       6       8          24           56           88             104         112
 *   | magic | v min | v max | cluster  | public key | challenge  | instance     | inc.      | connection id (8)
 *
 * (integers big-endian; cluster = BLAKE2b-128 of its id; instance = random, per process; inc. = incarnation). Then
 * each signs both hellos: first the one that accepted, and when that is right, the one that dialled, so that whoever
 * dials learns whom it has reached before it commits itself.
 *
 *   proof = Ed25519(domain ‖ role of the signer ‖ hello of the dialler ‖ hello of the acceptor)
 *
 * A challenge of each side in what is signed makes every proof good once; the role makes it no use as an answer to itself.
 */
import type { PeerName } from './base/brand.ts'
import { bytesEqual, concatBytes, toHex } from './base/bytes.ts'
import { type CryptoSuite, PUBLIC_KEY_BYTES } from './crypto.ts'
import { type Identity, peerNameOf } from './identity.ts'

/** Versions of the protocol that we speak. */
export const PROTOCOL: { readonly min: number; readonly max: number } = { min: 1, max: 1 }

export const INSTANCE_BYTES = 16
const CONNECTION_ID_BYTES = 8

/** What one process brings to all its handshakes. */
export interface HandshakeOptions {
  readonly identity: Identity
  readonly crypto: CryptoSuite
  /** Peers of another cluster are turned away. */
  readonly cluster: string
  /** `INSTANCE_BYTES` random bytes, made at start: tells us from a copy of us. */
  readonly instance: Uint8Array
  /** At this moment: it grows when an earlier life of ours turns up. */
  readonly incarnation: () => number
}

/** The other side, proved. */
export interface Authenticated {
  readonly name: PeerName
  /** Hex; differs between two processes with one key. */
  readonly instance: string
  readonly incarnation: number
  /** The version of the protocol to speak: the highest that both know. */
  readonly version: number
  /** Of this connection, hex, equal at both ends: made of both ends' random ids. */
  readonly connectionId: string
}

/**
 * Why a handshake failed, for programs:
 * - `self`: we have reached ourselves
 * - `collision`: another process uses our key
 * - `foreign`: not a peer of this cluster, or it speaks nothing that we do
 * - `proof`: it is not who it says
 */
export type HandshakeCode = 'self' | 'collision' | 'foreign' | 'proof'

export type HandshakeState =
  | { readonly kind: 'awaiting hello'; readonly outbound: boolean; readonly hello: Uint8Array }
  | {
      readonly kind: 'awaiting proof'
      readonly outbound: boolean
      readonly hello: Uint8Array
      readonly theirs: Hello
      readonly peer: Authenticated
    }
  | { readonly kind: 'over' }

export type HandshakeEffect =
  | { readonly kind: 'send'; readonly payload: Uint8Array }
  /** `last`, if any, is to be sent unless the peer is not wanted after all. */
  | { readonly kind: 'done'; readonly peer: Authenticated; readonly last: Uint8Array | undefined }
  | { readonly kind: 'reject'; readonly code: HandshakeCode; readonly reason: string }

export type HandshakeStep = readonly [HandshakeState, readonly HandshakeEffect[]]

interface Hello {
  readonly bytes: Uint8Array
  readonly versionMin: number
  readonly versionMax: number
  readonly cluster: Uint8Array
  readonly publicKey: Uint8Array
  readonly instance: Uint8Array
  readonly incarnation: number
  readonly connectionId: Uint8Array
}

const MAGIC = new TextEncoder().encode('WEFT')
const CLUSTER_BYTES = 16
const CHALLENGE_BYTES = 32
const VERSIONS_AT = MAGIC.length
const CLUSTER_AT = VERSIONS_AT + 4
const PUBLIC_KEY_AT = CLUSTER_AT + CLUSTER_BYTES
const INSTANCE_AT = PUBLIC_KEY_AT + PUBLIC_KEY_BYTES + CHALLENGE_BYTES
const INCARNATION_AT = INSTANCE_AT + INSTANCE_BYTES
const CONNECTION_ID_AT = INCARNATION_AT + 8
/** Later versions may append. */
const HELLO_BYTES_MIN = CONNECTION_ID_AT + CONNECTION_ID_BYTES
const DOMAIN = new TextEncoder().encode('weft handshake 1\0')

/** @param outbound we have dialled. */
export function startHandshake(options: HandshakeOptions, outbound: boolean): HandshakeStep {
  const hello = encodeHello(options)
  return [{ kind: 'awaiting hello', outbound, hello }, [{ kind: 'send', payload: hello }]]
}

/** Takes one frame of the other side. Never throws, whatever it holds. */
export function stepHandshake(state: HandshakeState, payload: Uint8Array, options: HandshakeOptions): HandshakeStep {
  switch (state.kind) {
    case 'awaiting hello':
      return onHello(state, payload, options)
    case 'awaiting proof':
      return onProof(state, payload, options)
    case 'over':
      return reject('proof', 'it goes on after the handshake is over')
  }
}

function onHello(state: HandshakeState & { kind: 'awaiting hello' }, payload: Uint8Array, options: HandshakeOptions): HandshakeStep {
  const { outbound, hello } = state
  const theirs = decodeHello(payload)
  if (theirs === undefined) return reject('foreign', 'does not speak the protocol of Weft')
  if (!bytesEqual(theirs.cluster, clusterHash(options))) return reject('foreign', 'belongs to another cluster')
  const version = Math.min(theirs.versionMax, PROTOCOL.max)
  if (version < Math.max(theirs.versionMin, PROTOCOL.min)) {
    return reject(
      'foreign',
      `speaks versions ${theirs.versionMin} to ${theirs.versionMax} of the protocol, we ${PROTOCOL.min} to ${PROTOCOL.max}`,
    )
  }
  if (bytesEqual(theirs.publicKey, options.identity.keys.publicKey)) {
    if (bytesEqual(theirs.instance, options.instance)) return reject('self', 'cannot connect to ourself')
    return reject('collision', 'peer name collision: another process runs with our identity key')
  }
  const peer: Authenticated = {
    name: peerNameOf(theirs.publicKey, options.crypto),
    instance: toHex(theirs.instance),
    incarnation: theirs.incarnation,
    version,
    connectionId: combinedId(hello, theirs),
  }
  const next = { kind: 'awaiting proof', outbound, hello, theirs, peer } as const
  return outbound ? [next, []] : [next, [{ kind: 'send', payload: prove(next, options) }]]
}

function onProof(state: HandshakeState & { kind: 'awaiting proof' }, payload: Uint8Array, options: HandshakeOptions): HandshakeStep {
  const { outbound, theirs, peer } = state
  const signed = provenBytes(state, !outbound)
  if (!options.crypto.verify(payload, signed, theirs.publicKey)) return reject('proof', `has not proved to be ${peer.name}`)
  const last = outbound ? prove(state, options) : undefined
  return [{ kind: 'over' }, [{ kind: 'done', peer, last }]]
}

function reject(code: HandshakeCode, reason: string): HandshakeStep {
  return [{ kind: 'over' }, [{ kind: 'reject', code, reason }]]
}

function prove(state: HandshakeState & { kind: 'awaiting proof' }, { identity, crypto }: HandshakeOptions): Uint8Array {
  return crypto.sign(provenBytes(state, state.outbound), identity.keys)
}

function provenBytes({ outbound, hello, theirs }: HandshakeState & { kind: 'awaiting proof' }, signerDialled: boolean): Uint8Array {
  const [dialler, acceptor] = outbound ? [hello, theirs.bytes] : [theirs.bytes, hello]
  return concatBytes([DOMAIN, Uint8Array.of(signerDialled ? 1 : 0), dialler, acceptor])
}

function encodeHello(options: HandshakeOptions): Uint8Array {
  const { identity, crypto, instance, incarnation } = options
  const numbers = new DataView(new ArrayBuffer(4 + 8))
  numbers.setUint16(0, PROTOCOL.min)
  numbers.setUint16(2, PROTOCOL.max)
  numbers.setBigUint64(4, BigInt(incarnation()))
  const versions = new Uint8Array(numbers.buffer, 0, 4)
  const incarnationBytes = new Uint8Array(numbers.buffer, 4, 8)
  const challenge = crypto.randomBytes(CHALLENGE_BYTES)
  const connectionId = crypto.randomBytes(CONNECTION_ID_BYTES)
  return concatBytes([MAGIC, versions, clusterHash(options), identity.keys.publicKey, challenge, instance, incarnationBytes, connectionId])
}

/** Undefined when it is not a hello. */
function decodeHello(bytes: Uint8Array): Hello | undefined {
  if (bytes.length < HELLO_BYTES_MIN || !bytesEqual(bytes.subarray(0, MAGIC.length), MAGIC)) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const incarnation = Number(view.getBigUint64(INCARNATION_AT))
  if (!Number.isSafeInteger(incarnation)) return undefined
  return {
    bytes,
    versionMin: view.getUint16(VERSIONS_AT),
    versionMax: view.getUint16(VERSIONS_AT + 2),
    cluster: bytes.subarray(CLUSTER_AT, CLUSTER_AT + CLUSTER_BYTES),
    publicKey: bytes.subarray(PUBLIC_KEY_AT, PUBLIC_KEY_AT + PUBLIC_KEY_BYTES),
    instance: bytes.subarray(INSTANCE_AT, INSTANCE_AT + INSTANCE_BYTES),
    incarnation,
    connectionId: bytes.subarray(CONNECTION_ID_AT, CONNECTION_ID_AT + CONNECTION_ID_BYTES),
  }
}

function clusterHash({ cluster, crypto }: HandshakeOptions): Uint8Array {
  return crypto.hash(new TextEncoder().encode(cluster), CLUSTER_BYTES)
}

/** Exclusive or of both ends' ids: neither end can choose it. */
function combinedId(hello: Uint8Array, theirs: Hello): string {
  const own = hello.subarray(CONNECTION_ID_AT, CONNECTION_ID_AT + CONNECTION_ID_BYTES)
  return toHex(own.map((byte, index) => byte ^ (theirs.connectionId[index] ?? 0)))
}
