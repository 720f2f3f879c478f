/**
 * What to change of a WireGuard device so that it becomes as it should be: nothing that is so already. No peer is there without
 * its preshared key, and no address without its peer, for a moment (see allowed-ips.ts).
 */
import { bytesEqual, fromHex, toHex } from '../../mesh/base/bytes.ts'
import type { NoiseKeys } from '../../mesh/noise-suite.ts'
import { type Gift, type Holdings, planAllowedIps } from './allowed-ips.ts'
import type { SocketAddress } from './codec/sockaddr.ts'
import type { DeviceChanges, PeerChange, PeerUpdate, Prefix, WireguardDevice, WireguardPeer } from './codec/wireguard.ts'

export interface DeviceWants {
  readonly keys: NoiseKeys
  readonly listenPort: number
  /** Of the packets that it sends; 0 is none. */
  readonly mark: number
  /** Of several with one public key the first counts. One with our own does not count. */
  readonly peers: readonly PeerWants[]
}

export interface PeerWants {
  readonly publicKey: Uint8Array
  readonly presharedKey: Uint8Array | undefined
  /** Undefined when only the peer can begin: it is where it sends from. */
  readonly endpoint: SocketAddress | undefined
  /** Seconds; 0 is none. */
  readonly keepalive: number
  readonly allowedIps: readonly Prefix[]
}

/** Where we have told the kernel that peers are, by public key in hex. */
export type Told = ReadonlyMap<string, SocketAddress>

export interface PlanInput {
  readonly want: DeviceWants
  readonly have: WireguardDevice
  /** What the last plan that was carried out told; empty when we have just started. */
  readonly told: Told
  /** Wall time, in seconds. */
  readonly now: number
}

export interface DevicePlan {
  /** Undefined when all is as it should be. */
  readonly changes: DeviceChanges | undefined
  /** For the next plan, once the changes are made. */
  readonly told: Told
}

/** WireGuard's REJECT_AFTER_TIME: no session is older. */
const SESSION_SECONDS_MAX = 180

/** Nobody has the private key to these words. A peer of this name holds for a moment what nobody is to have. */
const NOBODY: Uint8Array = new TextEncoder().encode('weft: nobody has this public key')

export function planWireguard({ want, have, told, now }: PlanInput): DevicePlan {
  const wanted = byKey(want.peers.filter(({ publicKey }) => !bytesEqual(publicKey, want.keys.publicKey)))
  const existing = byKey(have.peers)
  const endpoints = new Map([...wanted].map(([key, peer]) => [key, endpointFor(peer, existing.get(key), told.get(key), now)] as const))
  const peers = [
    ...updates(wanted, existing, endpoints),
    ...[...existing.values()].filter(({ publicKey }) => !wanted.has(toHex(publicKey))).map(removal),
  ]
  const { keys, listenPort, mark } = want
  const changes: DeviceChanges = {
    // By the public one: the kernel sets and clears some bits of the private one, as X25519 has it.
    ...(isSameKey(have.publicKey, keys.publicKey) ? {} : { privateKey: keys.secretKey }),
    ...(have.listenPort === listenPort ? {} : { listenPort }),
    ...(have.mark === mark ? {} : { mark }),
    ...(peers.length === 0 ? {} : { peers }),
  }
  return { changes: Object.keys(changes).length === 0 ? undefined : changes, told: toldBy(wanted) }
}

/** The first of each key. */
function byKey<P extends { readonly publicKey: Uint8Array }>(peers: readonly P[]): ReadonlyMap<string, P> {
  const found = new Map<string, P>()
  for (const peer of peers) {
    const key = toHex(peer.publicKey)
    if (!found.has(key)) found.set(key, peer)
  }
  return found
}

function toldBy(wanted: ReadonlyMap<string, PeerWants>): Told {
  return new Map([...wanted].flatMap(([key, { endpoint }]) => (endpoint === undefined ? [] : [[key, endpoint] as const])))
}

/**
 * The endpoint to set, if any. A peer that has moved is where it last sent from, which the kernel knows better than its record,
 * as long as there is a session; unless the record says something new.
 */
function endpointFor(
  { endpoint }: PeerWants,
  existing: WireguardPeer | undefined,
  told: SocketAddress | undefined,
  now: number,
): SocketAddress | undefined {
  if (endpoint === undefined || existing === undefined) return endpoint
  if (existing.endpoint !== undefined && isSame(existing.endpoint, endpoint)) return undefined
  const isNews = told !== undefined && !isSame(told, endpoint)
  const hasSession = existing.lastHandshake > 0 && now - existing.lastHandshake <= SESSION_SECONDS_MAX
  return hasSession && !isNews ? undefined : endpoint
}

/** All but removals, in order. A peer's settings go with the first prefixes that it is given. */
function updates(
  wanted: ReadonlyMap<string, PeerWants>,
  existing: ReadonlyMap<string, WireguardPeer>,
  endpoints: ReadonlyMap<string, SocketAddress | undefined>,
): readonly PeerChange[] {
  const settings = new Map<string, PeerUpdate>()
  for (const [key, peer] of wanted) {
    const update = settingsFor(peer, existing.get(key), endpoints.get(key))
    if (update !== undefined) settings.set(key, update)
  }
  const { gifts, drops, cluttered } = planAllowedIps(allowedIpsOf(wanted), allowedIpsOf(existing))
  const given = gifts.map(({ to, prefixes }): PeerChange => {
    const update = settings.get(to) ?? { kind: 'update', publicKey: fromHex(to) }
    settings.delete(to)
    return { ...update, allowedIps: prefixes }
  })
  return [...settings.values(), ...given, ...dropping(drops), ...cluttered.map(tidying)]
}

/** Undefined when all are as they should be. */
function settingsFor(
  { publicKey, presharedKey, keepalive }: PeerWants,
  existing: WireguardPeer | undefined,
  endpoint: SocketAddress | undefined,
): PeerUpdate | undefined {
  const changes = {
    ...(isSameKey(presharedKey, existing?.presharedKey) ? {} : { presharedKey }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(keepalive === (existing?.keepalive ?? 0) ? {} : { keepalive }),
  }
  if (existing === undefined) return { kind: 'add', publicKey, ...changes }
  return Object.keys(changes).length === 0 ? undefined : { kind: 'update', publicKey, ...changes }
}

/** A peer that is made to take them away from the others, and goes with them. */
function dropping(prefixes: readonly Prefix[]): readonly PeerChange[] {
  if (prefixes.length === 0) return []
  return [
    { kind: 'add', publicKey: NOBODY, allowedIps: prefixes },
    { kind: 'remove', publicKey: NOBODY },
  ]
}

/** Rarely, as the peer has none of them for the moment that it takes. */
function tidying({ to, prefixes }: Gift): PeerChange {
  return { kind: 'update', publicKey: fromHex(to), allowedIps: prefixes, replaceAllowedIps: true }
}

function removal({ publicKey }: WireguardPeer): PeerChange {
  return { kind: 'remove', publicKey }
}

function allowedIpsOf(peers: ReadonlyMap<string, Pick<PeerWants, 'allowedIps'>>): Holdings {
  return new Map([...peers].map(([key, { allowedIps }]) => [key, allowedIps] as const))
}

function isSame(a: SocketAddress, b: SocketAddress): boolean {
  return a.address === b.address && a.port === b.port
}

function isSameKey(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : bytesEqual(a, b)
}
