/**
 * Hosts behind address translation, on a routed underlay: what they send leaves the router with a public address of its
 * own for each, ports kept where they are free; what comes without having been asked for is dropped without a word, to
 * the public address and to the one behind it alike.
 */
import { formatCidr, formatIpv4, ipv4, parseCidr } from '../../mesh/base/address.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { applyRuleset } from '../kernel/nft.ts'
import { switchOf } from './devices.ts'
import { isHostName, switchNamespace } from './names.ts'
import { namespacePath } from './paths.ts'
import type { LabHost, LabState } from './state.ts'
import { mustRun } from './tool.ts'

/** The other half of the block that the hosts' own addresses are from. */
const PUBLIC = parseCidr('198.19.0.0/16')

/** @param index of the host, from 0. */
export function publicAddress(index: number): string {
  return formatIpv4(ipv4(PUBLIC.base + index + 1))
}

/** Makes the router translate for the hosts that have a public address. @throws {WeftError} KERNEL with nft's or ip's own words. */
export async function applyNat(lab: LabState): Promise<void> {
  if (lab.hosts.every((host) => host.publicAddress === undefined)) return
  const namespace = switchNamespace(lab.name)
  // Answers are turned back before they are routed; what is left has no answer to be.
  await mustRun('ip', ['-n', namespace, 'route', 'replace', 'blackhole', formatCidr(PUBLIC)])
  const applied = await applyRuleset(renderNat(lab.hosts), { netns: namespacePath(namespace) })
  if (!applied.ok) throw new WeftError('KERNEL', `cannot translate addresses: ${applied.error.message}`)
}

function renderNat(hosts: readonly LabHost[]): string {
  const behind = hosts.flatMap(({ name, publicAddress: address }) =>
    address === undefined ? [] : [{ device: switchOf('routed', name), address }],
  )
  return [
    'table ip weft_nat {',
    '  chain out {',
    '    type nat hook postrouting priority srcnat; policy accept;',
    ...behind.map(({ device, address }) => `    iifname "${device}" snat to ${address}`),
    '  }',
    '  chain in {',
    '    type filter hook forward priority filter; policy accept;',
    ...behind.map(({ device }) => `    oifname "${device}" ct state new drop`),
    '  }',
    '}',
    '',
  ].join('\n')
}

/** @param wanted names of hosts. @throws {WeftError} USAGE when it cannot be had. */
export function checkNat(
  wanted: readonly string[],
  { underlay, hosts }: { readonly underlay: string; readonly hosts: readonly string[] },
): void {
  if (wanted.length === 0) return
  if (underlay !== 'routed') throw new WeftError('USAGE', '--nat needs a router between the hosts', { hint: 'add --underlay routed' })
  const unknown = wanted.find((name) => !(isHostName(name) && hosts.includes(name)))
  if (unknown !== undefined) {
    throw new WeftError('USAGE', `--nat names ${JSON.stringify(unknown)}, and the hosts are ${hosts.join(', ')}`)
  }
  if (hosts.every((name) => wanted.includes(name))) {
    throw new WeftError('USAGE', '--nat leaves no host that others can reach', { hint: 'leave one out' })
  }
}
