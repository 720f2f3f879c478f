/** The network of a lab by its commands, with routers and pods: subnets, zones, sizes and bad cables, and whatever goes wrong meanwhile. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { removeLab } from '../../../router/lab/cleanup.ts'
import { type LabName, switchNamespace } from '../../../router/lab/names.ts'
import { labFile } from '../../../router/lab/paths.ts'
import { isAlive, processesIn } from '../../../router/lab/processes.ts'
import { readLab } from '../../../router/lab/state.ts'
import { type TestLab, testLab } from '../../support/lab.ts'

const MAIN = fileURLToPath(new URL('../../../router/main.ts', import.meta.url))
const LONG_MS = 120_000

const sizeSchema = z.object({ provenBytes: z.number() })
const checkSchema = z.object({
  ok: z.boolean(),
  pairs: z.array(sizeSchema.extend({ from: z.string(), to: z.string(), families: z.object({ ipv4: sizeSchema, ipv6: sizeSchema }) })),
})
const reportSchema = z.object({ router: z.object({ peers: z.array(z.object({ nickname: z.string(), zone: z.string().optional() })) }) })
const impairmentsSchema = z.object({
  impairments: z.array(
    z.object({
      host: z.string(),
      running: z.boolean(),
      seed: z.number(),
      counters: z
        .object({ fromHost: z.object({ received: z.number(), lost: z.number() }), toHost: z.object({ lost: z.number() }) })
        .optional(),
    }),
  ),
})

type Sizes = Readonly<Record<string, number>>

/** Over IPv4, over IPv6, and over both. */
async function sizes(lab: TestLab): Promise<readonly Sizes[]> {
  const { pairs } = checkSchema.parse(JSON.parse((await lab.run('check', '--json')).stdout))
  const named = (size: (pair: (typeof pairs)[number]) => number): Sizes =>
    Object.fromEntries(pairs.map((pair) => [`${pair.from}-${pair.to}`, size(pair)]))
  return [
    named(({ families }) => families.ipv4.provenBytes),
    named(({ families }) => families.ipv6.provenBytes),
    named(({ provenBytes }) => provenBytes),
  ]
}

async function expectSizes(lab: TestLab, ipv4: Sizes, ipv6: Sizes = ipv4): Promise<void> {
  await expect.poll(() => sizes(lab), { timeout: 20_000, interval: 100 }).toEqual([ipv4, ipv6, ipv6])
}

const impairments = async (answer: unknown): Promise<z.infer<typeof impairmentsSchema>['impairments']> =>
  impairmentsSchema.parse(await answer).impairments

const boxes = (lab: LabName) => processesIn([switchNamespace(lab)])

describe('a routed lab of two zones, one host of which takes less', { timeout: LONG_MS }, () => {
  let stack: AsyncDisposableStack
  let lab: TestLab
  let made: unknown

  beforeAll(async () => {
    stack = new AsyncDisposableStack()
    lab = stack.use(await testLab())
    made = await lab.json('up', '--underlay', 'routed', '--hosts', '3', '--pods', '1', '--mtu', '1500,1400,1500', '--zones', 'x,x,y')
  }, LONG_MS)
  afterAll(async () => await stack.disposeAsync())

  test('has a subnet for each host, and says so', () => {
    expect(made).toMatchObject({
      underlay: 'routed',
      hosts: [
        { name: 'a', address: '198.18.1.1', zone: 'x', mtuBytes: 1_500 },
        { name: 'b', address: '198.18.2.1', zone: 'x', mtuBytes: 1_400 },
        { name: 'c', address: '198.18.3.1', zone: 'y', mtuBytes: 1_500 },
      ],
    })
  })

  test('the routers tell each other their zones', async () => {
    const { stdout } = await lab.run('exec', 'a', '--', 'weft', 'report')
    const zones = reportSchema.parse(JSON.parse(stdout)).router.peers.map(({ nickname, zone }) => `${nickname} ${zone}`)
    expect(zones.toSorted()).toEqual(['a x', 'b x', 'c y'])
  })

  test('pods reach each other with packets as big as each path carries, and follow it when it changes', async () => {
    const paths = (withB: number): Readonly<Record<string, number>> => ({
      ...{ 'a1-b1': withB, 'b1-a1': withB, 'b1-c1': withB, 'c1-b1': withB },
      ...{ 'a1-c1': 1_450, 'c1-a1': 1_450 },
    })
    await expectSizes(lab, paths(1_350))
    expect(await lab.json('mtu', 'b', '1340')).toEqual({ host: 'b', mtuBytes: 1_340, farMtuBytes: 1_340 })
    await expectSizes(lab, paths(1_290))
    expect((await lab.run('check')).stdout).toContain('biggest packets in one piece: 1450 bytes (2 pairs), 1290 bytes (4 pairs)')
    // IPv6 asks for 1280 of every link: pods that have it are without, and are with it again when there is room.
    await lab.json('mtu', 'b', '1300')
    await expectSizes(lab, paths(1_250), paths(0))
    await lab.json('mtu', 'b', '1400')
    await expectSizes(lab, paths(1_350))
    expect((await lab.run('mtu', 'b', '100')).status).toBe(2)
  })

  test('cuts are listed by kind and direction, and healed so', async () => {
    await lab.json('cut', 'a', 'b', '--proto', 'icmp')
    await lab.json('cut', 'a', 'b', '--proto', '8080', '--one-way')
    const cuts = [
      { from: 'a', to: 'b', what: 'icmp' },
      { from: 'b', to: 'a', what: 'icmp' },
      { from: 'a', to: 'b', what: 'port 8080' },
    ]
    expect(await lab.json('cuts')).toEqual({ cuts })
    expect(await lab.json('status')).toMatchObject({ cuts })
    expect(await lab.json('heal', 'b', 'a', '--proto', 'icmp', '--one-way')).toEqual({ cuts: [cuts[0], cuts[2]] })
    await lab.json('cut', 'a', 'b')
    expect(await lab.run('heal', 'a', 'b', '--proto', 'icmp')).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/a → b is cut altogether.*\n.*hint/),
    })
    expect((await lab.run('cut', 'a', 'b', '--proto', 'sctp')).stderr).toContain('not one of all, udp, tcp, icmp')
    expect(await lab.json('heal')).toEqual({ cuts: [] })
  })

  test('a bad cable is one for pods too; it is counted, and mended', async () => {
    const [bad] = await impairments(lab.json('impair', 'c', '--loss', '5%', '--delay', '10ms', '--seed', '7'))
    expect(bad).toMatchObject({ host: 'c', running: true, seed: 7 })
    const target = z
      .object({ pods: z.array(z.object({ name: z.string(), address: z.string() })) })
      .parse(made)
      .pods.find(({ name }) => name === 'c1')
    const { stdout } = await lab.run('exec', 'a1', '--', 'ping', '-q', '-i', '0.02', '-c', '200', '-W', '1', target?.address ?? '')
    const received = Number(/(\d+) received/.exec(stdout)?.[1])
    const [least = 0] = /= ([\d.]+)\//.exec(stdout)?.slice(1).map(Number) ?? []
    // 90.25 % come back: within five standard deviations.
    expect(Math.abs(received - 180.5)).toBeLessThan(5 * Math.sqrt(200 * 0.9025 * 0.0975))
    expect(least).toBeGreaterThanOrEqual(20)
    const [after] = await impairments(lab.json('impair'))
    expect((after?.counters?.fromHost.lost ?? 0) + (after?.counters?.toHost.lost ?? 0)).toBeGreaterThanOrEqual(200 - received)
    expect(await lab.json('status')).toMatchObject({ impairments: [{ host: 'c', lossPpm: 50_000, running: true }] })
    expect((await lab.run('status')).stdout).toContain('impaired: c: loss 5%, delay 10ms (seed 7)')
    expect(await lab.json('impair', 'c', '--off')).toEqual({ impairments: [] })
    expect(await boxes(lab.name)).toEqual([])
    expect((await lab.run('exec', 'a1', '--', 'ping', '-q', '-i', '0.02', '-c', '50', '-W', '1', target?.address ?? '')).stdout).toContain(
      ' 0% packet loss',
    )
  })

  test.each([
    [['impair', 'c', '--loss', '1'], 'not a share such as 1%'],
    [['impair', '--loss', '1%'], 'which host?'],
    [['impair', 'c', '--off', '--loss', '1%'], '--off goes with no other option'],
    [['impair', 'z', '--loss', '1%'], 'has no host "z"'],
    [['heal', '--proto', 'udp'], 'are of two hosts'],
  ])('%j is refused', async ([command = '', ...words], reason) => {
    expect(await lab.run(command, ...words)).toMatchObject({ status: 2, stderr: expect.stringContaining(reason) })
  })
})

test('lists that do not fit the hosts are refused before anything is made', async () => {
  await using lab = await testLab()
  expect(await lab.run('up', '--hosts', '3', '--zones', 'a,b')).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('--zones has 2 entries, and the lab 3 hosts'),
  })
  expect((await lab.run('up', '--hosts', '2', '--mtu', '1500,1400,1300')).stderr).toContain('--mtu has 3 entries')
  expect((await lab.run('up', '--mtu', '1500,100')).stderr).toContain('not a whole number from 576 to 65535')
  expect(await removeLab(lab.name)).toBe(false)
})

describe('one switch with jumbo frames, and what happens to its middlebox', { timeout: LONG_MS }, () => {
  let stack: AsyncDisposableStack
  let lab: TestLab

  beforeAll(async () => {
    stack = new AsyncDisposableStack()
    lab = stack.use(await testLab())
    await lab.json('up', '--hosts', '2', '--pods', '1', '--mtu', '9000')
  }, LONG_MS)
  afterAll(async () => await stack.disposeAsync())

  test('pods send packets of 8,950 bytes', async () => await expectSizes(lab, { 'a1-b1': 8_950, 'b1-a1': 8_950 }))

  test('a middlebox that was killed is told of, and replaced by the next call', async () => {
    await lab.json('impair', 'a', '--delay', '1ms')
    for (const { pid } of await boxes(lab.name)) process.kill(pid, 'SIGKILL')
    await expect.poll(() => boxes(lab.name)).toEqual([])
    expect(await impairments(lab.json('impair'))).toMatchObject([{ host: 'a', running: false }])
    expect((await lab.run('impair')).stdout).toContain('its middlebox does not run')
    expect(await impairments(lab.json('impair', 'a', '--delay', '1ms'))).toMatchObject([{ running: true }])
    await expectSizes(lab, { 'a1-b1': 8_950, 'b1-a1': 8_950 })
  })

  test.each([0, 20, 60, 120])(
    'a command that is killed %i ms after it began leaves nothing that the next one does not mend',
    async (afterMs) => {
      await lab.json('impair', 'a', '--off')
      const killed = spawn(process.execPath, [MAIN, 'lab', 'impair', '--name', lab.name, 'a', '--delay', '5ms'], { stdio: 'ignore' })
      const exited = once(killed, 'exit')
      const hasBegun = (): boolean => readFileSync(labFile(lab.name), 'utf8').includes('"delayUs": 5000')
      await expect.poll(hasBegun, { timeout: 30_000, interval: 1 }).toBe(true)
      await new Promise((resolve) => setTimeout(resolve, afterMs))
      killed.kill('SIGKILL')
      await exited
      expect(await impairments(lab.json('impair', 'a', '--delay', '1ms'))).toMatchObject([{ running: true }])
      expect(await boxes(lab.name)).toHaveLength(1)
      await lab.json('impair', 'a', '--off')
      expect(await boxes(lab.name)).toEqual([])
      await expectSizes(lab, { 'a1-b1': 8_950, 'b1-a1': 8_950 })
    },
  )

  test('is gone with the lab', async () => {
    await lab.json('impair', 'b', '--delay', '1ms')
    const running = await boxes(lab.name)
    expect([running.length, (await readLab(labFile(lab.name))).ok]).toEqual([1, true])
    await lab.json('down')
    expect(await Promise.all(running.map(isAlive))).toEqual([false])
  })
})
