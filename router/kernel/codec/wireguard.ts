/**
 * WireGuard devices (linux/wireguard.h): messages of the generic family `wireguard`. All that a device has is in attributes:
 *
 *   device   index or name, private key, public key, flags, listen port, mark, peers
 *   peer     public key, preshared key, flags, endpoint, keepalive, last handshake, bytes received and sent, allowed IPs
 *
 * What is too much for one message goes in several, both ways: then the first has the device's own attributes, and a peer whose
 * allowed IPs did not fit comes again in the next, with its key and the rest of them.
 */
import { bytesEqual } from '../../../mesh/base/bytes.ts'
import type { Ip } from '../../../mesh/base/ip.ts'
import { assert } from '../../../mesh/base/result.ts'
import * as attributes from './attributes.ts'
import { decodeGeneric, encodeGeneric } from './generic.ts'
import { Family } from './numbers.ts'
import { decodeSocketAddress, encodeSocketAddress, ipBytes, ipOf, type SocketAddress } from './sockaddr.ts'

export const WIREGUARD_FAMILY = 'wireguard'
const KEY_BYTES = 32

/** Whose packets a peer may send, and which are sent to it: the longest prefix that fits counts. The bits below `length` are zero. */
export interface Prefix {
  readonly base: Ip
  readonly length: number
}

export interface WireguardDevice {
  readonly index: number
  readonly name: string
  /** Undefined when it has none. The private one is not read: whoever set it knows it by this, and it is nobody else's. */
  readonly publicKey: Uint8Array | undefined
  readonly listenPort: number
  /** Of the packets that it sends; 0 is none. */
  readonly mark: number
  readonly peers: readonly WireguardPeer[]
}

export interface WireguardPeer {
  readonly publicKey: Uint8Array
  readonly presharedKey: Uint8Array | undefined
  /** Where it was told to be, or has last sent from. Undefined, too, where that is link-local. */
  readonly endpoint: SocketAddress | undefined
  /** Seconds; 0 is none. */
  readonly keepalive: number
  /** Wall time in seconds; 0 is never. */
  readonly lastHandshake: number
  readonly bytesReceived: number
  readonly bytesSent: number
  /** Without those of link-local addresses, which only somebody else can have set. */
  readonly allowedIps: readonly Prefix[]
}

/** What is absent stays as it is. */
export interface DeviceChanges {
  readonly privateKey?: Uint8Array
  readonly listenPort?: number
  readonly mark?: number
  /** All peers that are not among `peers` go. */
  readonly replacePeers?: boolean
  /** Done in order. One may come several times. */
  readonly peers?: readonly PeerChange[]
}

export type PeerChange = PeerRemoval | PeerUpdate

interface PeerRemoval {
  readonly kind: 'remove'
  readonly publicKey: Uint8Array
}

export interface PeerUpdate {
  /** `add`: made when it is not there. `update`: only when it is. */
  readonly kind: 'add' | 'update'
  readonly publicKey: Uint8Array
  /** `undefined` takes it away. */
  readonly presharedKey?: Uint8Array | undefined
  readonly endpoint?: SocketAddress
  readonly keepalive?: number
  /** Given to this peer, also when another one has them. */
  readonly allowedIps?: readonly Prefix[]
  /** It loses all others. */
  readonly replaceAllowedIps?: boolean
}

const VERSION = 1
const Command = { get: 0, set: 1 } as const
const Device = { index: 1, name: 2, privateKey: 3, publicKey: 4, flags: 5, listenPort: 6, mark: 7, peers: 8 } as const
const Peer = {
  publicKey: 1,
  presharedKey: 2,
  flags: 3,
  endpoint: 4,
  keepalive: 5,
  lastHandshake: 6,
  bytesReceived: 7,
  bytesSent: 8,
  allowedIps: 9,
} as const
const AllowedIp = { family: 1, address: 2, length: 3 } as const
const REPLACE_PEERS = 1
const PeerFlag = { remove: 1, replaceAllowedIps: 2, updateOnly: 4 } as const
/** Items of a list have no type of their own. */
const ITEM = 0
const NO_KEY: Uint8Array = new Uint8Array(KEY_BYTES)

/** A list is an attribute, and has at most 64 KiB. The kernel holds a lock while it works on one message. */
const MESSAGE_BYTES_MAX = 16 * 1024
const DEVICE_BYTES_MAX = 256
const PEERS_BYTES_MAX = MESSAGE_BYTES_MAX - DEVICE_BYTES_MAX
/** An allowed IP with its three attributes: as IPv6, at most. */
const ALLOWED_IP_BYTES_MAX = 40
const PEER_BYTES_MAX = 160
const ALLOWED_IPS_MAX = Math.floor((PEERS_BYTES_MAX - PEER_BYTES_MAX) / ALLOWED_IP_BYTES_MAX)

export function encodeDeviceDump(name: string): Uint8Array {
  return encodeGeneric(Command.get, VERSION, [attributes.text(Device.name, name)])
}

/** One message or more, to be sent in order. */
export function encodeDeviceChanges(name: string, changes: DeviceChanges): readonly Uint8Array[] {
  const { privateKey, listenPort, mark, replacePeers = false, peers = [] } = changes
  const own = [
    ...attributes.given(privateKey, key, Device.privateKey),
    ...(replacePeers ? [attributes.u32(Device.flags, REPLACE_PEERS)] : []),
    ...attributes.given(listenPort, attributes.u16, Device.listenPort),
    ...attributes.given(mark, attributes.u32, Device.mark),
  ]
  const batches = batchesOf(peers.flatMap(parts).map(encodePeer))
  return (batches.length === 0 ? [[]] : batches).map((batch, index) =>
    encodeGeneric(Command.set, VERSION, [
      attributes.text(Device.name, name),
      ...(index === 0 ? own : []),
      ...(batch.length === 0 ? [] : [attributes.nested(Device.peers, batch)]),
    ]),
  )
}

/** Items in order, as many together as fit in a message. */
function batchesOf(items: readonly Uint8Array[]): readonly (readonly Uint8Array[])[] {
  const batches: Uint8Array[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const item of items) {
    if (bytes + item.length > PEERS_BYTES_MAX) {
      batches.push([])
      bytes = 0
    }
    batches.at(-1)?.push(item)
    bytes += item.length
  }
  return batches
}

/** A change in pieces that each fit in a message. */
function parts(change: PeerChange): readonly PeerChange[] {
  if (change.kind === 'remove' || (change.allowedIps?.length ?? 0) <= ALLOWED_IPS_MAX) return [change]
  const { publicKey, allowedIps = [] } = change
  const first = { ...change, allowedIps: allowedIps.slice(0, ALLOWED_IPS_MAX) }
  const rest: PeerChange[] = []
  for (let at = ALLOWED_IPS_MAX; at < allowedIps.length; at += ALLOWED_IPS_MAX) {
    rest.push({ kind: 'update', publicKey, allowedIps: allowedIps.slice(at, at + ALLOWED_IPS_MAX) })
  }
  return [first, ...rest]
}

function encodePeer(change: PeerChange): Uint8Array {
  const publicKey = key(Peer.publicKey, change.publicKey)
  if (change.kind === 'remove') return attributes.nested(ITEM, [publicKey, attributes.u32(Peer.flags, PeerFlag.remove)])
  const { kind, endpoint, keepalive, allowedIps = [], replaceAllowedIps } = change
  const flags = (kind === 'update' ? PeerFlag.updateOnly : 0) | (replaceAllowedIps ? PeerFlag.replaceAllowedIps : 0)
  return attributes.nested(ITEM, [
    publicKey,
    ...(flags === 0 ? [] : [attributes.u32(Peer.flags, flags)]),
    ...('presharedKey' in change ? [key(Peer.presharedKey, change.presharedKey ?? NO_KEY)] : []),
    ...(endpoint === undefined ? [] : [attributes.attribute(Peer.endpoint, encodeSocketAddress(endpoint))]),
    ...attributes.given(keepalive, attributes.u16, Peer.keepalive),
    ...(allowedIps.length === 0 ? [] : [attributes.nested(Peer.allowedIps, allowedIps.map(encodeAllowedIp))]),
  ])
}

function encodeAllowedIp({ base, length }: Prefix): Uint8Array {
  const bytes = ipBytes(base)
  return attributes.nested(ITEM, [
    attributes.u16(AllowedIp.family, bytes.length === 4 ? Family.inet : Family.inet6),
    attributes.attribute(AllowedIp.address, bytes),
    attributes.u8(AllowedIp.length, length),
  ])
}

function key(type: number, bytes: Uint8Array): Uint8Array {
  assert(bytes.length === KEY_BYTES, `a WireGuard key has ${KEY_BYTES} bytes, not ${bytes.length}`)
  return attributes.attribute(type, bytes)
}

/** One message of a dump. The first has an index and a name, the others peers only. Copies what it keeps. Undefined when it is malformed. */
export function decodeDevicePart(payload: Uint8Array): WireguardDevice | undefined {
  const found = decodeGeneric(payload)
  if (found === undefined) return undefined
  return {
    index: attributes.getU32(found, Device.index) ?? 0,
    name: attributes.getText(found, Device.name) ?? '',
    publicKey: getKey(found, Device.publicKey),
    listenPort: attributes.getU16(found, Device.listenPort) ?? 0,
    mark: attributes.getU32(found, Device.mark) ?? 0,
    peers: attributes.readList(found, Device.peers).flatMap(decodePeer),
  }
}

/** The device that the messages of a dump tell of, in order; undefined when the first is not of a device. */
export function joinDeviceParts([first, ...others]: readonly WireguardDevice[]): WireguardDevice | undefined {
  if (first === undefined || first.index === 0) return undefined
  const peers = [...first.peers]
  for (const { peers: more } of others) {
    const [head, last] = [more[0], peers.at(-1)]
    const isContinued = head !== undefined && last !== undefined && bytesEqual(head.publicKey, last.publicKey)
    if (isContinued) peers[peers.length - 1] = { ...last, allowedIps: [...last.allowedIps, ...head.allowedIps] }
    peers.push(...(isContinued ? more.slice(1) : more))
  }
  return { ...first, peers }
}

function decodePeer(found: attributes.Attributes): readonly WireguardPeer[] {
  const publicKey = getKey(found, Peer.publicKey)
  if (publicKey === undefined) return []
  const endpoint = found.get(Peer.endpoint)
  return [
    {
      publicKey,
      presharedKey: getKey(found, Peer.presharedKey),
      endpoint: endpoint === undefined ? undefined : decodeSocketAddress(endpoint),
      keepalive: attributes.getU16(found, Peer.keepalive) ?? 0,
      lastHandshake: secondsOf(found.get(Peer.lastHandshake)),
      bytesReceived: attributes.getU64(found, Peer.bytesReceived) ?? 0,
      bytesSent: attributes.getU64(found, Peer.bytesSent) ?? 0,
      allowedIps: attributes.readList(found, Peer.allowedIps).flatMap(decodeAllowedIp),
    },
  ]
}

function decodeAllowedIp(found: attributes.Attributes): readonly Prefix[] {
  const bytes = found.get(AllowedIp.address)
  const length = attributes.getU8(found, AllowedIp.length)
  const base = bytes === undefined ? undefined : ipOf(bytes)
  if (bytes === undefined || base === undefined || length === undefined || length > 8 * bytes.length) return []
  return [{ base, length }]
}

/** Undefined for a key of zeros: there is none. */
function getKey(found: attributes.Attributes, type: number): Uint8Array | undefined {
  const bytes = found.get(type)
  if (bytes?.length !== KEY_BYTES || bytesEqual(bytes, NO_KEY)) return undefined
  return Uint8Array.from(bytes)
}

/** Of `struct __kernel_timespec`: two numbers of 64 bits, of which the first is enough. */
function secondsOf(bytes: Uint8Array | undefined): number {
  if (bytes === undefined || bytes.length < 8) return 0
  const seconds = Number(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigInt64(0, true))
  return Number.isSafeInteger(seconds) ? seconds : 0
}
