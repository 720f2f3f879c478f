/**
 * Links (linux/if_link.h): `struct ifinfomsg`, then attributes.
 *
 *   0        1     2       4       8       12       16
 *   | family | pad | type  | index | flags | change | attributes …
 */

import type { Ipv4 } from '../../../mesh/base/address.ts'
import type { Mac } from '../mac.ts'
import type { Fd } from '../native.ts'
import * as attributes from './attributes.ts'
import { Family } from './numbers.ts'

export interface Link {
  /** Its number in its namespace: positive, stable while it lives there. */
  readonly index: number
  readonly name: string
  /** Undefined for links without Ethernet addresses (TUN). */
  readonly mac: Mac | undefined
  readonly mtuBytes: number
  /** Set up by somebody (IFF_UP). */
  readonly up: boolean
  /**
   * It passes packets (IF_OPER_UP). One that is up and has a carrier does not yet: the kernel takes a carrier that has come into
   * account a little later. Never true of links without such a state (`lo`, tunnels).
   */
  readonly operational: boolean
  /** The bridge or the like that it is a port of. */
  readonly master: number | undefined
  /** A veth's other end, a VLAN's parent; its number counts in that one's namespace. */
  readonly lower: number | undefined
  /** A note of whoever made it, up to 255 bytes; undefined when there is none. */
  readonly alias: string | undefined
  readonly details: LinkDetails
}

type LinkDetails =
  | { readonly kind: 'veth' }
  | { readonly kind: 'bridge' }
  /** What it is set to is told by a family of its own: see codec/wireguard.ts. */
  | { readonly kind: 'wireguard' }
  | {
      readonly kind: 'vxlan'
      /** Encapsulation is told per route or filter, not by the device. */
      readonly external: boolean
      readonly id: number
      /** The address that it sends from, when it is bound to one. */
      readonly local: Ipv4 | undefined
      /** UDP destination port. */
      readonly port: number
      readonly learning: boolean
    }
  /** `name` is the kernel's word, empty for hardware and `lo`. */
  | { readonly kind: 'other'; readonly name: string }

/** What can be said about a new link of any kind. */
export interface NewLink {
  /** 1 to 15 bytes without `/`, `:` and blanks. */
  readonly name: string
  /** Drawn by the kernel when absent. */
  readonly mac?: Mac | undefined
  /** The kind's default when absent. */
  readonly mtuBytes?: number | undefined
  /** Up from its birth on. */
  readonly up?: boolean | undefined
}

export interface NewVeth extends NewLink {
  /** Its other end; born in `netns` when given, else beside it, and down: the kernel cannot set it up before its birth is over. */
  readonly peer: Omit<NewLink, 'up'> & { readonly netns?: Fd | undefined }
}

export interface NewVxlan extends NewLink {
  /** UDP destination port, and the one it listens on. */
  readonly port: number
  /** The one network that it carries, and the address that it sends from. When absent both are told per route (external mode). */
  readonly network?: { readonly id: number; readonly local: Ipv4 } | undefined
}

/** What to change of a link; what is absent stays. */
export interface LinkChanges {
  readonly up?: boolean
  readonly mtuBytes?: number
  readonly mac?: Mac
  /** The link must be down on older kernels. */
  readonly name?: string
  /** Up to 255 bytes. */
  readonly alias?: string
  /** A bridge to become a port of; 0 to leave it. */
  readonly master?: number
  /** Whether it makes itself a link-local address of IPv6 when it comes up. EAFNOSUPPORT where there is no IPv6. */
  readonly linkLocal?: boolean
  /** Moves it there; its addresses and routes are lost. */
  readonly netns?: Fd
}

const HEADER_BYTES = 16
const FLAG_UP = 0x1
/** RFC 2863, as linux/if.h numbers it. */
const IF_OPER_UP = 6

const Attribute = {
  address: 1,
  name: 3,
  mtu: 4,
  lower: 5,
  master: 10,
  operState: 16,
  info: 18,
  alias: 20,
  families: 26,
  netnsFd: 28,
  extensionMask: 29,
} as const
const Info = { kind: 1, data: 2 } as const
/** IFLA_INET6_ADDR_GEN_MODE and its values. */
const INET6_GENERATION = 8
const Generation = { eui64: 0, none: 1 } as const
const VETH_PEER = 1
const Vxlan = { id: 1, local: 4, learning: 7, port: 15, collectMetadata: 25 } as const

/** Leaves the counters, half of the message, out of a dump. */
const SKIP_STATISTICS = 1 << 3

function header(index: number, up: boolean | undefined): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, Family.unspecified)
  view.setInt32(4, index, true)
  view.setUint32(8, up === true ? FLAG_UP : 0, true)
  view.setUint32(12, up === undefined ? 0 : FLAG_UP, true)
  return bytes
}

function common({ name, mac, mtuBytes }: Partial<NewLink>): readonly Uint8Array[] {
  return [
    ...attributes.given(name, attributes.text, Attribute.name),
    ...attributes.given(mac, attributes.mac, Attribute.address),
    ...attributes.given(mtuBytes, attributes.u32, Attribute.mtu),
  ]
}

function newLink(link: NewLink, kind: string, data: readonly Uint8Array[]): Uint8Array {
  const info = attributes.nested(Attribute.info, [attributes.text(Info.kind, kind), attributes.nested(Info.data, data)])
  return Buffer.concat([header(0, link.up ? true : undefined), ...common(link), info])
}

export function encodeVeth({ peer, ...link }: NewVeth): Uint8Array {
  const peerBody = [header(0, undefined), ...common(peer), ...attributes.given(peer.netns, attributes.u32, Attribute.netnsFd)]
  return newLink(link, 'veth', [attributes.nested(VETH_PEER, peerBody)])
}

/** Without learning: who is where is said by routes, or by forwarding entries. */
export function encodeVxlan({ port, network, ...link }: NewVxlan): Uint8Array {
  const mode =
    network === undefined
      ? [attributes.u8(Vxlan.collectMetadata, 1)]
      : [attributes.u32(Vxlan.id, network.id), attributes.ipv4(Vxlan.local, network.local)]
  return newLink(link, 'vxlan', [...mode, attributes.u8(Vxlan.learning, 0), attributes.be16(Vxlan.port, port)])
}

export function encodeBridge(link: NewLink): Uint8Array {
  return newLink(link, 'bridge', [])
}

export function encodeWireguard(link: NewLink): Uint8Array {
  return newLink(link, 'wireguard', [])
}

export function encodeLinkChanges(index: number, { up, alias, master, netns, linkLocal, ...others }: LinkChanges): Uint8Array {
  return Buffer.concat([
    header(index, up),
    ...common(others),
    ...attributes.given(alias, attributes.text, Attribute.alias),
    ...attributes.given(master, attributes.u32, Attribute.master),
    ...attributes.given(netns, attributes.u32, Attribute.netnsFd),
    ...(linkLocal === undefined ? [] : [encodeGeneration(linkLocal)]),
  ])
}

function encodeGeneration(linkLocal: boolean): Uint8Array {
  const mode = attributes.u8(INET6_GENERATION, linkLocal ? Generation.eui64 : Generation.none)
  return attributes.nested(Attribute.families, [attributes.nested(Family.inet6, [mode])])
}

/** One link, by number or by name, to get or to delete. */
export function encodeLinkReference(link: number | string): Uint8Array {
  if (typeof link === 'number') return header(link, undefined)
  return Buffer.concat([header(0, undefined), attributes.text(Attribute.name, link)])
}

export function encodeLinkDump(): Uint8Array {
  return Buffer.concat([header(0, undefined), attributes.u32(Attribute.extensionMask, SKIP_STATISTICS)])
}

/** Undefined when it is malformed, or about a bridge's port instead of a link. */
export function decodeLink(payload: Uint8Array): Link | undefined {
  if (payload.length < HEADER_BYTES) return undefined
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  const found = attributes.readAttributes(payload.subarray(HEADER_BYTES))
  const name = attributes.getText(found, Attribute.name)
  if (view.getUint8(0) !== Family.unspecified || name === undefined) return undefined
  const flags = view.getUint32(8, true)
  return {
    index: view.getInt32(4, true),
    name,
    mac: attributes.getMac(found, Attribute.address),
    mtuBytes: attributes.getU32(found, Attribute.mtu) ?? 0,
    up: (flags & FLAG_UP) !== 0,
    operational: attributes.getU8(found, Attribute.operState) === IF_OPER_UP,
    master: attributes.getU32(found, Attribute.master),
    lower: attributes.getU32(found, Attribute.lower),
    alias: attributes.getText(found, Attribute.alias),
    details: decodeDetails(attributes.readNested(found, Attribute.info)),
  }
}

function decodeDetails(info: attributes.Attributes): LinkDetails {
  const kind = attributes.getText(info, Info.kind) ?? ''
  if (kind === 'veth' || kind === 'bridge' || kind === 'wireguard') return { kind }
  if (kind !== 'vxlan') return { kind: 'other', name: kind }
  const data = attributes.readNested(info, Info.data)
  return {
    kind,
    external: (attributes.getU8(data, Vxlan.collectMetadata) ?? 0) !== 0,
    id: attributes.getU32(data, Vxlan.id) ?? 0,
    local: attributes.getIpv4(data, Vxlan.local),
    port: attributes.getBe16(data, Vxlan.port) ?? 0,
    learning: (attributes.getU8(data, Vxlan.learning) ?? 0) !== 0,
  }
}
