/**
 * The keys of this router as they change: takes part in rotations, keeping every change in the secret's file before it
 * tells others of it, and leads one when told to.
 */
import { type Millis, type PeerName, seconds } from '../mesh/base/brand.ts'
import type { Clock } from '../mesh/base/clock.ts'
import { describeError, WeftError } from '../mesh/base/errors.ts'
import type { Logger } from '../mesh/base/log.ts'
import type { CryptoSuite } from '../mesh/crypto.ts'
import type { GossipPort } from '../mesh/gossip.ts'
import { clusterKey, findKey, type Keyring, SECRET_BYTES } from '../mesh/keyring.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { PeerRecord } from '../mesh/record.ts'
import { applyRotation, laggards, type Rotation, stageAfter } from '../mesh/rotation.ts'
import { RotationPart } from '../mesh/rotation-part.ts'
import { replaceSecretFile } from '../mesh/secret-file.ts'
import type { KeysReport } from './api/contract.ts'

/** A full disk may have room again. */
const RETRY_AFTER: Millis = seconds(5)

export interface KeyRotationOptions {
  readonly keyring: Keyring
  /** The secret's file; undefined where the keys come from elsewhere: then they cannot be changed. */
  readonly path: string | undefined
  readonly crypto: CryptoSuite
  readonly clock: Clock
  readonly log: Logger
}

/** What it needs of the mesh that it serves. */
type MeshView = Pick<Mesh, 'name' | 'peers' | 'livenessOf' | 'publish' | 'onChange' | 'register'>

export class KeyRotation implements Disposable {
  readonly #options: KeyRotationOptions
  readonly #part: RotationPart
  #keyring: Keyring
  #mesh: MeshView | undefined
  #port: GossipPort | undefined
  #listening: Disposable | undefined
  #retry: Disposable | undefined
  #isLeading = false
  #leaveAbsent = false
  #isWriting = false

  constructor(options: KeyRotationOptions) {
    this.#options = options
    this.#keyring = options.keyring
    this.#part = new RotationPart({ crypto: options.crypto, clock: options.clock, changed: () => this.#applySoon() })
  }

  /** As they are now. */
  get keyring(): Keyring {
    return this.#keyring
  }

  /** Once, when the mesh is there. */
  attach(mesh: MeshView): void {
    if (this.#options.path === undefined) return
    this.#mesh = mesh
    this.#port = mesh.register(this.#part)
    this.#listening = mesh.onChange(() => this.#advance())
  }

  /**
   * Begins a rotation, or goes on with one that was begun anywhere, and leads it to its end.
   * @param leaveAbsent peers that cannot be reached now may be left behind: they will need the new secret by hand.
   * @throws {WeftError} USAGE when peers are away, or the keys are not from a file.
   */
  rotate(leaveAbsent: boolean): KeysReport {
    const mesh = this.#mesh
    if (mesh === undefined) {
      throw new WeftError('USAGE', 'the secret of this cluster is not from a secret file', { hint: 'see --secret-file of `weft run`' })
    }
    const absent = mesh.peers().filter(({ name }) => isLost(mesh, name))
    if (absent.length > 0 && !leaveAbsent) {
      throw new WeftError('USAGE', `these peers cannot be reached and would stay behind: ${absent.map(labelOf).join(', ')}`, {
        hint: 'start them first; or leave them behind with --leave-absent, and copy the new secret to them before they start again',
      })
    }
    this.#isLeading = true
    this.#leaveAbsent = leaveAbsent
    if (this.report().stage === 'idle') this.#begin()
    else this.#advance()
    return this.report()
  }

  report(): KeysReport {
    const { primary, other } = this.#keyring
    const rotation = this.#part.latest
    const lagging = rotation === undefined ? [] : this.#lagging(rotation)
    const isDone = rotation === undefined || (rotation.stage === 'drop' && lagging.length === 0)
    return {
      primary: primary.id,
      ...(other === undefined ? {} : { other: other.id }),
      stage: isDone ? 'idle' : rotation.stage,
      lagging: lagging.map(labelOf),
    }
  }

  [Symbol.dispose](): void {
    this.#listening?.[Symbol.dispose]()
    this.#retry?.[Symbol.dispose]()
  }

  #begin(): void {
    const { crypto, clock, log } = this.#options
    const key = clusterKey(crypto.randomBytes(SECRET_BYTES), crypto)
    const startedAt = Math.max(Math.floor(clock.wallTime()), (this.#part.latest?.startedAt ?? 0) + 1)
    log.info({ operation: 'accept' }, 'rotation of the cluster key begins')
    this.#tell({ startedAt, key, stage: 'accept' })
  }

  #tell(rotation: Rotation): void {
    this.#port?.broadcast(this.#part.set(rotation))
  }

  /** Not now: a part must not speak from inside of what it is told. */
  #applySoon(): void {
    queueMicrotask(() => void this.#apply())
  }

  /** Brings the keys to where the rotation wants them; the file first, so that a crash loses nothing that was told. */
  async #apply(): Promise<void> {
    const { path, crypto, clock, log } = this.#options
    if (this.#isWriting || path === undefined) return
    this.#isWriting = true
    try {
      for (let next = this.#wanted(); next !== this.#keyring; next = this.#wanted()) {
        await replaceSecretFile(path, next, crypto)
        wipeUnused(this.#keyring, next)
        this.#keyring = next
        log.info({ operation: this.#part.latest?.stage ?? '', path }, 'keys of the cluster have changed')
        this.#mesh?.publish({})
      }
    } catch (error) {
      log.error({ path, reason: describeError(error) }, 'cannot keep the keys of the cluster')
      this.#retry = clock.after(RETRY_AFTER, () => void this.#apply())
    } finally {
      this.#isWriting = false
    }
    this.#advance()
  }

  #wanted(): Keyring {
    const rotation = this.#part.latest
    return rotation === undefined ? this.#keyring : applyRotation(this.#keyring, rotation)
  }

  /** The next stage, when we lead and everybody has come to this one. */
  #advance(): void {
    const rotation = this.#part.latest
    if (!this.#isLeading || rotation === undefined || this.#lagging(rotation).length > 0) return
    const stage = stageAfter(rotation.stage)
    if (stage === undefined) {
      this.#isLeading = false
      this.#options.log.info({}, 'rotation of the cluster key is done')
      return
    }
    this.#tell({ ...rotation, stage })
  }

  #lagging(rotation: Rotation): readonly PeerRecord[] {
    const mesh = this.#mesh
    if (mesh === undefined) return []
    // Who goes away on our watch is waited for: without the new key it could not come back.
    const isWaitedFor = this.#isLeading && !this.#leaveAbsent
    return laggards(
      rotation,
      mesh.peers().filter(({ name }) => isWaitedFor || !isLost(mesh, name)),
    )
  }
}

/** Handshakes use their key at their first message: none under way needs these any more. */
function wipeUnused(before: Keyring, after: Keyring): void {
  for (const key of [before.primary, before.other]) {
    if (key === undefined || findKey(after, key.id) !== undefined) continue
    key.secret.fill(0)
    key.psk.fill(0)
  }
}

function labelOf({ name, nickname }: PeerRecord): string {
  return `${name}(${nickname})`
}

/** One that is only suspected may be back in a moment, and counts as present. */
function isLost(mesh: MeshView, name: PeerName): boolean {
  return ['dead', 'left'].includes(mesh.livenessOf(name))
}
