/**
 * Neighbours and forwarding entries of VXLAN devices (linux/neighbour.h): `struct ndmsg`, then attributes.
 *
 *   0        1     4       8       10      11     12
 *   | family | pad | index | state | flags | type | attributes …
 */
import type { Ipv4 } from '../../../mesh/base/address.ts'
import type { Ip } from '../../../mesh/base/ip.ts'
import type { Mac } from '../mac.ts'
import * as attributes from './attributes.ts'
import { Family, familyOf, type IpFamily, isIpFamily } from './numbers.ts'

/** A neighbour whose hardware address is known. */
export interface Neighbour {
  readonly link: number
  readonly address: Ip
  readonly mac: Mac
  /** Said by somebody and kept until deleted, not learned. True when absent. */
  readonly permanent?: boolean | undefined
}

/** Behind which host of a VXLAN a hardware address is (`bridge fdb … dst`). */
export interface FdbEntry {
  /** The VXLAN device's index. */
  readonly link: number
  /** 00:00:00:00:00:00 stands for all that are unknown. */
  readonly mac: Mac
  readonly destination: Ipv4
}

const HEADER_BYTES = 12
const Attribute = { destination: 1, hardwareAddress: 2, link: 8 } as const
const STATE_PERMANENT = 0x80
/** Of the device itself, not of the bridge that it is a port of. */
const FLAG_SELF = 2

interface Header {
  readonly family: number
  readonly link: number
  readonly state: number
  readonly flags: number
}

function header({ family, link, state, flags }: Header): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, family)
  view.setUint32(4, link, true)
  view.setUint16(8, state, true)
  view.setUint8(10, flags)
  return bytes
}

export function encodeNeighbour({ link, address, mac }: Neighbour): Uint8Array {
  return Buffer.concat([
    header({ family: familyOf(address), link, state: STATE_PERMANENT, flags: 0 }),
    attributes.ip(Attribute.destination, address),
    attributes.mac(Attribute.hardwareAddress, mac),
  ])
}

export function encodeNeighbourReference({ link, address }: Pick<Neighbour, 'link' | 'address'>): Uint8Array {
  return Buffer.concat([header({ family: familyOf(address), link, state: 0, flags: 0 }), attributes.ip(Attribute.destination, address)])
}

export function encodeNeighbourDump(link: number | undefined, family: IpFamily): Uint8Array {
  return Buffer.concat([
    header({ family: Family[family], link: 0, state: 0, flags: 0 }),
    ...attributes.given(link, attributes.u32, Attribute.link),
  ])
}

/** Undefined when it is malformed, of another family, or its hardware address is not known (incomplete, failed). */
export function decodeNeighbour(payload: Uint8Array): Neighbour | undefined {
  if (payload.length < HEADER_BYTES) return undefined
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  const found = attributes.readAttributes(payload.subarray(HEADER_BYTES))
  const address = attributes.getIp(found, Attribute.destination)
  const mac = attributes.getMac(found, Attribute.hardwareAddress)
  if (!isIpFamily(view.getUint8(0)) || address === undefined || mac === undefined) return undefined
  return { link: view.getUint32(4, true), address, mac, permanent: (view.getUint16(8, true) & STATE_PERMANENT) !== 0 }
}

export function encodeFdbEntry({ link, mac, destination }: FdbEntry): Uint8Array {
  return Buffer.concat([
    header({ family: Family.bridge, link, state: STATE_PERMANENT, flags: FLAG_SELF }),
    attributes.mac(Attribute.hardwareAddress, mac),
    attributes.ipv4(Attribute.destination, destination),
  ])
}

export function encodeFdbDump(link: number): Uint8Array {
  return header({ family: Family.bridge, link, state: 0, flags: 0 })
}

/** Undefined when it is malformed or says no IPv4 destination. */
export function decodeFdbEntry(payload: Uint8Array): FdbEntry | undefined {
  if (payload.length < HEADER_BYTES) return undefined
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  const found = attributes.readAttributes(payload.subarray(HEADER_BYTES))
  const destination = attributes.getIpv4(found, Attribute.destination)
  const mac = attributes.getMac(found, Attribute.hardwareAddress)
  if (view.getUint8(0) !== Family.bridge || destination === undefined || mac === undefined) return undefined
  return { link: view.getUint32(4, true), mac, destination }
}
