/**
 * The container runtime of a lab's hosts: makes a pod's network namespace, runs the plugins of the host's network
 * configuration as libcni does, and keeps what DEL will need.
 */
import { mkdir, readFile, rm } from 'node:fs/promises'
import { seconds } from '../../mesh/base/brand.ts'
import { describeError, WeftError } from '../../mesh/base/errors.ts'
import { randomBelow } from '../../mesh/base/random.ts'
import { type HostName, type LabName, namespaceOf, type PodName } from './names.ts'
import {
  addressesIn,
  type CniDocument,
  documentSchema,
  type NetworkList,
  type PluginConfig,
  parseConflist,
  parseFault,
  pluginRequest,
  resultForDel,
} from './network-config.ts'
import { hostPaths, namespacePath, PLUGIN_DIRECTORY, podFile } from './paths.ts'
import type { LabPorts } from './ports.ts'
import { type PodRecord, readPod, writeState } from './state.ts'
import { runTool } from './tool.ts'
import { makePodNamespace, removeNamespaces } from './underlay.ts'

const IFNAME = 'eth0'

/** Longer than the plugin's own deadline of a minute, so that its error is heard. */
const PLUGIN_TAKES_AT_MOST = seconds(90)

/** The plugin's answer when it may work a little later (CNI specification, error codes). */
const CODE_TRY_AGAIN = 11

export interface NewPod {
  readonly lab: LabName
  readonly host: HostName
  readonly name: PodName
}

/** ADD, after DEL of one whose ADD was cut short. When it fails nothing of the pod is left. @throws {WeftError} with the plugin's code, message and details. */
export async function addPod(pod: NewPod, ports: LabPorts): Promise<PodRecord> {
  const { lab, host, name } = pod
  const list = await readConflist(lab, host)
  const leftover = await readPod(podFile(lab, host, name))
  if (leftover.ok) await deletePod(lab, leftover.value, ports)
  const suffix = randomBelow(ports.random, 0x1_0000_0000).toString(16).padStart(8, '0')
  const record: PodRecord = { version: 1, name, host, containerId: `weft-${lab}-${name}-${suffix}` }
  await mkdir(hostPaths(lab, host).pods, { recursive: true })
  await writeState(podFile(lab, host, name), record)
  const call = { lab, record, list, searchPath: ports.searchPath }
  try {
    await makePodNamespace(lab, name, ports.clock)
    const result = await addThroughAll(call)
    const added = { ...record, result, ...addressesIn(result) }
    await writeState(podFile(lab, host, name), added)
    return added
  } catch (error) {
    // As a runtime does: DEL after an ADD that failed, and whatever it says the pod is over.
    await deleteThroughAll(call).catch(() => undefined)
    await forget(lab, record)
    throw error
  }
}

/** DEL. When it fails the pod stays, so that it can be tried again. @throws {WeftError} with the plugin's code, message and details. */
export async function deletePod(lab: LabName, record: PodRecord, ports: LabPorts): Promise<void> {
  const list = await readConflist(lab, record.host)
  await deleteThroughAll({ lab, record, list, searchPath: ports.searchPath })
  await forget(lab, record)
}

async function forget(lab: LabName, { host, name }: PodRecord): Promise<void> {
  await removeNamespaces([namespaceOf(lab, name)])
  await rm(podFile(lab, host, name), { force: true })
}

async function readConflist(lab: LabName, host: HostName): Promise<NetworkList> {
  const path = hostPaths(lab, host).conflist
  const parsed = parseConflist(await readFile(path, 'utf8'))
  if (!parsed.ok) throw new WeftError('INPUT', `${path}: ${parsed.error}`)
  return parsed.value
}

interface Call {
  readonly lab: LabName
  readonly record: PodRecord
  readonly list: NetworkList
  readonly searchPath: string
}

/** Forward, each plugin with the answer of the one before. */
async function addThroughAll(call: Call): Promise<CniDocument> {
  let prevResult: CniDocument | undefined
  for (const plugin of call.list.plugins) {
    const stdout = await runPlugin(call, plugin, 'ADD', prevResult)
    const parsed = documentSchema.safeParse(parseJson(stdout))
    if (!parsed.success) throw new WeftError('INPUT', `${plugin.type} ADD answered with something else than a JSON object: ${stdout}`)
    prevResult = parsed.data
  }
  return prevResult ?? {}
}

/** In reverse, each plugin with the answer to the whole ADD. */
async function deleteThroughAll(call: Call): Promise<void> {
  const prevResult = resultForDel(call.list, call.record.result)
  for (const plugin of call.list.plugins.toReversed()) await runPlugin(call, plugin, 'DEL', prevResult)
}

async function runPlugin(call: Call, plugin: PluginConfig, command: 'ADD' | 'DEL', prevResult: CniDocument | undefined): Promise<string> {
  const { lab, record, list, searchPath } = call
  const host = hostPaths(lab, record.host)
  const words = [`--net=${namespacePath(namespaceOf(lab, record.host))}`, '--', `${PLUGIN_DIRECTORY}/${plugin.type}`]
  const { status, stdout, stderr } = await runTool('nsenter', words, {
    stdin: JSON.stringify(pluginRequest(list, plugin, prevResult)),
    takesAtMost: PLUGIN_TAKES_AT_MOST,
    env: {
      PATH: searchPath,
      CNI_COMMAND: command,
      CNI_CONTAINERID: record.containerId,
      CNI_NETNS: namespacePath(namespaceOf(lab, record.name)),
      CNI_IFNAME: IFNAME,
      CNI_PATH: PLUGIN_DIRECTORY,
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${lab};K8S_POD_NAME=${record.name};K8S_POD_INFRA_CONTAINER_ID=${record.containerId}`,
      WEFT_CNI_SOCKET: host.cniSocket,
      WEFT_CNI_PENDING: host.pending,
    },
  })
  if (status === 0) return stdout
  throw pluginFailure(
    `${plugin.type} ${command} of pod ${record.name} failed`,
    parseFault(stdout),
    `${status}: ${stderr.trim() || stdout.trim()}`,
  )
}

function pluginFailure(what: string, fault: ReturnType<typeof parseFault>, otherwise: string): WeftError {
  if (fault === undefined) return new WeftError('KERNEL', `${what}: it ended with ${otherwise}`)
  const { code, msg, details } = fault
  const text = `${what}: ${msg}${details === undefined ? '' : ` (${details})`} [CNI error ${code}]`
  return new WeftError(code === CODE_TRY_AGAIN ? 'UNREACHABLE' : 'KERNEL', text)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    return describeError(error)
  }
}
