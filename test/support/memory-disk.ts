/**
 * A disk in memory for IPAM's journal, that fails on demand, and forgets on a power loss what was not
 * synced. It keeps its bytes while the routers that open it come and go.
 */
import type { Disk } from '../../ipam/disk.ts'
import { concatBytes } from '../../mesh/base/bytes.ts'
import { type Random, randomBelow } from '../../mesh/base/random.ts'

export type DiskCall = 'append' | 'sync' | 'replace' | 'truncate' | 'keep damaged'

export class MemoryDisk {
  readonly damaged: Uint8Array[] = []
  readonly #others = new Map<string, MemoryDisk>()
  /** Called before each change; what it throws is the call's failure. */
  fault: ((call: DiskCall) => void) | undefined
  #bytes: Uint8Array | undefined
  #synced: Uint8Array | undefined
  #holder: symbol | undefined

  /** What is in the file now. */
  get bytes(): Uint8Array | undefined {
    return this.#bytes
  }

  set bytes(bytes: Uint8Array | undefined) {
    this.#bytes = bytes
    this.#synced = bytes
  }

  /** The process died, or a new one begins: handles opened before can do nothing any more. */
  open(): Disk {
    const holder = Symbol('holder')
    this.#holder = holder
    const check = (call: DiskCall): void => {
      if (this.#holder !== holder) throw systemError('EBADF')
      this.fault?.(call)
    }
    return {
      path: 'memory:ipam.journal',
      read: () => this.#bytes?.slice(),
      append: (bytes) => {
        try {
          check('append')
        } catch (error) {
          if (this.#holder === holder) this.#extend(bytes.subarray(0, bytes.length >> 1))
          throw error
        }
        this.#extend(bytes)
      },
      sync: () => {
        check('sync')
        this.#synced = this.#bytes
      },
      replace: (bytes) => {
        check('replace')
        this.bytes = bytes.slice()
      },
      truncate: (size) => {
        check('truncate')
        this.bytes = this.#bytes?.slice(0, size)
      },
      keepDamaged: (bytes) => {
        check('keep damaged')
        return `memory:ipam.journal.damaged-${this.damaged.push(bytes.slice())}`
      },
      beside: (name) => this.beside(name).open(),
      [Symbol.dispose]: () => {
        if (this.#holder === holder) this.#holder = undefined
      },
    }
  }

  /** The file of this name, whose calls fail when this one's do. */
  beside(name: string): MemoryDisk {
    const known = this.#others.get(name)
    if (known !== undefined) return known
    const made = new MemoryDisk()
    made.fault = (call) => this.fault?.(call)
    this.#others.set(name, made)
    return made
  }

  /** Kills whoever has it open. */
  kill(): void {
    this.#holder = undefined
    for (const other of this.#others.values()) other.kill()
  }

  /** Kills whoever has it open; of what was not synced, only some of the beginning is left, perhaps with rubbish behind it. */
  losePower(random: Random): void {
    this.kill()
    for (const other of this.#others.values()) other.losePower(random)
    if (this.#bytes === undefined || this.#synced === undefined || this.#bytes === this.#synced) return
    const lost = this.#bytes.length - this.#synced.length
    const kept = this.#bytes.slice(0, this.#synced.length + randomBelow(random, lost + 1))
    const rubbish = new Uint8Array(randomBelow(random, 2) * randomBelow(random, 20))
    this.bytes = concatBytes([kept, rubbish])
  }

  #extend(bytes: Uint8Array): void {
    this.#bytes = concatBytes([this.#bytes ?? new Uint8Array(), bytes])
  }
}

/** As Node throws it. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code })
}
