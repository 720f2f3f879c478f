/** WireGuard devices, made by us and looked at with `wg`; and made with `wg` and looked at by us. */
import { describe, expect, test } from 'vitest'
import { cidr, ipv4, parseCidr, parseIpv4 } from '../../../mesh/base/address.ts'
import { toHex } from '../../../mesh/base/bytes.ts'
import { formatIp, parseIp } from '../../../mesh/base/ip.ts'
import type { PeerChange, Prefix, WireguardDevice, WireguardPeer } from '../../../router/kernel/codec/wireguard.ts'
import { addBridge, getLink } from '../../../router/kernel/link.ts'
import { ensureWireguard, readWireguard, setWireguard } from '../../../router/kernel/wireguard.ts'
import type { PeerWants } from '../../../router/kernel/wireguard-plan.ts'
import { must, mustFail } from '../../support/result.ts'
import { DEVICE, makeWireguardHost, PORT, randomKey } from '../../support/wireguard.ts'

function base64(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? '(none)' : Buffer.from(bytes).toString('base64')
}

/** The bits of a private key that X25519 does not leave to chance. */
function clamped(secretKey: Uint8Array): Uint8Array {
  return secretKey.map((byte, index) => (index === 0 ? byte & 0xf8 : index === 31 ? (byte & 0x7f) | 0x40 : byte))
}

/** What `wg show NAME dump` would say of it. */
function dumpOf({ publicKey, listenPort, mark, peers }: WireguardDevice, secretKey: Uint8Array): string {
  const lines = [
    [base64(clamped(secretKey)), base64(publicKey), listenPort, mark === 0 ? 'off' : `0x${mark.toString(16)}`],
    ...peers.map(peerFields),
  ]
  return lines.map((fields) => `${fields.join('\t')}\n`).join('')
}

function peerFields(peer: WireguardPeer): readonly (string | number)[] {
  const { endpoint, allowedIps, lastHandshake, bytesReceived, bytesSent, keepalive } = peer
  const place =
    endpoint === undefined
      ? '(none)'
      : `${typeof endpoint.address === 'number' ? formatIp(endpoint.address) : `[${endpoint.address}]`}:${endpoint.port}`
  const prefixes = allowedIps.map(({ base, length }) => `${formatIp(base)}/${length}`).join(',')
  const counts = [lastHandshake, bytesReceived, bytesSent, keepalive === 0 ? 'off' : keepalive]
  return [base64(peer.publicKey), base64(peer.presharedKey), place, prefixes === '' ? '(none)' : prefixes, ...counts]
}

const peerOf = (changes: Partial<PeerWants> = {}): PeerWants => ({
  // Any 32 bytes are a public key.
  publicKey: randomKey(),
  presharedKey: randomKey(),
  endpoint: { address: parseIpv4('192.0.2.2'), port: PORT },
  keepalive: 0,
  allowedIps: [parseCidr('10.40.0.0/13')],
  ...changes,
})

/** `count` prefixes of /24 from 10.0.0.0 on. */
function manyPrefixes(count: number): readonly Prefix[] {
  return Array.from({ length: count }, (_, index) => cidr(ipv4(parseIpv4('10.0.0.0') + 256 * index), 24))
}

function sorted(device: WireguardDevice): WireguardDevice {
  const text = ({ base, length }: Prefix): string => `${formatIp(base)}/${length}`
  const peers = device.peers.map((peer) => ({ ...peer, allowedIps: peer.allowedIps.toSorted((x, y) => text(x).localeCompare(text(y))) }))
  return { ...device, peers: peers.toSorted((x, y) => toHex(x.publicKey).localeCompare(toHex(y.publicKey))) }
}

const NOTHING_YET = { lastHandshake: 0, bytesReceived: 0, bytesSent: 0 }

describe('a device with two peers', () => {
  const first = peerOf({ keepalive: 25 })
  const second = peerOf({
    presharedKey: undefined,
    endpoint: { address: parseIp('2001:db8::1'), port: 50_000 },
    allowedIps: [parseCidr('10.48.0.0/16'), parseCidr('10.64.0.1/32'), { base: parseIp('fd00:48::'), length: 32 }],
  })

  test('is to `wg` what it is to us, reads back as it was set, and the next pass has nothing to do', async () => {
    await using host = await makeWireguardHost()
    expect(await host.keep(first, second)).toBeDefined()
    const device = await host.read()
    expect(await host.ns.exec('wg', 'show', DEVICE, 'dump')).toBe(dumpOf(device, host.keys.secretKey))
    expect(sorted(device)).toEqual(
      sorted({
        index: host.index,
        name: DEVICE,
        publicKey: host.keys.publicKey,
        listenPort: PORT,
        mark: 0,
        peers: [first, second].map((peer) => ({ ...peer, ...NOTHING_YET })),
      }),
    )
    expect(await host.keep(first, second)).toBeUndefined()
  })

  test('is adopted by who finds it, and only what differs is changed', async () => {
    await using host = await makeWireguardHost()
    await host.keep(first, second)
    const found = must(await ensureWireguard({ route: host.netlink, generic: host.generic }, { name: DEVICE, mtuBytes: 1_400, up: true }))
    expect(found).toEqual({ kind: 'present', index: host.index, family: host.family })
    expect(must(await getLink(host.netlink, DEVICE))).toMatchObject({ mtuBytes: 1_400, up: true, details: { kind: 'wireguard' } })
    expect(await host.keep({ ...first, keepalive: 0 }, second)).toEqual({
      peers: [{ kind: 'update', publicKey: first.publicKey, keepalive: 0 }],
    })
    expect(await host.keep(second)).toEqual({ peers: [{ kind: 'remove', publicKey: first.publicKey }] })
    expect(sorted(await host.read()).peers).toMatchObject(sorted({ ...(await host.read()), peers: [{ ...second, ...NOTHING_YET }] }).peers)
  })

  test('is read as `wg` has set it', async () => {
    await using host = await makeWireguardHost()
    const key = base64(first.publicKey)
    await host.ns.exec(
      'wg',
      'set',
      DEVICE,
      'listen-port',
      '7000',
      'fwmark',
      '0x77',
      'peer',
      key,
      'endpoint',
      '198.51.100.7:99',
      'allowed-ips',
      '10.1.0.0/16',
    )
    expect(await host.read()).toMatchObject({
      listenPort: 7_000,
      mark: 0x77,
      peers: [
        {
          publicKey: first.publicKey,
          presharedKey: undefined,
          endpoint: { address: parseIpv4('198.51.100.7'), port: 99 },
          allowedIps: [parseCidr('10.1.0.0/16')],
        },
      ],
    })
  })
})

describe('the flags of a change', () => {
  const [x, y] = [randomKey(), randomKey()]
  const keysOf = ({ peers }: WireguardDevice): readonly string[] => peers.map(({ publicKey }) => toHex(publicKey)).sort()

  test.each<{
    readonly name: string
    readonly changes: readonly PeerChange[]
    readonly replacePeers?: boolean
    readonly left: readonly Uint8Array[]
  }>([
    { name: 'all others go', changes: [{ kind: 'add', publicKey: y }], replacePeers: true, left: [y] },
    { name: 'one goes', changes: [{ kind: 'remove', publicKey: x }], left: [] },
    { name: 'one that is not there is not made by an update', changes: [{ kind: 'update', publicKey: y, keepalive: 5 }], left: [x] },
  ])('$name', async ({ changes, replacePeers = false, left }) => {
    await using host = await makeWireguardHost()
    await host.set({ peers: [{ kind: 'add', publicKey: x }] })
    await host.set({ peers: changes, replacePeers })
    expect(keysOf(await host.read())).toEqual(left.map(toHex).sort())
  })

  test('allowed IPs are added to, taken from others, and replaced', async () => {
    await using host = await makeWireguardHost()
    const prefixes = async (): Promise<readonly (readonly [string, readonly Prefix[]])[]> =>
      sorted(await host.read()).peers.map(({ publicKey, allowedIps }) => [toHex(publicKey), allowedIps] as const)
    const byKey = (ofX: readonly string[], ofY: readonly string[]): readonly (readonly [string, readonly Prefix[]])[] =>
      [[toHex(x), ofX.map(parseCidr)] as const, [toHex(y), ofY.map(parseCidr)] as const].toSorted(([p], [q]) => p.localeCompare(q))
    const allowed = (...texts: readonly string[]): readonly Prefix[] => texts.map(parseCidr)
    await host.set({
      peers: [
        { kind: 'add', publicKey: x, allowedIps: allowed('10.1.0.0/16') },
        { kind: 'add', publicKey: y },
      ],
    })
    await host.set({ peers: [{ kind: 'update', publicKey: x, allowedIps: allowed('10.2.0.0/16') }] })
    expect(await prefixes()).toEqual(byKey(['10.1.0.0/16', '10.2.0.0/16'], []))
    await host.set({ peers: [{ kind: 'update', publicKey: y, allowedIps: allowed('10.2.0.0/16') }] })
    expect(await prefixes()).toEqual(byKey(['10.1.0.0/16'], ['10.2.0.0/16']))
    await host.set({ peers: [{ kind: 'update', publicKey: x, allowedIps: allowed('10.3.0.0/16'), replaceAllowedIps: true }] })
    expect(await prefixes()).toEqual(byKey(['10.3.0.0/16'], ['10.2.0.0/16']))
  })
})

describe('much at once', () => {
  test('300 peers are set, read back, found right, and replaced by others', async () => {
    await using host = await makeWireguardHost()
    const peers = manyPrefixes(300).map((prefix) => peerOf({ allowedIps: [prefix] }))
    await host.keep(...peers)
    const device = await host.read()
    expect(device.peers).toHaveLength(300)
    expect(await host.ns.exec('wg', 'show', DEVICE, 'dump')).toBe(dumpOf(device, host.keys.secretKey))
    expect(await host.keep(...peers)).toBeUndefined()
    const swapped = peers.map((peer, index) => ({ ...peer, allowedIps: peers[299 - index]?.allowedIps ?? [] }))
    await host.keep(...swapped.slice(0, 250))
    expect(await host.keep(...swapped.slice(0, 250))).toBeUndefined()
  })

  test('a peer with 2,000 prefixes is set and read back', async () => {
    await using host = await makeWireguardHost()
    const peer = peerOf({ allowedIps: manyPrefixes(2_000) })
    await host.keep(peer, peerOf({ allowedIps: [] }))
    const found = (await host.read()).peers.find(({ publicKey }) => toHex(publicKey) === toHex(peer.publicKey))
    expect(new Set(found?.allowedIps.map(({ base }) => base))).toEqual(new Set(peer.allowedIps.map(({ base }) => base)))
    expect(
      await host.keep(peer, ...(await host.read()).peers.filter(({ publicKey }) => toHex(publicKey) !== toHex(peer.publicKey))),
    ).toBeUndefined()
  })
})

describe('what is not there', () => {
  test('no device of that name: nothing is read, and nothing can be set', async () => {
    await using host = await makeWireguardHost()
    expect(must(await readWireguard(host, 'wg9'))).toBeUndefined()
    const error = mustFail(
      await setWireguard(host, 'wg9', { privateKey: host.keys.secretKey, peers: [{ kind: 'remove', publicKey: new Uint8Array(32) }] }),
    )
    expect(error).toMatchObject({ code: 'ENODEV', operation: `wg set wg9 private-key … peer ${base64(new Uint8Array(32))}` })
  })

  test('a link of that name that is something else is no WireGuard device', async () => {
    await using host = await makeWireguardHost()
    must(await addBridge(host.netlink, { name: 'br0' }))
    const error = mustFail(await ensureWireguard({ route: host.netlink, generic: host.generic }, { name: 'br0', up: true }))
    expect(error).toMatchObject({ code: 'EEXIST', detail: 'there is a link of this name that is something else' })
    expect(mustFail(await readWireguard(host, 'br0'))).toMatchObject({ code: 'EOPNOTSUPP' })
  })
})
