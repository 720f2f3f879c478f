/** Runs the relay, `build/weft-cni`, as a container runtime does: with an environment and a stdin of ours and nothing else. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const RELAY_PATH = fileURLToPath(new URL('../../build/weft-cni', import.meta.url))

export interface RelayRun {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RelayOptions {
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>
  /** Undefined leaves it open and empty. */
  readonly stdin?: string | Uint8Array | undefined
  readonly cwd?: string
  /** Who runs it; root unless told otherwise. */
  readonly uid?: number
  /** A shell redirection such as `<&-`. */
  readonly redirect?: string
}

export interface RunningRelay {
  readonly child: ChildProcess
  readonly ended: Promise<RelayRun>
}

export function startRelay({ env, stdin, cwd = '/', uid = 0, redirect }: RelayOptions): RunningRelay {
  const [command, words] = redirect === undefined ? [RELAY_PATH, []] : ['/bin/sh', ['-c', `exec "$0" ${redirect}`, RELAY_PATH]]
  const child = spawn(command, words, { env, cwd, uid, stdio: 'pipe' })
  const [out, error]: [Buffer[], Buffer[]] = [[], []]
  child.stdout.on('data', (bytes: Buffer) => out.push(bytes))
  child.stderr.on('data', (bytes: Buffer) => error.push(bytes))
  /** It may end before it has read all. */
  child.stdin.on('error', () => undefined)
  if (stdin !== undefined) child.stdin.end(stdin)
  const ended = new Promise<RelayRun>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (exitCode) => {
      child.stdin.destroy()
      resolve({ exitCode, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(error).toString() })
    })
  })
  return { child, ended }
}

export function runRelay(options: RelayOptions): Promise<RelayRun> {
  return startRelay(options).ended
}

/** Where a test's socket and queue are; removed with all that is in it. */
export interface RelayDirectory extends AsyncDisposable {
  readonly socketPath: string
  readonly pendingDirectory: string
  /** The variables that lead the relay there. */
  readonly env: Readonly<Record<string, string>>
}

export async function makeRelayDirectory(): Promise<RelayDirectory> {
  const directory = await mkdtemp(join(tmpdir(), 'weft-t-cni-'))
  const socketPath = join(directory, 'cni.sock')
  const pendingDirectory = join(directory, 'state', 'pending')
  return {
    socketPath,
    pendingDirectory,
    env: { WEFT_CNI_SOCKET: socketPath, WEFT_CNI_PENDING: pendingDirectory },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  }
}

/** What a runtime sets for interface `eth0` of a container. */
export function runtimeEnv(directory: RelayDirectory, command: string, netns = '', containerId = 'c'): Readonly<Record<string, string>> {
  return { ...directory.env, CNI_COMMAND: command, CNI_CONTAINERID: containerId, CNI_NETNS: netns, CNI_IFNAME: 'eth0', CNI_PATH: '/bin' }
}

/** A network configuration as it comes on stdin. */
export function netConf(more: object = {}): string {
  return JSON.stringify({ cniVersion: '1.1.0', name: 'weft', type: 'weft-cni', ...more })
}
