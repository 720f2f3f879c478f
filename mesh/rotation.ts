/**
 * How a cluster changes its secret while it runs. Three stages, each begun only when the one before is done at every
 * live peer, as their records tell:
 *
 *   accept    every peer takes the new key when others dial
 *   promote   every peer dials with it, and still takes the old one
 *   drop      nobody takes the old one any more
 *
 * At any moment any two peers have a key in common, of which one dials with it and the other takes it. A rotation
 * travels whole: merging two is taking the later one, so that no order of messages matters.
 */
import { err, ok, type Result, unreachable } from './base/result.ts'
import { decodeWire, encodeWire, type WireValue } from './base/wire.ts'
import type { CryptoSuite } from './crypto.ts'
import { type ClusterKey, clusterKey, type KeyId, type Keyring, SECRET_BYTES } from './keyring.ts'
import type { PeerRecord } from './record.ts'

/** In order. */
const STAGES = ['accept', 'promote', 'drop'] as const
export type Stage = (typeof STAGES)[number]

export interface Rotation {
  /** Wall time in milliseconds: a later rotation replaces an earlier one. */
  readonly startedAt: number
  readonly key: ClusterKey
  readonly stage: Stage
}

/** Positive when `a` is to replace `b`: a total order, so that all peers end with the same one. */
export function compareRotations(a: Rotation, b: Rotation): number {
  return a.startedAt - b.startedAt || compareTexts(a.key.id, b.key.id) || STAGES.indexOf(a.stage) - STAGES.indexOf(b.stage)
}

/** The keys of a peer that takes part; the same one again when they are as they should be. */
export function applyRotation(keyring: Keyring, { key, stage }: Rotation): Keyring {
  const { primary, other } = keyring
  switch (stage) {
    case 'accept':
      return primary.id === key.id || other?.id === key.id ? keyring : { primary, other: key }
    case 'promote':
      return primary.id === key.id ? keyring : { primary: key, other: primary }
    case 'drop':
      return primary.id === key.id && other === undefined ? keyring : { primary: key, other: undefined }
    default:
      return unreachable(stage)
  }
}

/** Those of `records` that have not come to the stage yet. */
export function laggards<R extends Pick<PeerRecord, 'keyIds'>>({ key, stage }: Rotation, records: readonly R[]): readonly R[] {
  return records.filter(({ keyIds }) => !hasReached(stage, key.id, keyIds))
}

function hasReached(stage: Stage, id: KeyId, [primary, ...others]: readonly KeyId[]): boolean {
  switch (stage) {
    case 'accept':
      return primary === id || others.includes(id)
    case 'promote':
      return primary === id
    case 'drop':
      return primary === id && others.length === 0
    default:
      return unreachable(stage)
  }
}

/** The stage that follows, or undefined after the last. */
export function stageAfter(stage: Stage): Stage | undefined {
  return STAGES[STAGES.indexOf(stage) + 1]
}

/** [started at, secret, stage]: only for frames that are sealed. */
export function encodeRotation({ startedAt, key, stage }: Rotation): Uint8Array {
  return encodeWire([startedAt, key.secret, STAGES.indexOf(stage)])
}

/** The error is a sentence for people. */
export function decodeRotation(bytes: Uint8Array, crypto: CryptoSuite): Result<Rotation, string> {
  const decoded = decodeWire(bytes)
  if (!decoded.ok) return decoded
  if (!Array.isArray(decoded.value)) return err('not an array')
  const [startedAt, secret, at] = decoded.value as readonly WireValue[]
  const stage = typeof at === 'number' ? STAGES[at] : undefined
  if (!isMoment(startedAt)) return err('a rotation without a proper start')
  if (!(secret instanceof Uint8Array) || secret.length !== SECRET_BYTES) return err('a rotation without a proper key')
  if (stage === undefined) return err('a rotation of an unknown stage')
  return ok({ startedAt, key: clusterKey(new Uint8Array(secret), crypto), stage })
}

function isMoment(value: WireValue): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0
}

function compareTexts(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
