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
import { concatBytes } from '../mesh/base/bytes.ts'
import { describeError, errnoCode, WeftError } from '../mesh/base/errors.ts'
import { err, ok, type Result, unreachable } from '../mesh/base/result.ts'
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
import { formatUniverse, universeSetting } from './universe.ts'

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

interface FileState {
  /** How long it is, as far as it is good. */
  readonly bytes: number
  readonly isUnclean?: boolean
  readonly uncopied?: Uint8Array | undefined
}

export class Store implements Disposable {
  readonly #disk: Disk
  readonly #header: Uint8Array
  /** How long the file is, as far as it is good. */
  #bytes: number
  #rewriteAt: number
  #fault: StoreError | undefined
  /** Something is behind the good part of the file. */
  #isUnclean: boolean
  /** Damaged bytes of the file, of which no copy could be made yet. */
  #uncopied: Uint8Array | undefined

  constructor(disk: Disk, header: JournalHeader, { bytes, isUnclean = false, uncopied }: FileState) {
    this.#disk = disk
    this.#header = encodeHeader(header)
    this.#bytes = bytes
    this.#isUnclean = isUnclean
    this.#uncopied = uncopied
    this.#rewriteAt = Math.max(REWRITE_BYTES_MIN, bytes)
  }

  /** What went wrong with the last change; undefined when it was written. */
  get fault(): StoreError | undefined {
    return this.#fault
  }

  /** The next change must go through `rewrite`. */
  get broken(): boolean {
    return this.#fault !== undefined || this.#isUnclean
  }

  /** Time to `rewrite`, for the sake of size only. */
  get grown(): boolean {
    return this.#bytes >= this.#rewriteAt
  }

  append(records: readonly JournalRecord[], durability: 'buffered' | 'durable'): Result<void, StoreError> {
    const bytes = encodeRecords(records)
    const written = this.#attempt('write to', () => {
      this.#disk.append(bytes)
      if (durability === 'durable') this.#disk.sync()
      this.#bytes += bytes.length
    })
    if (!written.ok) this.#cutBack()
    return written
  }

  /** Puts `records`, which must tell the whole state, in the place of all before. Durable. */
  rewrite(records: readonly JournalRecord[]): Result<void, StoreError> {
    const whole = concatBytes([this.#header, encodeRecords(records)])
    this.#rewriteAt = Math.max(REWRITE_BYTES_MIN, REWRITE_GROWTH * whole.length, 2 * this.#bytes)
    return this.#attempt('rewrite', () => {
      if (this.#uncopied !== undefined) this.#disk.keepDamaged(this.#uncopied)
      this.#uncopied = undefined
      this.#disk.replace(whole)
      this.#isUnclean = false
      this.#bytes = whole.length
      this.#rewriteAt = Math.max(REWRITE_BYTES_MIN, REWRITE_GROWTH * whole.length)
    })
  }

  [Symbol.dispose](): void {
    this.#disk[Symbol.dispose]()
  }

  /**
   * Takes half a record off the file again, should we be killed before the next rewrite. Nothing relies on it: after a
   * failed sync the kernel may have dropped what it could not write, and call the file clean. Only another file is good.
   */
  #cutBack(): void {
    try {
      this.#disk.truncate(this.#bytes)
    } catch {
      // The fault that led here is told already; a reader finds the good part by its checksums.
    }
  }

  #attempt(verb: string, change: () => void): Result<void, StoreError> {
    try {
      change()
      this.#fault = undefined
      return ok(undefined)
    } catch (error) {
      this.#fault = { code: 'store', errno: errnoCode(error), text: `cannot ${verb} ${this.#disk.path}: ${describeError(error)}` }
      return err(this.#fault)
    }
  }
}

export interface OpenedStore {
  readonly store: Store
  readonly records: readonly JournalRecord[]
  /** Set when the journal's end is not good: what was lost, and where it is kept. */
  readonly warning: string | undefined
  /** Records may be lost that had been written, and acted on. */
  readonly isDamaged: boolean
}

/**
 * Reads what is on `disk`, or begins a journal there.
 * @throws {WeftError} STATE when it is another peer's, another cluster's, another universe's, of another format or has no
 * readable header; or when the disk cannot be read. Nothing is lost then.
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
    return { store: new Store(disk, header, { bytes: begin.length }), records: [], warning: undefined, isDamaged: false }
  }
  const { head, records, goodBytes, end } = scanJournal(bytes)
  checkHead(head, header, disk.path)
  // Whoever was killed between writing a grant and waiting for the device left a record that a power loss
  // can still undo. We are about to act on it, and to tell of it.
  disk.sync()
  const rest = bytes.subarray(goodBytes)
  switch (end) {
    case 'whole':
      return { store: new Store(disk, header, { bytes: goodBytes }), records, warning: undefined, isDamaged: false }
    case 'torn': {
      const warning = `the last ${rest.length} bytes of ${disk.path} are a record whose writing was cut short; it had not taken effect`
      return { store: new Store(disk, header, { bytes: goodBytes, isUnclean: true }), records, warning, isDamaged: false }
    }
    case 'damaged': {
      const { warning, uncopied } = keep(disk, rest)
      return { store: new Store(disk, header, { bytes: goodBytes, isUnclean: true, uncopied }), records, warning, isDamaged: true }
    }
    default:
      return unreachable(end)
  }
}

/** Copies damaged bytes, which stay in the journal until it is rewritten without them: a crash before that finds the damage again. */
function keep(disk: Disk, damage: Uint8Array): { readonly warning: string; readonly uncopied: Uint8Array | undefined } {
  const lost = `the last ${damage.length} bytes of ${disk.path} are damaged`
  try {
    return { warning: `${lost}; they are now in ${disk.keepDamaged(damage)} too`, uncopied: undefined }
  } catch (error) {
    return { warning: `${lost}, and no copy can be made yet: ${describeError(error)}`, uncopied: damage }
  }
}

function checkHead(head: JournalHead, wanted: JournalHeader, path: string): void {
  const away = `move ${path} away to start anew; its addresses are then lost to the cluster until this node's old name is removed`
  switch (head.kind) {
    case 'damaged':
      throw new WeftError('STATE', `${path} has no readable header`, { hint: away })
    case 'other-format':
      throw new WeftError(
        'STATE',
        `${path} is of format ${head.format}, which another version of Weft has written; this one knows ${JOURNAL_FORMAT}`,
        {
          hint: `run that version again, or ${away}`,
        },
      )
    case 'known': {
      const { peer, universe, cluster } = head.header
      if (cluster !== wanted.cluster && cluster !== '' && wanted.cluster !== '') {
        throw new WeftError('STATE', `${path} is of the cluster ${cluster}; we are to join ${wanted.cluster}`, {
          hint: `give --cluster ${cluster}, or another --state-dir to a node that is in both; or ${away}`,
        })
      }
      if (peer !== wanted.peer) {
        throw new WeftError('STATE', `${path} is of peer ${peer}; we are ${wanted.peer}`, {
          hint: `restore the identity key of ${peer}, or ${away}`,
        })
      }
      const [theirs, ours] = [formatUniverse(universe), formatUniverse(wanted.universe)]
      if (theirs !== ours) {
        throw new WeftError('STATE', `${path} is of the range ${theirs}; we are to use ${ours}`, {
          hint: `configure the range ${universeSetting(universe)} again, or ${away}`,
        })
      }
    }
  }
}
