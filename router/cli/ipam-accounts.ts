/** `weft ipam check`, `gc` and `recover`: whether the addresses add up, and what to do when they do not. */
import { Command, Option } from 'commander'
import { z } from 'zod'
import { ask, refuseErrors } from './client.ts'
import type { CliIo } from './io.ts'
import { DEFAULT_API_SOCKET } from './paths.ts'

interface AccountOptions {
  readonly socket: string
  readonly json?: boolean
}

const HTTP_CONFLICT = 409
const EXIT_FINDINGS = 1

const gcAnswer = z.object({ dryRun: z.boolean(), freed: z.array(z.object({ attachment: z.string(), address: z.string() })) })
const recoverAnswer = z.object({ without: z.array(z.string()) })

export function accountCommands(io: CliIo): readonly Command[] {
  return [checkCommand(io), gcCommand(io), recoverCommand(io)]
}

function checkCommand(io: CliIo): Command {
  return account('check', 'prove that each address of the cluster has one owner, and that each allocated one belongs to a pod that exists')
    .addHelpText('after', '\nAsks every peer. Exits with 1 when something does not fit, and says what.')
    .action(async ({ socket, json }: AccountOptions) => {
      const answer = await ask(socket, 'GET', `/ipam/check${json ? '' : '?format=text'}`)
      if (answer.status === HTTP_CONFLICT) io.exitWith(EXIT_FINDINGS)
      else refuseErrors(answer)
      io.out(json ? `${JSON.stringify(JSON.parse(answer.body), undefined, 2)}\n` : answer.body)
    })
}

function gcCommand(io: CliIo): Command {
  return account('gc', 'free the addresses of this node that are allocated to nothing that exists')
    .option('--dry-run', 'say which, and free none')
    .action(async ({ socket, json, dryRun = false }: AccountOptions & { readonly dryRun?: boolean }) => {
      const { freed } = gcAnswer.parse(JSON.parse(refuseErrors(await ask(socket, 'POST', '/ipam/gc', { dryRun })).body))
      if (json) io.out(`${JSON.stringify({ dryRun, freed }, undefined, 2)}\n`)
      else io.out(freed.map(({ address, attachment }) => `${dryRun ? 'would free' : 'freed'} ${address} of ${attachment}\n`).join(''))
    })
}

function recoverCommand(io: CliIo): Command {
  return account('recover', 'give out addresses again although some peers were not heard since this node lost some of its journal')
    .addHelpText('after', '\nOnly when these peers are gone for good: what they were given and nobody else has heard of is given again.')
    .action(async ({ socket, json }: AccountOptions) => {
      const answer = recoverAnswer.parse(JSON.parse(refuseErrors(await ask(socket, 'POST', '/ipam/recover')).body))
      if (json) io.out(`${JSON.stringify(answer, undefined, 2)}\n`)
      else io.out(answer.without.map((peer) => `goes on without ${peer}\n`).join(''))
    })
}

/** A command with what all of them share. */
function account(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .addOption(new Option('--socket <path>', 'the API socket of the router').env('WEFT_SOCKET').default(DEFAULT_API_SOCKET))
    .option('--json', 'print JSON')
}
