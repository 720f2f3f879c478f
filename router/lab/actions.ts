/** What the lab's commands do, each as one function: locks, calls the parts, saves what changed. */
import { parseIpv4 } from '../../mesh/base/address.ts'
import { systemClock } from '../../mesh/base/clock.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { parseIpv6 } from '../../mesh/base/ip.ts'
import { systemRandom } from '../../mesh/base/random.ts'
import { ask } from '../cli/client.ts'
import type { CliIo } from '../cli/io.ts'
import { native } from '../kernel/native.ts'
import { labNames, removeLab } from './cleanup.ts'
import { hostNamed, openLab, podNamed, podsOf } from './lab.ts'
import { LabLock } from './lock.ts'
import { type ImpairmentStatus, impairmentsOf } from './middlebox.ts'
import { freePodName, type LabName, namespaceOf, PODS_PER_HOST_MAX, parsePodName } from './names.ts'
import { hostPaths, labFile, namespacePath } from './paths.ts'
import type { LabPorts } from './ports.ts'
import { checkAll } from './probe/check.ts'
import type { CheckReport } from './probe/report.ts'
import { Progress } from './progress.ts'
import { killRouter, routerOf, startRouters } from './routers.ts'
import { addPod, deletePod } from './runtime.ts'
import { type LabHost, type LabState, type PodRecord, readLab } from './state.ts'
import { type BuiltLab, buildLab, type LabPlan } from './up.ts'

/** Where programs are on every Linux, whatever the caller's environment says. */
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

export function searchPath(io: CliIo): string {
  return io.env['PATH'] === undefined ? SYSTEM_PATH : `${io.env['PATH']}:${SYSTEM_PATH}`
}

/** Runs `work` as the only command that changes the lab. */
export async function changing<T>(io: CliIo, lab: LabName, work: (ports: LabPorts) => Promise<T>): Promise<T> {
  using progress = new Progress(systemClock, (line) => io.err(line))
  const ports: LabPorts = {
    clock: systemClock,
    random: systemRandom,
    node: io.node,
    searchPath: searchPath(io),
    signal: io.signal,
    step: (text) => progress.step(text),
  }
  ports.step(`lab ${lab}: waiting for another command`)
  await using _lock = await LabLock.take(lab, io.signal)
  return await work(ports)
}

export function up(io: CliIo, plan: LabPlan): Promise<BuiltLab> {
  return changing(io, plan.name, (ports) => buildLab(plan, ports))
}

/** False when there was nothing to remove. */
export function down(io: CliIo, name: LabName): Promise<boolean> {
  return changing(io, name, (ports) => {
    ports.step(`lab ${name}: removing it`)
    return removeLab(name)
  })
}

/** @param wanted its name; the first free one of a1, a2, … when undefined. */
export function addPodTo(io: CliIo, name: LabName, pod: { host: string; wanted: string | undefined }): Promise<PodRecord> {
  return changing(io, name, async (ports) => {
    const lab = await openLab(name)
    const host = hostNamed(lab, pod.host)
    const pods = await podsOf(lab)
    if (pods.filter((other) => other.host === host.name).length >= PODS_PER_HOST_MAX) {
      throw new WeftError('USAGE', `host ${host.name} has ${PODS_PER_HOST_MAX} pods already, the most that the lab makes`)
    }
    const taken = new Set<string>([...pods.map((other) => other.name), ...lab.hosts.map((other) => other.name)])
    const podName = pod.wanted === undefined ? freePodName(host.name, taken) : parsePodName(pod.wanted)
    if (taken.has(podName)) throw new WeftError('CONFLICT', `lab ${name} has a ${podName} already`)
    return await addPod({ lab: name, host: host.name, name: podName }, ports)
  })
}

export function deletePodOf(io: CliIo, name: LabName, pod: string): Promise<PodRecord> {
  return changing(io, name, async (ports) => {
    const record = await podNamed(await openLab(name), pod)
    await deletePod(name, record, ports)
    return record
  })
}

export function kill(io: CliIo, name: LabName, host: string): Promise<void> {
  return changing(io, name, async () => {
    const lab = await openLab(name)
    await killRouter(lab, hostNamed(lab, host))
  })
}

export function start(io: CliIo, name: LabName, hostWanted: string): Promise<void> {
  return changing(io, name, async (ports) => {
    const lab = await openLab(name)
    const host = hostNamed(lab, hostWanted)
    if ((await routerOf(lab, host)) !== undefined) throw new WeftError('CONFLICT', `the router of ${host.name} runs already`)
    ports.step(`lab ${name}: starting the router of ${host.name}`)
    await startRouters(lab, [host], ports)
  })
}

/** Changes nothing, so that it waits for nobody. */
export async function check(io: CliIo, name: LabName): Promise<CheckReport> {
  const pods = await podsOf(await openLab(name))
  using progress = new Progress(systemClock, (line) => io.err(line))
  progress.step(`lab ${name}: checking ${pods.length * (pods.length - 1)} pairs of pods`)
  const targets = pods.flatMap(({ name: pod, address, address6 }) => {
    if (address === undefined) return []
    const other = address6 === undefined ? undefined : parseIpv6(address6)
    return [{ name: pod, address: parseIpv4(address), address6: other, namespacePath: namespacePath(namespaceOf(name, pod)) }]
  })
  return await checkAll(name, targets, { native: native(), clock: systemClock, random: systemRandom })
}

export interface HostStatus {
  readonly host: LabHost
  readonly running: boolean
  /** What its router says: the whole of its status. */
  readonly text: string
}

export interface LabStatus {
  readonly lab: LabState
  readonly pods: readonly PodRecord[]
  readonly hosts: readonly HostStatus[]
  readonly impairments: readonly ImpairmentStatus[]
}

/** @param part of the routers' status, as in `weft status PART`; the whole when undefined. */
export async function status(name: LabName, format: 'text' | 'json', part?: string): Promise<LabStatus> {
  const lab = await openLab(name)
  const path = `/status${part === undefined ? '' : `/${part}`}${format === 'text' ? '?format=text' : ''}`
  const hosts = await Promise.all(
    lab.hosts.map(async (host) => {
      const running = (await routerOf(lab, host)) !== undefined
      return { host, running, text: running ? (await ask(hostPaths(name, host.name).apiSocket, 'GET', path)).body : '' }
    }),
  )
  return { lab, pods: await podsOf(lab), hosts, impairments: await impairmentsOf(lab) }
}

/** One lab of this machine, in few words. */
export interface LabEntry {
  readonly name: LabName
  /** `damaged`: its file cannot be read; `lab down` and `lab up` work all the same. */
  readonly phase: LabState['phase'] | 'damaged'
  readonly hosts: number
  readonly pods: number
  readonly runningRouters: number
}

export async function list(): Promise<readonly LabEntry[]> {
  return await Promise.all((await labNames()).map(entryOf))
}

async function entryOf(name: LabName): Promise<LabEntry> {
  const state = await readLab(labFile(name))
  if (!state.ok) {
    const phase = state.error.code === 'missing' ? 'building' : 'damaged'
    return { name, phase, hosts: 0, pods: 0, runningRouters: 0 }
  }
  const { value: lab } = state
  const routers = await Promise.all(lab.hosts.map((host) => routerOf(lab, host)))
  const runningRouters = routers.filter((router) => router !== undefined).length
  return { name, phase: lab.phase, hosts: lab.hosts.length, pods: (await podsOf(lab)).length, runningRouters }
}
