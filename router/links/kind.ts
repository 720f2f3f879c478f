/** The kinds of links between two nodes, best first: what each adds to a packet, and whether it hides what it carries. */

/**
 * - `direct`: a plain route by the peer's underlay address; both are on one segment.
 * - `vxlan`: packets inside UDP datagrams of the kernel, plain.
 * - `wireguard`: sealed by the kernel.
 * - `sleeve`: sealed by the router's own process.
 * - `sleeve+stream`: the same datagrams inside the mesh's TCP or WebSocket.
 */
export type LinkKind = 'direct' | 'vxlan' | 'wireguard' | 'sleeve' | 'sleeve+stream'

/** All kinds, best first. */
export const LINK_KINDS: readonly LinkKind[] = ['direct', 'vxlan', 'wireguard', 'sleeve', 'sleeve+stream']

/** Each kind's number on the wire is its place here, for ever. */
export const WIRE_KINDS: readonly LinkKind[] = ['direct', 'vxlan', 'wireguard', 'sleeve', 'sleeve+stream']

/** Of the underlay's addresses that a pair uses. */
export type Family = 'ipv4' | 'ipv6'

const OUTER_IP_BYTES: Readonly<Record<Family, number>> = { ipv4: 20, ipv6: 40 }
const UDP_BYTES = 8
/** RFC 7348, section 5: the header, and the Ethernet frame within. */
const VXLAN_BYTES = UDP_BYTES + 8 + 14
/** WireGuard's paper, section 5.4.6: type, receiver and counter; and the tag. Padding never exceeds the device's MTU. */
const WIREGUARD_BYTES = UDP_BYTES + 16 + 16
/** A slice of the sleeve has a header and a tag of this length each. */
const SLEEVE_BYTES = UDP_BYTES + 16 + 16
/** TCP with time stamps, length and tag of a frame of the mesh, header and tag of a slice. Segments hide it from the MTU, not from the wire. */
const STREAM_BYTES = 32 + 4 + 16 + 16 + 16

const INNER_BYTES: Readonly<Record<Exclude<LinkKind, 'direct'>, number>> = {
  vxlan: VXLAN_BYTES,
  wireguard: WIREGUARD_BYTES,
  sleeve: SLEEVE_BYTES,
  'sleeve+stream': STREAM_BYTES,
}

/** What a link adds to a pod's packet on the underlay, in bytes, from the outer IP header on: 50 for VXLAN over IPv4. */
export function overheadBytes(kind: LinkKind, family: Family): number {
  return kind === 'direct' ? 0 : OUTER_IP_BYTES[family] + INNER_BYTES[kind]
}

/** Whether nobody between the two ends can read or change what it carries. */
export function isSealed(kind: LinkKind): boolean {
  return kind !== 'direct' && kind !== 'vxlan'
}

/** Whether what is sealed for one peer can go through another one unopened: the kernel's WireGuard opens it at each hop. */
export function isSealedThroughRelay(kind: LinkKind): boolean {
  return kind === 'sleeve' || kind === 'sleeve+stream'
}
