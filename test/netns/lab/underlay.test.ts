/** The network between hosts, with real packets: whole, cut in every way, and healed. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { formatIpv4, parseIpv4 } from '../../../mesh/base/address.ts'
import { parsePeerName } from '../../../mesh/base/brand.ts'
import { systemClock } from '../../../mesh/base/clock.ts'
import { type Fd, native } from '../../../router/kernel/native.ts'
import { openNetns } from '../../../router/kernel/netns.ts'
import { namespacesOf } from '../../../router/lab/cleanup.ts'
import type { Cut } from '../../../router/lab/cuts.ts'
import { type HostName, hostAddress, hostName, namespaceOf } from '../../../router/lab/names.ts'
import { namespacePath } from '../../../router/lab/paths.ts'
import { IcmpProbe } from '../../../router/lab/probe/icmp-probe.ts'
import { AF_INET, SOCK_DGRAM, sockaddrAny } from '../../../router/lab/probe/sockaddr.ts'
import { TcpProbe } from '../../../router/lab/probe/tcp-probe.ts'
import { applyCuts, makeUnderlay } from '../../../router/lab/underlay.ts'
import { type TestLab, testLab } from '../../support/lab.ts'

const [a, b, c] = [hostName(0), hostName(1), hostName(2)]
const addresses = new Map([a, b, c].map((host, index) => [host, hostAddress(index)]))
const MTU_BYTES = 1_600

/** How long a datagram may take that is expected not to come. */
const SILENCE_MS = 300

let lab: TestLab
let stack: AsyncDisposableStack

beforeAll(async () => {
  stack = new AsyncDisposableStack()
  lab = stack.use(await testLab())
  const hosts = [a, b, c].map((name, index) => ({
    name,
    address: formatIpv4(hostAddress(index)),
    peer: parsePeerName(`000000000000000${index}`),
  }))
  await makeUnderlay({ lab: lab.name, mtuBytes: MTU_BYTES, hosts }, systemClock)
})

afterAll(async () => await stack.disposeAsync())

function addressOf(host: HostName): ReturnType<typeof parseIpv4> {
  return addresses.get(host) ?? parseIpv4('0.0.0.0')
}

function open(host: HostName): Fd {
  return openNetns(namespacePath(namespaceOf(lab.name, host)))
}

async function pings(from: HostName, to: HostName, packetBytes = 84): Promise<boolean> {
  const netns = open(from)
  using probe = new IcmpProbe(netns, { native: native(), clock: systemClock, own: addressOf(from), identifier: 77 })
  const outcome = await probe.ping(addressOf(to), packetBytes)
  native().close(netns)
  return outcome.ok
}

async function connects(from: HostName, to: HostName): Promise<boolean> {
  const [one, other] = [open(from), open(to)]
  await using client = await TcpProbe.open(one, { native: native(), clock: systemClock, own: addressOf(from) })
  await using server = await TcpProbe.open(other, { native: native(), clock: systemClock, own: addressOf(to) })
  const outcome = await client.echo(addressOf(to), server.port)
  for (const netns of [one, other]) native().close(netns)
  return outcome.ok
}

/** One UDP datagram in one direction, with no answer. */
async function arrives(from: HostName, to: HostName): Promise<boolean> {
  const [one, other] = [open(from), open(to)]
  const sockets = [one, other].map((netns) => ({ fd: native().socket(netns, AF_INET, SOCK_DGRAM, 0), socket: createSocket('udp4') }))
  for (const { fd, socket } of sockets) {
    native().bind(fd, sockaddrAny(addressOf(to)))
    const listening = once(socket, 'listening')
    socket.bind({ fd })
    await listening
  }
  const [sender, receiver] = sockets.map(({ socket }) => socket)
  const arrived = receiver === undefined ? [] : once(receiver, 'message', { signal: AbortSignal.timeout(SILENCE_MS) })
  sender?.send('hello', receiver?.address().port, formatIpv4(addressOf(to)))
  try {
    await arrived
    return true
  } catch {
    return false
  } finally {
    for (const { socket } of sockets) socket.close()
    for (const netns of [one, other]) native().close(netns)
  }
}

test('every host reaches every other one, with packets as big as the lab was told, and not bigger', async () => {
  for (const [from, to] of [
    [a, b],
    [b, c],
    [c, a],
  ] as const) {
    expect([await pings(from, to), await pings(from, to, MTU_BYTES), await pings(from, to, MTU_BYTES + 1)]).toEqual([true, true, false])
  }
})

test('nothing but the switch, the hosts and their cables was made', async () => {
  expect((await namespacesOf(lab.name)).toSorted()).toEqual([a, b, c, 'net'].map((name) => `weft-${lab.name}-${name}`).toSorted())
})

describe('cuts', () => {
  const cutBoth: readonly Cut[] = [
    { from: a, to: b, what: 'all' },
    { from: b, to: a, what: 'all' },
  ]

  test('between two hosts nothing passes; the third reaches both; healing brings all back', async () => {
    await applyCuts(lab.name, cutBoth)
    expect([await pings(a, b), await pings(b, a), await connects(a, b)]).toEqual([false, false, false])
    expect([await pings(a, c), await pings(c, b)]).toEqual([true, true])
    await applyCuts(lab.name, [])
    await expect.poll(() => pings(a, b), { timeout: 10_000 }).toBe(true)
  })

  test('of UDP only: TCP and ping pass', async () => {
    await applyCuts(
      lab.name,
      cutBoth.map((cut) => ({ ...cut, what: 'udp' })),
    )
    expect([await arrives(a, b), await arrives(b, a), await connects(a, b), await pings(a, b)]).toEqual([false, false, true, true])
    expect(await arrives(a, c)).toBe(true)
    await applyCuts(lab.name, [])
    expect(await arrives(a, b)).toBe(true)
  })

  test('one way: the other direction still arrives', async () => {
    await applyCuts(lab.name, [{ from: a, to: b, what: 'udp' }])
    expect([await arrives(a, b), await arrives(b, a)]).toEqual([false, true])
    await applyCuts(lab.name, [])
  })
})
