/** Other people's tools, run in namespaces: the benches build their peers with them, as a person would. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { WeftError } from '../mesh/base/errors.ts'
import { TICKS_PER_SECOND } from './procfs.ts'

const execute = promisify(execFile)
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024

/** Runs a command to its end; its standard output. @throws {WeftError} with what it printed when it fails. */
export async function command(words: readonly string[], signal?: AbortSignal): Promise<string> {
  const [file = '', ...rest] = words
  try {
    const { stdout } = await execute(file, rest, { maxBuffer: OUTPUT_BYTES_MAX, ...(signal === undefined ? {} : { signal }) })
    return stdout
  } catch (cause) {
    throw new WeftError('MISSING', `\`${words.join(' ')}\` failed`, { cause })
  }
}

/** The words that run `words` in the network namespace `namespace`. */
export function inside(namespace: string, words: readonly string[]): readonly string[] {
  return ['nsenter', `--net=/run/netns/${namespace}`, ...words]
}

/** Lines of `ip -batch`, run in a namespace. */
export async function ipBatch(namespace: string, lines: readonly string[]): Promise<void> {
  for (const line of lines) await command(inside(namespace, ['ip', ...line.split(' ')]))
}

/** A server that runs until disposed. */
export class Server implements Disposable {
  readonly #child: ChildProcess

  constructor(words: readonly string[]) {
    const [file = '', ...rest] = words
    this.#child = spawn(file, rest, { stdio: 'ignore' })
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL')
  }
}

/** Namespaces that exist until disposed, whatever happens in them; leftovers of the same names go first. */
export async function makeNamespaces(names: readonly string[]): Promise<AsyncDisposable> {
  const remove = async (): Promise<void> => {
    for (const name of names) await command(['ip', 'netns', 'del', name]).catch(() => undefined)
  }
  await remove()
  for (const name of names) {
    await command(['ip', 'netns', 'add', name])
    await ipBatch(name, ['link set lo up'])
  }
  return { [Symbol.asyncDispose]: remove }
}

/** CPU time that this machine has spent so far on anything but idling and low-priority work, in seconds (proc(5), /proc/stat). */
export function busySeconds(): number {
  const [, user = 0, , system = 0, , , irq = 0, softirq = 0] = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '')
    .split(/ +/)
    .map(Number)
  return (user + system + irq + softirq) / TICKS_PER_SECOND
}
