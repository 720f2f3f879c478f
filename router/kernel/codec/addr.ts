/**
 * Addresses (linux/if_addr.h): `struct ifaddrmsg`, then attributes.
 *
 *   0        1               2       3       4       8
 *   | family | prefix length | flags | scope | index | attributes …
 */
import type { Ipv4 } from '../../../mesh/base/address.ts'
import * as attributes from './attributes.ts'
import { Family, type Scope, scopeNumber, scopeOf } from './numbers.ts'

/** An IPv4 address of a link. Lists have every field; `add` fills in what is absent. */
export interface Address {
  /** The link's index. */
  readonly link: number
  readonly address: Ipv4
  /** 0 to 32: how many addresses are on the link, as the route that comes with it says. */
  readonly prefixLength: number
  /** `global` when absent. */
  readonly scope?: Scope | undefined
  /** The other end of a point-to-point link; the prefix is of it. */
  readonly peer?: Ipv4 | undefined
  readonly broadcast?: Ipv4 | undefined
  /** No route comes with it. False when absent. */
  readonly noPrefixRoute?: boolean | undefined
}

const HEADER_BYTES = 8
const Attribute = { address: 1, local: 2, broadcast: 4, flags: 8 } as const
const FLAG_NO_PREFIX_ROUTE = 0x200

function header({ link, prefixLength, scope }: Pick<Address, 'link' | 'prefixLength' | 'scope'>): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, Family.inet)
  view.setUint8(1, prefixLength)
  view.setUint8(3, scopeNumber(scope ?? 'global'))
  view.setUint32(4, link, true)
  return bytes
}

export function encodeAddress(address: Address): Uint8Array {
  return Buffer.concat([
    header(address),
    attributes.ipv4(Attribute.local, address.address),
    attributes.ipv4(Attribute.address, address.peer ?? address.address),
    ...attributes.given(address.broadcast, attributes.ipv4, Attribute.broadcast),
    ...(address.noPrefixRoute ? [attributes.u32(Attribute.flags, FLAG_NO_PREFIX_ROUTE)] : []),
  ])
}

/** All addresses, or those of one link. */
export function encodeAddressDump(link: number | undefined): Uint8Array {
  return header({ link: link ?? 0, prefixLength: 0, scope: undefined })
}

/** Undefined when it is malformed or not IPv4. */
export function decodeAddress(payload: Uint8Array): Address | undefined {
  if (payload.length < HEADER_BYTES) return undefined
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  const found = attributes.readAttributes(payload.subarray(HEADER_BYTES))
  const far = attributes.getIpv4(found, Attribute.address)
  const address = attributes.getIpv4(found, Attribute.local) ?? far
  if (view.getUint8(0) !== Family.inet || address === undefined) return undefined
  return {
    link: view.getUint32(4, true),
    address,
    prefixLength: view.getUint8(1),
    scope: scopeOf(view.getUint8(3)),
    peer: far === address ? undefined : far,
    broadcast: attributes.getIpv4(found, Attribute.broadcast),
    noPrefixRoute: ((attributes.getU32(found, Attribute.flags) ?? view.getUint8(2)) & FLAG_NO_PREFIX_ROUTE) !== 0,
  }
}
