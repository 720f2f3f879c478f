/** `weft keys`: the secret of the cluster, as a file. */
import { Command } from 'commander'
import { WeftError } from '../../mesh/base/errors.ts'
import { loadCrypto } from '../../mesh/crypto.ts'
import { clusterKey, SECRET_BYTES } from '../../mesh/keyring.ts'
import { createSecretFile, readSecretFile } from '../../mesh/secret-file.ts'
import type { CliIo } from './io.ts'
import { DEFAULT_STATE_DIRECTORY, secretPath } from './paths.ts'

const DEFAULT_SECRET_FILE = secretPath(DEFAULT_STATE_DIRECTORY)

interface KeysOptions {
  readonly file: string
  readonly json?: boolean
}

export function keysCommand(io: CliIo): Command {
  return new Command('keys')
    .description('the secret of the cluster: who has it may join')
    .addCommand(generateCommand(io))
    .addCommand(showIdCommand(io))
}

function generateCommand(io: CliIo): Command {
  return keys('generate', 'make the secret of a new cluster; copy the file to all its nodes, by a way that nobody can watch').action(
    async ({ file, json }: KeysOptions) => {
      const crypto = await loadCrypto()
      const primary = clusterKey(crypto.randomBytes(SECRET_BYTES), crypto)
      await createSecretFile(file, { primary, other: undefined }, crypto)
      io.out(json ? `${JSON.stringify({ file, ids: [primary.id] })}\n` : `${primary.id}\n`)
    },
  )
}

function showIdCommand(io: CliIo): Command {
  return keys('show-id', 'print the id of each key in the file, the one in use first: equal ids, equal keys').action(
    async ({ file, json }: KeysOptions) => {
      const keyring = await readSecretFile(file, await loadCrypto())
      if (keyring === undefined) throw new WeftError('USAGE', `there is no file ${file}`, { hint: 'make one with `weft keys generate`' })
      const ids = [keyring.primary, keyring.other].flatMap((key) => (key === undefined ? [] : [key.id]))
      io.out(json ? `${JSON.stringify({ file, ids })}\n` : ids.map((id) => `${id}\n`).join(''))
    },
  )
}

/** A command with what all of them share. */
function keys(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option('--file <file>', 'as given to `weft run --secret-file`', DEFAULT_SECRET_FILE)
    .option('--json', 'print JSON')
}
