/**
 * How two peers that have just opened a stream prove to each other that they belong to one cluster, and who they are:
 * `Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b`, three frames.
 *
 *   dialler → 0       4       6       8          24      25       29
 *             | magic | v min | v max | cluster  | suite | key id | first message of Noise |
 *   acceptor →  | 0 | second message of Noise |   or   | 1 | why | v min | v max | key id |     (a refusal: 10 bytes)
 *   dialler →   third message of Noise
 *
 * (integers big-endian; cluster = BLAKE2b-128 of its id.) The first 29 bytes are readable, as the acceptor needs them to
 * choose a key; they are also the prologue, so that a man in the middle who changes one is found out by the first tag:
 * he can talk nobody into an older version. That first message is already sealed with the cluster's secret: a stranger
 * is turned away after one opening, before any Diffie-Hellman, and hears nothing.
 *
 * With the second message the acceptor introduces itself, with the third the dialler, each sealed to the other alone:
 *
 *   introduction = [public key, proof, instance, incarnation, v min, v max, had pods, started at]
 *                                                                                (MessagePack; later versions may add)
 *   proof        = Ed25519(domain ‖ static key of Noise)
 *
 * So whoever dials learns whom it has reached before it commits itself. A refusal is a hint for people, as nobody can
 * prove that he does not have a secret: it ends the connection and does nothing else.
 */
import type { PeerName } from './base/brand.ts'
import { bytesEqual, concatBytes, toHex } from './base/bytes.ts'
import { assert, unreachable } from './base/result.ts'
import { decodeWire, encodeWire, type WireValue } from './base/wire.ts'
import { isElder, type Tenure } from './clones.ts'
import { type CryptoSuite, PUBLIC_KEY_BYTES, SIGNATURE_BYTES } from './crypto.ts'
import { type Identity, peerNameOf } from './identity.ts'
import { type ClusterKey, decodeKeyId, encodeKeyId, findKey, KEY_ID_BYTES, type KeyId, type Keyring } from './keyring.ts'
import { NoiseHandshake, XX_PSK0 } from './noise.ts'
import { NOISE_KEY_BYTES } from './noise-suite.ts'
import { Session } from './session.ts'

interface Versions {
  readonly min: number
  readonly max: number
}

/** Versions of the protocol that we speak. */
export const PROTOCOL: Versions = { min: 2, max: 2 }

export const INSTANCE_BYTES = 16

/** What one process brings to all its handshakes. Its `instance`, of `INSTANCE_BYTES`, tells it from a copy of it. */
export interface HandshakeOptions extends Tenure {
  readonly identity: Identity
  readonly crypto: CryptoSuite
  /** Peers of another cluster are turned away. */
  readonly cluster: string
  /** The keys as they are now. */
  readonly keyring: () => Keyring
  /** Which key to dial with, if there are two; the primary one when not given. */
  readonly offer?: 'primary' | 'other'
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
  /** Of this connection, hex, equal at both ends: made of all that both have said, so that neither can choose it. */
  readonly connectionId: string
}

/**
 * Why a handshake failed, for programs:
 * - `self`: we have reached ourselves
 * - `collision`: another process uses our key, and is to give it up
 * - `copy`: another process uses our key, and is to keep it: ours is the copy
 * - `foreign`: not a peer of this cluster, or it speaks nothing that we do
 * - `key`: it has another secret of the cluster than the one offered
 * - `proof`: it lacks the secret, or is not who it says
 */
export type HandshakeCode = 'self' | 'collision' | 'copy' | 'foreign' | 'key' | 'proof'

/** Each is used once: `stepHandshake` gives the next one. */
export type HandshakeState =
  /** We have accepted. */
  | { readonly kind: 'awaiting offer' }
  /** We have dialled. */
  | { readonly kind: 'awaiting answer'; readonly noise: NoiseHandshake; readonly offered: KeyId }
  /** We have accepted. */
  | { readonly kind: 'awaiting proof'; readonly noise: NoiseHandshake }
  | { readonly kind: 'over' }

export type HandshakeEffect =
  | { readonly kind: 'send'; readonly payload: Uint8Array }
  /** `last`, if any, is to be sent unless the peer is not wanted after all. Whoever takes the session wipes it. */
  | { readonly kind: 'done'; readonly peer: Authenticated; readonly session: Session; readonly last: Uint8Array | undefined }
  | { readonly kind: 'reject'; readonly code: HandshakeCode; readonly reason: string }

export type HandshakeStep = readonly [HandshakeState, readonly HandshakeEffect[]]

const MAGIC = new TextEncoder().encode('WEFT')
const CLUSTER_BYTES = 16
/** `Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b`: the only one so far. */
const SUITE = 1
const VERSIONS_AT = MAGIC.length
const CLUSTER_AT = VERSIONS_AT + 4
const SUITE_AT = CLUSTER_AT + CLUSTER_BYTES
const KEY_ID_AT = SUITE_AT + 1
const HEADER_BYTES = KEY_ID_AT + KEY_ID_BYTES

const Answer = { message: 0, refusal: 1 } as const
const Refusal = { version: 1, cluster: 2, suite: 3, key: 4 } as const
const REFUSAL_BYTES = 1 + 1 + 4 + KEY_ID_BYTES

/** So that a proof is never a signature of anything else. */
const PROOF_DOMAIN = new TextEncoder().encode('weft static key 1\0')
const EMPTY = new Uint8Array(0)

/** @param outbound we have dialled. */
export function startHandshake(options: HandshakeOptions, outbound: boolean): HandshakeStep {
  if (!outbound) return [{ kind: 'awaiting offer' }, []]
  const { primary, other } = options.keyring()
  const key = options.offer === 'other' ? (other ?? primary) : primary
  const header = encodeHeader(key.id, options)
  const noise = noiseOf(options, { initiator: true, header, key })
  const message = noise.write(EMPTY)
  assert(message.ok, 'the first message uses no key of the other side')
  return [{ kind: 'awaiting answer', noise, offered: key.id }, [{ kind: 'send', payload: concatBytes([header, message.value]) }]]
}

/** Takes one frame of the other side. Never throws, whatever it holds. */
export function stepHandshake(state: HandshakeState, payload: Uint8Array, options: HandshakeOptions): HandshakeStep {
  switch (state.kind) {
    case 'awaiting offer':
      return onOffer(payload, options)
    case 'awaiting answer':
      return onAnswer(state, payload, options)
    case 'awaiting proof':
      return onProof(state, payload, options)
    case 'over':
      return reject(undefined, 'proof', 'goes on after the handshake is over')
    default:
      return unreachable(state)
  }
}

/** Wipes the keys of a handshake that will not go on. */
export function abandonHandshake(state: HandshakeState): void {
  if (state.kind === 'awaiting answer' || state.kind === 'awaiting proof') state.noise[Symbol.dispose]()
}

function onOffer(payload: Uint8Array, options: HandshakeOptions): HandshakeStep {
  const header = payload.subarray(0, HEADER_BYTES)
  if (header.length < HEADER_BYTES || !bytesEqual(header.subarray(0, MAGIC.length), MAGIC)) {
    return reject(undefined, 'foreign', NOT_OURS)
  }
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength)
  const theirs = { versions: readVersions(view, VERSIONS_AT), keyId: decodeKeyId(header.subarray(KEY_ID_AT)) }
  if (!bytesEqual(header.subarray(CLUSTER_AT, SUITE_AT), clusterHash(options))) return refuse('cluster', theirs, options)
  if (commonVersion(theirs.versions) === undefined) return refuse('version', theirs, options)
  if (header[SUITE_AT] !== SUITE) return refuse('suite', theirs, options)
  const key = findKey(options.keyring(), theirs.keyId)
  if (key === undefined) return refuse('key', theirs, options)
  const noise = noiseOf(options, { initiator: false, header, key })
  if (!noise.read(payload.subarray(HEADER_BYTES)).ok)
    return reject(noise, 'proof', 'has not proved that it knows the secret of the cluster')
  const message = noise.write(introduce(options))
  if (!message.ok) return reject(noise, 'proof', 'has sent a key that is of no use')
  return [{ kind: 'awaiting proof', noise }, [{ kind: 'send', payload: concatBytes([Uint8Array.of(Answer.message), message.value]) }]]
}

function onAnswer(
  { noise, offered }: HandshakeState & { kind: 'awaiting answer' },
  payload: Uint8Array,
  options: HandshakeOptions,
): HandshakeStep {
  if (payload[0] === Answer.refusal) return onRefusal(noise, payload, offered)
  if (payload[0] !== Answer.message) return reject(noise, 'foreign', NOT_OURS)
  const introduction = noise.read(payload.subarray(1))
  if (!introduction.ok) return reject(noise, 'proof', 'has not proved that it knows the secret of the cluster')
  const met = meet(noise, introduction.value, options)
  const last = noise.write(introduce(options))
  if (!last.ok) return reject(noise, 'proof', 'has sent a key that is of no use')
  if (met.kind === 'unwanted') {
    // Who runs with our key is to hear of it too.
    const [state, effects] = reject(noise, met.code, met.reason)
    const isOurKey = ['self', 'collision', 'copy'].includes(met.code)
    return [state, [...(isOurKey ? [{ kind: 'send', payload: last.value } as const] : []), ...effects]]
  }
  return finish(noise, met, last.value)
}

function onProof({ noise }: HandshakeState & { kind: 'awaiting proof' }, payload: Uint8Array, options: HandshakeOptions): HandshakeStep {
  const introduction = noise.read(payload)
  if (!introduction.ok) return reject(noise, 'proof', 'has not proved who it is')
  const met = meet(noise, introduction.value, options)
  return met.kind === 'unwanted' ? reject(noise, met.code, met.reason) : finish(noise, met, undefined)
}

const NOT_OURS = 'does not speak the protocol of Weft'

function reject(noise: NoiseHandshake | undefined, code: HandshakeCode, reason: string): HandshakeStep {
  noise?.[Symbol.dispose]()
  return [{ kind: 'over' }, [{ kind: 'reject', code, reason }]]
}

function finish(noise: NoiseHandshake, { peer }: Met & { kind: 'peer' }, last: Uint8Array | undefined): HandshakeStep {
  const connectionId = toHex(noise.hash.subarray(0, CONNECTION_ID_BYTES))
  const session = new Session(noise.split())
  return [{ kind: 'over' }, [{ kind: 'done', peer: { ...peer, connectionId }, session, last }]]
}

const CONNECTION_ID_BYTES = 8

interface NoiseRole {
  readonly initiator: boolean
  readonly header: Uint8Array
  readonly key: ClusterKey
}

function noiseOf({ identity, crypto }: HandshakeOptions, { initiator, header, key }: NoiseRole): NoiseHandshake {
  return new NoiseHandshake({
    suite: crypto.noise,
    pattern: XX_PSK0,
    initiator,
    prologue: header,
    staticKeys: identity.dataKeys,
    ephemeralSecret: crypto.randomBytes(NOISE_KEY_BYTES),
    psks: [key.psk],
  })
}

function encodeHeader(id: KeyId, options: HandshakeOptions): Uint8Array {
  return concatBytes([MAGIC, encodeVersions(), clusterHash(options), Uint8Array.of(SUITE), encodeKeyId(id)])
}

function encodeVersions(): Uint8Array {
  const view = new DataView(new ArrayBuffer(4))
  view.setUint16(0, PROTOCOL.min)
  view.setUint16(2, PROTOCOL.max)
  return new Uint8Array(view.buffer)
}

function readVersions(view: DataView, at: number): Versions {
  return { min: view.getUint16(at), max: view.getUint16(at + 2) }
}

/** The version to speak; undefined when there is none that both know. */
function commonVersion(theirs: Versions): number | undefined {
  const version = Math.min(theirs.max, PROTOCOL.max)
  return version < Math.max(theirs.min, PROTOCOL.min) ? undefined : version
}

function clusterHash({ cluster, crypto }: HandshakeOptions): Uint8Array {
  return crypto.hash(new TextEncoder().encode(cluster), CLUSTER_BYTES)
}

/** What a side without proof says of itself. */
interface Claims {
  readonly versions: Versions
  readonly keyId: KeyId
}

function refuse(why: keyof typeof Refusal, theirs: Claims, { keyring }: HandshakeOptions): HandshakeStep {
  const ours = keyring().primary.id
  const payload = concatBytes([Uint8Array.of(Answer.refusal, Refusal[why]), encodeVersions(), encodeKeyId(ours)])
  const [state, effects] = rejectFor(why, theirs, ours)
  return [state, [{ kind: 'send', payload }, ...effects]]
}

function onRefusal(noise: NoiseHandshake, payload: Uint8Array, offered: KeyId): HandshakeStep {
  noise[Symbol.dispose]()
  const why = (Object.keys(Refusal) as (keyof typeof Refusal)[]).find((key) => Refusal[key] === payload[1])
  if (payload.length < REFUSAL_BYTES || why === undefined) return reject(noise, 'foreign', 'refuses us, and we do not know why')
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  const keyId = decodeKeyId(payload.subarray(REFUSAL_BYTES - KEY_ID_BYTES, REFUSAL_BYTES))
  return rejectFor(why, { versions: readVersions(view, 2), keyId }, offered)
}

/** The same words at both ends, each from its own view. */
function rejectFor(why: keyof typeof Refusal, { versions, keyId }: Claims, ours: KeyId): HandshakeStep {
  switch (why) {
    case 'cluster':
      return reject(undefined, 'foreign', 'belongs to another cluster: give both the same --cluster')
    case 'version':
      return reject(undefined, 'foreign', versionWords(versions))
    case 'suite':
      return reject(undefined, 'foreign', 'uses another cipher suite: upgrade the older one')
    case 'key':
      return reject(
        undefined,
        'key',
        `has another cluster secret (its key id is ${keyId}, ours ${ours}): give both the same secret, see \`weft keys show-id\``,
      )
    default:
      return unreachable(why)
  }
}

function versionWords(theirs: Versions): string {
  return `speaks ${versionText(theirs)} of the protocol, we ${versionText(PROTOCOL)}: upgrade the older one`
}

function versionText({ min, max }: Versions): string {
  return min === max ? `version ${min}` : `versions ${min} to ${max}`
}

function introduce({ identity, crypto, instance, incarnation, hadPods, startedAt }: HandshakeOptions): Uint8Array {
  const { keys, dataKeys } = identity
  const proof = crypto.sign(concatBytes([PROOF_DOMAIN, dataKeys.publicKey]), keys)
  return encodeWire([keys.publicKey, proof, instance, incarnation(), PROTOCOL.min, PROTOCOL.max, hadPods, startedAt])
}

type Met =
  | { readonly kind: 'peer'; readonly peer: Omit<Authenticated, 'connectionId'> }
  | { readonly kind: 'unwanted'; readonly code: HandshakeCode; readonly reason: string }

/** Who it is that has introduced itself over `noise`. */
function meet(noise: NoiseHandshake, payload: Uint8Array, options: HandshakeOptions): Met {
  const { identity, crypto } = options
  const theirs = readIntroduction(payload)
  if (theirs === undefined) return { kind: 'unwanted', code: 'foreign', reason: 'introduces itself in a way that we do not know' }
  const name = peerNameOf(theirs.publicKey, crypto)
  if (!crypto.verify(theirs.proof, concatBytes([PROOF_DOMAIN, noise.remoteStatic]), theirs.publicKey)) {
    return { kind: 'unwanted', code: 'proof', reason: `has not proved to be ${name}` }
  }
  if (bytesEqual(theirs.publicKey, identity.keys.publicKey)) return meetOurKey(theirs, options)
  const version = commonVersion(theirs.versions)
  if (version === undefined) return { kind: 'unwanted', code: 'foreign', reason: versionWords(theirs.versions) }
  return { kind: 'peer', peer: { name, instance: toHex(theirs.instance), incarnation: theirs.incarnation, version } }
}

/** Both come to opposite answers, so that one of them takes a new name. */
function meetOurKey(theirs: Tenure, ours: Tenure): Met {
  if (bytesEqual(theirs.instance, ours.instance)) return { kind: 'unwanted', code: 'self', reason: 'cannot connect to ourself' }
  const words = 'peer name collision: another process runs with our identity key'
  if (isElder(theirs, ours)) {
    return { kind: 'unwanted', code: 'copy', reason: `${words}, and it is the original: this node takes a new name` }
  }
  return { kind: 'unwanted', code: 'collision', reason: `${words}, as a copy of this node: that one takes a new name` }
}

interface Introduction extends Tenure {
  readonly publicKey: Uint8Array
  readonly proof: Uint8Array
  readonly incarnation: number
  readonly versions: Versions
}

/** Undefined when it is none. */
function readIntroduction(payload: Uint8Array): Introduction | undefined {
  const decoded = decodeWire(payload)
  if (!decoded.ok || !Array.isArray(decoded.value)) return undefined
  const [publicKey, proof, instance, incarnation, min, max, hadPods, startedAt] = decoded.value as readonly WireValue[]
  if (!isBytes(publicKey, PUBLIC_KEY_BYTES) || !isBytes(proof, SIGNATURE_BYTES) || !isBytes(instance, INSTANCE_BYTES)) return undefined
  if (!isCount(incarnation) || !isCount(min) || !isCount(max)) return undefined
  if (typeof hadPods !== 'boolean' || !isCount(startedAt)) return undefined
  return { publicKey, proof, instance, incarnation, versions: { min, max }, hadPods, startedAt }
}

function isBytes(value: WireValue, length: number): value is Uint8Array {
  return value instanceof Uint8Array && value.length === length
}

function isCount(value: WireValue): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
