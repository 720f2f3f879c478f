/**
 * How big a frame each cable carries, and what may pass it in one piece.
 *
 * A veth pair passes the super-frames of segmentation offload (64 KB and more) whole, and neither it nor a switch compares
 * these with an MTU. That is fast, and true to what arrives as long as every cable takes what the sender takes. Where it is
 * not so, or a cable is impaired, hosts have to send packet by packet: then an MTU is one, and a loss is the loss of one.
 */
import { mapBounded } from './bounded.ts'
import { cableDevices, HOST_DEVICE, switchOf } from './devices.ts'
import { namespaceOf, switchNamespace } from './names.ts'
import type { LabHost, LabState } from './state.ts'
import { mustRun } from './tool.ts'

const TOOLS_AT_ONCE = 8

/** `gso_max_segs`: Linux's own default, and what makes the kernel cut super-frames up before the device, tunnelled ones too. */
const SEGMENTS_ANY = 65_535
const SEGMENTS_ONE = 1

/** Makes all cables as the lab says. The devices are there. @throws {WeftError} KERNEL with `ip`'s own words. */
export async function setCables(lab: LabState): Promise<void> {
  const { lines, perHost } = cableCommands(lab)
  await mustRun('ip', ['-n', switchNamespace(lab.name), '-batch', '-'], { stdin: lines.map((line) => `${line}\n`).join('') })
  await mapBounded(perHost, TOOLS_AT_ONCE, ({ host, words }) => mustRun('ip', ['-n', namespaceOf(lab.name, host.name), ...words]))
}

interface CableCommands {
  /** Of the namespace between the hosts. */
  readonly lines: readonly string[]
  readonly perHost: readonly { readonly host: LabHost; readonly words: readonly string[] }[]
}

/** As words of `ip`, all that the kernel has to be told of each cable. */
export function cableCommands(lab: LabState): CableCommands {
  const isUniform = new Set(lab.hosts.flatMap(({ mtuBytes, farMtuBytes }) => [mtuBytes, farMtuBytes])).size === 1
  const impaired = new Set(lab.impairments.map(({ host }) => host))
  const lines = lab.hosts.flatMap(({ name, farMtuBytes }) => {
    const { near, mid, box } = cableDevices(name)
    return [
      `link set dev ${near} mtu ${farMtuBytes}`,
      ...(lab.underlay === 'routed' ? [`link set dev ${switchOf('routed', name)} mtu ${farMtuBytes}`] : []),
      ...(impaired.has(name)
        ? [`link set dev ${mid} mtu ${farMtuBytes}`, `link set dev ${box} mtu ${farMtuBytes} gso_max_segs ${SEGMENTS_ONE}`]
        : []),
    ]
  })
  const perHost = lab.hosts.map((host) => {
    const segments = isUniform && !impaired.has(host.name) ? SEGMENTS_ANY : SEGMENTS_ONE
    return { host, words: ['link', 'set', 'dev', HOST_DEVICE, 'mtu', String(host.mtuBytes), 'gso_max_segs', String(segments)] }
  })
  return { lines, perHost }
}
