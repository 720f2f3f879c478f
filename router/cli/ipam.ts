/** `weft ipam`: the addresses of pods. */
import { Command } from 'commander'
import type { CliIo } from './io.ts'
import { accountCommands } from './ipam-accounts.ts'

export function ipamCommand(io: CliIo): Command {
  const ipam = new Command('ipam').description('the addresses of pods: whether they add up, and what a person has to decide')
  for (const command of accountCommands(io)) ipam.addCommand(command)
  return ipam
}
