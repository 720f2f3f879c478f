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
  constants,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { WeftError } from '../mesh/base/errors.ts'

export type OpenMode = 'append' | 'fresh' | 'unique'

/** The system calls that a journal's file needs: the kernel's, or those of a simulated disk. Each throws the system's error. */
export interface FileCalls {
  exists(path: string): boolean
  /** Made if need be, to be written at its end: `append` keeps what is in it, `fresh` empties it, `unique` wants none to be there. */
  open(path: string, mode: OpenMode): number
  /** All of the file. */
  read(path: string): Uint8Array
  /** How many bytes it took. */
  write(file: number, bytes: Uint8Array): number
  /** fdatasync(2): the contents and their size. */
  sync(file: number): void
  /** fsync(2) of a directory: the names in it. */
  syncDirectory(path: string): void
  truncate(file: number, size: number): void
  rename(from: string, to: string): void
  remove(path: string): void
  close(file: number): void
}

const OWNER_ONLY = 0o600
const { O_APPEND, O_CREAT, O_EXCL, O_TRUNC, O_WRONLY } = constants
const OPEN_FLAGS: Readonly<Record<OpenMode, number>> = { append: 0, fresh: O_TRUNC, unique: O_EXCL }

const systemCalls: FileCalls = {
  exists: existsSync,
  open: (path, mode) => openSync(path, O_WRONLY | O_CREAT | O_APPEND | OPEN_FLAGS[mode], OWNER_ONLY),
  read: (path) => readFileSync(path),
  write: (file, bytes) => writeSync(file, bytes),
  sync: fdatasyncSync,
  syncDirectory(path) {
    const directory = openSync(path, 'r')
    try {
      fsyncSync(directory)
    } finally {
      closeSync(directory)
    }
  },
  truncate: ftruncateSync,
  rename: renameSync,
  remove: (path) => rmSync(path, { force: true }),
  close: closeSync,
}

/** Where a journal lives. Every call throws the system's error (ENOSPC, EIO, …) when it fails. */
export interface Disk extends Disposable {
  /** For people: where it is. */
  readonly path: string
  /** All of the file, which no power loss puts another one in place of from then on; undefined when there is none. */
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
/** What we have promised and accepted as a voter. */
export const VOTE_FILE = 'ipam.vote'
const LOCK = 'ipam.lock'
/** Somebody should look at the disk long before; more would fill it. */
const DAMAGED_COPIES_MAX = 100

/**
 * Opens the journal's place in `directory`, which is made if need be.
 * @throws {WeftError} STATE when another router uses it, or it cannot be used at all.
 */
export function openDisk(directory: string): Disk {
  try {
    makeDirectory(directory)
    using opening = new DisposableStack()
    const lock = takeLock(directory)
    opening.defer(() => lock.close())
    const disk = new FileDisk({ directory, name: JOURNAL, calls: systemCalls, lock })
    opening.move()
    return disk
  } catch (cause) {
    if (cause instanceof WeftError) throw cause
    throw new WeftError('STATE', `cannot use the state directory ${directory}`, { cause, hint: 'it must be a directory we may write to' })
  }
}

/** With its name, and those of its parents that are new, safe from a power loss: else the journal could be lost with them. */
function makeDirectory(directory: string): void {
  const first = mkdirSync(directory, { recursive: true, mode: 0o700 })
  if (first === undefined) return
  for (let made = directory; made.length >= first.length; made = dirname(made)) systemCalls.syncDirectory(dirname(made))
}

/** As `openDisk`, by other calls and without a lock. */
export function openDiskWith(calls: FileCalls, directory: string): Disk {
  return new FileDisk({ directory, name: JOURNAL, calls })
}

/**
 * Moves what is of one peer's name out of the way: the journal and the vote.
 * @returns where the files are now; none when there were none.
 * @throws {WeftError} STATE when a router uses the directory, or they cannot be moved.
 */
export function setStateAside(directory: string, ending: string): readonly string[] {
  const paths = [JOURNAL, VOTE_FILE].map((name) => join(directory, name)).filter(existsSync)
  if (paths.length === 0) return []
  const lock = takeLock(directory)
  try {
    const moved = paths.map((path) => moveAside(path, `${path}.${ending}`))
    systemCalls.syncDirectory(directory)
    return moved
  } finally {
    lock.close()
  }
}

function moveAside(path: string, aside: string): string {
  try {
    systemCalls.rename(path, aside)
    return aside
  } catch (cause) {
    throw new WeftError('STATE', `cannot move ${path} to ${aside}`, { cause })
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

interface FileDiskOptions {
  readonly directory: string
  readonly name: string
  readonly calls: FileCalls
  /** Closed with it; absent when another one has it. */
  readonly lock?: DatabaseSync
}

class FileDisk implements Disk {
  readonly path: string
  readonly #directory: string
  readonly #lock: DatabaseSync | undefined
  readonly #calls: FileCalls
  #file: number | undefined

  constructor({ directory, name, calls, lock }: FileDiskOptions) {
    this.#directory = directory
    this.#lock = lock
    this.#calls = calls
    this.path = join(directory, name)
    this.#file = calls.exists(this.path) ? calls.open(this.path, 'append') : undefined
  }

  read(): Uint8Array | undefined {
    if (this.#file === undefined) return undefined
    // Who was killed in the midst of `replace` left a name that a power loss can still take back. We are about to act on what it names.
    this.#calls.syncDirectory(this.#directory)
    return this.#calls.read(this.path)
  }

  append(bytes: Uint8Array): void {
    this.#writeAll(this.#opened(), bytes)
  }

  sync(): void {
    this.#calls.sync(this.#opened())
  }

  replace(bytes: Uint8Array): void {
    const temporary = `${this.path}.new`
    const file = this.#calls.open(temporary, 'fresh')
    try {
      this.#writeAll(file, bytes)
      this.#calls.sync(file)
      this.#calls.rename(temporary, this.path)
    } catch (error) {
      this.#calls.close(file)
      this.#calls.remove(temporary)
      throw error
    }
    const old = this.#file
    this.#file = file
    if (old !== undefined) this.#calls.close(old)
    this.#calls.syncDirectory(this.#directory)
  }

  truncate(size: number): void {
    this.#calls.truncate(this.#opened(), size)
    this.sync()
  }

  keepDamaged(bytes: Uint8Array): string {
    for (let number = 1; number <= DAMAGED_COPIES_MAX; number++) {
      const path = `${this.path}.damaged-${number}`
      if (!this.#calls.exists(path)) return this.#write(path, bytes)
    }
    throw new WeftError('STATE', `${this.path} is damaged, for the ${DAMAGED_COPIES_MAX + 1}st time`, {
      hint: 'check the disk, and remove the copies named .damaged-…',
    })
  }

  beside(name: string): Disk {
    return new FileDisk({ directory: this.#directory, name, calls: this.#calls })
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) this.#calls.close(this.#file)
    this.#file = undefined
    this.#lock?.close()
  }

  #opened(): number {
    if (this.#file === undefined) throw new Error(`${this.path} is not open`)
    return this.#file
  }

  /** Whole, or not at all. */
  #write(path: string, bytes: Uint8Array): string {
    const file = this.#calls.open(path, 'unique')
    let isWhole = false
    try {
      this.#writeAll(file, bytes)
      this.#calls.sync(file)
      isWhole = true
      return path
    } finally {
      this.#calls.close(file)
      if (!isWhole) this.#calls.remove(path)
    }
  }

  #writeAll(file: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) at += this.#calls.write(file, bytes.subarray(at))
  }
}
