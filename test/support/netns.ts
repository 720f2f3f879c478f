/**
 * Fresh network namespaces for tests.
 *
 *     await using ns = await makeNetns()
 *     await ns.exec('ip', 'link', 'set', 'lo', 'up')
 *
 * They are named `weft-tPID-COUNT`; those of a run that was killed are removed by the next one.
 */
import { execFile, execFileSync } from 'node:child_process'
import { closeSync, readdirSync } from 'node:fs'
import { promisify } from 'node:util'
import type { Fd } from '../../router/kernel/native.ts'
import { openNetns } from '../../router/kernel/netns.ts'

export interface Netns extends AsyncDisposable {
  readonly name: string
  /** `/run/netns/NAME`. */
  readonly path: string
  /** Open until disposed. */
  readonly fd: Fd
  /** Runs a command inside, as root, and gives its standard output. Rejects with its standard error in the message when it fails. */
  exec(command: string, ...words: readonly string[]): Promise<string>
  /** What `ip -json …` says inside. */
  ip<T>(...words: readonly string[]): Promise<readonly T[]>
}

const DIRECTORY = '/run/netns'
const NAME = /^weft-t(\d+)-\d+$/

/** A dump of many routes as JSON is some megabytes. */
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024

/** Longer than any command of a test; a stuck one is killed. */
const COMMAND_MS_MAX = 20_000

const run = promisify(execFile)
const alive = new Set<string>()
let count = 0

/** A new namespace with nothing but `lo`, which is down. */
export async function makeNetns(): Promise<Netns> {
  if (count === 0) prepare()
  count += 1
  const name = `weft-t${process.pid}-${count}`
  await run('ip', ['netns', 'add', name])
  alive.add(name)
  const path = `${DIRECTORY}/${name}`
  const fd = openNetns(path)
  const exec = async (command: string, ...words: readonly string[]): Promise<string> => {
    const limits = { maxBuffer: OUTPUT_BYTES_MAX, timeout: COMMAND_MS_MAX }
    const { stdout } = await run('nsenter', [`--net=${path}`, command, ...words], limits)
    return stdout
  }
  const ip = async <T>(...words: readonly string[]): Promise<readonly T[]> => {
    const text = await exec('ip', '-json', '-details', ...words)
    return text.trim() === '' ? [] : (JSON.parse(text) as T[])
  }
  async function dispose(): Promise<void> {
    closeSync(fd)
    alive.delete(name)
    await run('ip', ['netns', 'del', name])
  }
  return { name, path, fd, exec, ip, [Symbol.asyncDispose]: dispose }
}

function prepare(): void {
  removeStale()
  process.once('exit', () => {
    for (const name of alive) execFileSync('ip', ['netns', 'del', name])
  })
}

/** Namespaces of processes that are gone. Another run may remove the same ones at this moment. */
function removeStale(): void {
  for (const name of existing()) {
    const pid = NAME.exec(name)?.[1]
    if (pid === undefined || isRunning(Number(pid))) continue
    try {
      execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' })
    } catch (error) {
      if (existing().includes(name)) throw error
    }
  }
}

function existing(): readonly string[] {
  try {
    return readdirSync(DIRECTORY)
  } catch {
    return []
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
