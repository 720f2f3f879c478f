/** Files with keys: for the eyes of their owner only, whole or not there, and still there after a power cut. */
import { constants } from 'node:fs'
import { type FileHandle, link, mkdir, open, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { toHex } from './base/bytes.ts'
import { errnoCode, WeftError } from './base/errors.ts'
import type { CryptoSuite } from './crypto.ts'

const OWNER_ONLY = 0o600
const OTHERS = 0o077

export interface PrivateFile {
  readonly path: string
  /** For people: `identity key`, … */
  readonly what: string
  /** What to do when others can have read it. */
  readonly ifOpen: string
  /** A longer one is some other file: the text is cut there. */
  readonly bytesMax: number
}

/**
 * Its text, or undefined when there is no such file.
 * @throws {WeftError} STATE when it is no regular file, open to others, or cannot be read.
 */
export function readPrivateFile(file: PrivateFile): Promise<string | undefined> {
  return orState(`cannot read the ${file.what} ${file.path}`, () => read(file))
}

async function read(file: PrivateFile): Promise<string | undefined> {
  const handle = await openUnlessMissing(file.path)
  if (handle === undefined) return undefined
  try {
    await checkPrivate(handle, file)
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(file.bytesMax), 0, file.bytesMax, 0)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await handle.close()
  }
}

/**
 * Makes the file, and the folder it is in. False when there is one already, which stays as it is.
 * @throws {WeftError} STATE when it cannot be written.
 */
export function createPrivateFile(path: string, text: string, crypto: CryptoSuite): Promise<boolean> {
  return orState(`cannot write ${path}`, () => write(path, text, crypto, linkUnlessThere))
}

/**
 * Makes the file, or puts this one in its place in one step.
 * @throws {WeftError} STATE when it cannot be written.
 */
export function replacePrivateFile(path: string, text: string, crypto: CryptoSuite): Promise<void> {
  return orState(`cannot write ${path}`, () => write(path, text, crypto, rename))
}

async function orState<T>(message: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (cause) {
    if (cause instanceof WeftError) throw cause
    throw new WeftError('STATE', message, { cause })
  }
}

async function openUnlessMissing(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (cause) {
    if (errnoCode(cause) === 'ENOENT') return undefined
    throw cause
  }
}

async function checkPrivate(handle: FileHandle, { path, what, ifOpen }: PrivateFile): Promise<void> {
  const stat = await handle.stat()
  if (!stat.isFile()) throw new WeftError('STATE', `the ${what} ${path} is not a regular file`)
  if ((stat.mode & OTHERS) === 0) return
  const mode = (stat.mode & 0o777).toString(8).padStart(4, '0')
  throw new WeftError('STATE', `the ${what} ${path} is open to others (mode ${mode})`, {
    hint: `chmod 600 ${path} if nobody else can have read it; else ${ifOpen}`,
  })
}

async function write<T>(path: string, text: string, crypto: CryptoSuite, place: (from: string, to: string) => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const temporary = `${path}.${toHex(crypto.randomBytes(8))}.new`
  try {
    await writeSynced(temporary, text)
    const placed = await place(temporary, path)
    await syncFolder(dirname(path))
    return placed
  } finally {
    await unlink(temporary).catch(() => undefined)
  }
}

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', OWNER_ONLY)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Unlike a rename, a link never replaces the file that another process has just made. */
async function linkUnlessThere(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (cause) {
    if (errnoCode(cause) === 'EEXIST') return false
    throw cause
  }
}

/** Makes the name in the folder survive a power cut, as `sync` does for the contents. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
