/** Names and addresses of our kernel objects: derived, never remembered, so that any router finds them again. */
import { createHash } from 'node:crypto'
import { type Ipv4, ipv4Bytes, parseIpv4 } from '../../mesh/base/address.ts'
import type { PeerName } from '../../mesh/base/brand.ts'
import { fromHex, toHex } from '../../mesh/base/bytes.ts'
import { type Ipv6, ipv6OnLink } from '../../mesh/base/ip.ts'
import { type Mac, parseMac } from '../kernel/mac.ts'

/** The one VXLAN device of a node. */
export const VXLAN_LINK = 'weft-vx'

/** UDP port of the VXLAN data path, as Weave Net's. */
export const VXLAN_PORT = 6784

/** The one network identifier; who belongs to the cluster is decided by the mesh, not by it. */
export const VXLAN_ID = 6784

/** The route protocol number that marks our routes; `ip route show proto 119` lists them. */
export const ROUTE_PROTOCOL = 119

/** All our host-side pod links begin so. */
export const POD_LINK_PREFIX = 'wpod'

/** The gateway of every pod: link-local, on no interface, known to the pod by a permanent neighbour entry. */
export const POD_GATEWAY: Ipv4 = parseIpv4('169.254.1.1')

/** The gateway of every pod for IPv6, fe80::1: link-local, on no interface, known to the pod by a permanent neighbour entry. */
export const POD_GATEWAY6: Ipv6 = ipv6OnLink(fromHex('fe800000000000000000000000000001'))

/** The hardware address of the host's end of every pod link; each link is a segment of its own, so that one serves all. */
export const POD_GATEWAY_MAC: Mac = parseMac('02:77:65:66:74:01')

const LINK_NAME_HASH_DIGITS = 11

/** The host's end of an attachment's link: 15 characters, the most the kernel takes. */
export function podLinkName(attachment: string): string {
  return POD_LINK_PREFIX + createHash('sha256').update(attachment).digest('hex').slice(0, LINK_NAME_HASH_DIGITS)
}

/** A locally administered unicast address that says which pod it is: 02:77 and the pod's IPv4 address. */
export function podMac(address: Ipv4): Mac {
  return parseMac(`02:77:${colons(toHex(ipv4Bytes(address)))}`)
}

/**
 * The hardware address of a peer's VXLAN device: 02 and five bytes of its name. It must differ on every
 * host, as VXLAN drops frames that carry its own; every peer computes it, so that nobody has to tell it.
 */
export function vxlanMac(peer: PeerName): Mac {
  return parseMac(`02:${colons(peer.slice(0, 10))}`)
}

/** What IPv6 routes to a peer name as their gateway: the link-local address whose interface identifier is the peer's name. */
export function vxlanGateway6(peer: PeerName): Ipv6 {
  return ipv6OnLink(fromHex(`fe80000000000000${peer}`))
}

function colons(hex: string): string {
  return hex.match(/../g)?.join(':') ?? ''
}
