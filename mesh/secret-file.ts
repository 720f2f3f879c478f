/** The file that keeps the secret of the cluster on a node: the same one on all of them. Never made but when told to, nor changed but by a rotation. */
import { fromHex, toHex } from './base/bytes.ts'
import { WeftError } from './base/errors.ts'
import type { CryptoSuite } from './crypto.ts'
import { type ClusterKey, clusterKey, type Keyring } from './keyring.ts'
import { createPrivateFile, readPrivateFile, replacePrivateFile } from './private-file.ts'

/** One line per key, at most two, the primary one first: this word, the id (which checks the key), the secret in hex. */
const LINE = /^weft-secret-1 ([0-9a-f]{8}) ([0-9a-f]{64})$/
/** Two lines take 176. */
const FILE_BYTES_MAX = 256

/**
 * The keys in the file at `path`; undefined when there is none.
 * @throws {WeftError} STATE when it is damaged, open to others or cannot be read.
 */
export async function readSecretFile(path: string, crypto: CryptoSuite): Promise<Keyring | undefined> {
  const ifOpen = 'give all nodes another secret'
  const text = await readPrivateFile({ path, what: 'secret of the cluster', ifOpen, bytesMax: FILE_BYTES_MAX })
  if (text === undefined) return undefined
  const keyring = parse(text, crypto)
  if (keyring !== undefined) return keyring
  throw new WeftError('STATE', `the secret of the cluster ${path} is damaged`, { hint: 'copy the file from another node' })
}

/** @throws {WeftError} CONFLICT when there is a file already, STATE when it cannot be written. */
export async function createSecretFile(path: string, keyring: Keyring, crypto: CryptoSuite): Promise<void> {
  if (!(await createPrivateFile(path, format(keyring), crypto))) {
    throw new WeftError('CONFLICT', `there is a file ${path} already`, {
      hint: 'another secret would part this node from those that have this one',
    })
  }
}

/** @throws {WeftError} STATE when it cannot be written; then the old one is still there. */
export function replaceSecretFile(path: string, keyring: Keyring, crypto: CryptoSuite): Promise<void> {
  return replacePrivateFile(path, format(keyring), crypto)
}

function format({ primary, other }: Keyring): string {
  return [primary, ...(other === undefined ? [] : [other])].map(({ id, secret }) => `weft-secret-1 ${id} ${toHex(secret)}\n`).join('')
}

/** Undefined when a line is not right. */
function parse(text: string, crypto: CryptoSuite): Keyring | undefined {
  if (!text.endsWith('\n')) return undefined
  const keys = text
    .slice(0, -1)
    .split('\n')
    .map((line) => parseLine(line, crypto))
  const [primary, other, more] = keys
  if (primary === undefined || more !== undefined || keys.includes(undefined) || keys.length > 2) return undefined
  return primary.id === other?.id ? undefined : { primary, other }
}

function parseLine(line: string, crypto: CryptoSuite): ClusterKey | undefined {
  const [, id, secret] = LINE.exec(line) ?? []
  const key = secret === undefined ? undefined : clusterKey(fromHex(secret), crypto)
  return key?.id === id ? key : undefined
}
