/**
 * Runs the tests that need kernel WireGuard, test/vm/**, in a virtual machine that has it:
 * `npm run test:vm -- [vitest's arguments]`. Boots once for all of them. The exit code is vitest's.
 * It works on the files of this checkout: leave them alone until it is done.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findKernel } from './initramfs.ts'
import { type Outcome, runMachine } from './machine.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const folder = join(root, 'build', 'vm')

/** It takes about two minutes of processor, and took four to six on a machine that had ten times as much to do as it could. */
const WHOLE_MS_MAX = 15 * 60_000
const PARENT_LOOK_MS = 1_000

process.exitCode = await main(process.argv.slice(2))

async function main(words: readonly string[]): Promise<number> {
  const interrupted = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interrupted.abort())
  const started = starters()
  // Whoever started us and was killed could not tell us.
  const watching = setInterval(() => starters() !== started && interrupted.abort(), PARENT_LOOK_MS)
  const late = AbortSignal.timeout(WHOLE_MS_MAX)
  say('booting a virtual machine with WireGuard in its kernel: half a minute')
  try {
    const outcome = await runMachine({
      kernel: findKernel(join(folder, 'linux')),
      busybox: join(folder, 'busybox', 'bin', 'busybox'),
      task: taskOf(words),
      output: (bytes) => process.stdout.write(bytes),
      signal: AbortSignal.any([interrupted.signal, late]),
    })
    return exitCode(outcome, late.aborted)
  } finally {
    clearInterval(watching)
  }
}

/** setup.mjs, the shell that runs it, and npm. */
function starters(): string {
  const shell = parentOf(process.ppid)
  return [process.ppid, shell, parentOf(shell)].join()
}

/** 0 when there is none any more. */
function parentOf(pid: number): number {
  const status = `/proc/${pid}/status`
  return existsSync(status) ? Number(/^PPid:\s*(\d+)/m.exec(readFileSync(status, 'utf8'))?.[1]) : 0
}

/** The host's environment is not the machine's: what vitest needs is said here. */
function taskOf(words: readonly string[]): string {
  const environment = {
    PATH: [join(root, 'node_modules', '.bin'), '/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'].join(':'),
    HOME: '/tmp',
    WEFT_VM: '1',
    NODE_COMPILE_CACHE: join(root, 'build', 'cache'),
    [process.stdout.isTTY ? 'FORCE_COLOR' : 'NO_COLOR']: '1',
  }
  const settings = Object.entries(environment).map(([name, value]) => `export ${name}=${quote(value)}\n`)
  const command = ['vitest', 'run', ...(words.length === 0 ? ['test/vm/'] : words)].map(quote).join(' ')
  return `${settings.join('')}cd ${quote(root)} && exec ${command}\n`
}

function exitCode(outcome: Outcome, isLate: boolean): number {
  switch (outcome.kind) {
    case 'done':
      return outcome.status
    case 'aborted':
      if (isLate) say(`given up: the tests were not done after ${WHOLE_MS_MAX / 60_000} minutes`)
      return isLate ? 124 : 130
    case 'died':
      say(`the virtual machine ended before the tests did. The last that its kernel said:\n${outcome.console}`)
      return 1
  }
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`
}

function say(message: string): void {
  process.stderr.write(`test:vm: ${message}\n`)
}
