/** Builds a lab: directories and identities, namespaces and cables, routers, pods. */
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Cidr, formatCidr, formatIpv4 } from '../../mesh/base/address.ts'
import { describeError, WeftError } from '../../mesh/base/errors.ts'
import { assert, err, ok, type Result } from '../../mesh/base/result.ts'
import { loadCrypto } from '../../mesh/crypto.ts'
import { loadOrCreateIdentity } from '../../mesh/identity-file.ts'
import { clusterKey, SECRET_BYTES } from '../../mesh/keyring.ts'
import { createSecretFile } from '../../mesh/secret-file.ts'
import { renderConflist } from '../../plugin/conflist.ts'
import type { NodeCommand } from '../cli/io.ts'
import { mapBounded } from './bounded.ts'
import { removeLab } from './cleanup.ts'
import { saveLab } from './lab.ts'
import { hostAddress, hostName, type LabName, podName, type UnderlayKind } from './names.ts'
import { checkNat, publicAddress } from './nat.ts'
import { commandDirectory, hostPaths, labDirectory, labFile, WEFT_MAIN } from './paths.ts'
import type { LabPorts } from './ports.ts'
import { routerOf, startRouters, untilConverged } from './routers.ts'
import { addPod } from './runtime.ts'
import { type LabHost, type LabState, type PodRecord, readLab } from './state.ts'
import { makeUnderlay } from './underlay.ts'

/** Each is two programs that mostly wait for the router. */
const PODS_AT_ONCE = 16

export const DEFAULT_MTU_BYTES = 1_500
/** All hosts of a lab are near each other unless it is told otherwise. */
export const DEFAULT_ZONE = 'lab'

/** As `--zone` of the router takes it, without the comma that parts a list. */
const ZONE = /^[\x21-\x2b\x2d-\x7e]{1,63}$/

/** The error is for people. */
export function parseZone(text: string): Result<string, string> {
  return ZONE.test(text) ? ok(text) : err('not names of 1 to 63 printable characters, separated by commas')
}

export interface LabPlan {
  readonly name: LabName
  readonly hosts: number
  readonly podsPerHost: number
  readonly underlay: UnderlayKind
  /** One for all hosts, or one for each. */
  readonly mtuBytes: readonly number[]
  readonly zones: readonly string[]
  /** The names of hosts behind address translation. */
  readonly nat: readonly string[]
  /** That pods get their addresses from; the routers' default when undefined. */
  readonly range: Cidr | undefined
}

/** @throws {WeftError} USAGE when a list has neither one entry nor one for each host. */
export function perHost<T>(option: string, values: readonly T[], hosts: number): readonly T[] {
  const [only] = values
  if (only !== undefined && values.length === 1) return Array.from({ length: hosts }, () => only)
  if (values.length === hosts) return values
  throw new WeftError('USAGE', `${option} has ${values.length} entries, and the lab ${counted(hosts, 'host')}`, {
    hint: 'give one for all hosts, or one for each, separated by commas',
  })
}

export interface BuiltLab {
  readonly lab: LabState
  readonly pods: readonly PodRecord[]
}

/**
 * Whatever is left of an earlier lab of this name is removed first; when something fails, nothing is left.
 * The caller holds the lab's lock. @throws {WeftError} CONFLICT when the lab is up.
 */
export async function buildLab(plan: LabPlan, ports: LabPorts): Promise<BuiltLab> {
  perHost('--mtu', plan.mtuBytes, plan.hosts)
  perHost('--zones', plan.zones, plan.hosts)
  checkNat(plan.nat, { underlay: plan.underlay, hosts: Array.from({ length: plan.hosts }, (_, index) => hostName(index)) })
  await refuseIfUp(plan.name)
  if (await removeLab(plan.name)) ports.step(`lab ${plan.name}: removed what was left of an earlier one`)
  try {
    return await build(plan, ports)
  } catch (error) {
    try {
      await removeLab(plan.name)
    } catch (second) {
      throw new WeftError('KERNEL', `${describeError(error)} (and then the half-made lab could not be removed: ${describeError(second)})`, {
        cause: error,
      })
    }
    throw error
  }
}

/** A lab is up while any of its routers runs: one whose routers are all gone is a leftover. */
async function refuseIfUp(name: LabName): Promise<void> {
  const state = await readLab(labFile(name))
  if (!state.ok || state.value.phase !== 'ready') return
  const { value: lab } = state
  const routers = await Promise.all(lab.hosts.map((host) => routerOf(lab, host)))
  if (routers.every((router) => router === undefined)) return
  throw new WeftError('CONFLICT', `lab ${name} is up already`, {
    hint: `remove it with \`weft lab down --name ${name}\`, or choose another --name`,
  })
}

async function build(plan: LabPlan, ports: LabPorts): Promise<BuiltLab> {
  const { name, underlay, range } = plan
  ports.step(`lab ${name}: making ${counted(plan.hosts, 'host')}`)
  const hosts = await makeHosts(plan, ports)
  const ranged = range && { range: formatCidr(range) }
  const lab: LabState = { version: 2, name, phase: 'building', underlay, ...ranged, hosts, cuts: [], impairments: [] }
  await saveLab(lab)
  await makeUnderlay(lab, ports.clock)
  ports.step(`lab ${name}: starting ${counted(plan.hosts, 'router')}`)
  await startRouters(lab, hosts, ports)
  const pods = await makePods(plan, hosts, ports)
  ports.step(`lab ${name}: waiting until all know each other`)
  await untilConverged(lab, pods, ports)
  const ready: LabState = { ...lab, phase: 'ready' }
  await saveLab(ready)
  return { lab: ready, pods }
}

/** Directories, identities, and one secret for all. The routers find their identities there; the ring needs all their names at the start. */
async function makeHosts({ name: lab, hosts, underlay, mtuBytes, zones, nat }: LabPlan, { node }: LabPorts): Promise<readonly LabHost[]> {
  const [mtuOf, zoneOf] = [perHost('--mtu', mtuBytes, hosts), perHost('--zones', zones, hosts)]
  const crypto = await loadCrypto()
  const keyring = { primary: clusterKey(crypto.randomBytes(SECRET_BYTES), crypto), other: undefined }
  await mkdir(labDirectory(lab), { recursive: true, mode: 0o700 })
  await writeWrapper(lab, node)
  return await mapBounded([...Array(hosts).keys()], PODS_AT_ONCE, async (index) => {
    const name = hostName(index)
    const paths = hostPaths(lab, name)
    for (const directory of [paths.state, paths.run, paths.pods]) await mkdir(directory, { recursive: true, mode: 0o700 })
    await writeFile(paths.conflist, renderConflist())
    await createSecretFile(paths.secret, keyring, crypto)
    const identity = await loadOrCreateIdentity(paths.identity, crypto)
    const [mtu, zone] = [mtuOf[index], zoneOf[index]]
    assert(mtu !== undefined && zone !== undefined, 'there is one for each host')
    const address = formatIpv4(hostAddress(index, underlay))
    const behind = nat.includes(name) ? { publicAddress: publicAddress(index) } : {}
    return { name, address, peer: identity.name, zone, mtuBytes: mtu, farMtuBytes: mtu, ...behind }
  })
}

/** A `weft` for `lab exec`: this one, whatever is installed. */
async function writeWrapper(lab: LabName, { path: node, flags, compileCache }: NodeCommand): Promise<void> {
  const path = join(commandDirectory(lab), 'weft')
  await mkdir(commandDirectory(lab), { recursive: true })
  const cache = compileCache === undefined ? '' : `export NODE_COMPILE_CACHE=${shellWord(compileCache)}\n`
  await writeFile(path, `#!/bin/sh\n${cache}exec ${[node, ...flags, WEFT_MAIN].map(shellWord).join(' ')} "$@"\n`)
  await chmod(path, 0o755)
}

function shellWord(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

async function makePods({ name: lab, podsPerHost }: LabPlan, hosts: readonly LabHost[], ports: LabPorts): Promise<readonly PodRecord[]> {
  const wanted = hosts.flatMap((host) => Array.from({ length: podsPerHost }, (_, index) => ({ host: host.name, number: index + 1 })))
  ports.step(`lab ${lab}: adding ${counted(wanted.length, 'pod')}`)
  return await mapBounded(wanted, PODS_AT_ONCE, ({ host, number }) => {
    ports.signal.throwIfAborted()
    return addPod({ lab, host, name: podName(host, number) }, ports)
  })
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}
