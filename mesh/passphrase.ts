/**
 * A secret of the cluster that people can remember. Whoever listens to one handshake can try passphrases against it at
 * home: so each try costs much time and memory (argon2id), and a short passphrase is refused.
 */
import { argon2 } from 'node:crypto'
import { promisify } from 'node:util'
import { concatBytes } from './base/bytes.ts'
import { WeftError } from './base/errors.ts'
import type { CryptoSuite } from './crypto.ts'
import { type ClusterKey, clusterKey, SECRET_BYTES } from './keyring.ts'
import { readPrivateFile } from './private-file.ts'

const PASSPHRASE_LENGTH_MIN = 16
const DIFFERENT_CHARACTERS_MIN = 8
const FILE_BYTES_MAX = 1_024

/** As libsodium's MODERATE: 256 MiB, about a second. Part of what makes the key: all nodes must do the same. */
const COST = { parallelism: 1, memory: 256 * 1024, passes: 3 } as const
const SALT_BYTES = 16
const SALT_DOMAIN = new TextEncoder().encode('weft passphrase 1\0')

const derive = promisify(argon2)

/**
 * The key of the passphrase in the first line of the file at `path`. One passphrase makes different keys in clusters of
 * different names.
 * @throws {WeftError} USAGE when there is no such file or the passphrase is weak, STATE when it is open to others.
 */
export async function readPassphraseFile(path: string, cluster: string, crypto: CryptoSuite): Promise<ClusterKey> {
  const ifOpen = 'choose another passphrase'
  const text = await readPrivateFile({ path, what: 'passphrase file', ifOpen, bytesMax: FILE_BYTES_MAX })
  if (text === undefined) throw new WeftError('USAGE', `there is no passphrase file ${path}`)
  const [passphrase = '', ...rest] = text.replace(/\r?\n$/, '').split(/\r?\n/)
  if (rest.length > 0) throw new WeftError('USAGE', `the passphrase file ${path} has more than one line`)
  checkStrength(passphrase, path)
  const nonce = crypto.hash(concatBytes([SALT_DOMAIN, new TextEncoder().encode(cluster)]), SALT_BYTES)
  const secret = await derive('argon2id', { ...COST, message: new TextEncoder().encode(passphrase), nonce, tagLength: SECRET_BYTES })
  return clusterKey(new Uint8Array(secret), crypto)
}

function checkStrength(passphrase: string, path: string): void {
  const characters = [...passphrase]
  if (characters.length >= PASSPHRASE_LENGTH_MIN && new Set(characters).size >= DIFFERENT_CHARACTERS_MIN) return
  throw new WeftError('USAGE', `the passphrase in ${path} is too easy to guess`, {
    hint: `at least ${PASSPHRASE_LENGTH_MIN} characters, ${DIFFERENT_CHARACTERS_MIN} of them different: five random words, say. Better: \`weft keys generate\``,
  })
}
