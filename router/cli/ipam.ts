/** `weft ipam`: the addresses of pods, whether they add up, and what only a person can decide about them. */
import { Command, Option } from 'commander'
import { z } from 'zod'
import { WeftError } from '../../mesh/base/errors.ts'
import { ask, refuseErrors } from './client.ts'
import type { CliIo } from './io.ts'
import { accountCommands } from './ipam-accounts.ts'
import { DEFAULT_API_SOCKET } from './paths.ts'

interface ResolveOptions {
  readonly socket: string
  readonly keepOurs?: boolean
  readonly takeTheirs?: boolean
  readonly ring?: string
  readonly json?: boolean
}

const resolved = z.object({ ring: z.string() })

export function ipamCommand(io: CliIo): Command {
  const ipam = new Command('ipam').description('the addresses of pods: whether they add up, and what a person has to decide')
  for (const command of [...accountCommands(io), resolveCommand(io)]) ipam.addCommand(command)
  return ipam
}

function resolveCommand(io: CliIo): Command {
  return new Command('resolve')
    .description('end the state in which two parts of a cluster began apart and have a ring of addresses each')
    .addOption(new Option('--keep-ours', 'the ring of this node stands').conflicts('takeTheirs'))
    .option('--take-theirs', 'the other ring stands')
    .option('--ring <id>', 'which other ring, when there are several: see `weft status ipam`')
    .addOption(new Option('--socket <path>', 'the API socket of the router').env('WEFT_SOCKET').default(DEFAULT_API_SOCKET))
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(async ({ socket, keepOurs, takeTheirs, ring, json }: ResolveOptions) => {
      if (keepOurs === undefined && takeTheirs === undefined)
        throw new WeftError('USAGE', 'which ring is to stand?', { hint: 'say --keep-ours or --take-theirs' })
      const keep = keepOurs ? 'ours' : 'theirs'
      const answer = await ask(socket, 'POST', '/ipam/resolve', ring === undefined ? { keep } : { keep, ring })
      const stands = resolved.parse(JSON.parse(refuseErrors(answer).body))
      if (json) io.out(`${JSON.stringify(stands)}\n`)
      else io.out(`ring ${stands.ring} stands; the peers of the other one take it now: see \`weft status ipam\`\n`)
    })
}

const HELP = `
Every peer of the ring that is given up takes the one that stands. Its pods go on with the addresses that
they have, as far as nobody has these in the other ring. Where two pods have the same address, nothing can
tell them apart any more: \`weft status ipam\` names them on the node that gave its ring up, and one of the
two has to be deleted. Run it once, on any node.`
