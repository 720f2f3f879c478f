/**
 * How big a frame each cable carries, and what may pass it in one piece.
 *
 * A veth pair passes the super-frames of segmentation offload (64 KB and more) whole, and neither it nor a switch compares
 * these with an MTU. That is fast, and true to what arrives as long as every cable takes what the sender takes. Where it is
 * not so, or a cable is impaired, hosts have to send packet by packet: then an MTU is one, and a loss is the loss of one.
 */
import { formatCidr, parseIpv4 } from '../../mesh/base/address.ts'
import { millis, seconds } from '../../mesh/base/brand.ts'
import { deadline, sleep } from '../../mesh/base/clock.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { mapBounded } from './bounded.ts'
import { cableDevices, HOST_DEVICE, switchOf } from './devices.ts'
import { namespaceOf, subnetAround, switchNamespace } from './names.ts'
import type { LabHost, LabState } from './state.ts'
import { mustRun } from './tool.ts'

const TOOLS_AT_ONCE = 8

/** `gso_max_segs`: Linux's own default, and what makes the kernel cut super-frames up before the device, tunnelled ones too. */
const SEGMENTS_ANY = 65_535
const SEGMENTS_ONE = 1

const PASSES_WITHIN = seconds(10)
const POLL = millis(10)

/** Above those that Linux names. */
const FIRST_TABLE = 1_000

/** Makes all cables as the lab says. @throws {WeftError} KERNEL with `ip`'s own words. */
export async function setCables(lab: LabState): Promise<void> {
  const { lines, perHost } = cableCommands(lab, await devicesIn(switchNamespace(lab.name)))
  await runLines(lab, lines)
  await mapBounded(perHost, TOOLS_AT_ONCE, ({ host, words }) => mustRun('ip', ['-n', namespaceOf(lab.name, host.name), ...words]))
}

/** A middlebox that was recorded may not have been plugged in: whoever was to do it was killed. */
async function devicesIn(namespace: string): Promise<ReadonlySet<string>> {
  return new Set((await statesIn(namespace)).keys())
}

/** Of each device: UP when it passes packets. */
async function statesIn(namespace: string): Promise<ReadonlyMap<string, string>> {
  const lines = (await mustRun('ip', ['-n', namespace, '-br', 'link', 'show'])).trim().split('\n')
  return new Map(lines.map((line) => [line.replace(/[@\s].*/, ''), line.split(/\s+/)[1] ?? '']))
}

/**
 * A device that was set up before it had a carrier drops what is sent by it until the kernel has taken the carrier into
 * account, which it does some time later. @throws {WeftError} KERNEL when it does not.
 */
export async function untilPassing({ name }: Pick<LabState, 'name'>, devices: readonly string[]): Promise<void> {
  const limit = deadline(PASSES_WITHIN)
  for (;;) {
    const states = await statesIn(switchNamespace(name))
    const waiting = devices.filter((device) => states.get(device) !== 'UP')
    if (waiting.length === 0) return
    if (limit.aborted) throw new WeftError('KERNEL', `the kernel does not take these devices into use: ${waiting.join(', ')}`)
    await sleep(POLL)
  }
}

/** What packets between the hosts leave by. */
export function cableEnds({ underlay, hosts }: LabState): readonly string[] {
  return hosts.flatMap(({ name }) => [cableDevices(name).near, ...(underlay === 'routed' ? [switchOf(underlay, name)] : [])])
}

async function runLines({ name }: LabState, lines: readonly string[]): Promise<void> {
  await mustRun('ip', ['-n', switchNamespace(name), '-batch', '-'], { stdin: lines.map((line) => `${line}\n`).join('') })
}

/** Once, before the first `setCables`. */
export async function prepareCables(lab: LabState): Promise<void> {
  if (lab.underlay === 'routed') await runLines(lab, ruleLines(lab))
}

interface CableCommands {
  /** Of the namespace between the hosts. */
  readonly lines: readonly string[]
  readonly perHost: readonly { readonly host: LabHost; readonly words: readonly string[] }[]
}

/** As words of `ip`, all that the kernel has to be told of each cable. @param present the devices between the hosts. */
export function cableCommands(lab: LabState, present: ReadonlySet<string>): CableCommands {
  const isUniform = new Set(lab.hosts.flatMap(({ mtuBytes, farMtuBytes }) => [mtuBytes, farMtuBytes])).size === 1
  const impaired = new Set(lab.impairments.map(({ host }) => host))
  const lines = lab.hosts.flatMap((host) => {
    const { near, mid, box } = cableDevices(host.name)
    const mtu = deviceMtu(lab, host)
    return [
      `link set dev ${near} mtu ${mtu}`,
      ...(lab.underlay === 'routed' ? routerLines(lab, host) : []),
      ...(present.has(box) ? [`link set dev ${mid} mtu ${mtu}`, `link set dev ${box} mtu ${mtu} gso_max_segs ${SEGMENTS_ONE}`] : []),
    ]
  })
  const perHost = lab.hosts.map((host) => {
    const segments = isUniform && !impaired.has(host.name) ? SEGMENTS_ANY : SEGMENTS_ONE
    return { host, words: ['link', 'set', 'dev', HOST_DEVICE, 'mtu', String(host.mtuBytes), 'gso_max_segs', String(segments)] }
  })
  return { lines, perHost }
}

/** Of what is between the host's own device and the network. */
function deviceMtu({ underlay }: LabState, { mtuBytes, farMtuBytes }: LabHost): number {
  return underlay === 'l2' ? farMtuBytes : mtuBytes
}

/**
 * Where the host does not know how narrow its path is, the router does, and says so, as one far away would: its routes to
 * the host and, by a table for what comes from the host, to all others are narrower than its devices. A frame too big for
 * the device itself would vanish without a word.
 */
function routerLines(lab: LabState, host: LabHost): readonly string[] {
  const device = switchOf('routed', host.name)
  const narrow = host.farMtuBytes < host.mtuBytes ? ` mtu ${host.farMtuBytes}` : ''
  const table = routeTable(lab, host)
  const others = narrow === '' ? [] : lab.hosts.filter((other) => other !== host)
  return [
    `link set dev ${device} mtu ${host.mtuBytes}`,
    `route replace ${subnetOf(host)} dev ${device} proto kernel scope link${narrow}`,
    `route flush table ${table}`,
    ...others.map(
      (other) => `route add ${subnetOf(other)} dev ${switchOf('routed', other.name)} scope link table ${table}${narrowest(host, other)}`,
    ),
  ]
}

/** Of the path between two hosts, the first of which is a narrow one. */
function narrowest(one: LabHost, other: LabHost): string {
  return ` mtu ${Math.min(one.farMtuBytes, other.farMtuBytes)}`
}

/** In the order of the hosts. What comes from a host is looked up there first; while the table is empty, in the main one. */
function routeTable({ hosts }: LabState, host: LabHost): number {
  return FIRST_TABLE + hosts.indexOf(host)
}

/** The tables, with a route that sends on to the next rule, and their rules. */
function ruleLines(lab: LabState): readonly string[] {
  return lab.hosts.flatMap((host) => {
    const table = routeTable(lab, host)
    return [`route add throw default table ${table}`, `rule add iif ${switchOf('routed', host.name)} lookup ${table}`]
  })
}

function subnetOf({ address }: LabHost): string {
  return formatCidr(subnetAround(parseIpv4(address)))
}
