/** Where the router has the secret of its cluster from. */
import { WeftError } from '../mesh/base/errors.ts'
import type { CryptoSuite } from '../mesh/crypto.ts'
import { type Keyring, openKey } from '../mesh/keyring.ts'
import { readPassphraseFile } from '../mesh/passphrase.ts'
import { readSecretFile } from '../mesh/secret-file.ts'
import { secretPath } from './cli/paths.ts'
import type { Config } from './config.ts'

export interface Secrets {
  readonly keyring: Keyring
  /** There is none: anybody who reaches the port may join. */
  readonly isOpen: boolean
  /** The secret's file, where there is one. */
  readonly path: string | undefined
}

/** @throws {WeftError} USAGE when there is no secret and the cluster is not said to be open; else what is wrong with the file. */
export async function loadSecrets(config: Config, crypto: CryptoSuite): Promise<Secrets> {
  const { cluster, open, passphraseFile, secretFile, stateDirectory } = config
  if (open) return { keyring: { primary: openKey(cluster, crypto), other: undefined }, isOpen: true, path: undefined }
  if (passphraseFile !== undefined) {
    return {
      keyring: { primary: await readPassphraseFile(passphraseFile, cluster, crypto), other: undefined },
      isOpen: false,
      path: undefined,
    }
  }
  const path = secretFile ?? secretPath(stateDirectory)
  const keyring = await readSecretFile(path, crypto)
  if (keyring !== undefined) return { keyring, isOpen: false, path }
  throw new WeftError('USAGE', `there is no secret of the cluster in ${path}`, {
    hint: 'on the first node make one with `weft keys generate`, on others copy its file; or let anybody join with --open',
  })
}
