/**
 * One file of a state directory and its lock. The only file of `ipam/` that calls the file system.
 *
 * Calls are synchronous on purpose: a record is in the page cache before the address it speaks of is
 * given (some 10 µs), so memory is never ahead of the file, whatever is interleaved. Waiting for the
 * device happens only when our own part of the ring changes, a few times in a node's life.
 *
 * The lock is SQLite's on an empty file: a kernel lock, so that it goes with its process, however that
 * dies; and one that works across containers, where a pid in a file would name somebody else.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { WeftError } from '../mesh/base/errors.ts'

/** Where a journal lives. Every call throws the system's error (ENOSPC, EIO, …) when it fails. */
export interface Disk extends Disposable {
  /** For people: where it is. */
  readonly path: string
  /** All of the file; undefined when there is none. */
  read(): Uint8Array | undefined
  /** Writes at the end. After a failure the end of the file is unknown until `replace` succeeds. */
  append(bytes: Uint8Array): void
  /** Returns once all that was appended is on the device. */
  sync(): void
  /** Puts `bytes` in the place of the file: after a crash at any point either the old or the new one is there. Durable. */
  replace(bytes: Uint8Array): void
  /** Cuts the file to `size` bytes. Durable. */
  truncate(size: number): void
  /** Saves `bytes` beside the file and returns the path of the copy. */
  keepDamaged(bytes: Uint8Array): string
  /** Another file of this name in the same place, under the same lock; the caller's to dispose of, before this one. */
  beside(name: string): Disk
}

const JOURNAL = 'ipam.journal'
const LOCK = 'ipam.lock'
/** Somebody should look at the disk long before; more would fill it. */
const DAMAGED_COPIES_MAX = 100

/**
 * Opens the journal's place in `directory`, which is made if need be.
 * @throws {WeftError} STATE when another router uses it, or it cannot be used at all.
 */
export function openDisk(directory: string): Disk {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const lock = takeLock(directory)
    return new FileDisk(directory, JOURNAL, lock)
  } catch (cause) {
    if (cause instanceof WeftError) throw cause
    throw new WeftError('STATE', `cannot use the state directory ${directory}`, { cause, hint: 'it must be a directory we may write to' })
  }
}

/**
 * Moves the journal of `directory` out of the way, to the path that it returns; undefined when there is none.
 * @throws {WeftError} STATE when a router uses it, or it cannot be moved.
 */
export function setJournalAside(directory: string, ending: string): string | undefined {
  const path = join(directory, JOURNAL)
  const aside = `${path}.${ending}`
  if (!existsSync(path)) return undefined
  const lock = takeLock(directory)
  try {
    renameSync(path, aside)
    syncDirectory(directory)
    return aside
  } catch (cause) {
    throw new WeftError('STATE', `cannot move ${path} to ${aside}`, { cause })
  } finally {
    lock.close()
  }
}

function takeLock(directory: string): DatabaseSync {
  const path = join(directory, LOCK)
  closeSync(openSync(path, 'a', 0o600))
  const lock = new DatabaseSync(path)
  try {
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
    return lock
  } catch (cause) {
    lock.close()
    throw new WeftError('STATE', `the state directory ${directory} is in use by another router`, {
      cause,
      hint: 'stop the other one, or give this one a state directory of its own',
    })
  }
}

class FileDisk implements Disk {
  readonly path: string
  readonly #directory: string
  readonly #lock: DatabaseSync | undefined
  #file: number | undefined

  /** @param lock closed with it; undefined when another one has it. */
  constructor(directory: string, name: string, lock: DatabaseSync | undefined) {
    this.#directory = directory
    this.#lock = lock
    this.path = join(directory, name)
    this.#file = existsSync(this.path) ? openSync(this.path, 'a') : undefined
  }

  read(): Uint8Array | undefined {
    return this.#file === undefined ? undefined : readFileSync(this.path)
  }

  append(bytes: Uint8Array): void {
    writeAll(this.#opened(), bytes)
  }

  sync(): void {
    fsyncSync(this.#opened())
  }

  replace(bytes: Uint8Array): void {
    const temporary = `${this.path}.new`
    const file = openSync(temporary, 'w', 0o600)
    try {
      writeAll(file, bytes)
      fsyncSync(file)
      renameSync(temporary, this.path)
    } catch (error) {
      closeSync(file)
      rmSync(temporary, { force: true })
      throw error
    }
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = file
    syncDirectory(this.#directory)
  }

  truncate(size: number): void {
    ftruncateSync(this.#opened(), size)
    this.sync()
  }

  keepDamaged(bytes: Uint8Array): string {
    for (let number = 1; number <= DAMAGED_COPIES_MAX; number++) {
      const path = `${this.path}.damaged-${number}`
      if (existsSync(path)) continue
      writeFileSync(path, bytes, { flag: 'wx', mode: 0o600, flush: true })
      return path
    }
    throw new WeftError('STATE', `${this.path} is damaged, for the ${DAMAGED_COPIES_MAX + 1}st time`, {
      hint: 'check the disk, and remove the copies named .damaged-…',
    })
  }

  beside(name: string): Disk {
    return new FileDisk(this.#directory, name, undefined)
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
    this.#lock?.close()
  }

  #opened(): number {
    if (this.#file === undefined) throw new Error(`${this.path} is not open`)
    return this.#file
  }
}

/** So that a new name survives a power loss too. */
function syncDirectory(directory: string): void {
  const file = openSync(directory, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at)
}
