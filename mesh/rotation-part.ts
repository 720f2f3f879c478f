/** The rotation of the cluster's key as shared state: the latest one, which every peer gets over sealed connections. */
import { concatBytes } from './base/bytes.ts'
import type { Clock } from './base/clock.ts'
import { err, ok, type Result } from './base/result.ts'
import { encodeWire } from './base/wire.ts'
import type { CryptoSuite } from './crypto.ts'
import type { GossipFault, GossipPart, Merged, News } from './gossip.ts'
import { compareRotations, decodeRotation, encodeRotation, type Rotation } from './rotation.ts'

/** Clocks of a cluster differ by less. A rotation from further ahead would stand in the way of all others. */
const AHEAD_MS_MAX = 24 * 60 * 60 * 1_000
const DIGEST_BYTES = 16

interface RotationPorts {
  readonly crypto: CryptoSuite
  readonly clock: Pick<Clock, 'wallTime'>
  /** There is a later rotation than before. */
  readonly changed: () => void
}

export class RotationPart implements GossipPart {
  readonly channel = 'keyring'
  readonly #ports: RotationPorts
  #latest: Rotation | undefined

  constructor(ports: RotationPorts) {
    this.#ports = ports
  }

  get latest(): Rotation | undefined {
    return this.#latest
  }

  /** Takes a rotation of our own making. @returns what to tell the others. */
  set(rotation: Rotation): Uint8Array {
    this.#latest = rotation
    this.#ports.changed()
    return encodeRotation(rotation)
  }

  digest(): Uint8Array {
    return this.#ports.crypto.hash(this.#name(), DIGEST_BYTES)
  }

  /** As there is but one rotation, its digest says all: whose differs is sent ours, and keeps the later one. */
  summary(): Uint8Array {
    return this.digest()
  }

  missing(summary: Uint8Array): Result<readonly News[], GossipFault> {
    if (summary.length !== DIGEST_BYTES) return err({ code: 'malformed', detail: 'a summary of a wrong length' })
    const isSame = Buffer.compare(summary, this.digest()) === 0
    return ok(isSame || this.#latest === undefined ? [] : [{ key: undefined, delta: encodeRotation(this.#latest) }])
  }

  merge(delta: Uint8Array): Result<Merged, GossipFault> {
    const { crypto, clock, changed } = this.#ports
    const decoded = decodeRotation(delta, crypto)
    if (!decoded.ok) return err({ code: 'malformed', detail: decoded.error })
    const rotation = decoded.value
    if (rotation.startedAt > clock.wallTime() + AHEAD_MS_MAX) return err({ code: 'limit', detail: 'a rotation that begins in the future' })
    if (this.#latest !== undefined && compareRotations(rotation, this.#latest) <= 0) return ok({ news: [], held: [], faults: [] })
    this.#latest = rotation
    changed()
    return ok({ news: [{ key: undefined, delta: encodeRotation(rotation) }], held: [], faults: [] })
  }

  /** Nothing is said from one to one. */
  receive(): void {}

  /** Tells rotations apart without their secret. */
  #name(): Uint8Array {
    if (this.#latest === undefined) return new Uint8Array(1)
    const { startedAt, key, stage } = this.#latest
    return concatBytes([encodeWire([startedAt, key.id, stage])])
  }
}
