/** The commands that ask a running router: status, report, connect, forget. */
import { Argument, Command, Option } from 'commander'
import { z } from 'zod'
import { WeftError } from '../../mesh/base/errors.ts'
import { STATUS_PARTS } from '../api/handlers.ts'
import { ask, refuseErrors } from './client.ts'
import type { CliIo } from './io.ts'
import { DEFAULT_API_SOCKET } from './paths.ts'

const HTTP_NOT_READY = 503

export interface QueryOptions {
  readonly socket: string
  readonly json?: boolean
}

export function queryCommands(io: CliIo): readonly Command[] {
  return [statusCommand(io), reportCommand(io), connectCommand(io), forgetCommand(io)]
}

function statusCommand(io: CliIo): Command {
  return query('status', 'show the router, or one part of it')
    .addArgument(new Argument('[part]', 'which part').choices(STATUS_PARTS))
    .addHelpText('after', '\nExits with 3 when the router runs but is not ready yet.')
    .action(async (part: string | undefined, { socket, json }: QueryOptions) => {
      const path = `/status${part === undefined ? '' : `/${part}`}${json ? '' : '?format=text'}`
      const answer = await ask(socket, 'GET', path)
      if (answer.status === HTTP_NOT_READY) io.exitWith(3)
      else refuseErrors(answer)
      io.out(json ? pretty(answer.body) : answer.body)
    })
}

function reportCommand(io: CliIo): Command {
  return query('report', 'print all that the router knows, as JSON').action(async ({ socket }: QueryOptions) => {
    io.out(pretty(refuseErrors(await ask(socket, 'GET', '/report')).body))
  })
}

function connectCommand(io: CliIo): Command {
  return query('connect', 'dial other peers, and keep dialling them')
    .argument('<peer...>', 'HOST, HOST:PORT or wss://HOST/PATH')
    .option('--replace', 'forget all targets given before')
    .action(async (peers: readonly string[], { socket, json, replace = false }: QueryOptions & { readonly replace?: boolean }) => {
      const answer = refuseErrors(await ask(socket, 'POST', '/connect', { peers, replace }))
      if (json) io.out(pretty(answer.body))
    })
}

function forgetCommand(io: CliIo): Command {
  return query('forget', 'stop dialling peers given before; open connections stay')
    .argument('<peer...>', 'as given before')
    .action(async (peers: readonly string[], { socket, json }: QueryOptions) => {
      const { body } = refuseErrors(await ask(socket, 'POST', '/forget', { peers }))
      const { forgotten } = z.object({ forgotten: z.array(z.string()) }).parse(JSON.parse(body))
      const unknown = peers.filter((peer) => !forgotten.includes(peer))
      if (json) io.out(pretty(body))
      if (unknown.length > 0) {
        throw new WeftError('USAGE', `not among the targets: ${unknown.join(', ')}`, { hint: 'see `weft status targets`' })
      }
    })
}

/** A command with what all of them share. */
export function query(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .addOption(new Option('--socket <path>', 'the API socket of the router').env('WEFT_SOCKET').default(DEFAULT_API_SOCKET))
    .option('--json', 'print JSON')
}

export function pretty(body: string): string {
  return `${JSON.stringify(JSON.parse(body), undefined, 2)}\n`
}
