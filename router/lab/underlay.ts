/**
 * The network between the hosts of a lab, in a namespace of its own, with one cable (a veth pair) to each host. A host's
 * end is its eth0; the other end is named after the host and is the port of a switch (a bridge).
 *
 * `l2`: one switch for all. Hosts reach each other without a router.
 *
 *   weft-LAB-net      weft-LAB-a           weft-LAB-b
 *   ┌ switch ──────┐  ┌──────────────────┐ ┌──────────────────┐
 *   │ a ───────────┼──┤ eth0 198.18.0.1  │ │                  │
 *   │ b ───────────┼──┼──────────────────┼─┤ eth0 198.18.0.2  │
 *   └──────────────┘  └──────────────────┘ └──────────────────┘
 *
 * `routed`: a switch for each, and the namespace forwards between them. No two hosts share a segment.
 *
 *   ┌ switch-a ────┐
 *   │ 198.18.1.254 │  ┌──────────────────┐
 *   │ a ───────────┼──┤ eth0 198.18.1.1  │
 *   ├ switch-b ────┤  └──────────────────┘ ┌──────────────────┐
 *   │ 198.18.2.254 │                       │                  │
 *   │ b ───────────┼───────────────────────┤ eth0 198.18.2.1  │
 *   └──────────────┘                       └──────────────────┘
 */
import { parseCidr, parseIpv4 } from '../../mesh/base/address.ts'
import type { Clock } from '../../mesh/base/clock.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { addAddress } from '../kernel/addr.ts'
import { addBridge, addVeth, setLink } from '../kernel/link.ts'
import { type Mac, parseMac } from '../kernel/mac.ts'
import type { Netlink } from '../kernel/netlink.ts'
import { applyRuleset } from '../kernel/nft.ts'
import { addRoute } from '../kernel/route.ts'
import { mapBounded } from './bounded.ts'
import { cableEnds, prepareCables, setCables, untilPassing } from './cables.ts'
import { type Cut, renderCuts } from './cuts.ts'
import { cableDevices, HOST_DEVICE, switchOf } from './devices.ts'
import { linkNamed, must, openNamespace, within } from './inside.ts'
import { gatewayOf, hostPrefixLength, type LabName, namespaceOf, type PodName, switchNamespace } from './names.ts'
import { applyNat } from './nat.ts'
import { namespacePath } from './paths.ts'
import type { LabHost, LabState } from './state.ts'
import { mustRun, runTool } from './tool.ts'

const LOOPBACK_INDEX = 1
const EVERYWHERE = parseCidr('0.0.0.0/0')

/** Of the router in each subnet: each is a segment of its own. Drawn by the kernel, it would be that of a port, and change with it. */
const GATEWAY_MAC: Mac = parseMac('02:77:65:66:74:fe')

/** Short programs, each of which waits for the kernel rather than for a processor. */
const TOOLS_AT_ONCE = 8

/** A switch says nothing by itself, and its ports have no addresses: where there is no IPv6, there is none to turn off. */
const SILENT = 'f=/proc/sys/net/ipv6/conf/default/disable_ipv6; test ! -e $f || echo 1 > $f'
const FORWARDING = 'echo 1 > /proc/sys/net/ipv4/ip_forward'
const FORWARDING6 = 'f=/proc/sys/net/ipv6/conf/all/forwarding; test ! -e $f || echo 1 > $f'

/** Makes everything, all of it new; cuts and impairments come later. @throws {WeftError} KERNEL with what was refused. */
export async function makeUnderlay(lab: LabState, clock: Clock): Promise<void> {
  const net = switchNamespace(lab.name)
  await addNamespaces([net, ...lab.hosts.map(({ name }) => namespaceOf(lab.name, name))])
  await shellWithin(net, lab.underlay === 'routed' ? `${SILENT}; ${FORWARDING}` : SILENT)
  await within(net, clock, async (netlink) => {
    if (lab.underlay === 'l2') must(await addBridge(netlink, { name: switchOf('l2', firstHost(lab).name), up: true }))
    for (const host of lab.hosts) await plugHost(netlink, lab, host)
  })
  await mapBounded(lab.hosts, TOOLS_AT_ONCE, (host) => configureHost(lab, host, clock))
  await applyNat(lab)
  await prepareCables(lab)
  await setCables(lab)
  await untilPassing(lab, cableEnds(lab))
}

function firstHost({ hosts: [first] }: LabState): LabHost {
  if (first === undefined) throw new WeftError('USAGE', 'a lab without hosts')
  return first
}

/** Its cable, into its switch. */
async function plugHost(netlink: Netlink, { name: lab, underlay }: LabState, { name, address, mtuBytes }: LabHost): Promise<void> {
  const device = switchOf(underlay, name)
  if (underlay === 'routed') must(await addBridge(netlink, { name: device, mac: GATEWAY_MAC, mtuBytes, up: true }))
  const { index: master } = await linkNamed(netlink, device)
  using host = openNamespace(namespaceOf(lab, name))
  const { near } = cableDevices(name)
  must(await addVeth(netlink, { name: near, mtuBytes, up: true, peer: { name: HOST_DEVICE, mtuBytes, netns: host.fd } }))
  must(await setLink(netlink, (await linkNamed(netlink, near)).index, { master }))
  if (underlay === 'l2') return
  const gateway = { link: master, address: gatewayOf(parseIpv4(address)), prefixLength: hostPrefixLength(underlay) }
  must(await addAddress(netlink, gateway))
}

async function configureHost({ name: lab, underlay }: LabState, { name, address: text }: LabHost, clock: Clock): Promise<void> {
  const namespace = namespaceOf(lab, name)
  const address = parseIpv4(text)
  await within(namespace, clock, async (netlink) => {
    must(await setLink(netlink, LOOPBACK_INDEX, { up: true }))
    const { index: link } = await linkNamed(netlink, HOST_DEVICE)
    must(await addAddress(netlink, { link, address, prefixLength: hostPrefixLength(underlay) }))
    must(await setLink(netlink, link, { up: true }))
    if (underlay === 'routed') must(await addRoute(netlink, { destination: EVERYWHERE, gateway: gatewayOf(address), link }))
  })
  // As on every Kubernetes node: the router, which has CAP_NET_ADMIN alone, finds it done.
  await shellWithin(namespace, `${FORWARDING}; ${FORWARDING6}`)
}

async function shellWithin(namespace: string, script: string): Promise<void> {
  await mustRun('nsenter', [`--net=${namespacePath(namespace)}`, '--', 'sh', '-c', script])
}

/** The namespace of a pod, as a container runtime makes it: with loopback, and nothing else. */
export async function makePodNamespace(lab: LabName, pod: PodName, clock: Clock): Promise<void> {
  const namespace = namespaceOf(lab, pod)
  await addNamespaces([namespace])
  await within(namespace, clock, async (netlink) => must(await setLink(netlink, LOOPBACK_INDEX, { up: true })))
}

/** Makes the network drop exactly what these cuts say. @throws {WeftError} KERNEL with nft's own words. */
export async function applyCuts({ name, underlay }: Pick<LabState, 'name' | 'underlay'>, cuts: readonly Cut[]): Promise<void> {
  const applied = await applyRuleset(renderCuts(cuts, underlay), { netns: namespacePath(switchNamespace(name)) })
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
