/**
 * What a router does to the world, one effect after the other: each call of its disk, and each message that it sends.
 * Before, in the midst of and after each of them it may die, and nothing that it does after that reaches anybody.
 */
import type { FileCalls } from '../../../ipam/disk.ts'
import type { PeerName } from '../../../mesh/base/brand.ts'
import { type Random, randomBelow } from '../../../mesh/base/random.ts'
import type { GossipPort } from '../../../mesh/gossip.ts'
import { systemError } from '../memory-disk.ts'

export type EffectName = 'open' | 'write' | 'sync' | 'sync directory' | 'truncate' | 'rename' | 'remove' | 'send' | 'broadcast'
export type Moment = 'before' | 'in the midst of' | 'after'

export interface Doom {
  /** How many more effects it has; in the last one it dies. */
  left: number
  readonly moment: Moment
}

interface EffectsOptions {
  readonly random: Random
  /** It dies now: nothing of it may go on. */
  readonly died: (moment: Moment, effect: EffectName) => void
  /** What it throws is the failure of a call of the disk. */
  readonly fault: (effect: EffectName) => void
}

export class Effects {
  /** Set to let it die. */
  doom: Doom | undefined
  #isOver = false
  readonly #options: EffectsOptions

  constructor(options: EffectsOptions) {
    this.#options = options
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** The process ends by itself, or is killed from without. */
  end(): void {
    this.#isOver = true
  }

  /** These calls of a disk, as effects. */
  files(calls: FileCalls): FileCalls {
    const { random } = this.#options
    const run = <T>(name: EffectName, act: () => T, half?: () => void): T => this.#run(name, act, half)
    return {
      exists: calls.exists,
      read: calls.read,
      close: calls.close,
      open: (path, mode) => run('open', () => calls.open(path, mode)),
      write: (file, bytes) =>
        run(
          'write',
          () => calls.write(file, bytes),
          () => void calls.write(file, bytes.subarray(0, randomBelow(random, bytes.length))),
        ),
      sync: (file) => run('sync', () => calls.sync(file)),
      syncDirectory: (path) => run('sync directory', () => calls.syncDirectory(path)),
      truncate: (file, size) => run('truncate', () => calls.truncate(file, size)),
      rename: (from, to) => run('rename', () => calls.rename(from, to)),
      remove: (path) => run('remove', () => calls.remove(path)),
    }
  }

  /** This port, each message an effect. `said` sees each before it goes out. */
  port(port: GossipPort, said: (message: Uint8Array, to: PeerName | undefined) => void): GossipPort {
    const send = <T>(name: EffectName, act: () => T, otherwise: T): T => {
      try {
        return this.#run(name, act)
      } catch (error) {
        if (this.#isOver) return otherwise
        throw error
      }
    }
    return {
      broadcast: (delta) =>
        send(
          'broadcast',
          () => {
            said(delta, undefined)
            port.broadcast(delta)
          },
          undefined,
        ),
      send: (to, message) =>
        send(
          'send',
          () => {
            said(message, to)
            return port.send(to, message)
          },
          false,
        ),
      reachable: () => (this.#isOver ? [] : port.reachable()),
    }
  }

  #run<T>(name: EffectName, act: () => T, half: () => void = () => undefined): T {
    if (this.#isOver) throw systemError('EBADF')
    if (this.doom !== undefined) this.doom.left -= 1
    if (this.doom === undefined || this.doom.left > 0) {
      if (name !== 'send' && name !== 'broadcast') this.#failing(name, half)
      return act()
    }
    const { moment } = this.doom
    if (moment === 'after') act()
    else if (moment === 'in the midst of') half()
    this.#isOver = true
    this.#options.died(moment, name)
    throw systemError('EIO')
  }

  #failing(name: EffectName, half: () => void): void {
    try {
      this.#options.fault(name)
    } catch (error) {
      half()
      throw error
    }
  }
}
