/** Packets between two hosts whose WireGuard devices are kept by us: they pass, and go on passing while things change. */
import { describe, expect, test } from 'vitest'
import { parseCidr, parseIpv4 } from '../../../mesh/base/address.ts'
import { addAddress, deleteAddress } from '../../../router/kernel/addr.ts'
import type { PeerWants } from '../../../router/kernel/wireguard-plan.ts'
import { linkNamed } from '../../support/kernel.ts'
import { must } from '../../support/result.ts'
import { asPeer, makeWireguardPair, newKeys, PORT, type WireguardHost } from '../../support/wireguard.ts'

const [HOST_A, HOST_B] = ['10.32.0.1', '10.40.0.1'] as const
const [UNDERLAY_A, UNDERLAY_B] = ['192.0.2.1', '192.0.2.2'] as const
const RANGE_A = '10.32.0.0/16'
const RANGE_B = '10.40.0.0/16'

/** On an emulated processor, with others on it, each takes up to 20 ms. */
const FLOOD_PACKETS = 600

/** As many pings as the other end answers, one after the other; how many were answered. */
async function flood(host: WireguardHost, address: string): Promise<number> {
  const text = await host.ns.exec('ping', '-q', '-f', '-W', '5', '-c', String(FLOOD_PACKETS), address)
  return Number(/ (\d+) received/.exec(text)?.[1])
}

/** One ping, waited for as long as a handshake may take. */
async function reaches(host: WireguardHost, address: string, seconds = 10): Promise<boolean> {
  const text = await host.ns.exec('sh', '-c', `ping -c 1 -W ${seconds} ${address} || true`)
  return text.includes(' 1 received')
}

/** Does `change` again and again until `traffic` ends; how often that was. */
async function during<T>(
  traffic: Promise<T>,
  change: (round: number) => Promise<unknown>,
): Promise<{ readonly result: T; readonly rounds: number }> {
  let isOver = false
  const ended = traffic.finally(() => {
    isOver = true
  })
  // It is looked at in the end.
  ended.catch(() => undefined)
  let rounds = 0
  while (!isOver) {
    await change(rounds)
    rounds += 1
  }
  return { result: await ended, rounds }
}

function withPresharedKey(peer: PeerWants, byte: number): PeerWants {
  return { ...peer, presharedKey: new Uint8Array(32).fill(byte) }
}

/** Ends its sessions with all peers: what comes next needs a handshake. */
async function forget(host: WireguardHost, ...peers: readonly PeerWants[]): Promise<void> {
  await host.keep()
  await host.keep(...peers)
}

describe('two hosts', () => {
  test('talk, encrypted, in both directions', async () => {
    await using pair = await makeWireguardPair()
    const { a, b } = pair
    await a.keep(asPeer(b, UNDERLAY_B, RANGE_B))
    await b.keep(asPeer(a, UNDERLAY_A, RANGE_A))
    expect([await reaches(a, HOST_B), await reaches(b, HOST_A)]).toEqual([true, true])
    const [peer] = (await a.read()).peers
    expect(peer?.lastHandshake).toBeGreaterThan(0)
    expect(Math.min(peer?.bytesReceived ?? 0, peer?.bytesSent ?? 0)).toBeGreaterThan(148)
    expect(await a.keep(asPeer(b, UNDERLAY_B, RANGE_B))).toBeUndefined()
  })

  test('talk when only one of them knows where the other is', async () => {
    await using pair = await makeWireguardPair()
    const { a, b } = pair
    await a.keep(asPeer(b, UNDERLAY_B, RANGE_B))
    await b.keep(asPeer(a, undefined, RANGE_A))
    expect([await reaches(a, HOST_B), await reaches(b, HOST_A)]).toEqual([true, true])
  })

  test('do not talk when their preshared keys differ', async () => {
    await using pair = await makeWireguardPair()
    const { a, b } = pair
    await a.keep(asPeer(b, UNDERLAY_B, RANGE_B))
    await b.keep(withPresharedKey(asPeer(a, UNDERLAY_A, RANGE_A), 2))
    expect(await reaches(a, HOST_B, 3)).toBe(false)
    expect((await a.read()).peers[0]?.lastHandshake).toBe(0)
    await b.keep(asPeer(a, UNDERLAY_A, RANGE_A))
    expect(await reaches(a, HOST_B)).toBe(true)
  })

  test('keep talking when one moves, and where it is now is not undone', async () => {
    await using pair = await makeWireguardPair()
    const { a, b } = pair
    await a.keep(asPeer(b, UNDERLAY_B, RANGE_B))
    await b.keep(asPeer(a, UNDERLAY_A, RANGE_A))
    expect(await reaches(a, HOST_B)).toBe(true)
    const { index } = await linkNamed(b.netlink, 'eth0')
    must(await deleteAddress(b.netlink, { link: index, address: parseIpv4(UNDERLAY_B), prefixLength: 24 }))
    must(await addAddress(b.netlink, { link: index, address: parseIpv4('192.0.2.3'), prefixLength: 24 }))
    expect(await reaches(b, HOST_A)).toBe(true)
    expect((await a.read()).peers[0]?.endpoint).toEqual({ address: parseIpv4('192.0.2.3'), port: PORT })
    expect(await a.keep(asPeer(b, UNDERLAY_B, RANGE_B))).toBeUndefined()
    expect(await reaches(a, HOST_B)).toBe(true)
  })
})

describe('under a flood of pings', () => {
  test('a preshared key is changed at one end after the other, again and again, and nothing is lost', async () => {
    await using pair = await makeWireguardPair()
    const { a, b } = pair
    const [toB, toA] = [asPeer(b, UNDERLAY_B, RANGE_B), asPeer(a, UNDERLAY_A, RANGE_A)]
    await a.keep(toB)
    await b.keep(toA)
    expect(await reaches(a, HOST_B)).toBe(true)
    let byte = 1
    const { result, rounds } = await during(flood(a, HOST_B), async (round) => {
      byte = 2 + (round % 100)
      await a.keep(withPresharedKey(toB, byte))
      await b.keep(withPresharedKey(toA, byte))
    })
    expect(result).toBe(FLOOD_PACKETS)
    expect(rounds).toBeGreaterThan(1)
    await forget(a, withPresharedKey(toB, byte))
    expect(await reaches(a, HOST_B)).toBe(true)
    await forget(a, withPresharedKey(toB, 1))
    expect(await reaches(a, HOST_B, 3)).toBe(false)
  })

  test('ranges around the one in use grow, shrink, come and go, and nothing is lost', async () => {
    await using pair = await makeWireguardPair()
    const { a, b } = pair
    const other = { ...asPeer({ keys: newKeys() }, '192.0.2.9'), presharedKey: undefined }
    const ranges: readonly (readonly [readonly string[], readonly string[]])[] = [
      [[RANGE_B], ['10.41.0.0/16']],
      [['10.40.0.0/15'], []],
      [
        ['10.40.0.0/17', '10.42.0.0/16'],
        ['10.40.128.0/17', '10.41.0.0/16'],
      ],
      [['10.40.0.0/13'], ['10.32.0.0/13']],
      [['10.40.0.0/24'], ['10.40.0.0/13']],
      [['10.40.0.0/24'], []],
    ]
    const peersIn = (round: number): readonly PeerWants[] => {
      const [ofB = [], ofOther = []] = ranges[round % ranges.length] ?? []
      const toB = { ...asPeer(b, UNDERLAY_B), allowedIps: ofB.map(parseCidr) }
      return ofOther.length === 0 ? [toB] : [toB, { ...other, allowedIps: ofOther.map(parseCidr) }]
    }
    await a.keep(...peersIn(0))
    await b.keep(asPeer(a, UNDERLAY_A, RANGE_A))
    expect(await reaches(a, HOST_B)).toBe(true)
    const { result, rounds } = await during(flood(a, HOST_B), (round) => a.keep(...peersIn(round)))
    expect(result).toBe(FLOOD_PACKETS)
    expect(rounds).toBeGreaterThan(ranges.length)
  })
})
