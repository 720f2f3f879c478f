/**
 * The durable record of our part of IPAM: journal records on a disk.
 *
 * An append without `durable` survives the death of the process, not a power loss: after that, the pods
 * whose addresses it tells of are gone as well. What an append with `durable` tells of, and all before
 * it, survives both.
 *
 * After a failed write nobody knows how the file ends. So nothing more is appended to it: the next
 * change first writes the whole state anew. Until that succeeds every change fails, with its reason.
 */
import { formatCidr } from '../mesh/base/address.ts'
import { concatBytes } from '../mesh/base/bytes.ts'
import { describeError, errnoCode, WeftError } from '../mesh/base/errors.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import type { Disk } from './disk.ts'
import {
  encodeHeader,
  encodeRecords,
  JOURNAL_FORMAT,
  type JournalHead,
  type JournalHeader,
  type JournalRecord,
  scanJournal,
} from './journal.ts'

/** A change could not be written, and did not happen. */
export interface StoreError {
  readonly code: 'store'
  /** `ENOSPC`, `EIO`, …; undefined when the system named none. */
  readonly errno: string | undefined
  readonly text: string
}

/** Below this a journal is not worth rewriting. */
const REWRITE_BYTES_MIN = 256 * 1024
/** A journal this many times its last snapshot is mostly of the past. */
const REWRITE_GROWTH = 4

export class Store implements Disposable {
  readonly #disk: Disk
  readonly #header: Uint8Array
  #bytes: number
  #rewriteAt: number
  #broken = false

  constructor(disk: Disk, header: JournalHeader, bytes: number) {
    this.#disk = disk
    this.#header = encodeHeader(header)
    this.#bytes = bytes
    this.#rewriteAt = Math.max(REWRITE_BYTES_MIN, bytes)
  }

  /** The next change must go through `rewrite`. */
  get broken(): boolean {
    return this.#broken
  }

  /** Time to `rewrite`, for the sake of size only. */
  get grown(): boolean {
    return this.#bytes >= this.#rewriteAt
  }

  append(records: readonly JournalRecord[], durability: 'buffered' | 'durable'): Result<void, StoreError> {
    const bytes = encodeRecords(records)
    return this.#attempt('write to', () => {
      this.#disk.append(bytes)
      if (durability === 'durable') this.#disk.sync()
      this.#bytes += bytes.length
    })
  }

  /** Puts `records`, which must tell the whole state, in the place of all before. Durable. */
  rewrite(records: readonly JournalRecord[]): Result<void, StoreError> {
    const whole = concatBytes([this.#header, encodeRecords(records)])
    this.#rewriteAt = Math.max(REWRITE_BYTES_MIN, REWRITE_GROWTH * whole.length, 2 * this.#bytes)
    return this.#attempt('rewrite', () => {
      this.#disk.replace(whole)
      this.#bytes = whole.length
      this.#rewriteAt = Math.max(REWRITE_BYTES_MIN, REWRITE_GROWTH * whole.length)
      this.#broken = false
    })
  }

  [Symbol.dispose](): void {
    this.#disk[Symbol.dispose]()
  }

  #attempt(verb: string, change: () => void): Result<void, StoreError> {
    try {
      change()
      return ok(undefined)
    } catch (error) {
      this.#broken = true
      return err({ code: 'store', errno: errnoCode(error), text: `cannot ${verb} ${this.#disk.path}: ${describeError(error)}` })
    }
  }
}

export interface OpenedStore {
  readonly store: Store
  readonly records: readonly JournalRecord[]
  /** Set when the journal's end was damaged: what was lost, and where it is kept. */
  readonly warning: string | undefined
}

/**
 * Reads what is on `disk`, or begins a journal there.
 * @throws {WeftError} STATE when it is another peer's, another universe's, of another format or has no
 * readable header; or when the disk fails. Nothing is lost then.
 */
export function openStore(disk: Disk, header: JournalHeader): OpenedStore {
  try {
    return readStore(disk, header)
  } catch (cause) {
    if (cause instanceof WeftError) throw cause
    throw new WeftError('STATE', `cannot read or write ${disk.path}`, { cause, hint: 'check the disk and the permissions' })
  }
}

function readStore(disk: Disk, header: JournalHeader): OpenedStore {
  const bytes = disk.read()
  if (bytes === undefined) {
    const begin = encodeHeader(header)
    disk.replace(begin)
    return { store: new Store(disk, header, begin.length), records: [], warning: undefined }
  }
  const { head, records, goodBytes } = scanJournal(bytes)
  checkHead(head, header, disk.path)
  const store = new Store(disk, header, goodBytes)
  // Whoever was killed between writing a grant and waiting for the device left a record that a power loss
  // can still undo. We are about to act on it, and to tell of it.
  disk.sync()
  if (goodBytes === bytes.length) return { store, records, warning: undefined }
  const copy = disk.keepDamaged(bytes.subarray(goodBytes))
  disk.truncate(goodBytes)
  const lost = bytes.length - goodBytes
  return { store, records, warning: `the last ${lost} bytes of ${disk.path} were damaged and are now in ${copy}` }
}

function checkHead(head: JournalHead, wanted: JournalHeader, path: string): void {
  const away = `move ${path} away to start anew; its addresses are then lost to the cluster until this node's old name is removed`
  switch (head.kind) {
    case 'damaged':
      throw new WeftError('STATE', `${path} has no readable header`, { hint: away })
    case 'other-format':
      throw new WeftError('STATE', `${path} is of format ${head.format}; this version knows ${JOURNAL_FORMAT}`, {
        hint: 'run the version that wrote it',
      })
    case 'known': {
      const { peer, universe } = head.header
      if (peer !== wanted.peer) {
        throw new WeftError('STATE', `${path} is of peer ${peer}; we are ${wanted.peer}`, {
          hint: `restore the identity key of ${peer}, or ${away}`,
        })
      }
      const [theirs, ours] = [formatCidr(universe), formatCidr(wanted.universe)]
      if (theirs !== ours) {
        throw new WeftError('STATE', `${path} is of the range ${theirs}; we are to use ${ours}`, {
          hint: `configure ${theirs} again, or ${away}`,
        })
      }
    }
  }
}
