/**
 * Addresses (linux/if_addr.h): `struct ifaddrmsg`, then attributes.
 *
 *   0        1               2       3       4       8
 *   | family | prefix length | flags | scope | index | attributes …
 */
import type { Ip } from '../../../mesh/base/ip.ts'
import * as attributes from './attributes.ts'
import { Family, familyOf, type IpFamily, isIpFamily, type Scope, scopeNumber, scopeOf } from './numbers.ts'

/** An address of a link. Lists have every field; `add` fills in what is absent. */
export interface Address {
  /** The link's index. */
  readonly link: number
  readonly address: Ip
  /** 0 to 32, or to 128 for IPv6: how many addresses are on the link, as the route that comes with it says. */
  readonly prefixLength: number
  /** `global` when absent. */
  readonly scope?: Scope | undefined
  /** The other end of a point-to-point link; the prefix is of it. */
  readonly peer?: Ip | undefined
  readonly broadcast?: Ip | undefined
  /** No route comes with it. False when absent. */
  readonly noPrefixRoute?: boolean | undefined
  /** IPv6: in use at once, without asking the link whether somebody else has it. False when absent. */
  readonly noDad?: boolean | undefined
}

const HEADER_BYTES = 8
const Attribute = { address: 1, local: 2, broadcast: 4, flags: 8 } as const
const FLAG_NO_DAD = 0x02
const FLAG_NO_PREFIX_ROUTE = 0x200

interface Header extends Pick<Address, 'link' | 'prefixLength' | 'scope'> {
  readonly family: number
}

function header({ family, link, prefixLength, scope }: Header): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, family)
  view.setUint8(1, prefixLength)
  view.setUint8(3, scopeNumber(scope ?? 'global'))
  view.setUint32(4, link, true)
  return bytes
}

export function encodeAddress(address: Address): Uint8Array {
  const flags = (address.noDad ? FLAG_NO_DAD : 0) | (address.noPrefixRoute ? FLAG_NO_PREFIX_ROUTE : 0)
  return Buffer.concat([
    header({ ...address, family: familyOf(address.address) }),
    attributes.ip(Attribute.local, address.address),
    attributes.ip(Attribute.address, address.peer ?? address.address),
    ...attributes.given(address.broadcast, attributes.ip, Attribute.broadcast),
    ...(flags === 0 ? [] : [attributes.u32(Attribute.flags, flags)]),
  ])
}

/** All addresses of the family, or those of one link. */
export function encodeAddressDump(link: number | undefined, family: IpFamily): Uint8Array {
  return header({ family: Family[family], link: link ?? 0, prefixLength: 0, scope: undefined })
}

/** Undefined when it is malformed or of another family. */
export function decodeAddress(payload: Uint8Array): Address | undefined {
  if (payload.length < HEADER_BYTES) return undefined
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  const found = attributes.readAttributes(payload.subarray(HEADER_BYTES))
  const far = attributes.getIp(found, Attribute.address)
  const address = attributes.getIp(found, Attribute.local) ?? far
  if (!isIpFamily(view.getUint8(0)) || address === undefined) return undefined
  const flags = attributes.getU32(found, Attribute.flags) ?? view.getUint8(2)
  return {
    link: view.getUint32(4, true),
    address,
    prefixLength: view.getUint8(1),
    scope: scopeOf(view.getUint8(3)),
    peer: far === address ? undefined : far,
    broadcast: attributes.getIp(found, Attribute.broadcast),
    noPrefixRoute: (flags & FLAG_NO_PREFIX_ROUTE) !== 0,
    noDad: (flags & FLAG_NO_DAD) !== 0,
  }
}
