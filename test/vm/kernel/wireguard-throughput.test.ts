/**
 * A device that is kept by us carries as much as one that was set up by hand: between the same two namespaces and at the same time, as
 * what an emulated processor does in one second says nothing about the next.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { asPeer, DEVICE, makeWireguardPair, type WireguardHost } from '../../support/wireguard.ts'

const SECONDS = '4'
/** Two transfers that share an emulated processor do not share it evenly: from 0.65 to 3.5 was seen. What this is to find is a factor. */
const RATIO_MIN = 0.2

const HAND_PORT = '7000'
const report = z.object({ end: z.object({ sum_received: z.object({ bits_per_second: z.number() }) }) })

/** A WireGuard device as people make it. */
async function byHand(
  host: WireguardHost,
  own: string,
  theirs: { readonly key: Uint8Array; readonly underlay: string; readonly address: string },
) {
  const key = Buffer.from(theirs.key).toString('base64')
  const secret = Buffer.from(host.keys.secretKey).toString('base64')
  await host.ns.exec(
    'sh',
    '-c',
    `ip link add wg0 mtu 1420 type wireguard && echo ${secret} | wg set wg0 listen-port ${HAND_PORT} private-key /dev/stdin`,
  )
  await host.ns.exec('wg', 'set', 'wg0', 'peer', key, 'endpoint', `${theirs.underlay}:${HAND_PORT}`, 'allowed-ips', `${theirs.address}/32`)
  await host.ns.exec('sh', '-c', `ip address add ${own}/32 dev wg0 && ip link set wg0 up && ip route add ${theirs.address}/32 dev wg0`)
}

/** All that `ip link` knows of a device, without its name and number: sizes, queues, flags. */
async function propertiesOf(host: WireguardHost, name: string): Promise<unknown> {
  const [link] = await host.ns.ip<Record<string, unknown>>('link', 'show', name)
  return { ...link, ifindex: undefined, ifname: undefined }
}

/** Bits in a second, from `a` to `address` on `b`. */
async function transfer(a: WireguardHost, b: WireguardHost, address: string): Promise<number> {
  const server = spawn('nsenter', [`--net=${b.ns.path}`, 'iperf3', '--server', '--one-off', '--bind', address, '--forceflush'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(server, 'exit')
  try {
    await once(server.stdout, 'data')
    const text = await a.ns.exec('iperf3', '--client', address, '--time', SECONDS, '--json')
    await ended
    return report.parse(JSON.parse(text)).end.sum_received.bits_per_second
  } finally {
    server.kill('SIGKILL')
  }
}

test('our device and one made by hand, side by side', { timeout: 120_000 }, async () => {
  await using pair = await makeWireguardPair()
  const { a, b } = pair
  await a.keep(asPeer(b, '192.0.2.2', '10.40.0.0/16'))
  await b.keep(asPeer(a, '192.0.2.1', '10.32.0.0/16'))
  await byHand(a, '10.200.0.1', { key: b.keys.publicKey, underlay: '192.0.2.2', address: '10.200.0.2' })
  await byHand(b, '10.200.0.2', { key: a.keys.publicKey, underlay: '192.0.2.1', address: '10.200.0.1' })
  expect(await propertiesOf(a, DEVICE)).toEqual(await propertiesOf(a, 'wg0'))
  const [ours, byHands] = ['10.40.0.1', '10.200.0.2'] as const
  const [mine1, limit1] = await Promise.all([transfer(a, b, ours), transfer(a, b, byHands)])
  // Whoever begins has an advantage.
  const [limit2, mine2] = await Promise.all([transfer(a, b, byHands), transfer(a, b, ours)])
  const [mine, limit] = [(mine1 + mine2) / 2, (limit1 + limit2) / 2]
  process.stderr.write(
    `WireGuard: ours ${(mine / 1e6).toFixed(0)} Mbit/s, by hand ${(limit / 1e6).toFixed(0)} Mbit/s, ${(mine / limit).toFixed(2)}\n`,
  )
  expect(limit).toBeGreaterThan(0)
  expect(mine / limit).toBeGreaterThan(RATIO_MIN)
})
