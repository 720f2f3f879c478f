/** A real router process in a namespace of its own, run as `weft run` with CAP_NET_ADMIN alone. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { seconds } from '../../mesh/base/brand.ts'
import { loadCrypto } from '../../mesh/crypto.ts'
import { createSecretFile } from '../../mesh/secret-file.ts'
import type { Snapshot } from '../../router/api/contract.ts'
import { ask } from '../../router/cli/client.ts'
import { secretPath } from '../../router/cli/paths.ts'
import { keyringOf } from './keyrings.ts'
import { makeNetns, type Netns } from './netns.ts'
import { makeSmallDisk, type SmallDisk } from './small-disk.ts'
import { until } from './until.ts'

const MAIN = fileURLToPath(new URL('../../router/main.ts', import.meta.url))
const PLUGIN = fileURLToPath(new URL('../../build/weft-cni', import.meta.url))
/** As setup.mjs runs it. */
const FLAGS = ['--max-semi-space-size=1', '--heap-growing-percent=25', '--v8-pool-size=1']
const run = promisify(execFile)

export interface TestRouter extends AsyncDisposable {
  readonly ns: Netns
  readonly directory: string
  readonly stateDirectory: string
  readonly socket: string
  /** What the state is on, when it has a disk of its own. */
  readonly disk: SmallDisk | undefined
  /** Starts the process; it need not become ready. */
  start(...words: readonly string[]): Running
  snapshot(): Promise<Snapshot>
  ready(): Promise<Snapshot>
  /** Runs the plugin as a runtime would; what it printed, as JSON. */
  cni(command: 'ADD' | 'DEL', pod: Netns | string, containerId: string, changes?: Readonly<Record<string, string>>): Promise<CniAnswer>
  weft(...words: readonly string[]): Promise<CommandResult>
}

export interface CniAnswer {
  readonly status: number
  readonly answer: { readonly code?: number; readonly msg?: string; readonly ips?: readonly { readonly address: string }[] } | undefined
}

export interface CommandResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly child: ChildProcess
  /** All that it printed so far. */
  log(): string
  /** Its exit code, once it has ended. */
  readonly ended: Promise<number | undefined>
}

async function runWeft(words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<CommandResult> {
  return await run(process.execPath, [MAIN, ...words], { env: { PATH: process.env['PATH'], ...env } }).then(
    ({ stdout, stderr }) => ({ status: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({ status: error.code, stdout: error.stdout, stderr: error.stderr }),
  )
}

/** Joins the underlays of these routers, which led nowhere so far, as cables to one switch in the namespace `hub`. */
export async function joinUnderlays(hub: Netns, routers: readonly TestRouter[]): Promise<void> {
  await hub.exec('sh', '-c', 'ip link set lo up; ip link add switch type bridge; ip link set switch up')
  for (const [index, { ns }] of routers.entries()) {
    await ns.exec('ip', 'link', 'set', 'wire', 'netns', hub.name, 'name', `port${index}`)
    await hub.exec('ip', 'link', 'set', `port${index}`, 'master', 'switch', 'up')
  }
}

/**
 * A namespace with an underlay at `address`/24, and no router in it yet.
 * @param diskBytes puts its state on a disk of this size.
 */
export async function makeRouter(address = '192.0.2.1', { diskBytes }: { readonly diskBytes?: number } = {}): Promise<TestRouter> {
  await using stack = new AsyncDisposableStack()
  const ns = stack.use(await makeNetns())
  await ns.exec(
    'sh',
    '-c',
    `ip link set lo up; ip link add eth0 type veth peer name wire; ip link set eth0 up; ip link set wire up; ip address add ${address}/24 dev eth0`,
  )
  const directory = await mkdtemp(join(tmpdir(), 'weft-router-'))
  stack.defer(() => rm(directory, { recursive: true }))
  const [stateDirectory, runDirectory] = [join(directory, 'state'), join(directory, 'run')]
  const crypto = await loadCrypto()
  await createSecretFile(secretPath(stateDirectory), keyringOf(1, crypto)(), crypto)
  const disk = diskBytes === undefined ? undefined : stack.use(await makeSmallDisk(stateDirectory, diskBytes))
  const children: Running[] = []
  stack.defer(async () => {
    for (const { child, ended } of children) {
      child.kill('SIGKILL')
      await ended
    }
  })
  const socket = join(runDirectory, 'api.sock')
  const start = (...words: readonly string[]): Running => {
    const running = launch({ ns, disk }, ['--state-dir', stateDirectory, '--run-dir', runDirectory, '--nickname', 'r', ...words])
    children.push(running)
    return running
  }
  const snapshot = async (): Promise<Snapshot> => JSON.parse((await ask(socket, 'GET', '/report')).body) as Snapshot
  const made = stack.move()
  return {
    ns,
    directory,
    stateDirectory,
    socket,
    disk,
    start,
    snapshot,
    ready: () =>
      until('the router is ready', async () => ((await snapshot().catch(() => undefined))?.ready ? snapshot() : undefined), seconds(20)),
    cni: (command, pod, containerId, changes = {}) =>
      runPlugin(
        { netnsPath: ns.path, cniSocket: join(runDirectory, 'cni.sock'), pendingDirectory: join(stateDirectory, 'pending') },
        command,
        pod,
        {
          containerId,
          changes,
        },
      ),
    weft: (...words) => runWeft(words, { WEFT_SOCKET: socket }),
    [Symbol.asyncDispose]: () => made.disposeAsync(),
  }
}

function launch({ ns, disk }: Pick<TestRouter, 'ns' | 'disk'>, words: readonly string[]): Running {
  const privileges = ['setpriv', '--pdeathsig', 'KILL', '--bounding-set=-all,+net_admin', '--inh-caps=-all', '--no-new-privs', '--']
  const [enter = '', ...where] = [...(disk?.enter ?? ['nsenter']), `--net=${ns.path}`]
  const child = spawn(enter, [...where, '--', ...privileges, process.execPath, ...FLAGS, MAIN, 'run', ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (part: string) => (text += part))
  const ended = once(child, 'close').then(([code]) => (code as number | null) ?? undefined)
  return { child, log: () => text, ended }
}

/** Where a router is. */
interface PluginPlace {
  readonly netnsPath: string
  readonly cniSocket: string
  readonly pendingDirectory: string
}

interface PluginCall {
  readonly containerId: string
  /** Variables, and `CONF`: the configuration. */
  readonly changes?: Readonly<Record<string, string>>
}

/** Runs the plugin as a runtime would. */
export async function runPlugin(
  at: PluginPlace,
  command: string,
  pod: Pick<Netns, 'path'> | string,
  { containerId, changes = {} }: PluginCall,
): Promise<CniAnswer> {
  const { CONF: conf = '{"cniVersion":"1.0.0","name":"weft","type":"weft-cni"}', ...env } = changes
  const child = spawn('nsenter', [`--net=${at.netnsPath}`, '--', PLUGIN], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: containerId,
      CNI_NETNS: typeof pod === 'string' ? pod : pod.path,
      CNI_IFNAME: 'eth0',
      WEFT_CNI_SOCKET: at.cniSocket,
      WEFT_CNI_PENDING: at.pendingDirectory,
      ...env,
    },
  })
  child.stdin.on('error', () => undefined)
  child.stdin.end(conf)
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => (stdout += part))
  const [status] = (await once(child, 'close')) as [number]
  return { status, answer: stdout === '' ? undefined : JSON.parse(stdout) }
}
