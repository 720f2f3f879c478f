/**
 * The file that keeps this node's identity key. It is made once, on first start; a file that is there but not right
 * is an error for a person to look at, never a reason to become somebody else. The one reason is that somebody else is us:
 * see clones.ts.
 */
import { fromHex, toHex } from './base/bytes.ts'
import { WeftError } from './base/errors.ts'
import { type CryptoSuite, SEED_BYTES } from './crypto.ts'
import { type Identity, identityFromSeed } from './identity.ts'
import { createPrivateFile, readPrivateFile, replacePrivateFile } from './private-file.ts'

/** One line: this word, the name (which checks the key), the seed in hex. */
const FORMAT = /^weft-identity-1 ([0-9a-f]{16}) ([0-9a-f]{64})\n$/
/** The format above takes 98. */
const FILE_BYTES_MAX = 128

/**
 * Reads the identity at `path`, or makes one and the folder it is in. Of two processes that start together, one makes
 * it and both read it.
 * @throws {WeftError} STATE when the file is damaged, open to others, or cannot be read or written.
 */
export async function loadOrCreateIdentity(path: string, crypto: CryptoSuite): Promise<Identity> {
  return (await load(path, crypto)) ?? (await create(path, crypto))
}

/**
 * Puts a new identity in the place of the one at `path`, whose key is lost.
 * @throws {WeftError} STATE when it cannot be written.
 */
export async function replaceIdentity(path: string, crypto: CryptoSuite): Promise<Identity> {
  const { identity, text } = make(crypto)
  await replacePrivateFile(path, text, crypto)
  return identity
}

/** Undefined when there is no such file. */
async function load(path: string, crypto: CryptoSuite): Promise<Identity | undefined> {
  const ifOpen = 'remove it, and this node rejoins as a new peer'
  const text = await readPrivateFile({ path, what: 'identity key', ifOpen, bytesMax: FILE_BYTES_MAX })
  return text === undefined ? undefined : parse(text, path, crypto)
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
  await createPrivateFile(path, make(crypto).text, crypto)
  const identity = await load(path, crypto)
  if (identity === undefined) throw new WeftError('STATE', `the identity key ${path} has vanished`)
  return identity
}

function make(crypto: CryptoSuite): { readonly identity: Identity; readonly text: string } {
  const seed = crypto.randomBytes(SEED_BYTES)
  const identity = identityFromSeed(seed, crypto)
  return { identity, text: `weft-identity-1 ${identity.name} ${toHex(seed)}\n` }
}
