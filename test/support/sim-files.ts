/**
 * A file system in memory that behaves as badly as a real one may: what was not synced is lost with the power, or only
 * its beginning is left, or zeros; names come back as they were before the last sync of their directory; a write is cut
 * short anywhere; and any call fails on demand. One process uses it at a time; when that dies, its calls do nothing.
 */
import type { FileCalls, OpenMode } from '../../ipam/disk.ts'
import { concatBytes } from '../../mesh/base/bytes.ts'
import { type Random, randomBelow } from '../../mesh/base/random.ts'
import { systemError } from './memory-disk.ts'

export type FileCall = 'open' | 'read' | 'write' | 'sync' | 'sync directory' | 'truncate' | 'rename' | 'remove'

interface Inode {
  bytes: Uint8Array
  synced: Uint8Array
}

type Names = ReadonlyMap<string, Inode>

export class SimFiles {
  /** Every call that was made, in order. */
  readonly calls: FileCall[] = []
  /** What it throws is the call's failure; half of a write that fails is there. */
  fault: ((call: FileCall) => void) | undefined
  /** The process dies in the call after this many more. */
  diesAfter: number = Number.POSITIVE_INFINITY
  readonly #random: Random
  #names: Names = new Map()
  /** The names as they were after each change since the directory was synced, the synced ones first. */
  #pending: Names[] = [new Map()]
  #life = 0
  #handles = 2

  constructor(random: Random) {
    this.#random = random
  }

  /** The process that uses it is dead. */
  get isDead(): boolean {
    return this.diesAfter < 0
  }

  /** What is in a file now. */
  contents(path: string): Uint8Array | undefined {
    return this.#names.get(path)?.bytes
  }

  /** What is left of a file for certain when the power goes now. */
  durable(path: string): Uint8Array | undefined {
    return this.#pending[0]?.get(path)?.synced
  }

  /** Rots, or is put there by somebody. */
  overwrite(path: string, bytes: Uint8Array): void {
    this.#rename(new Map([...this.#names, [path, { bytes, synced: bytes }]]))
    this.#pending = [this.#names]
  }

  /** The end of the process that has it; a power loss also takes what was not synced. */
  end(kind: 'kill' | 'power loss'): void {
    this.#life += 1
    this.diesAfter = Number.POSITIVE_INFINITY
    this.fault = undefined
    if (kind === 'kill') return
    this.#names = this.#pending[randomBelow(this.#random, this.#pending.length)] ?? this.#names
    for (const inode of this.#names.values()) {
      inode.bytes = this.#leftOf(inode)
      inode.synced = inode.bytes
    }
    this.#pending = [this.#names]
  }

  /** For the next process. */
  open(): FileCalls {
    const life = this.#life
    const handles = new Map<number, Inode>()
    const inode = (file: number): Inode => {
      const found = handles.get(file)
      if (found === undefined) throw systemError('EBADF')
      return found
    }
    /** Runs `act` unless the call fails or the process dies before it; it may die after it too. */
    const call = <T>(name: FileCall, act: () => T, half: () => void = () => undefined): T => {
      if (this.#life !== life || this.isDead) throw systemError('EBADF')
      this.calls.push(name)
      try {
        this.fault?.(name)
      } catch (error) {
        half()
        throw error
      }
      this.diesAfter -= 1
      if (!this.isDead) return act()
      if (this.#random() < 0.5) act()
      else half()
      throw new Error('the process is dead')
    }
    const extend = (file: number, bytes: Uint8Array): void => {
      const target = inode(file)
      target.bytes = concatBytes([target.bytes, bytes])
    }
    return {
      exists: (path) => this.#names.has(path),
      open: (path, mode) => call('open', () => this.#openFile(path, mode, handles)),
      read: (path) => call('read', () => this.#names.get(path)?.bytes.slice() ?? new Uint8Array()),
      write: (file, bytes) =>
        call(
          'write',
          () => {
            // A kernel may take less than it was given.
            const taken = this.#random() < 0.1 ? 1 + randomBelow(this.#random, bytes.length) : bytes.length
            extend(file, bytes.subarray(0, taken))
            return taken
          },
          () => extend(file, bytes.subarray(0, randomBelow(this.#random, bytes.length))),
        ),
      sync: (file) =>
        call('sync', () => {
          inode(file).synced = inode(file).bytes
        }),
      syncDirectory: () =>
        call('sync directory', () => {
          this.#pending = [this.#names]
        }),
      truncate: (file, size) =>
        call('truncate', () => {
          inode(file).bytes = inode(file).bytes.slice(0, size)
        }),
      rename: (from, to) =>
        call('rename', () => {
          const moved = this.#names.get(from)
          if (moved === undefined) throw systemError('ENOENT')
          const names = new Map([...this.#names, [to, moved]])
          names.delete(from)
          this.#rename(names)
        }),
      remove: (path) =>
        call('remove', () => {
          const names = new Map(this.#names)
          names.delete(path)
          this.#rename(names)
        }),
      close: (file) => void handles.delete(file),
    }
  }

  #openFile(path: string, mode: OpenMode, handles: Map<number, Inode>): number {
    const there = this.#names.get(path)
    if (there !== undefined && mode === 'unique') throw systemError('EEXIST')
    const opened = there ?? { bytes: new Uint8Array(), synced: new Uint8Array() }
    if (there === undefined) this.#rename(new Map([...this.#names, [path, opened]]))
    if (mode === 'fresh') opened.bytes = new Uint8Array()
    this.#handles += 1
    const file = this.#handles
    handles.set(file, opened)
    return file
  }

  #rename(names: Names): void {
    this.#names = names
    this.#pending.push(names)
  }

  #leftOf({ bytes, synced }: Inode): Uint8Array {
    const isLonger = bytes.length > synced.length
    if (!isLonger) return this.#random() < 0.5 ? bytes : synced
    const kept = synced.length + randomBelow(this.#random, bytes.length - synced.length + 1)
    const isSparse = this.#random() < 0.3
    return concatBytes([bytes.subarray(0, kept), new Uint8Array(isSparse ? bytes.length - kept : 0)])
  }
}
