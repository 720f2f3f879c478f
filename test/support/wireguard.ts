/** For tests on a kernel with WireGuard: hosts with a device each that is kept as it should be, joined by an underlay. */

import { parseCidr, parseIpv4 } from '../../mesh/base/address.ts'
import { systemClock } from '../../mesh/base/clock.ts'
import { loadCrypto } from '../../mesh/crypto.ts'
import type { NoiseKeys } from '../../mesh/noise-suite.ts'
import { addAddress } from '../../router/kernel/addr.ts'
import type { DeviceChanges, WireguardDevice } from '../../router/kernel/codec/wireguard.ts'
import { addVeth, setLink } from '../../router/kernel/link.ts'
import { Netlink } from '../../router/kernel/netlink.ts'
import { replaceRoute } from '../../router/kernel/route.ts'
import { ensureWireguard, readWireguard, setWireguard } from '../../router/kernel/wireguard.ts'
import { type PeerWants, planWireguard, type Told } from '../../router/kernel/wireguard-plan.ts'
import { type KernelNetns, linkNamed, makeKernelNetns } from './kernel.ts'
import { must } from './result.ts'

export const DEVICE = 'weft-wg'
export const PORT = 6785

const crypto = await loadCrypto()

export interface WireguardHost extends KernelNetns {
  readonly generic: Netlink
  /** The index of its device. */
  readonly index: number
  readonly family: number
  readonly keys: NoiseKeys
  read(): Promise<WireguardDevice>
  set(changes: DeviceChanges): Promise<void>
  /** Makes these its peers; what that took. */
  keep(...peers: readonly PeerWants[]): Promise<DeviceChanges | undefined>
}

export function newKeys(): NoiseKeys {
  return crypto.noise.keys(crypto.randomBytes(32))
}

/** As a public key: any bytes are one. As a preshared one, too. */
export function randomKey(): Uint8Array {
  return crypto.randomBytes(32)
}

/** With a device that has no peers, and is up. */
export async function makeWireguardHost(): Promise<WireguardHost> {
  await using stack = new AsyncDisposableStack()
  const { ns, netlink } = stack.use(await makeKernelNetns())
  const generic = stack.use(Netlink.open({ clock: systemClock, netns: ns.fd, protocol: 'generic' }))
  const device = must(await ensureWireguard({ route: netlink, generic }, { name: DEVICE, mtuBytes: 1_420, up: true }))
  if (device.kind === 'absent') throw new Error(device.reason)
  const { index, family } = device
  const keys = newKeys()
  let told: Told = new Map()
  const read = async (): Promise<WireguardDevice> => {
    const found = must(await readWireguard({ generic, family }, DEVICE))
    if (found === undefined) throw new Error(`there is no device ${DEVICE}`)
    return found
  }
  const set = async (changes: DeviceChanges): Promise<void> => must(await setWireguard({ generic, family }, DEVICE, changes))
  const keep = async (...peers: readonly PeerWants[]): Promise<DeviceChanges | undefined> => {
    const want = { keys, listenPort: PORT, mark: 0, peers }
    const plan = planWireguard({ want, have: await read(), told, now: systemClock.wallTime() / 1_000 })
    if (plan.changes !== undefined) await set(plan.changes)
    told = plan.told
    return plan.changes
  }
  const made = stack.move()
  return { ns, netlink, generic, index, family, keys, read, set, keep, [Symbol.asyncDispose]: () => made.disposeAsync() }
}

/** Two hosts, joined by `eth0` at 192.0.2.1 and 192.0.2.2. Their devices have 10.32.0.1 and 10.40.0.1, and 10.32.0.0/12 is behind them. */
export async function makeWireguardPair(): Promise<{ readonly a: WireguardHost; readonly b: WireguardHost } & AsyncDisposable> {
  await using stack = new AsyncDisposableStack()
  const a = stack.use(await makeWireguardHost())
  const b = stack.use(await makeWireguardHost())
  must(await addVeth(a.netlink, { name: 'eth0', peer: { name: 'eth0', netns: b.ns.fd } }))
  for (const [host, underlay, address] of [
    [a, '192.0.2.1', '10.32.0.1'],
    [b, '192.0.2.2', '10.40.0.1'],
  ] as const) {
    const { index } = await linkNamed(host.netlink, 'eth0')
    must(await setLink(host.netlink, index, { up: true }))
    must(await addAddress(host.netlink, { link: index, address: parseIpv4(underlay), prefixLength: 24 }))
    must(await addAddress(host.netlink, { link: host.index, address: parseIpv4(address), prefixLength: 32 }))
    must(await replaceRoute(host.netlink, { destination: parseCidr('10.32.0.0/12'), link: host.index, scope: 'link' }))
  }
  const made = stack.move()
  return { a, b, [Symbol.asyncDispose]: () => made.disposeAsync() }
}

/** `host` as a peer of others. */
export function asPeer(host: Pick<WireguardHost, 'keys'>, endpoint: string | undefined, ...allowedIps: readonly string[]): PeerWants {
  return {
    publicKey: host.keys.publicKey,
    presharedKey: new Uint8Array(32).fill(1),
    endpoint: endpoint === undefined ? undefined : { address: parseIpv4(endpoint), port: PORT },
    keepalive: 0,
    allowedIps: allowedIps.map(parseCidr),
  }
}
