/** A WireGuard device as the kernel would have it, that takes changes one small step at a time and shows what is between them. */
import { type Ipv4, ipv4 } from '../../mesh/base/address.ts'
import { bytesEqual, toHex } from '../../mesh/base/bytes.ts'
import { isIpv4 } from '../../mesh/base/ip.ts'
import type { NoiseKeys } from '../../mesh/noise-suite.ts'
import type { DeviceChanges, PeerChange, Prefix, WireguardDevice, WireguardPeer } from '../../router/kernel/codec/wireguard.ts'

type Settings = Omit<WireguardPeer, 'allowedIps'>

/** Not X25519: the model has a cheaper way from a private key to its public one. */
export function modelKeys(secretKey: Uint8Array): NoiseKeys {
  return { secretKey, publicKey: secretKey.map((byte) => byte ^ 0x11) }
}

export class WireguardModel {
  #device: Omit<WireguardDevice, 'peers'> = {
    index: 7,
    name: 'weft-wg',
    publicKey: undefined,
    listenPort: 0,
    mark: 0,
  }
  readonly #peers = new Map<string, Settings>()
  /** By prefix, as each has one owner. */
  readonly #owners = new Map<string, { readonly prefix: Prefix; readonly owner: string }>()
  readonly #look: () => void

  /** @param look is called after every step that a packet might fall into. */
  constructor(look: () => void = () => undefined) {
    this.#look = look
  }

  get device(): WireguardDevice {
    const peers = [...this.#peers].map(([key, settings]) => ({
      ...settings,
      allowedIps: [...this.#owners.values()].filter(({ owner }) => owner === key).map(({ prefix }) => prefix),
    }))
    return { ...this.#device, peers }
  }

  /** Whose an address is: the key in hex. IPv4 only. */
  ownerOf(address: Ipv4): string | undefined {
    const around = [...this.#owners.values()].filter(({ prefix }) => contains(prefix, address))
    return around.sort((a, b) => b.prefix.length - a.prefix.length)[0]?.owner
  }

  /** The peer moves, or shakes hands. */
  happen(publicKey: Uint8Array, news: Partial<Pick<Settings, 'endpoint' | 'lastHandshake'>>): void {
    const settings = this.#peers.get(toHex(publicKey))
    if (settings !== undefined) this.#peers.set(toHex(publicKey), { ...settings, ...news })
  }

  apply({ privateKey, listenPort, mark, peers = [], replacePeers = false }: DeviceChanges): void {
    if (replacePeers) for (const key of [...this.#peers.keys()]) this.#remove(key)
    this.#device = {
      ...this.#device,
      ...(privateKey === undefined ? {} : { publicKey: modelKeys(privateKey).publicKey }),
      ...(listenPort === undefined ? {} : { listenPort }),
      ...(mark === undefined ? {} : { mark }),
    }
    for (const change of peers) this.#change(change)
  }

  #change(change: PeerChange): void {
    const key = toHex(change.publicKey)
    if (change.kind === 'remove') {
      this.#remove(key)
      return
    }
    const before = this.#peers.get(key)
    if (before === undefined && change.kind === 'update') return
    this.#peers.set(key, { ...(before ?? newPeer(change.publicKey)), ...settingsOf(change) })
    if (change.replaceAllowedIps) this.#takeAll(key)
    for (const prefix of change.allowedIps ?? []) {
      this.#owners.set(`${prefix.base}/${prefix.length}`, { prefix, owner: key })
      this.#look()
    }
  }

  #remove(key: string): void {
    this.#takeAll(key)
    this.#peers.delete(key)
  }

  #takeAll(key: string): void {
    for (const [text, { owner }] of [...this.#owners]) if (owner === key) this.#owners.delete(text)
    this.#look()
  }
}

function newPeer(publicKey: Uint8Array): Settings {
  const zeros = { keepalive: 0, lastHandshake: 0, bytesReceived: 0, bytesSent: 0 }
  return { publicKey, presharedKey: undefined, endpoint: undefined, ...zeros }
}

function settingsOf(change: Exclude<PeerChange, { readonly kind: 'remove' }>): Partial<Settings> {
  const { presharedKey, endpoint, keepalive } = change
  return {
    ...('presharedKey' in change ? { presharedKey } : {}),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(keepalive === undefined ? {} : { keepalive }),
  }
}

function contains({ base, length }: Prefix, address: Ipv4): boolean {
  if (!isIpv4(base)) return false
  const size = 2 ** (32 - length)
  return ipv4(address - (address % size)) === base
}

export function isPeer(publicKey: Uint8Array): (peer: { readonly publicKey: Uint8Array }) => boolean {
  return (peer) => bytesEqual(peer.publicKey, publicKey)
}
