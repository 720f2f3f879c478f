/** `weft keys`: the secret of the cluster, as a file. */
import { Command, Option } from 'commander'
import { z } from 'zod'
import { millis, seconds } from '../../mesh/base/brand.ts'
import { deadline, sleep } from '../../mesh/base/clock.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { loadCrypto } from '../../mesh/crypto.ts'
import { clusterKey, keyIdsOf, SECRET_BYTES } from '../../mesh/keyring.ts'
import { createSecretFile, readSecretFile } from '../../mesh/secret-file.ts'
import { type Answer, ask, refuseErrors } from './client.ts'
import type { CliIo } from './io.ts'
import { DEFAULT_API_SOCKET, DEFAULT_STATE_DIRECTORY, secretPath } from './paths.ts'

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
    .addCommand(rotateCommand(io))
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
      const ids = keyIdsOf(keyring)
      io.out(json ? `${JSON.stringify({ file, ids })}\n` : ids.map((id) => `${id}\n`).join(''))
    },
  )
}

function rotateCommand(io: CliIo): Command {
  return new Command('rotate')
    .description('change the secret of the running cluster: every router gets the new one, and no connection is lost')
    .option('--leave-absent', 'go on without peers that cannot be reached now')
    .addOption(new Option('--socket <path>', 'the API socket of the router').env('WEFT_SOCKET').default(DEFAULT_API_SOCKET))
    .option('--json', 'print JSON')
    .addHelpText('after', '\nWhen it was interrupted, or a router lagged, run it again: it goes on where it was.')
    .action(async ({ socket, leaveAbsent = false, json }: RotateOptions) => {
      let report = readReport(await ask(socket, 'POST', '/keys/rotate', { leaveAbsent }))
      const limit = deadline(ROTATED_WITHIN, io.signal)
      for (let told = ''; report.stage !== 'idle'; report = readReport(await ask(socket, 'GET', '/keys'))) {
        if (report.stage !== told) io.err(`${STAGE_WORDS[report.stage]}\n`)
        told = report.stage
        if (limit.aborted) throw lagging(report)
        await sleep(POLL)
      }
      io.out(json ? `${JSON.stringify(report)}\n` : `${report.primary}\n`)
    })
}

interface RotateOptions {
  readonly socket: string
  readonly leaveAbsent?: boolean
  readonly json?: boolean
}

/** Records of peers travel in a second; a slow disk or a flapping link may take some more. */
const ROTATED_WITHIN = seconds(60)
const POLL = millis(200)

const STAGE_WORDS = {
  accept: 'every router learns the new key …',
  promote: 'every router dials with the new key …',
  drop: 'every router forgets the old key …',
} as const

const reportSchema = z.object({
  primary: z.string(),
  other: z.string().optional(),
  stage: z.enum(['idle', 'accept', 'promote', 'drop']),
  lagging: z.array(z.string()),
})

function readReport(answer: Answer): z.infer<typeof reportSchema> {
  return reportSchema.parse(JSON.parse(refuseErrors(answer).body))
}

function lagging({ stage, lagging: peers }: z.infer<typeof reportSchema>): WeftError {
  return new WeftError('UNREACHABLE', `the rotation waits at the stage \`${stage}\` for ${peers.join(', ')}`, {
    hint: 'nothing is lost: see to these routers, then run `weft keys rotate` again',
  })
}

/** A command with what all of them share. */
function keys(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option('--file <file>', 'as given to `weft run --secret-file`', DEFAULT_SECRET_FILE)
    .option('--json', 'print JSON')
}
