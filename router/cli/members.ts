/** The commands that change who belongs to the cluster: rmpeer, reset. */
import type { Command } from 'commander'
import { z } from 'zod'
import { ask, refuseErrors } from './client.ts'
import type { CliIo } from './io.ts'
import { pretty, type QueryOptions, query } from './query.ts'

export function memberCommands(io: CliIo): readonly Command[] {
  return [removeCommand(io), resetCommand(io)]
}

const removal = z.object({ removed: z.string(), addresses: z.number() })
const reset = z.object({ heir: z.string(), given: z.number(), kept: z.number() })

function removeCommand(io: CliIo): Command {
  return query('rmpeer', 'take over the addresses of a peer that is gone for good, and retire its name')
    .argument('<peer>', 'its name or nickname, as `weft status ipam` shows them')
    .option('--leave-absent', 'do not wait for other peers that cannot be reached now: nobody may remove the same peer there')
    .addHelpText(
      'after',
      '\nYou say that neither its router nor its pods run any more: their addresses are given to others.\nShould it come back, it gives out no address, takes a new name, and joins as a new peer.',
    )
    .action(async (peer: string, { socket, json, leaveAbsent = false }: QueryOptions & { readonly leaveAbsent?: boolean }) => {
      const { body } = refuseErrors(await ask(socket, 'POST', '/peers/remove', { peer, leaveAbsent }))
      const { removed, addresses } = removal.parse(JSON.parse(body))
      io.out(json ? pretty(body) : `${removed} is removed: ${addresses} addresses taken over\n`)
    })
}

function resetCommand(io: CliIo): Command {
  return query('reset', 'hand the addresses of this node to another one, leave the cluster, and stop the router')
    .option('--force', 'although pods of this node have addresses: those stay lost until `weft rmpeer` on another node')
    .addHelpText(
      'after',
      '\nWhen it is started again it joins as a new peer. To begin or join another cluster move the state directory away before.',
    )
    .action(async ({ socket, json, force = false }: QueryOptions & { readonly force?: boolean }) => {
      const { body } = refuseErrors(await ask(socket, 'POST', '/reset', { force }))
      const { heir, given, kept } = reset.parse(JSON.parse(body))
      const rest = kept === 0 ? '' : `; ${kept} in use are nobody's until \`weft rmpeer\` there`
      io.out(json ? pretty(body) : `${given} addresses handed over to ${heir}${rest}; the router stops\n`)
    })
}
