/** `weft run`: the router itself. */
import { Command } from 'commander'
import { type Config, OPTIONS, parseConfig } from '../config.ts'
import type { CliIo } from './io.ts'

export function runCommand(io: CliIo): Command {
  const command = new Command('run')
    .description('run the router of this node, until SIGTERM')
    .argument('[peer...]', 'HOST, HOST:PORT or wss://HOST/PATH of other routers: one is enough, it tells of the others')
  for (const [key, row] of Object.entries(OPTIONS)) {
    const notes = [`default: ${row.fallbackText ?? row.fallback()}`, ...(row.env === undefined ? [] : [`env: ${row.env}`])]
    command.option(row.flags, `${row.description} (${notes.join('; ')})`)
    keys.set(command.options.at(-1)?.attributeName() ?? '', key as keyof Config)
  }
  return command.action(async (peers: readonly string[], options: Readonly<Record<string, string | true>>) => {
    const given = Object.fromEntries(
      Object.entries(options).map(([attribute, value]) => [keys.get(attribute) ?? attribute, value === true ? '' : value]),
    )
    const config = parseConfig(given, io.env)
    const { runRouter } = await import('../daemon.ts')
    await runRouter(config, peers, io)
  })
}

/** Commander's name of an option, made from its flag → our key of the configuration. */
const keys = new Map<string, keyof Config>()
