/** `weft name`: who this node is, before its router runs. Seeds are named by it. */
import { Command } from 'commander'
import { loadCrypto } from '../../mesh/crypto.ts'
import { loadOrCreateIdentity } from '../../mesh/identity-file.ts'
import type { CliIo } from './io.ts'
import { DEFAULT_STATE_DIRECTORY, identityPath } from './paths.ts'

export function nameCommand(io: CliIo): Command {
  return new Command('name')
    .description("print the name of this node's peer, for --ipam-init=seed=…; its identity is made if there is none")
    .option('--state-dir <dir>', 'as given to `weft run`', DEFAULT_STATE_DIRECTORY)
    .option('--json', 'print JSON')
    .action(async ({ stateDir, json }: { readonly stateDir: string; readonly json?: boolean }) => {
      const { name } = await loadOrCreateIdentity(identityPath(stateDir), await loadCrypto())
      io.out(json ? `${JSON.stringify({ name })}\n` : `${name}\n`)
    })
}
