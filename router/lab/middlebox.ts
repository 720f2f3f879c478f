/**
 * Puts the middlebox (`middlebox/middlebox.c`) into hosts' cables, and takes it out. Which ones run is read from the
 * processes of the namespace, never from a file, so that a command that was killed half-way leaves nothing that the next
 * one does not find.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, open, readFile, rm } from 'node:fs/promises'
import { basename } from 'node:path'
import { millis, seconds } from '../../mesh/base/brand.ts'
import { deadline, sleep } from '../../mesh/base/clock.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { addBridge, addVeth, deleteLink, getLink, setLink } from '../kernel/link.ts'
import type { Netlink } from '../kernel/netlink.ts'
import { cableEnds, setCables, untilPassing } from './cables.ts'
import { cableDevices, DRAIN, switchOf } from './devices.ts'
import { decodeCounters, type Impairment, type ImpairmentCounters, middleboxWords } from './impairment.ts'
import { linkNamed, must, within } from './inside.ts'
import { type HostName, type LabName, switchNamespace } from './names.ts'
import { hostPaths, MIDDLEBOX, namespacePath } from './paths.ts'
import type { LabPorts } from './ports.ts'
import { killProcesses, processesIn } from './processes.ts'
import type { LabHost, LabState, ProcessIdentity } from './state.ts'

const READY_WITHIN = seconds(5)
const POLL = millis(5)

/** Makes the cable of `host` what `lab` says it is. @throws {WeftError} with what the kernel or the middlebox refused. */
export async function applyImpairment(lab: LabState, { name: host }: LabHost, ports: Pick<LabPorts, 'clock' | 'signal'>): Promise<void> {
  const impairment = lab.impairments.find((other) => other.host === host)
  if (impairment !== undefined) await requireMiddlebox()
  await killProcesses(await middleboxesOf(lab.name, host))
  await within(switchNamespace(lab.name), ports.clock, (netlink) =>
    impairment === undefined ? unplug(netlink, lab, host) : plug(netlink, lab, host),
  )
  await setCables(lab)
  const { mid, box } = cableDevices(host)
  await untilPassing(lab, [...cableEnds(lab), ...(impairment === undefined ? [] : [mid, box])])
  if (impairment !== undefined) await startMiddlebox(lab.name, impairment, ports.signal)
}

async function requireMiddlebox(): Promise<void> {
  try {
    await access(MIDDLEBOX)
  } catch (cause) {
    throw new WeftError('MISSING', `there is no ${MIDDLEBOX}`, { cause, hint: 'npm run build' })
  }
}

/** Between the cable's end and the switch comes a pair of devices; the cable's end leaves the switch. */
async function plug(netlink: Netlink, lab: LabState, host: HostName): Promise<void> {
  const { near, mid, box } = cableDevices(host)
  if (must(await getLink(netlink, DRAIN)) === undefined) must(await addBridge(netlink, { name: DRAIN }))
  if (must(await getLink(netlink, mid)) === undefined) must(await addVeth(netlink, { name: mid, up: true, peer: { name: box } }))
  const drain = (await linkNamed(netlink, DRAIN)).index
  await setMaster(netlink, mid, drain)
  const port = (await linkNamed(netlink, box)).index
  must(await setLink(netlink, port, { master: (await linkNamed(netlink, switchOf(lab.underlay, host))).index, up: true }))
  // Last: a switch with no port for a moment would lose its carrier.
  await setMaster(netlink, near, drain)
}

async function unplug(netlink: Netlink, lab: LabState, host: HostName): Promise<void> {
  const { near, mid } = cableDevices(host)
  await setMaster(netlink, near, (await linkNamed(netlink, switchOf(lab.underlay, host))).index)
  must(await deleteLink(netlink, mid))
}

async function setMaster(netlink: Netlink, name: string, master: number): Promise<void> {
  must(await setLink(netlink, (await linkNamed(netlink, name)).index, { master }))
}

async function startMiddlebox(lab: LabName, impairment: Impairment, signal: AbortSignal): Promise<void> {
  const { counters, middleboxLog } = hostPaths(lab, impairment.host)
  const { near, mid } = cableDevices(impairment.host)
  // Those of an earlier one would say that this one is ready.
  await rm(counters, { force: true })
  const exited = new AbortController()
  const log = await open(middleboxLog, 'w', 0o600)
  try {
    const words = [near, mid, counters, ...middleboxWords(impairment)]
    const child = spawn('nsenter', [`--net=${namespacePath(switchNamespace(lab))}`, '--', MIDDLEBOX, ...words], {
      cwd: '/',
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      env: {},
    })
    child.once('exit', () => exited.abort())
    await once(child, 'spawn')
    child.unref()
  } catch (cause) {
    throw new WeftError('KERNEL', 'cannot start the middlebox', { cause })
  } finally {
    await log.close()
  }
  const ended = AbortSignal.any([exited.signal, deadline(READY_WITHIN, signal)])
  while (!ended.aborted) {
    if ((await readCounters(lab, impairment.host)) !== undefined) return
    await sleep(POLL)
  }
  const said = (await readFile(middleboxLog, 'utf8')).trim()
  throw new WeftError('KERNEL', `the middlebox of ${impairment.host} does not work: ${said || 'it is not ready in time'}`)
}

/** Those that run; more than one only where a command was killed. */
async function middleboxesOf(lab: LabName, host: HostName): Promise<readonly ProcessIdentity[]> {
  return (await runningIn(lab)).filter(({ words }) => isMiddleboxOf(words, host)).map(({ identity }) => identity)
}

interface Running {
  readonly identity: ProcessIdentity
  readonly words: readonly string[]
}

async function runningIn(lab: LabName): Promise<readonly Running[]> {
  const processes = await processesIn([switchNamespace(lab)])
  return await Promise.all(processes.map(async (identity) => ({ identity, words: await commandLine(identity.pid) })))
}

/** nsenter becomes the middlebox: until it has, its own words stand in front. */
function isMiddleboxOf(words: readonly string[], host: HostName): boolean {
  const program = words.findIndex((word) => basename(word) === basename(MIDDLEBOX))
  return program >= 0 && words[program + 1] === cableDevices(host).near
}

async function commandLine(pid: number): Promise<readonly string[]> {
  const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return text.split('\0')
}

async function readCounters(lab: LabName, host: HostName): Promise<ImpairmentCounters | undefined> {
  const bytes = await readFile(hostPaths(lab, host).counters).catch(() => undefined)
  return bytes === undefined ? undefined : decodeCounters(bytes)
}

export interface ImpairmentStatus {
  readonly impairment: Impairment
  /** When not, it was killed, or a command was: the next `lab impair` of the host makes the cable what it says. */
  readonly running: boolean
  readonly counters: ImpairmentCounters | undefined
}

export async function impairmentsOf(lab: LabState): Promise<readonly ImpairmentStatus[]> {
  if (lab.impairments.length === 0) return []
  const processes = await runningIn(lab.name)
  return await Promise.all(
    lab.impairments.map(async (impairment) => ({
      impairment,
      running: processes.some(({ words }) => isMiddleboxOf(words, impairment.host)),
      counters: await readCounters(lab.name, impairment.host),
    })),
  )
}
