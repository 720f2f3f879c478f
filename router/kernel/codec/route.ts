/**
 * Routes (linux/rtnetlink.h, linux/lwtunnel.h): `struct rtmsg`, then attributes.
 *
 *   0        1                  2               3     4       5          6       7      8       12
 *   | family | length of prefix | source length | tos | table | protocol | scope | type | flags | attributes …
 */
import { type Ipv4, ipv4 } from '../../../mesh/base/address.ts'
import { type Ip, ipv6OnLink } from '../../../mesh/base/ip.ts'
import { hostPrefix, IPV4_BITS, IPV6_BITS, isCidr6, type Prefix } from '../../../mesh/base/prefix.ts'
import * as attributes from './attributes.ts'
import { Family, familyOf, type IpFamily, isIpFamily, type Scope, scopeNumber, scopeOf } from './numbers.ts'

/** Lists have every field; `add` fills in what is absent, `delete` takes it for "any". */
export interface Route {
  /** Says which family the route is of. 0.0.0.0/0 and ::/0 are the default routes. */
  readonly destination: Prefix
  /** `unicast` when absent. */
  readonly type?: RouteType | undefined
  readonly gateway?: Ip | undefined
  /** The index of the link it leaves by. */
  readonly link?: number | undefined
  /** IPv6 has `global` only. When absent: `host` for local ones, `link` for those without a gateway, else `global`. */
  readonly scope?: Scope | undefined
  /** Who made it: 1 to 255. `boot` (3) when absent. */
  readonly protocol?: number | undefined
  /** 1 to 2^32 - 1. The main table (254) when absent. */
  readonly table?: number | undefined
  /** The source address of what this machine sends by it. */
  readonly source?: Ip | undefined
  /** Of packets that take it; the link's when absent. */
  readonly mtuBytes?: number | undefined
  /** The gateway is on the link although no prefix says so. False when absent. */
  readonly onlink?: boolean | undefined
  /** The lowest wins; when absent 0 for IPv4, 1024 for IPv6. */
  readonly priority?: number | undefined
  /** Told to a tunnel device in external mode. */
  readonly encap?: Encap | undefined
}

type RouteType = keyof typeof TYPES

/** Lightweight tunnel of type `ip`: which tunnel a packet takes is said by its route. */
export interface Encap {
  /** The VNI, for VXLAN: 0 to 2^24 - 1. */
  readonly id: number
  /** The other end of the tunnel. */
  readonly destination: Ipv4
  /** Our end; by the routing table when absent. */
  readonly source?: Ipv4 | undefined
  /** Of the outer packet. The routing default when absent. */
  readonly ttl?: number | undefined
  readonly tos?: number | undefined
  /** Sets DF on the outer packet: one that does not fit is dropped and reported instead of fragmented. False when absent. */
  readonly dontFragment?: boolean | undefined
  /** Gives the outer UDP header a checksum. False when absent; VXLAN devices with an end of their own do it unless told not to. */
  readonly checksum?: boolean | undefined
}

/** What the kernel is asked to leave out of a list. */
export interface RouteFilter {
  /** `inet` when absent. */
  readonly family?: IpFamily
  readonly table?: number
  readonly protocol?: number
  readonly link?: number
}

const TYPES = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
} as const

const HEADER_BYTES = 12
const FLAG_ONLINK = 4
/** A copy made for one lookup, not an entry of a table. */
const FLAG_CLONED = 0x200

const Attribute = {
  destination: 1,
  link: 4,
  gateway: 5,
  priority: 6,
  preferredSource: 7,
  metrics: 8,
  table: 15,
  encapType: 21,
  encap: 22,
} as const
const METRIC_MTU = 2
const ENCAP_TYPE_IP = 2
const Tunnel = { id: 1, destination: 2, source: 3, ttl: 4, tos: 5, flags: 6 } as const
const TUNNEL_CHECKSUM = 0x0001
const TUNNEL_DONT_FRAGMENT = 0x0100

const ANY_IPV4 = ipv4(0)
const ANY_IPV6 = ipv6OnLink(new Uint8Array(16))

/** What is absent is encoded as "unspecified". */
export function encodeRoute(route: Route): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, familyOf(route.destination.base))
  view.setUint8(1, route.destination.length)
  view.setUint8(5, route.protocol ?? 0)
  view.setUint8(6, scopeNumber(route.scope))
  view.setUint8(7, route.type === undefined ? 0 : TYPES[route.type])
  view.setUint32(8, route.onlink ? FLAG_ONLINK : 0, true)
  return Buffer.concat([
    bytes,
    ...(route.destination.length === 0 ? [] : [attributes.ip(Attribute.destination, route.destination.base)]),
    ...attributes.given(route.table, attributes.u32, Attribute.table),
    ...attributes.given(route.gateway, attributes.ip, Attribute.gateway),
    ...attributes.given(route.link, attributes.u32, Attribute.link),
    ...attributes.given(route.source, attributes.ip, Attribute.preferredSource),
    ...(route.priority ? [attributes.u32(Attribute.priority, route.priority)] : []),
    ...(route.mtuBytes === undefined ? [] : [attributes.nested(Attribute.metrics, [attributes.u32(METRIC_MTU, route.mtuBytes)])]),
    ...(route.encap === undefined ? [] : encodeEncap(route.encap)),
  ])
}

function encodeEncap(encap: Encap): readonly Uint8Array[] {
  const flags = (encap.dontFragment ? TUNNEL_DONT_FRAGMENT : 0) | (encap.checksum ? TUNNEL_CHECKSUM : 0)
  const tunnel = [
    attributes.be64(Tunnel.id, encap.id),
    attributes.ipv4(Tunnel.destination, encap.destination),
    ...attributes.given(encap.source, attributes.ipv4, Tunnel.source),
    ...attributes.given(encap.ttl, attributes.u8, Tunnel.ttl),
    ...attributes.given(encap.tos, attributes.u8, Tunnel.tos),
    ...(flags === 0 ? [] : [attributes.be16(Tunnel.flags, flags)]),
  ]
  return [attributes.u16(Attribute.encapType, ENCAP_TYPE_IP), attributes.nested(Attribute.encap, tunnel)]
}

export function encodeRouteDump({ family = 'inet', table, protocol, link }: RouteFilter): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, Family[family])
  view.setUint8(5, protocol ?? 0)
  return Buffer.concat([
    bytes,
    ...attributes.given(table, attributes.u32, Attribute.table),
    ...attributes.given(link, attributes.u32, Attribute.link),
  ])
}

/** Asks which way a packet to `destination` would go. */
export function encodeRouteQuery(destination: Ip): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES)
  bytes.set([familyOf(destination), hostPrefix(destination).length])
  return Buffer.concat([bytes, attributes.ip(Attribute.destination, destination)])
}

/** Undefined when it is malformed, of another family, of a type that we do not know, or the cached copy of a lookup. */
export function decodeRoute(payload: Uint8Array): Route | undefined {
  const route = decodeLookup(payload)
  if (route === undefined) return undefined
  const flags = new DataView(payload.buffer, payload.byteOffset, payload.byteLength).getUint32(8, true)
  return (flags & FLAG_CLONED) === 0 ? route : undefined
}

/** As `decodeRoute`, for the answer to a lookup as well. A route with several next hops has neither gateway nor link. */
export function decodeLookup(payload: Uint8Array): Route | undefined {
  if (payload.length < HEADER_BYTES) return undefined
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  const found = attributes.readAttributes(payload.subarray(HEADER_BYTES))
  const length = view.getUint8(1)
  const type = typeOf(view.getUint8(7))
  if (!isIpFamily(view.getUint8(0)) || (type === undefined && view.getUint8(7) !== 0)) return undefined
  const destination = decodePrefix(view.getUint8(0) === Family.inet6, attributes.getIp(found, Attribute.destination), length)
  if (destination === undefined) return undefined
  return {
    destination,
    type,
    gateway: attributes.getIp(found, Attribute.gateway),
    link: attributes.getU32(found, Attribute.link),
    scope: scopeOf(view.getUint8(6)),
    protocol: orUndefined(view.getUint8(5)),
    table: orUndefined(attributes.getU32(found, Attribute.table) ?? view.getUint8(4)),
    source: attributes.getIp(found, Attribute.preferredSource),
    mtuBytes: attributes.getU32(attributes.readNested(found, Attribute.metrics), METRIC_MTU),
    onlink: (view.getUint32(8, true) & FLAG_ONLINK) !== 0,
    priority: attributes.getU32(found, Attribute.priority) ?? 0,
    encap: decodeEncap(found),
  }
}

/** The kernel leaves the address of a default route out. */
function decodePrefix(isInet6: boolean, base: Ip | undefined, length: number): Prefix | undefined {
  const prefix = { base: base ?? (isInet6 ? ANY_IPV6 : ANY_IPV4), length } as Prefix
  return isCidr6(prefix) === isInet6 && length <= (isInet6 ? IPV6_BITS : IPV4_BITS) ? prefix : undefined
}

/** The kernel lists zeros for what was not said. */
function decodeEncap(route: attributes.Attributes): Encap | undefined {
  if (attributes.getU16(route, Attribute.encapType) !== ENCAP_TYPE_IP) return undefined
  const found = attributes.readNested(route, Attribute.encap)
  const source = attributes.getIpv4(found, Tunnel.source)
  const flags = attributes.getBe16(found, Tunnel.flags) ?? 0
  return {
    id: attributes.getBe64(found, Tunnel.id) ?? 0,
    destination: attributes.getIpv4(found, Tunnel.destination) ?? ANY_IPV4,
    source: source === ANY_IPV4 ? undefined : source,
    ttl: orUndefined(attributes.getU8(found, Tunnel.ttl) ?? 0),
    tos: orUndefined(attributes.getU8(found, Tunnel.tos) ?? 0),
    dontFragment: (flags & TUNNEL_DONT_FRAGMENT) !== 0,
    checksum: (flags & TUNNEL_CHECKSUM) !== 0,
  }
}

function orUndefined(number: number): number | undefined {
  return number === 0 ? undefined : number
}

function typeOf(number: number): RouteType | undefined {
  return (Object.keys(TYPES) as RouteType[]).find((name) => TYPES[name] === number)
}
