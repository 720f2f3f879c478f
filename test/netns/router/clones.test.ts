/** A state directory that is copied to another host while its router runs: the copy takes another name by itself. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { seconds } from '../../../mesh/base/brand.ts'
import { hostName } from '../../../router/lab/names.ts'
import { hostPaths } from '../../../router/lab/paths.ts'
import { type TestLab, testLab } from '../../support/lab.ts'
import { makeNetns } from '../../support/netns.ts'
import { joinUnderlays, makeRouter } from '../../support/router.ts'
import { until } from '../../support/until.ts'

const LONG_MS = 120_000

const checkSchema = z.object({ ok: z.boolean(), pairs: z.array(z.unknown()) })
const reportSchema = z.object({
  ready: z.boolean(),
  router: z.object({
    name: z.string(),
    formerly: z.object({ name: z.string(), until: z.iso.datetime(), reason: z.string() }).optional(),
    peers: z.array(z.object({ name: z.string(), nickname: z.string(), state: z.string() })),
  }),
  ipam: z.object({
    entries: z.array(z.object({ peer: z.string(), size: z.number() })),
    allocations: z.array(z.object({ address: z.string() })),
  }),
})
type Report = z.infer<typeof reportSchema>

async function reportOf(lab: TestLab, host: string): Promise<Report> {
  return reportSchema.parse(JSON.parse((await lab.run('exec', host, '--', 'weft', 'report')).stdout))
}

async function weft(lab: TestLab, host: string, ...words: readonly string[]): Promise<string> {
  return (await lab.run('exec', host, '--', 'weft', ...words)).stdout
}

async function must(lab: TestLab, command: string, ...words: readonly string[]): Promise<void> {
  expect(await lab.run(command, ...words)).toMatchObject({ status: 0, stderr: expect.not.stringContaining('is not ready') })
}

/** Ranges of the ring, as text, by owner. */
function rangesOf({ ipam }: Report, name: string): number {
  return ipam.entries.filter(({ peer }) => peer === name).reduce((sum, { size }) => sum + size, 0)
}

test.each([
  { name: 'runs', isStopped: false },
  { name: 'is down, but not its pods, until the copy has started', isStopped: true },
])(
  'the copy of a router that $name takes a new name, the original keeps its own with its ranges and pods, and all pods talk',
  async ({ isStopped }) => {
    await using lab = await testLab()
    await must(lab, 'up', '--hosts', '3')
    const [b, c] = [hostPaths(lab.name, hostName(1)), hostPaths(lab.name, hostName(2))]
    const before = await reportOf(lab, 'b')
    for (const pod of ['c1', 'c2']) await must(lab, 'pod del', pod)
    await must(lab, 'kill', 'c')
    execFileSync('sh', ['-c', 'rm -r "$1" && cp -a "$0" "$1"', b.state, c.state])
    if (isStopped) await must(lab, 'kill', 'b')
    await must(lab, 'start', 'c')
    if (isStopped) {
      expect((await reportOf(lab, 'c')).router.name).toBe(before.router.name)
      await must(lab, 'start', 'b')
    }

    const isRenamed = async (): Promise<boolean> => {
      const report = await reportOf(lab, 'c').catch(() => undefined)
      return report?.ready === true && report.router.name !== before.router.name
    }
    await expect.poll(isRenamed, { timeout: 20_000, interval: 100 }).toBe(true)
    const after = await reportOf(lab, 'c')
    expect(after.router.formerly).toMatchObject({
      name: before.router.name,
      reason: 'the state directory is a copy of that of the router at 198.18.0.2, which keeps the name',
    })
    expect(await weft(lab, 'c', 'status')).toContain(`FormerName: ${before.router.name} until 20`)
    const log = readFileSync(c.log, 'utf8')
    expect(log.match(/this node has the identity of another one, and takes a new name/g)).toHaveLength(1)
    expect(log.match(/this node has taken a new name/g)).toHaveLength(1)
    expect(readdirSync(join(c.state, 'ipam'))).toContain(`ipam.journal.of-${before.router.name}`)

    expect(readFileSync(b.log, 'utf8')).toContain(
      'another process runs with our identity key, as a copy of this node: that one takes a new name',
    )

    for (const pod of ['c1', 'c2']) await must(lab, 'pod add', 'c', pod)
    await expect
      .poll(async () => checkSchema.parse(JSON.parse((await lab.run('check', '--json')).stdout)), { timeout: 30_000, interval: 200 })
      .toMatchObject({ ok: true, pairs: { length: 30 } })

    const [ofA, ofB, ofC] = [await reportOf(lab, 'a'), await reportOf(lab, 'b'), await reportOf(lab, 'c')]
    expect(ofB.router.name).toBe(before.router.name)
    expect(ofB.router.formerly).toBeUndefined()
    expect(ofB.ipam.allocations).toEqual(before.ipam.allocations)
    const names = [ofA, ofB, ofC].map(({ router }) => router.name)
    expect(new Set(names).size).toBe(3)
    for (const { router } of [ofA, ofB, ofC]) {
      const living = router.peers.filter(({ state }) => state === 'alive')
      expect(living.map(({ name, nickname }) => [name, nickname])).toEqual(names.map((name, at) => [name, 'abc'[at]]).sort())
    }
    expect([ofA, ofC].map((report) => rangesOf(report, ofB.router.name))).toEqual([
      rangesOf(ofB, ofB.router.name),
      rangesOf(ofB, ofB.router.name),
    ])
    const used = [ofA, ofB, ofC].flatMap(({ ipam }) => ipam.allocations.map(({ address }) => address))
    expect(new Set(used).size).toBe(used.length)
  },
  LONG_MS,
)

test(
  'pods that a copy has made before it met its original lose their addresses, also over a restart, and a check names them',
  async () => {
    await using hub = await makeNetns()
    await using original = await makeRouter('192.0.2.1')
    await using copy = await makeRouter('192.0.2.2')
    await using ofOriginal = await makeNetns()
    await using ofCopy = await makeNetns()
    await joinUnderlays(hub, [original, copy])
    original.start('--nickname', 'original', '--ipam-init', 'seed=self')
    const before = await original.ready()
    execFileSync('cp', ['-a', `${original.stateDirectory}/.`, copy.stateDirectory])
    const first = copy.start('--nickname', 'copy', '--ipam-init', 'seed=self')
    await copy.ready()
    const address = async (router: typeof copy, pod: typeof ofCopy, name: string) => (await router.cni('ADD', pod, name)).answer?.ips
    expect(await address(copy, ofCopy, 'c1')).toEqual(await address(original, ofOriginal, 'o1'))
    await copy.weft('connect', '192.0.2.1')
    const isRenamed = async () => {
      const report = await copy.snapshot().catch(() => undefined)
      return report?.ready && report.router.name !== before.router.name ? report : undefined
    }
    const renamed = await until('the copy is ready under another name', isRenamed, seconds(20))
    expect(first.log()).toContain('its pods lose their addresses, and have to be made anew')
    expect(renamed.ipam.allocations.map(({ attachment }) => attachment)).toEqual(['weft/host'])

    first.child.kill('SIGKILL')
    await first.ended
    copy.start('--nickname', 'copy', '--ipam-init', 'seed=self', '192.0.2.1')
    expect((await copy.ready()).ipam.allocations.map(({ attachment }) => attachment)).toEqual(['weft/host'])
    expect((await original.snapshot()).ipam.allocations.map(({ attachment }) => attachment)).toEqual(
      ['weft/host', 'o1/eth0'].map((name) => expect.stringContaining(name)),
    )
    const check = await until(
      'a check hears the original',
      async () => {
        const { stdout } = await copy.weft('ipam', 'check')
        return stdout.includes('2 of 2 peers heard') ? stdout : undefined
      },
      seconds(20),
    )
    expect(check).toMatch(/\(copy\): c1\/eth0 exists with 10\.32\.0\.2, and none is allocated to it\n1 finding/)
  },
  LONG_MS,
)

test(
  'a copy that was told to begin the ring by itself joins that of the original, and keeps its new name and its pods over restarts',
  async () => {
    await using hub = await makeNetns()
    await using original = await makeRouter('192.0.2.1')
    await using copy = await makeRouter('192.0.2.2')
    await using pod = await makeNetns()
    await joinUnderlays(hub, [original, copy])
    original.start('--ipam-init', 'seed=self')
    const before = await original.ready()
    execFileSync('cp', ['-a', `${original.stateDirectory}/.`, copy.stateDirectory])
    const first = copy.start('--ipam-init', 'seed=self', '192.0.2.1')
    const isRenamed = async () => {
      const report = await copy.snapshot().catch(() => undefined)
      return report?.ready && report.router.name !== before.router.name ? report : undefined
    }
    const renamed = await until('the copy is ready under another name', isRenamed, seconds(20))
    expect(renamed.ipam.faults).toEqual([])
    expect(renamed.ipam.owners.map(({ name }) => name).sort()).toEqual([before.router.name, renamed.router.name].sort())
    expect((await original.ready()).router.name).toBe(before.router.name)
    const { answer } = await copy.cni('ADD', pod, 'c1')
    const address = answer?.ips?.[0]?.address.replace('/32', '') ?? ''
    await until('the host of the original reaches the pod', () =>
      original.ns.exec('ping', '-c', '1', '-W', '1', address).catch(() => undefined),
    )

    first.child.kill('SIGKILL')
    await first.ended
    const second = copy.start('--ipam-init', 'seed=self', '192.0.2.1')
    const again = await copy.ready()
    expect([again.router.name, again.router.formerly]).toEqual([renamed.router.name, renamed.router.formerly])
    expect(again.ipam.allocations).toContainEqual(expect.objectContaining({ address }))
    expect(second.log()).not.toContain('takes a new name')
  },
  LONG_MS,
)
