/** Links, in the words of `ip link`. A link is meant by its index, or by its name where it says so. */
import { formatIpv4 } from '../../mesh/base/address.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import {
  decodeLink,
  encodeBridge,
  encodeLinkChanges,
  encodeLinkDump,
  encodeLinkReference,
  encodeVeth,
  encodeVxlan,
  encodeWireguard,
  type Link,
  type LinkChanges,
  type NewLink,
  type NewVeth,
  type NewVxlan,
} from './codec/link.ts'
import { MessageFlag } from './codec/message.ts'
import { RtmType } from './codec/numbers.ts'
import type { KernelError } from './kernel-error.ts'
import type { Netlink } from './netlink.ts'
import { words } from './words.ts'

/** Equivalent to: `ip link show`. */
export function listLinks(netlink: Netlink): Promise<Result<readonly Link[], KernelError>> {
  return netlink.dump({ type: RtmType.getLink, payload: encodeLinkDump(), operation: 'ip link show' }, decodeLink)
}

/** Equivalent to: `ip link show dev LINK`. Undefined when there is none. */
export async function getLink(netlink: Netlink, link: number | string): Promise<Result<Link | undefined, KernelError>> {
  const operation = words('ip link show', dev(link))
  const found = await netlink.query({ type: RtmType.getLink, payload: encodeLinkReference(link), operation }, decodeLink)
  if (found.ok) return ok(found.value[0])
  return found.error.code === 'ENODEV' ? ok(undefined) : found
}

/**
 * Equivalent to: `ip link add NAME mtu MTU address MAC type veth peer name PEER mtu MTU address MAC netns NETNS`.
 * EEXIST when either name is taken.
 */
export function addVeth(netlink: Netlink, veth: NewVeth): Promise<Result<void, KernelError>> {
  const { peer } = veth
  const netns = peer.netns === undefined ? undefined : `/proc/self/fd/${peer.netns}`
  const operation = words('ip link add', describe(veth), 'type veth peer', describe(peer), ['netns', netns])
  return add(netlink, encodeVeth(veth), operation)
}

/** Equivalent to: `ip link add NAME mtu MTU address MAC type vxlan external|id ID local ADDRESS nolearning dstport PORT`. EEXIST when the name, or the port in this namespace, is taken. */
export function addVxlan(netlink: Netlink, vxlan: NewVxlan): Promise<Result<void, KernelError>> {
  const { network } = vxlan
  const mode = network === undefined ? 'external' : `id ${network.id} local ${formatIpv4(network.local)}`
  return add(netlink, encodeVxlan(vxlan), words('ip link add', describe(vxlan), `type vxlan ${mode} nolearning`, ['dstport', vxlan.port]))
}

/** Equivalent to: `ip link add NAME mtu MTU address MAC type bridge`. EEXIST when the name is taken. */
export function addBridge(netlink: Netlink, bridge: NewLink): Promise<Result<void, KernelError>> {
  return add(netlink, encodeBridge(bridge), words('ip link add', describe(bridge), 'type bridge'))
}

/** Equivalent to: `ip link add NAME mtu MTU type wireguard`. EEXIST when the name is taken, EOPNOTSUPP when this kernel has no WireGuard. */
export function addWireguard(netlink: Netlink, wireguard: NewLink): Promise<Result<void, KernelError>> {
  return add(netlink, encodeWireguard(wireguard), words('ip link add', describe(wireguard), 'type wireguard'))
}

function add(netlink: Netlink, payload: Uint8Array, operation: string): Promise<Result<void, KernelError>> {
  return netlink.request({ type: RtmType.newLink, flags: MessageFlag.create | MessageFlag.exclusive, payload, operation })
}

/** Equivalent to: `ip link set dev LINK up|down mtu MTU address MAC name NAME alias NOTE master LINK|nomaster netns NETNS addrgenmode eui64|none`. ENODEV when there is none. */
export function setLink(netlink: Netlink, index: number, changes: LinkChanges): Promise<Result<void, KernelError>> {
  const { up, mtuBytes, mac, name, alias, master, netns, linkLocal } = changes
  const operation = words(
    'ip link set',
    dev(index),
    up === undefined ? '' : up ? 'up' : 'down',
    ['mtu', mtuBytes],
    ['address', mac],
    ['name', name],
    ['alias', alias],
    master === 0 ? 'nomaster' : ['master', master === undefined ? undefined : `if${master}`],
    ['netns', netns === undefined ? undefined : `/proc/self/fd/${netns}`],
    ['addrgenmode', linkLocal === undefined ? undefined : linkLocal ? 'eui64' : 'none'],
  )
  return netlink.request({ type: RtmType.setLink, payload: encodeLinkChanges(index, changes), operation })
}

/** Equivalent to: `ip link delete dev LINK`. Not there is success. A veth's other end goes with it. */
export async function deleteLink(netlink: Netlink, link: number | string): Promise<Result<void, KernelError>> {
  const operation = words('ip link delete', dev(link))
  const result = await netlink.request({ type: RtmType.deleteLink, payload: encodeLinkReference(link), operation })
  return !result.ok && result.error.code !== 'ENODEV' ? err(result.error) : ok(undefined)
}

function dev(link: number | string): string {
  return typeof link === 'number' ? `dev if${link}` : `dev ${link}`
}

function describe({ name, mtuBytes, mac, up }: NewLink): string {
  return words(name, up ? 'up' : '', ['mtu', mtuBytes], ['address', mac])
}
