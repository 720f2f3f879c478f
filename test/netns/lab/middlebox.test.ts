/** The middlebox alone, on a bare cable: what it loses, repeats and holds back is what its seed says, and nothing else. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { formatIpv4, parseIpv4 } from '../../../mesh/base/address.ts'
import { decodeCounters, type Impairment, type ImpairmentCounters, middleboxWords } from '../../../router/lab/impairment.ts'
import { hostName } from '../../../router/lab/names.ts'
import { MIDDLEBOX } from '../../../router/lab/paths.ts'
import { identify } from '../../../router/lab/processes.ts'
import { fatesOf, inverted } from '../../support/fates.ts'
import { transfer, udpIn } from '../../support/flows.ts'
import { makeNetns, type Netns } from '../../support/netns.ts'

const LEFT = { address: parseIpv4('10.9.0.1'), mac: '02:00:00:00:00:01' }
const RIGHT = { address: parseIpv4('10.9.0.2'), mac: '02:00:00:00:00:02' }
const STREAM_BYTES = 20 * 1_000_000
const LONG_MS = 60_000

interface World {
  readonly left: Netns
  readonly between: Netns
  readonly right: Netns
}

let world: World
let stack: AsyncDisposableStack
let counters: string

beforeEach(async () => {
  stack = new AsyncDisposableStack()
  const directory = await mkdtemp(join(tmpdir(), 'weft-middlebox-'))
  stack.defer(() => rm(directory, { recursive: true }))
  counters = join(directory, 'counters')
  world = { left: stack.use(await makeNetns()), between: stack.use(await makeNetns()), right: stack.use(await makeNetns()) }
  const { left, between, right } = world
  // Nothing but the test's own packets: no IPv6, no ARP.
  for (const { exec } of [left, between, right]) await exec('sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6')
  for (const [side, device, own, other] of [
    [left, 'near', LEFT, RIGHT],
    [right, 'far', RIGHT, LEFT],
  ] as const) {
    await between.exec('ip', 'link', 'add', device, 'type', 'veth', 'peer', 'name', 'eth0', 'address', own.mac, 'netns', side.name)
    await between.exec('ip', 'link', 'set', device, 'up')
    await side.exec('ip', 'link', 'set', 'eth0', 'up', 'gso_max_segs', '1')
    await side.exec('ip', 'address', 'add', `${formatIpv4(own.address)}/24`, 'dev', 'eth0')
    await side.exec('ip', 'neigh', 'add', formatIpv4(other.address), 'lladdr', other.mac, 'dev', 'eth0', 'nud', 'permanent')
    // The end that was set up first gets its queue a little after its carrier.
    const state = async (): Promise<string | undefined> =>
      (await between.ip<{ readonly operstate: string }>('link', 'show', 'dev', device))[0]?.operstate
    await expect.poll(state, { timeout: 10_000, interval: 10 }).toBe('UP')
  }
})

afterEach(async () => await stack.disposeAsync())

const perfect: Impairment = { host: hostName(0), lossPpm: 0, duplicatePpm: 0, reorderPpm: 0, delayUs: 0, rateKbit: 0, seed: 7 }

/** Its process, once frames pass. */
async function start(changes: Partial<Impairment>): Promise<number> {
  const words = ['near', 'far', counters, ...middleboxWords({ ...perfect, ...changes })]
  const child = spawn('nsenter', [`--net=${world.between.path}`, '--', MIDDLEBOX, ...words], { stdio: 'inherit' })
  const exited = once(child, 'exit')
  stack.defer(async () => {
    child.kill('SIGKILL')
    await exited
  })
  await expect.poll(counted, { interval: 5 }).toBeDefined()
  return child.pid ?? 0
}

function counted(): ImpairmentCounters | undefined {
  try {
    return decodeCounters(readFileSync(counters))
  } catch {
    return undefined
  }
}

interface Arrival {
  readonly number: number
  readonly tookMs: number
}

/** Sends so many numbered datagrams from the left, at once; all that arrive until none has for a while. */
async function burst(count: number, { bytes = 100, back = false } = {}): Promise<readonly Arrival[]> {
  const [from, to, target] = back ? [world.right, world.left, LEFT] : [world.left, world.right, RIGHT]
  const [sender, receiver] = [await udpIn(from.fd), await udpIn(to.fd)]
  const arrivals: Arrival[] = []
  receiver.on('message', (message) => {
    arrivals.push({ number: message.readUInt32LE(0), tookMs: performance.now() - message.readDoubleLE(4) })
  })
  const { port } = receiver.address()
  for (let number = 0; number < count; number++) {
    const message = Buffer.alloc(bytes)
    message.writeUInt32LE(number, 0)
    message.writeDoubleLE(performance.now(), 4)
    sender.send(message, port, formatIpv4(target.address))
  }
  for (let before = -1; before !== arrivals.length; await delay(300)) before = arrivals.length
  sender.close()
  receiver.close()
  return arrivals
}

function numbers(arrivals: readonly Arrival[]): readonly number[] {
  return arrivals.map(({ number }) => number).toSorted((a, b) => a - b)
}

describe('to the very packet, both ways', () => {
  const chances = { lossPpm: 100_000, duplicatePpm: 50_000, reorderPpm: 20_000 }
  const COUNT = 2_000

  test.each([
    { back: false, seed: 12_345n },
    { back: true, seed: inverted(12_345n) },
  ])('back: $back', async ({ back, seed }) => {
    await start({ ...chances, seed: 12_345 })
    const fates = fatesOf(seed, COUNT, chances)
    const arrivals = await burst(COUNT, { back })
    expect(numbers(arrivals)).toEqual(fates.flatMap(({ isLost, isDuplicated }, n) => (isLost ? [] : isDuplicated ? [n, n] : [n])))
    const alive = fates.filter(({ isLost }) => !isLost)
    const counts = counted()
    expect(back ? counts?.toHost : counts?.fromHost).toEqual({
      received: COUNT,
      sent: arrivals.length,
      lost: COUNT - alive.length,
      duplicated: alive.filter(({ isDuplicated }) => isDuplicated).length,
      reordered: alive.filter(({ isReordered }) => isReordered).length,
      overflowed: 0,
    })
    // Of 2,000 at 10 %: within five standard deviations, whatever the seed.
    expect(Math.abs(COUNT - alive.length - 200)).toBeLessThan(5 * Math.sqrt(COUNT * 0.1 * 0.9))
  })
})

test('what is held back comes after what was sent behind it, and all others keep their order', async () => {
  const chances = { lossPpm: 0, duplicatePpm: 0, reorderPpm: 30_000 }
  await start({ ...chances, delayUs: 20_000 })
  const fates = fatesOf(7n, 500, chances)
  const arrivals = await burst(500)
  const held = arrivals.filter(({ number }) => fates[number]?.isReordered)
  const others = arrivals.filter(({ number }) => !fates[number]?.isReordered)
  expect([held.length, others.length]).toEqual([fates.filter(({ isReordered }) => isReordered).length, 500 - held.length])
  for (const kind of [held, others]) expect(kind.map(({ number }) => number)).toEqual(numbers(kind))
  // 5 ms is longer than it takes to send the next one.
  const place = new Map(arrivals.map(({ number }, index) => [number, index]))
  const overtaken = held.filter(({ number }) => (place.get(number + 1) ?? Number.POSITIVE_INFINITY) < (place.get(number) ?? 0))
  expect(overtaken.length).toBeGreaterThan(held.length / 2)
})

test('a delay is never shorter than was said, and hardly longer', async () => {
  await start({ delayUs: 50_000 })
  const took = (await burst(100)).map(({ tookMs }) => tookMs).toSorted((a, b) => a - b)
  expect(took).toHaveLength(100)
  expect(took[0]).toBeGreaterThanOrEqual(50)
  expect(took[50]).toBeLessThan(75)
})

test('a rate is kept, and what would wait too long is dropped and counted', async () => {
  await start({ rateKbit: 10_000 })
  // 100 frames of 1,042 bytes take 83 ms at 10 Mbit/s; the queue holds 100 ms.
  const few = await burst(100, { bytes: 1_000 })
  expect(few).toHaveLength(100)
  expect(Math.max(...few.map(({ tookMs }) => tookMs))).toBeGreaterThan(75)
  const many = await burst(1_000, { bytes: 1_000 })
  const { received = 0, sent = 0, overflowed = 0 } = counted()?.fromHost ?? {}
  expect([received, sent]).toEqual([1_100, 100 + many.length])
  expect(overflowed).toBe(received - sent)
  expect(many.length).toBeGreaterThanOrEqual(100)
  expect(many.length).toBeLessThan(1_000)
})

describe('20 MB of TCP arrive as they were sent', { timeout: LONG_MS }, () => {
  const right = (): { netns: Netns['fd']; address: typeof RIGHT.address } => ({ netns: world.right.fd, address: RIGHT.address })

  test('through loss, reordering and duplicates, packet by packet', async () => {
    await start({ lossPpm: 10_000, duplicatePpm: 10_000, reorderPpm: 10_000, delayUs: 1_000 })
    const { sent, received } = await transfer(world.left.fd, right(), STREAM_BYTES)
    expect(received).toBe(sent)
    const { fromHost } = counted() ?? {}
    // No super-frames: at least one frame for each 1,448 bytes.
    expect(fromHost?.received).toBeGreaterThan(STREAM_BYTES / 1_448)
    expect([fromHost?.lost, fromHost?.duplicated, fromHost?.reordered].every((count) => count !== undefined && count > 50)).toBe(true)
  })

  test('in super-frames too, where nobody has turned them off', async () => {
    for (const { exec } of [world.left, world.right]) await exec('ip', 'link', 'set', 'eth0', 'gso_max_segs', '65535')
    await start({})
    const { sent, received } = await transfer(world.left.fd, right(), STREAM_BYTES)
    expect(received).toBe(sent)
    expect(counted()?.fromHost.received).toBeLessThan(STREAM_BYTES / 1_448 / 2)
  })
})

test('at rest it does not wake up, not once', async () => {
  const pid = await start({ delayUs: 1_000, lossPpm: 10_000 })
  await burst(10)
  const wakeUps = (): string | undefined => /voluntary_ctxt_switches:\s*(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  const before = wakeUps()
  await delay(1_000)
  expect([wakeUps(), before !== undefined]).toEqual([before, true])
})

test('it ends when one of its devices is gone', async () => {
  const pid = await start({})
  await world.between.exec('ip', 'link', 'del', 'far')
  await expect.poll(() => identify(pid), { timeout: 2_000 }).toBeUndefined()
})
