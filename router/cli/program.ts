/** The command line: all commands, how errors are shown, and the exit codes. */
import { Command, CommanderError } from 'commander'
import { describeError, WeftError } from '../../mesh/base/errors.ts'
import type { CliIo } from './io.ts'
import { ipamCommand } from './ipam.ts'
import { keysCommand } from './keys.ts'
import { memberCommands } from './members.ts'
import { nameCommand } from './name.ts'
import { queryCommands } from './query.ts'
import { runCommand } from './run.ts'
import { VERSION } from './version.ts'

const EXIT_FAILURE = 1
const EXIT_USAGE = 2

/** Runs one command line to its end. Whatever goes wrong is told on standard error and in the exit code: 1, or 2 for a wrong command line. */
export async function runCli(words: readonly string[], io: CliIo): Promise<void> {
  try {
    await program(io, await labCommands(words, io)).parseAsync(words, { from: 'user' })
  } catch (error) {
    report(error, io)
  }
}

function program(io: CliIo, more: readonly Command[]): Command {
  const weft = new Command('weft')
    .description('A Kubernetes pod network: one encrypted network across clouds, with nothing to set up.')
    .version(VERSION, '--version', 'print the version')
    .helpCommand('help [command]', 'show what a command does')
  const own = [runCommand(io), nameCommand(io), keysCommand(io), ipamCommand(io), ...queryCommands(io), ...memberCommands(io)]
  for (const command of [...own, ...more]) weft.addCommand(command)
  return settle(weft, io)
}

/** The lab brings much code with it: loaded only when it, or the list of all commands, is asked for. */
async function labCommands(words: readonly string[], io: CliIo): Promise<readonly Command[]> {
  const first = words.find((word) => !word.startsWith('-'))
  if (first !== undefined && first !== 'lab' && first !== 'help') return [new Command('lab').description(LAB_DESCRIPTION)]
  const { labCommand } = await import('../lab/command.ts')
  return [labCommand(io).description(LAB_DESCRIPTION)]
}

const LAB_DESCRIPTION = 'build and try whole clusters on this machine, in network namespaces'

/** Every command, at any depth, writes through `io` and throws instead of ending the process. */
function settle(command: Command, io: CliIo): Command {
  command
    .exitOverride()
    .configureOutput({ writeOut: (text) => io.out(text), writeErr: (text) => io.err(text) })
    .showSuggestionAfterError()
    .showHelpAfterError(`(see \`${path(command)} --help\`)`)
    .allowExcessArguments(false)
  for (const child of command.commands) settle(child, io)
  return command
}

function path(command: Command): string {
  return command.parent === null ? command.name() : `${path(command.parent)} ${command.name()}`
}

function report(error: unknown, io: CliIo): void {
  if (error instanceof CommanderError) {
    // Commander has told it already; help and version come this way too, with code 0.
    io.exitWith(error.exitCode === 0 ? 0 : EXIT_USAGE)
    return
  }
  io.err(`weft: ${describeError(error)}\n`)
  if (error instanceof WeftError && error.hint !== undefined) io.err(`  hint: ${error.hint}\n`)
  io.exitWith(error instanceof WeftError && error.code === 'USAGE' ? EXIT_USAGE : EXIT_FAILURE)
}
