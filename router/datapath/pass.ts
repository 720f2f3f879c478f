/** One pass over the kernel: look, decide what must be there, bring it about. Idempotent: a second pass at once changes nothing. */

import type { AttachmentKey } from '../../ipam/attachment.ts'
import type { OwnedRange } from '../../ipam/ipam.ts'
import type { Universe } from '../../ipam/universe.ts'
import { type Ipv4, parseIpv4 } from '../../mesh/base/address.ts'
import type { PeerName } from '../../mesh/base/brand.ts'
import { isIpv4 } from '../../mesh/base/ip.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import { listAddresses } from '../kernel/addr.ts'
import { describeKernelError, type KernelError } from '../kernel/kernel-error.ts'
import { listLinks } from '../kernel/link.ts'
import type { Netlink } from '../kernel/netlink.ts'
import { getRoute } from '../kernel/route.ts'
import { ensureVxlan } from './device.ts'
import { computeFib, type Destination, podMtuBytes } from './fib.ts'
import { IPV6_MTU_BYTES_MIN } from './ipv6.ts'
import { VXLAN_LINK, vxlanMac } from './names.ts'
import { localPods, podLinks } from './pod-links.ts'
import { listAll, type Reconciled, reconcile } from './reconcile.ts'
import { chooseUnderlay, type Underlay } from './underlay.ts'
import { computeWants } from './wants.ts'

/** What a router wants of its data path, apart from what the kernel itself says. */
export interface PassInput {
  readonly self: PeerName
  readonly universe: Universe
  /** Given by configuration. */
  readonly advertise: Ipv4 | undefined
  readonly mtuBytes: number | undefined
  readonly ranges: readonly OwnedRange[]
  readonly destinations: ReadonlyMap<PeerName, Destination>
  /** Asked after the look at the kernel: pods come while a pass runs, and what it finds of them must not be too much. */
  allocations(): ReadonlyMap<AttachmentKey, Ipv4>
  /** This node's own address in the cluster, once it has one. */
  readonly hostAddress: Ipv4 | undefined
}

export interface Passed {
  readonly underlay: Underlay
  /** What pods get their addresses from here: without IPv6 where the underlay is too narrow for it. */
  readonly universe: Universe
  /** This node's own address, now that the kernel has it. */
  readonly hostAddress: Ipv4 | undefined
  /** The VXLAN device and pod links: names by index. */
  readonly links: ReadonlyMap<number, string>
  readonly pods: number
  readonly routesWanted: number
  readonly unknownOwners: readonly PeerName[]
  readonly changes: Reconciled
}

/** A lookup of where the world is; no packet is ever sent there (TEST-NET-1, RFC 5737). */
const SOMEWHERE: Ipv4 = parseIpv4('192.0.2.1')

/** The error is for people; nothing more is done after it. */
export async function pass(netlink: Netlink, input: PassInput): Promise<Result<Passed, string>> {
  const underlay = await findUnderlay(netlink, input)
  if (!underlay.ok) return underlay
  const { address, mtuBytes } = underlay.value
  const universe = podMtuBytes(mtuBytes) < IPV6_MTU_BYTES_MIN ? { ...input.universe, v6: undefined } : input.universe
  const vxlan = await ensureVxlan(netlink, {
    local: address,
    mac: vxlanMac(input.self),
    mtuBytes: podMtuBytes(mtuBytes),
    hasIpv6: universe.v6 !== undefined,
  })
  if (!vxlan.ok) return refused(vxlan.error)
  const listed = await listAll(netlink, vxlan.value)
  if (!listed.ok) return refused(listed.error)
  // After the routes, for the same reason: a link is there before the routes by it.
  const links = await listLinks(netlink)
  if (!links.ok) return refused(links.error)
  const pods = podLinks(links.value)
  const ours = new Map([[vxlan.value, VXLAN_LINK] as const, ...pods.map(({ link }) => [link.index, link.name] as const)])
  const fib = computeFib({ ...input, universe, mtuBytes })
  const wants = computeWants({
    fib,
    vxlan: vxlan.value,
    hostAddress: input.hostAddress,
    pods: localPods(pods, universe, input.allocations()),
  })
  const changes = await reconcile(netlink, listed.value, wants, ours)
  return ok({
    underlay: underlay.value,
    universe,
    hostAddress: input.hostAddress,
    links: ours,
    pods: pods.length,
    routesWanted: wants.routes.length,
    unknownOwners: fib.unknown,
    changes,
  })
}

/** Which address of this node peers use, by what the kernel says now. */
export async function findUnderlay(
  netlink: Netlink,
  input: Pick<PassInput, 'universe' | 'advertise' | 'mtuBytes'>,
): Promise<Result<Underlay, string>> {
  const [links, addresses, route] = await Promise.all([listLinks(netlink), listAddresses(netlink), getRoute(netlink, SOMEWHERE)])
  if (!links.ok) return refused(links.error)
  if (!addresses.ok) return refused(addresses.error)
  const source = route.ok ? route.value?.source : undefined
  const towardsDefault = source !== undefined && isIpv4(source) ? source : undefined
  return chooseUnderlay({ ...input, links: links.value, addresses: addresses.value, towardsDefault })
}

function refused(error: KernelError): Result<never, string> {
  return err(describeKernelError(error))
}
