/** A crowd of strangers on the port of a real router: its members and those who want to join hardly notice. */
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { formatIpv4, type Ipv4, ipv4, parseIpv4 } from '../../../mesh/base/address.ts'
import { seconds } from '../../../mesh/base/brand.ts'
import { systemClock } from '../../../mesh/base/clock.ts'
import { ask } from '../../../router/cli/client.ts'
import { makeNetns } from '../../support/netns.ts'
import { joinUnderlays, makeRouter, type Running, type TestRouter } from '../../support/router.ts'
import { type Approach, drip, intrude } from '../../support/strangers.ts'
import { until } from '../../support/until.ts'

const VISITORS = 10_000
const AT_ONCE = 50
const DRIPPING = 500
/** More than there are places for strangers. */
const SOURCES = 100
const GROWTH_BYTES_MAX = 20 * 1024 * 1024
const JOIN_MS_MAX = 1_000
const JOINS = 5
/** On a machine that is busy with other things. */
const FLOOD_MAX = seconds(60)

/** The limit of a process that is to have too few, and how soon it is itself again. */
const DESCRIPTORS = 64
const RECOVERY_MS_MAX = 5_000

const A = parseIpv4('192.0.2.1')
const FIRST_STRANGER = parseIpv4('192.0.2.100')
/** What a frame of 1,000 bytes begins with, and an upgrade. */
const HALF_FRAME = `\0\0\u0003\u00e8${'x'.repeat(100)}`
const HALF_REQUEST = `GET /weft HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nX: ${'x'.repeat(1_000)}`

const garbage: readonly Uint8Array[] = [
  new Uint8Array(2_000).fill(0xab),
  Uint8Array.of(0, 0, 0, 2, 1, 2),
  new TextEncoder().encode('GET / HTTP/1.1\r\nHost: a\r\n\r\n'),
  new TextEncoder().encode('POST /weft HTTP/1.1\r\nContent-Length: 99999999\r\n\r\nabc'),
  Uint8Array.of(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3),
]

function residentBytes({ child }: Running): number {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
  return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1])
}

/** Its established connections, once it has so many or more and knows who they are with: the nickname and the address of each. */
function friendsOf(router: TestRouter, count: number): Promise<readonly string[]> {
  return until(`there are ${count} friends or more`, async () => {
    const connections = (await router.snapshot().catch(() => undefined))?.router.connections ?? []
    const established = connections.filter(({ state, nickname }) => state === 'established' && nickname !== '')
    return established.length >= count ? established.map(({ nickname, address }) => `${nickname} ${address}`).sort() : undefined
  })
}

/** Milliseconds until a router that knew nobody is a member. */
async function timeToJoin(router: TestRouter, peer: string): Promise<number> {
  const before = systemClock.now()
  await ask(router.socket, 'POST', '/connect', { peers: [peer] })
  await friendsOf(router, 1)
  return systemClock.now() - before
}

test('10,000 who talk nonsense and 500 who hardly talk: members stay, memory stays, newcomers join at once', {
  timeout: 120_000,
}, async () => {
  await using stack = new AsyncDisposableStack()
  const hub = stack.use(await makeNetns())
  const [a, b, ...newcomers] = await Promise.all(Array.from({ length: 2 + JOINS }, (_, index) => makeRouter(`192.0.2.${index + 1}`)))
  if (a === undefined || b === undefined) throw new Error('there are two routers')
  for (const router of [a, b, ...newcomers]) stack.use(router)
  await joinUnderlays(hub, [a, b, ...newcomers])
  const sources: readonly Ipv4[] = Array.from({ length: SOURCES }, (_, index) => ipv4(FIRST_STRANGER + index))
  await hub.exec('sh', '-c', sources.map((source) => `ip address add ${formatIpv4(source)}/24 dev switch`).join('; '))
  const way = (index: number): Approach => ({ from: hub, source: sources[index % SOURCES] ?? FIRST_STRANGER, to: A, port: 6783 })

  const running = a.start('--nickname', 'a', '--ipam-init', 'seed=self')
  await a.ready()
  b.start('--nickname', 'b', '192.0.2.1')
  for (const [index, router] of newcomers.entries()) router.start('--nickname', `n${index}`)
  await b.ready()
  const before = await friendsOf(a, 1)
  expect(before).toEqual([expect.stringContaining('b 192.0.2.2:')])
  for (const router of newcomers) await until('the newcomer listens', () => router.snapshot().catch(() => undefined))

  // Once through everything first: what that needs is not what a flood costs.
  for (let index = 0; index < 500; index += 1) await intrude(way(index), garbage[index % garbage.length] ?? new Uint8Array(1))
  const bytes = residentBytes(running)
  let most = bytes
  using _crowd = drip(
    Array.from({ length: DRIPPING }, (_, index) => way(index)),
    (index) => (index % 2 === 0 ? HALF_FRAME : HALF_REQUEST),
  )
  let visits = 0
  const visit = async (): Promise<void> => {
    while (visits < VISITORS) {
      visits += 1
      await intrude(way(visits), garbage[visits % garbage.length] ?? new Uint8Array(1))
      if (visits % 100 === 0) most = Math.max(most, residentBytes(running))
    }
  }
  const flood = Promise.all(Array.from({ length: AT_ONCE }, visit))
  const times: number[] = []
  for (const [index, router] of newcomers.entries()) {
    await until('more visitors have come', () => (visits > ((index + 1) * VISITORS) / (JOINS + 1) ? true : undefined), FLOOD_MAX)
    times.push(await timeToJoin(router, '192.0.2.1'))
  }
  await flood
  const after = await friendsOf(a, 1 + JOINS)
  expect(Math.max(...times)).toBeLessThan(JOIN_MS_MAX)
  // The same connection as before: it has the same address.
  expect(after).toEqual([
    ...before,
    ...newcomers.map((_, index) => expect.stringMatching(new RegExp(`^n${index} 192\\.0\\.2\\.${index + 3}:`))),
  ])
  expect(most - bytes).toBeLessThan(GROWTH_BYTES_MAX)
})

test('a router that has no descriptor left for strangers keeps its members, and is itself again when they go', {
  timeout: 60_000,
}, async () => {
  await using stack = new AsyncDisposableStack()
  const hub = stack.use(await makeNetns())
  const [a, b] = [stack.use(await makeRouter('192.0.2.1')), stack.use(await makeRouter('192.0.2.2'))]
  await joinUnderlays(hub, [a, b])
  const sources = Array.from({ length: DESCRIPTORS }, (_, index) => ipv4(FIRST_STRANGER + index))
  await hub.exec('sh', '-c', sources.map((source) => `ip address add ${formatIpv4(source)}/24 dev switch`).join('; '))
  const running = a.start('--nickname', 'a', '--ipam-init', 'seed=self')
  await a.ready()
  b.start('--nickname', 'b', '192.0.2.1')
  await b.ready()
  const before = await friendsOf(a, 1)
  const quiet = descriptors(running)
  await hub.exec('prlimit', '--pid', String(running.child.pid), `--nofile=${DESCRIPTORS}:${DESCRIPTORS}`)
  {
    const ways = sources.map((source): Approach => ({ from: hub, source, to: A, port: 6783 }))
    using _crowd = drip(ways, () => HALF_FRAME)
    await until('the router has no descriptor left', () => (descriptors(running) >= DESCRIPTORS ? true : undefined))
    await friendsOf(b, 1)
  }
  const since = systemClock.now()
  expect(await friendsOf(a, 1)).toEqual(before)
  await until('strangers are gone', () => (descriptors(running) <= quiet ? true : undefined))
  expect(systemClock.now() - since).toBeLessThan(RECOVERY_MS_MAX)
})

function descriptors({ child }: Running): number {
  return readdirSync(`/proc/${child.pid}/fd`).length
}
