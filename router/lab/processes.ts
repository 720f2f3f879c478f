/** Processes, told apart even when an id is used again, and found by the network namespace they live in. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { millis, seconds } from '../../mesh/base/brand.ts'
import { sleep } from '../../mesh/base/clock.ts'
import { errnoCode, WeftError } from '../../mesh/base/errors.ts'
import { mapBounded } from './bounded.ts'
import { namespacePath } from './paths.ts'
import type { ProcessIdentity } from './state.ts'
import { runTool } from './tool.ts'

/** Reading /proc is quick, but a machine may have thousands of processes. */
const READS_AT_ONCE = 32
const POLL = millis(20)
/** A killed process is gone at once unless it is stuck in the kernel. */
const DIES_WITHIN = seconds(10)

/** Places in /proc/PID/stat after the name's closing parenthesis (proc(5), fields 3 and 22). */
const STATE_FIELD = 0
const START_FIELD = 19

/** The live process with this id, or undefined. A zombie is dead: it only waits for its parent to notice. */
export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(gone)
  return text === undefined ? undefined : parseStat(pid, text)
}

/** @param text of /proc/PID/stat. The program's name in it may hold spaces and parentheses. */
export function parseStat(pid: number, text: string): ProcessIdentity | undefined {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const state = fields[STATE_FIELD]
  const startTicks = Number(fields[START_FIELD])
  if (state === undefined || state === 'Z' || state === 'X' || !Number.isInteger(startTicks)) return undefined
  return { pid, startTicks }
}

export async function isAlive(known: ProcessIdentity): Promise<boolean> {
  const found = await identify(known.pid)
  return found?.startTicks === known.startTicks
}

/** The live processes in any of these network namespaces. @throws {WeftError} USAGE when one of these is our own. */
export async function processesIn(namespaces: readonly string[]): Promise<readonly ProcessIdentity[]> {
  const wanted = new Set((await mapBounded(namespaces, READS_AT_ONCE, (name) => namespaceId(namespacePath(name)))).filter(isDefined))
  const own = await namespaceId('/proc/self/ns/net')
  if (own === undefined || wanted.has(own)) {
    throw new WeftError('USAGE', 'this command runs inside one of the namespaces that it is to remove', {
      hint: 'run it outside of the lab',
    })
  }
  if (wanted.size === 0) return []
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry)).map(Number)
  const found = await mapBounded(pids, READS_AT_ONCE, async (pid) => {
    const namespace = await namespaceId(`/proc/${pid}/ns/net`)
    return namespace !== undefined && wanted.has(namespace) ? await identify(pid) : undefined
  })
  return found.filter(isDefined)
}

/** SIGKILL, and waits until all are gone. Those that are gone already, or whose id is another process's by now, are left alone. */
export async function killProcesses(processes: readonly ProcessIdentity[]): Promise<void> {
  const alive = await stillAlive(processes)
  if (alive.length === 0) return
  // Node can signal others only through `process`, which is for main.ts alone; the shell's own `kill` is everywhere.
  await runTool('sh', ['-c', 'kill -KILL "$@"', 'sh', ...alive.map(({ pid }) => String(pid))])
  let left = alive
  for (let waited = 0; waited < DIES_WITHIN; waited += POLL) {
    left = await stillAlive(left)
    if (left.length === 0) return
    await sleep(POLL)
  }
  throw new WeftError('KERNEL', `these processes do not die: ${left.map(({ pid }) => pid).join(', ')}`)
}

async function stillAlive(processes: readonly ProcessIdentity[]): Promise<readonly ProcessIdentity[]> {
  const alive = await mapBounded(processes, READS_AT_ONCE, isAlive)
  return processes.filter((_, index) => alive[index])
}

/** Device and inode, by which the kernel tells namespaces apart. A file that is no namespace is on another device. */
async function namespaceId(path: string): Promise<string | undefined> {
  const found = await stat(path).catch(gone)
  return found === undefined ? undefined : `${found.dev}:${found.ino}`
}

/** A process may end while we look at it, and a namespace may be half-made. */
function gone(error: unknown): undefined {
  if (['ENOENT', 'ESRCH', 'EACCES', 'EINVAL'].includes(errnoCode(error) ?? '')) return undefined
  throw error
}

function isDefined<T>(value: T | undefined): value is T {
  return value !== undefined
}
