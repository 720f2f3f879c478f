/**
 * The file that keeps this node's identity key. It is made once, on first start; a file that is there but not right
 * is an error for a person to look at, never a reason to become somebody else.
 */
import { constants } from 'node:fs'
import { type FileHandle, link, mkdir, open, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fromHex, toHex } from './base/bytes.ts'
import { errnoCode, WeftError } from './base/errors.ts'
import { type CryptoSuite, SEED_BYTES } from './crypto.ts'
import { type Identity, identityFromSeed } from './identity.ts'

/** One line: this word, the name (which checks the key), the seed in hex. */
const FORMAT = /^weft-identity-1 ([0-9a-f]{16}) ([0-9a-f]{64})\n$/
/** The format above takes 98; more is some other file. */
const FILE_BYTES_MAX = 128
const OWNER_ONLY = 0o600
const OTHERS = 0o077

/**
 * Reads the identity at `path`, or makes one and the folder it is in. Of two processes that start together, one makes
 * it and both read it.
 * @throws {WeftError} STATE when the file is damaged, open to others, or cannot be read or written.
 */
export async function loadOrCreateIdentity(path: string, crypto: CryptoSuite): Promise<Identity> {
  try {
    return (await load(path, crypto)) ?? (await create(path, crypto))
  } catch (cause) {
    if (cause instanceof WeftError) throw cause
    throw new WeftError('STATE', `cannot keep the identity key in ${path}`, { cause })
  }
}

/** Undefined when there is no such file. */
async function load(path: string, crypto: CryptoSuite): Promise<Identity | undefined> {
  let file: FileHandle
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (cause) {
    if (errnoCode(cause) === 'ENOENT') return undefined
    throw cause
  }
  try {
    await checkPrivate(file, path)
    return parse(await readSome(file), path, crypto)
  } finally {
    await file.close()
  }
}

async function checkPrivate(file: FileHandle, path: string): Promise<void> {
  const stat = await file.stat()
  if (!stat.isFile()) throw new WeftError('STATE', `the identity key ${path} is not a regular file`)
  if ((stat.mode & OTHERS) === 0) return
  const mode = (stat.mode & 0o777).toString(8).padStart(4, '0')
  throw new WeftError('STATE', `the identity key ${path} is open to others (mode ${mode})`, {
    hint: `chmod 600 ${path} if nobody else can have read it; else remove it, and this node rejoins as a new peer`,
  })
}

async function readSome(file: FileHandle): Promise<string> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(FILE_BYTES_MAX), 0, FILE_BYTES_MAX, 0)
  return buffer.toString('latin1', 0, bytesRead)
}

function parse(text: string, path: string, crypto: CryptoSuite): Identity {
  const [, name, seed] = FORMAT.exec(text) ?? []
  const identity = seed === undefined ? undefined : identityFromSeed(fromHex(seed), crypto)
  if (identity?.name !== name || identity === undefined) {
    throw new WeftError('STATE', `the identity key ${path} is damaged`, {
      hint: 'restore it from a copy; or remove it, and this node rejoins as a new peer',
    })
  }
  return identity
}

async function create(path: string, crypto: CryptoSuite): Promise<Identity> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const seed = crypto.randomBytes(SEED_BYTES)
  const { name } = identityFromSeed(seed, crypto)
  const temporary = `${path}.${toHex(crypto.randomBytes(8))}.new`
  try {
    await writeSynced(temporary, `weft-identity-1 ${name} ${toHex(seed)}\n`)
    await linkUnlessThere(temporary, path)
  } finally {
    await unlink(temporary).catch(() => undefined)
  }
  await syncFolder(dirname(path))
  const identity = await load(path, crypto)
  if (identity === undefined) throw new WeftError('STATE', `the identity key ${path} has vanished`)
  return identity
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
async function linkUnlessThere(from: string, to: string): Promise<void> {
  try {
    await link(from, to)
  } catch (cause) {
    if (errnoCode(cause) !== 'EEXIST') throw cause
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
