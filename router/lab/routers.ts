/** The routers of a lab: real ones, each in its host's namespace with CAP_NET_ADMIN and nothing more. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile } from 'node:fs/promises'
import { z } from 'zod'
import { millis, seconds } from '../../mesh/base/brand.ts'
import { deadline, sleep } from '../../mesh/base/clock.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { ask } from '../cli/client.ts'
import { mapBounded } from './bounded.ts'
import { namespaceOf } from './names.ts'
import { hostPaths, namespacePath, WEFT_MAIN } from './paths.ts'
import type { LabPorts } from './ports.ts'
import { identify, isAlive, killProcesses } from './processes.ts'
import { type LabHost, type LabState, type PodRecord, type ProcessIdentity, readRouter, writeState } from './state.ts'
import { runTool } from './tool.ts'

/** Starting Node takes most of a core for half a second: more at once only make each other late. */
const STARTS_AT_ONCE = 4
const READY_WITHIN = seconds(15)
const CONVERGED_WITHIN = seconds(15)
const POLL = millis(50)
const HTTP_OK = 200
const LOG_LINES_SHOWN = 15

/** What the router may do, and what it never gets back. */
const PRIVILEGES = ['--inh-caps=-all', '--ambient-caps=-all', '--no-new-privs']
const NET_ADMIN = '-all,+net_admin'
/** Reads files without asking for permission; changes nothing. */
const NET_ADMIN_AND_READ = `${NET_ADMIN},+dac_read_search`

/** Starts them, a few at a time, and waits until each is ready. @throws {WeftError} with the end of the log of the one that is not. */
export async function startRouters(lab: LabState, hosts: readonly LabHost[], ports: LabPorts): Promise<void> {
  const capabilities = await routerCapabilities(ports)
  await mapBounded(hosts, STARTS_AT_ONCE, async (host) => {
    ports.signal.throwIfAborted()
    await startRouter(lab, host, capabilities, ports)
  })
}

/**
 * CAP_NET_ADMIN alone, as in a cluster. A checkout in a home that only its owner may enter cannot be read with it:
 * there, reading is added.
 */
async function routerCapabilities({ node, step }: LabPorts): Promise<string> {
  const readable = ['sh', '-c', 'test -x "$0" && test -r "$1"', node.path, WEFT_MAIN]
  const { status } = await runTool('setpriv', [`--bounding-set=${NET_ADMIN}`, ...PRIVILEGES, '--', ...readable])
  if (status === 0) return NET_ADMIN
  step(`the routers get CAP_DAC_READ_SEARCH too, as only its owner may read ${WEFT_MAIN}`)
  return NET_ADMIN_AND_READ
}

async function startRouter(lab: LabState, host: LabHost, capabilities: string, ports: LabPorts): Promise<void> {
  const { log, router } = hostPaths(lab.name, host.name)
  const { compileCache } = ports.node
  const exited = new AbortController()
  const file = await open(log, 'a', 0o600)
  try {
    const words = [
      `--net=${namespacePath(namespaceOf(lab.name, host.name))}`,
      '--',
      ...['setpriv', `--bounding-set=${capabilities}`, ...PRIVILEGES, '--'],
      ...[ports.node.path, ...ports.node.flags, WEFT_MAIN, 'run', ...routerArguments(lab, host)],
    ]
    const child = spawn('nsenter', words, {
      cwd: '/',
      detached: true,
      stdio: ['ignore', file.fd, file.fd],
      env: { PATH: ports.searchPath, ...(compileCache === undefined ? {} : { NODE_COMPILE_CACHE: compileCache }) },
    })
    child.once('exit', () => exited.abort())
    await once(child, 'spawn')
    child.unref()
    const identity = child.pid === undefined ? undefined : await identify(child.pid)
    if (identity !== undefined) await writeState(router, { version: 1, identity })
  } catch (cause) {
    throw new WeftError('KERNEL', `cannot start the router of ${host.name}`, { cause })
  } finally {
    await file.close()
  }
  await untilReady(lab, host, AbortSignal.any([exited.signal, ports.signal]))
}

/** Every host but the first that can be reached knows that one only: they hear of each other through it. */
function routerArguments(lab: LabState, host: LabHost): readonly string[] {
  const { state, run } = hostPaths(lab.name, host.name)
  const [first, second] = lab.hosts.filter((other) => other.publicAddress === undefined)
  const peer = host.name === first?.name ? second : first
  return [
    ...['--state-dir', state, '--run-dir', run, '--nickname', host.name, '--zone', host.zone],
    ...['--ipam-init', `seed=${lab.hosts.map(({ peer: name }) => name).join(',')}`],
    ...(lab.range === undefined ? [] : ['--ipalloc-range', lab.range]),
    ...(peer === undefined ? [] : [peer.address]),
  ]
}

async function untilReady(lab: LabState, host: LabHost, ended: AbortSignal): Promise<void> {
  const { apiSocket } = hostPaths(lab.name, host.name)
  const limit = deadline(READY_WITHIN)
  let last = 'it does not answer'
  while (!limit.aborted && !ended.aborted) {
    const answer = await ask(apiSocket, 'GET', '/status').catch(() => undefined)
    if (answer?.status === HTTP_OK) return
    if (answer !== undefined) last = waitingFor(answer.body)
    await sleep(POLL)
  }
  const why = ended.aborted ? 'it has ended' : `after ${READY_WITHIN / 1_000} s ${last}`
  throw new WeftError('UNREACHABLE', `the router of ${host.name} is not ready: ${why}. The end of its log:\n${await logTail(lab, host)}`)
}

function waitingFor(body: string): string {
  const parsed = z.object({ waitingFor: z.array(z.string()) }).safeParse(JSON.parse(body))
  return parsed.success ? `it waits for ${parsed.data.waitingFor.join(', ')}` : `it answers ${body.trim()}`
}

async function logTail(lab: LabState, host: LabHost): Promise<string> {
  const text = await readFile(hostPaths(lab.name, host.name).log, 'utf8').catch(() => '')
  const lines = text.trimEnd().split('\n').slice(-LOG_LINES_SHOWN)
  return lines.map((line) => `    ${line}`).join('\n')
}

/** The running router of a host, or undefined. */
export async function routerOf(lab: LabState, host: LabHost): Promise<ProcessIdentity | undefined> {
  const record = await readRouter(hostPaths(lab.name, host.name).router)
  return record.ok && (await isAlive(record.value.identity)) ? record.value.identity : undefined
}

/** SIGKILL: no good-bye. @throws {WeftError} CONFLICT when it does not run. */
export async function killRouter(lab: LabState, host: LabHost): Promise<void> {
  const identity = await routerOf(lab, host)
  if (identity === undefined) throw new WeftError('CONFLICT', `the router of ${host.name} does not run`)
  await killProcesses([identity])
}

const reportSchema = z.object({
  router: z.object({ peers: z.array(z.unknown()) }),
  datapath: z.object({ routesWanted: z.number(), routesPresent: z.number(), pods: z.number(), unknownOwners: z.array(z.string()) }),
})

/** Waits until every host knows every other one and has all its routes and pods. @throws {WeftError} UNREACHABLE that says which does not. */
export async function untilConverged(lab: LabState, pods: readonly PodRecord[], ports: LabPorts): Promise<void> {
  const limit = deadline(CONVERGED_WITHIN, ports.signal)
  let waiting: readonly LabHost[] = lab.hosts
  for (;;) {
    const done = await mapBounded(waiting, STARTS_AT_ONCE, (host) => hasConverged(lab, host, pods))
    waiting = waiting.filter((_, index) => !done[index])
    if (waiting.length === 0) return
    if (limit.aborted) break
    await sleep(POLL)
  }
  ports.signal.throwIfAborted()
  const names = waiting.map(({ name }) => name).join(', ')
  throw new WeftError('UNREACHABLE', `after ${CONVERGED_WITHIN / 1_000} s these hosts do not reach all others: ${names}`)
}

async function hasConverged(lab: LabState, host: LabHost, pods: readonly PodRecord[]): Promise<boolean> {
  const { body } = await ask(hostPaths(lab.name, host.name).apiSocket, 'GET', '/report')
  const { router, datapath } = reportSchema.parse(JSON.parse(body))
  const knowsAll = router.peers.length >= lab.hosts.length && datapath.unknownOwners.length === 0
  const hasAll = datapath.routesPresent >= datapath.routesWanted && datapath.pods >= pods.filter((pod) => pod.host === host.name).length
  return knowsAll && hasAll
}
