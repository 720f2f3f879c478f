/**
 * The network between the hosts of a lab: a switch (a bridge in a namespace of its own) with one cable (a veth pair)
 * to each host. A host's end is its eth0; the switch's end is named after the host.
 *
 *   weft-LAB-net      weft-LAB-a           weft-LAB-b
 *   ┌ switch ──────┐  ┌──────────────────┐ ┌──────────────────┐
 *   │ a ───────────┼──┤ eth0 198.18.0.1  │ │                  │
 *   │ b ───────────┼──┼──────────────────┼─┤ eth0 198.18.0.2  │
 *   └──────────────┘  └──────────────────┘ └──────────────────┘
 */
import { closeSync } from 'node:fs'
import { parseIpv4 } from '../../mesh/base/address.ts'
import type { Clock } from '../../mesh/base/clock.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { assert, type Result } from '../../mesh/base/result.ts'
import { addAddress } from '../kernel/addr.ts'
import type { Link } from '../kernel/codec/link.ts'
import { type KernelError, toWeftError } from '../kernel/kernel-error.ts'
import { addBridge, addVeth, getLink, setLink } from '../kernel/link.ts'
import { Netlink } from '../kernel/netlink.ts'
import { openNetns } from '../kernel/netns.ts'
import { applyRuleset } from '../kernel/nft.ts'
import { mapBounded } from './bounded.ts'
import { type Cut, renderCuts } from './cuts.ts'
import { type LabName, namespaceOf, type PodName, switchNamespace, UNDERLAY } from './names.ts'
import { namespacePath } from './paths.ts'
import type { LabHost } from './state.ts'
import { mustRun, runTool } from './tool.ts'

const SWITCH_DEVICE = 'switch'
const LOOPBACK_INDEX = 1

/** Short programs, each of which waits for the kernel rather than for a processor. */
const TOOLS_AT_ONCE = 8

export interface Underlay {
  readonly lab: LabName
  readonly mtuBytes: number
  readonly hosts: readonly LabHost[]
}

/** Makes everything, all of it new. @throws {WeftError} KERNEL with what was refused. */
export async function makeUnderlay({ lab, mtuBytes, hosts }: Underlay, clock: Clock): Promise<void> {
  const net = switchNamespace(lab)
  await addNamespaces([net, ...hosts.map(({ name }) => namespaceOf(lab, name))])
  await within(net, clock, async (netlink) => {
    must(await addBridge(netlink, { name: SWITCH_DEVICE, mtuBytes, up: true }))
    const bridge = await linkNamed(netlink, SWITCH_DEVICE)
    for (const { name } of hosts) {
      using cable = openNamespace(namespaceOf(lab, name))
      must(await addVeth(netlink, { name, mtuBytes, up: true, peer: { name: 'eth0', mtuBytes, netns: cable.fd } }))
      must(await setLink(netlink, (await linkNamed(netlink, name)).index, { master: bridge.index }))
    }
  })
  await mapBounded(hosts, TOOLS_AT_ONCE, (host) => configureHost(lab, host, clock))
}

async function configureHost(lab: LabName, { name, address }: LabHost, clock: Clock): Promise<void> {
  const namespace = namespaceOf(lab, name)
  await within(namespace, clock, async (netlink) => {
    must(await setLink(netlink, LOOPBACK_INDEX, { up: true }))
    const { index } = await linkNamed(netlink, 'eth0')
    must(await addAddress(netlink, { link: index, address: parseIpv4(address), prefixLength: UNDERLAY.length }))
    must(await setLink(netlink, index, { up: true }))
  })
  // As on every Kubernetes node: the router, which has CAP_NET_ADMIN alone, finds it done.
  const forward =
    'echo 1 > /proc/sys/net/ipv4/ip_forward; if test -e /proc/sys/net/ipv6; then echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; fi'
  await mustRun('nsenter', [`--net=${namespacePath(namespace)}`, '--', 'sh', '-c', forward])
}

/** The namespace of a pod, as a container runtime makes it: with loopback, and nothing else. */
export async function makePodNamespace(lab: LabName, pod: PodName, clock: Clock): Promise<void> {
  const namespace = namespaceOf(lab, pod)
  await addNamespaces([namespace])
  await within(namespace, clock, async (netlink) => must(await setLink(netlink, LOOPBACK_INDEX, { up: true })))
}

/** Makes the switch drop exactly what these cuts say. @throws {WeftError} KERNEL with nft's own words. */
export async function applyCuts(lab: LabName, cuts: readonly Cut[]): Promise<void> {
  const applied = await applyRuleset(renderCuts(cuts), { netns: namespacePath(switchNamespace(lab)) })
  if (!applied.ok) throw new WeftError('KERNEL', `cannot cut the underlay: ${applied.error.message}`)
}

async function addNamespaces(names: readonly string[]): Promise<void> {
  await mustRun('ip', ['-batch', '-'], { stdin: names.map((name) => `netns add ${name}\n`).join('') })
}

/** Namespaces that are gone already, or whose making was cut short, are no error. */
export async function removeNamespaces(names: readonly string[]): Promise<void> {
  if (names.length === 0) return
  await runTool('ip', ['-force', '-batch', '-'], { stdin: names.map((name) => `netns delete ${name}\n`).join('') })
}

async function within(namespace: string, clock: Clock, work: (netlink: Netlink) => Promise<void>): Promise<void> {
  using netns = openNamespace(namespace)
  using netlink = Netlink.open({ clock, netns: netns.fd })
  await work(netlink)
}

function openNamespace(namespace: string): Disposable & { readonly fd: ReturnType<typeof openNetns> } {
  const fd = openNetns(namespacePath(namespace))
  return { fd, [Symbol.dispose]: () => closeSync(fd) }
}

async function linkNamed(netlink: Netlink, name: string): Promise<Link> {
  const link = must(await getLink(netlink, name))
  assert(link !== undefined, `the link ${name} was made a moment ago`)
  return link
}

function must<T>(result: Result<T, KernelError>): T {
  if (result.ok) return result.value
  throw toWeftError(result.error)
}
