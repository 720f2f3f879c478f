/** A /24 that three hosts share and fill to the last address, with real pods: told at once, and told from owners that are away. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type Random, randomBelow, seededRandom } from '../../../mesh/base/random.ts'
import { mapBounded } from '../../../router/lab/bounded.ts'
import { type CniOutcome, timed } from '../../support/cni-client.ts'
import { testLab } from '../../support/lab.ts'
import { type ClusterHost, type LabCluster, labCluster, provedBy } from '../../support/lab-cluster.ts'
import { makeNetns, type Netns } from '../../support/netns.ts'

const LONG_MS = 180_000
const SEED = 20_261_125

/** But the network's and the broadcast address, and one of each host's own. */
const HOSTS = 3
const USABLE = 256 - 2
const PODS = USABLE - HOSTS
/** Of a hundred pods, how many are asked for on the first host: its third of the range is used up soon. */
const ON_FIRST_PERCENT = 80
const CALLS_AT_ONCE = 8

/** What an ADD waits for an address at most. */
const DEADLINE_MS = 10_000

const upSchema = z.object({ pods: z.array(z.object({ name: z.string(), address: z.ipv4() })) })

describe('a /24 of three hosts', () => {
  const random = seededRandom(SEED)
  const held = new Map<string, { readonly host: ClusterHost; readonly address: string }>()
  let stack: AsyncDisposableStack
  let cluster: LabCluster
  let places: Netns[]
  let count = 0

  beforeAll(async () => {
    stack = new AsyncDisposableStack()
    cluster = stack.use(await labCluster('--hosts', String(HOSTS), '--range', '10.32.0.0/24'))
    places = await mapBounded(Array.from({ length: PODS + 3 }), CALLS_AT_ONCE, async () => stack.use(await makeNetns()))
  }, LONG_MS)
  afterAll(async () => await stack.disposeAsync(), LONG_MS)

  async function add(host: ClusterHost): Promise<CniOutcome> {
    const pod = places.pop()
    if (pod === undefined) throw new Error('a namespace for each pod')
    const containerId = `pod${++count}`
    const outcome = await host.cni.add({ containerId, pod })
    if (outcome.kind === 'done') held.set(containerId, { host, address: outcome.address ?? '' })
    else places.push(pod)
    return outcome
  }

  /** Of any pod of `host`. @returns the address that is free now. */
  async function free(host: ClusterHost): Promise<string> {
    const [containerId, pod] = [...held].filter(([, { host: its }]) => its === host).at(randomBelow(random, 20)) ?? []
    if (containerId === undefined || pod === undefined) throw new Error(`${host.name} has no pod`)
    expect(await host.cni.del({ containerId, pod: undefined })).toMatchObject({ kind: 'done' })
    held.delete(containerId)
    places.push(stack.use(await makeNetns()))
    return pod.address
  }

  /** What the hosts' kernels say. */
  async function addressesInKernel(): Promise<readonly string[]> {
    return (await Promise.all(cluster.hosts.map((host) => host.podsInKernel()))).flatMap((pods) => [...pods.values()])
  }

  test('gives out every address of it, four of five on one host', { timeout: LONG_MS }, async () => {
    const wanted = Array.from({ length: PODS }, () => hostFor(cluster, random))
    const outcomes = await mapBounded(wanted, CALLS_AT_ONCE, add)
    expect(outcomes.filter(({ kind }) => kind !== 'done')).toEqual([])
    const given = await addressesInKernel()
    expect([given.length, new Set(given).size]).toEqual([PODS, PODS])
    expect([...given].sort()).toEqual([...held.values()].map(({ address }) => address).sort())
    const report = await provedBy(cluster.host('b'))
    expect(report).toMatchObject({ addresses: 256, allocated: USABLE, living: USABLE })
  })

  test('refuses the next one at once, wherever it is asked for, as the range is exhausted', { timeout: LONG_MS }, async () => {
    const ratios: number[] = []
    for (const host of [...cluster.hosts, ...cluster.hosts, ...cluster.hosts]) {
      const { ms, result } = await timed(() => add(host))
      expect(result).toMatchObject({ kind: 'refused', code: 11, msg: expect.stringContaining('no address: range exhausted: ') })
      ratios.push(ms / DEADLINE_MS)
    }
    // One may come when a connection is just being doubted, and waits until it is not.
    ratios.sort((a, b) => a - b)
    expect(ratios.at(ratios.length / 2)).toBeLessThan(0.1)
    expect(ratios.at(-1)).toBeLessThan(0.5)
  })

  test('has one again, for whoever asks, as soon as one is freed anywhere', { timeout: LONG_MS }, async () => {
    for (const from of cluster.hosts) {
      for (const to of cluster.hosts) {
        const address = await free(from)
        const result = await add(to)
        expect({ from: from.name, to: to.name, result }).toEqual({ from: from.name, to: to.name, result: { kind: 'done', address } })
      }
    }
    await provedBy(cluster.host('c'))
  })

  test('is told from one whose rest belongs to a host that is away, which is named', { timeout: LONG_MS }, async () => {
    const [a, b, c] = ['a', 'b', 'c'].map((name) => cluster.host(name))
    if (a === undefined || b === undefined || c === undefined) throw new Error('three hosts')
    const freed = [await free(c), await free(c)]
    await c.kill()
    for (const host of [a, b]) {
      const outcome = await add(host)
      expect(outcome).toMatchObject({
        kind: 'refused',
        code: 11,
        msg: expect.stringContaining(`${c.peer} own more of the range and cannot be reached`),
      })
      expect(JSON.stringify(outcome)).not.toContain('exhausted')
    }
    const here = await free(b)
    expect(await add(a)).toEqual({ kind: 'done', address: here })
    await c.start()
    const given = [await add(a), await add(b)].map((outcome) => (outcome.kind === 'done' ? outcome.address : outcome))
    expect(given.toSorted()).toEqual(freed.toSorted())
    expect(await add(c)).toMatchObject({ kind: 'refused', code: 11, msg: expect.stringContaining('range exhausted') })
    const { status, stdout } = await cluster.lab.run('exec', 'a', '--', 'weft', 'ipam', 'check')
    expect([status, stdout]).toEqual([0, expect.stringMatching(/^each of the 256 addresses .* and each of the 254 /)])
  })
})

test('people see the same: `weft lab up --range`, pods until none is left, one deleted, one added', { timeout: LONG_MS }, async () => {
  await using lab = await testLab()
  // 30 usable addresses less three of the hosts.
  const { pods } = upSchema.parse(await lab.json('up', '--hosts', '3', '--range', '10.32.0.0/27', '--pods', '9'))
  expect(new Set(pods.map(({ address }) => address)).size).toBe(27)
  const refused = await lab.run('pod add', 'a')
  expect(refused).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/weft-cni ADD of pod a10 failed: .*range exhausted.*\[CNI error 11\]/),
  })
  await lab.json('pod del', 'b3')
  expect(await lab.json('pod add', 'c')).toMatchObject({ address: pods.find(({ name }) => name === 'b3')?.address })
  const { status, stdout } = await lab.run('exec', 'b', '--', 'weft', 'ipam', 'check')
  expect([status, stdout]).toEqual([0, expect.stringMatching(/^each of the 32 addresses of 10\.32\.0\.0\/27 .* and each of the 30 /)])
  expect((await lab.run('up', '--range', '10.32.0.1/27')).stderr).toContain(
    "error: option '--range <cidr>' argument '10.32.0.1/27' is invalid",
  )
})

function hostFor({ hosts }: LabCluster, random: Random): ClusterHost {
  const index = randomBelow(random, 100) < ON_FIRST_PERCENT ? 0 : 1 + randomBelow(random, HOSTS - 1)
  const host = hosts[index]
  if (host === undefined) throw new Error('three hosts')
  return host
}
