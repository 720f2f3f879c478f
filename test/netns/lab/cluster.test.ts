/** The lab from end to end: real routers, the real plugin, real packets. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { labNames, namespacesOf } from '../../../router/lab/cleanup.ts'
import { hostName, type LabName, parsePodName } from '../../../router/lab/names.ts'
import { hostPaths, labDirectory, labFile, namespacePath, podFile } from '../../../router/lab/paths.ts'
import { isAlive, processesIn } from '../../../router/lab/processes.ts'
import { readRouter, writeState } from '../../../router/lab/state.ts'
import { type TestLab, testLab, weft } from '../../support/lab.ts'

const MAIN = fileURLToPath(new URL('../../../router/main.ts', import.meta.url))
const LONG_MS = 120_000

/** As bits of the sets in /proc/PID/status (linux/capability.h). */
const CAP_DAC_READ_SEARCH = 1 << 2
const CAP_NET_ADMIN = 1 << 12

const upSchema = z.object({
  hosts: z.array(z.object({ name: z.string(), address: z.string(), peer: z.string() })),
  pods: z.array(z.object({ name: z.string(), host: z.string(), address: z.ipv4(), address6: z.ipv6() })),
})
const passedSchema = z.object({ ping: z.boolean(), tcp: z.boolean(), udp64k: z.boolean(), fullMtu: z.boolean() })
const checkSchema = z.object({
  ok: z.boolean(),
  pods: z.array(z.string()),
  pairs: z.array(
    passedSchema.extend({
      from: z.string(),
      to: z.string(),
      families: z.object({ ipv4: passedSchema, ipv6: passedSchema }),
    }),
  ),
})
const listSchema = z.object({ labs: z.array(z.object({ name: z.string(), phase: z.string(), runningRouters: z.number() })) })

async function up(lab: TestLab, ...words: readonly string[]): Promise<z.infer<typeof upSchema>> {
  return upSchema.parse(await lab.json('up', ...words))
}

/** The pairs in which any check fails. */
async function failing(lab: TestLab): Promise<readonly string[]> {
  const { stdout } = await lab.run('check', '--json')
  const { pairs } = checkSchema.parse(JSON.parse(stdout))
  return pairs.filter(({ ping, tcp, udp64k, fullMtu }) => !(ping && tcp && udp64k && fullMtu)).map(({ from, to }) => `${from}-${to}`)
}

/** Routers and their links need a moment to notice. */
async function expectWhole(lab: TestLab): Promise<void> {
  await expect.poll(() => failing(lab), { timeout: 30_000, interval: 100 }).toEqual([])
}

async function traces(lab: LabName): Promise<unknown> {
  return {
    namespaces: await namespacesOf(lab),
    directory: existsSync(labDirectory(lab)),
    listed: (await labNames()).includes(lab),
    mounts: readFileSync('/proc/self/mounts', 'utf8').includes(`weft-${lab}-`),
  }
}

const nothing = { namespaces: [], directory: false, listed: false, mounts: false }

describe('a cluster of three hosts', () => {
  let stack: AsyncDisposableStack
  let lab: TestLab
  let made: z.infer<typeof upSchema>

  beforeAll(async () => {
    stack = new AsyncDisposableStack()
    lab = stack.use(await testLab())
    made = await up(lab)
  }, LONG_MS)
  afterAll(async () => await stack.disposeAsync())

  test('has three hosts and two pods on each, all of different addresses and identities', () => {
    expect(made.hosts.map(({ name, address }) => `${name} ${address}`)).toEqual(['a 198.18.0.1', 'b 198.18.0.2', 'c 198.18.0.3'])
    expect(made.pods.map(({ name, host }) => `${name} on ${host}`)).toEqual([
      'a1 on a',
      'a2 on a',
      'b1 on b',
      'b2 on b',
      'c1 on c',
      'c2 on c',
    ])
    expect(new Set(made.pods.map(({ address }) => address)).size).toBe(6)
    expect(new Set(made.pods.map(({ address6 }) => address6)).size).toBe(6)
    expect(new Set(made.hosts.map(({ peer }) => peer)).size).toBe(3)
  })

  test('every pod reaches every other one over both families, at once', async () => {
    const { status, stdout } = await lab.run('check', '--json')
    const report = checkSchema.parse(JSON.parse(stdout))
    expect({ status, ok: report.ok, pairs: report.pairs.length }).toEqual({ status: 0, ok: true, pairs: 30 })
    const passed = { ping: true, tcp: true, udp64k: true, fullMtu: true }
    for (const { families } of report.pairs) expect(families).toEqual({ ipv4: passed, ipv6: passed })
  })

  test('the routers hold CAP_NET_ADMIN and nothing else; where only the owner may read the checkout, also the right to read', async () => {
    const alone = 'setpriv --bounding-set=-all,+net_admin --inh-caps=-all -- test -r "$0"'
    const held = spawnSync('sh', ['-c', alone, MAIN]).status === 0 ? CAP_NET_ADMIN : CAP_NET_ADMIN | CAP_DAC_READ_SEARCH
    const record = await readRouter(hostPaths(lab.name, hostName(0)).router)
    const status = readFileSync(`/proc/${record.ok ? record.value.identity.pid : 0}/status`, 'utf8')
    const sets = [...status.matchAll(/^Cap(\w+):\s*([0-9a-f]+)$/gm)].map(([, set, bits]) => [set, Number.parseInt(bits ?? '', 16)])
    expect(Object.fromEntries(sets)).toEqual({ Inh: 0, Prm: held, Eff: held, Bnd: held, Amb: 0 })
  })

  test('commands run inside: their output, their exit code, and the router of their host', async () => {
    const own = made.pods.find(({ name }) => name === 'b2')?.address
    expect((await lab.run('exec', 'b2', '--', 'ip', '-4', '-o', 'address', 'show', 'eth0')).stdout).toContain(` ${own}/32 `)
    expect((await lab.run('exec', 'b2', '--', 'sh', '-c', 'exit 7')).status).toBe(7)
    expect((await lab.run('exec', 'b2', 'sh', '-c', 'kill -KILL $$')).status).toBe(137)
    expect((await lab.run('exec', 'c1', '--', 'weft', 'status')).stdout).toContain('(c)')
    expect(await lab.run('exec', 'z9', '--', 'true')).toMatchObject({ status: 2, stderr: expect.stringContaining('no host or pod "z9"') })
  })

  test('a pod can be added and deleted, and its name used again', async () => {
    expect(await lab.json('pod add', 'b')).toMatchObject({ name: 'b3', host: 'b' })
    expect(await lab.json('pod add', 'b', 'web')).toMatchObject({ name: 'web', host: 'b' })
    expect(await lab.run('pod add', 'c', 'web')).toMatchObject({ status: 1, stderr: expect.stringContaining('has a web already') })
    expect(await failing(lab)).toEqual([])
    await lab.json('pod del', 'web')
    await lab.json('pod del', 'b3')
    expect(await namespacesOf(lab.name)).toHaveLength(10)
    expect(await lab.json('pod add', 'c', 'web')).toMatchObject({ name: 'web', host: 'c' })
    await lab.json('pod del', 'web')
  })

  test('a pod whose adding was cut short is cleared away by the next of its name', async () => {
    const name = parsePodName('cut')
    await writeState(podFile(lab.name, hostName(0), name), { version: 1, name, host: hostName(0), containerId: 'weft-cut-short' })
    execFileSync('ip', ['netns', 'add', `weft-${lab.name}-cut`])
    expect(await lab.json('pod add', 'a', 'cut')).toMatchObject({ name: 'cut', host: 'a' })
    expect(await failing(lab)).toEqual([])
    await lab.json('pod del', 'cut')
  })

  test('a plugin that fails is told with its code, and leaves nothing', async () => {
    const { conflist } = hostPaths(lab.name, hostName(0))
    const before = readFileSync(conflist, 'utf8')
    writeFileSync(
      conflist,
      before.replace('"cniVersion": "1.0.0"', '"cniVersion": "1.0.0", "cniVersions": []').replace('weft-cni', 'no-such-plugin'),
    )
    expect((await lab.run('pod add', 'a')).stderr).toContain('no-such-plugin ADD of pod a3 failed')
    writeFileSync(conflist, before)
    expect(await namespacesOf(lab.name)).toHaveLength(10)
    await lab.json('kill', 'a')
    expect((await lab.run('pod add', 'a')).stderr).toMatch(/weft-cni ADD of pod a3 failed: .*\[CNI error 11\]/)
    expect(await namespacesOf(lab.name)).toHaveLength(10)
    await lab.json('start', 'a')
  })

  test('a router can be killed: pods keep talking; started again it is the same peer, with the same pods', async () => {
    await lab.json('kill', 'b')
    expect(await failing(lab)).toEqual([])
    expect((await lab.run('kill', 'b')).stderr).toContain('the router of b does not run')
    expect(await lab.json('status')).toMatchObject({ hosts: [{ running: true }, { running: false }, { running: true }] })
    await lab.json('start', 'b')
    expect((await lab.run('start', 'b')).stderr).toContain('runs already')
    expect(await lab.json('status')).toMatchObject({ hosts: made.hosts.map(({ peer }) => ({ peer, status: { router: { name: peer } } })) })
    expect(await failing(lab)).toEqual([])
    expect(await lab.json('pod add', 'b', 'late')).toMatchObject({ host: 'b' })
    await expectWhole(lab)
    await lab.json('pod del', 'late')
  })

  test('the secret is changed twice while pods talk: no packet and no connection is lost', async () => {
    const target = made.pods.find(({ name }) => name === 'b1')?.address ?? ''
    const connectionsOfA = async () => (await lab.run('exec', 'a', '--', 'weft', 'status', 'connections')).stdout
    const secrets = () => ['a', 'b', 'c'].map((host) => readFileSync(`${labDirectory(lab.name)}/host-${host}/state/secret`, 'utf8'))
    const [connections, before] = [await connectionsOfA(), secrets()]
    const pinging = lab.run('exec', 'a1', '--', 'ping', '-i', '0.1', '-c', '80', '-W', '2', target)
    const first = await lab.run('exec', 'b', '--', 'weft', 'keys', 'rotate')
    const second = await lab.run('exec', 'c', '--', 'weft', 'keys', 'rotate')
    expect([first.status, second.status]).toEqual([0, 0])
    expect((await pinging).stdout).toContain(' 0% packet loss')
    const after = secrets()
    expect(new Set(after).size).toBe(1)
    expect(before).not.toContain(after[0])
    expect(after[0]).toMatch(new RegExp(`^weft-secret-1 ${second.stdout.trim()} [0-9a-f]{64}\\n$`))
    expect(await connectionsOfA()).toBe(connections)
    expect(await failing(lab)).toEqual([])
  })

  test('routes that somebody flushes come back', async () => {
    expect((await lab.run('exec', 'c', '--', 'ip', 'route', 'flush', 'proto', '119')).status).toBe(0)
    await expectWhole(lab)
  })

  test('a cut between two hosts breaks their pods and no others; healed, all is whole', async () => {
    await lab.json('cut', 'a', 'b')
    const broken = await failing(lab)
    expect(broken.filter((pair) => !/^(a\d-b\d|b\d-a\d)$/.test(pair))).toEqual([])
    expect(broken).not.toEqual([])
    expect(await lab.json('heal', 'b', 'a')).toEqual({ cuts: [] })
    await expectWhole(lab)
    expect((await lab.run('cut', 'a', 'a')).status).toBe(2)
  })

  test('what is up is not built again', async () => {
    expect(await lab.run('up')).toMatchObject({ status: 1, stderr: expect.stringContaining('is up already') })
    expect(await failing(lab)).toEqual([])
  })
})

test('whatever happens to a lab, `up` builds it again and `down` removes all of it', { timeout: LONG_MS }, async () => {
  await using lab = await testLab()
  const small = ['--hosts', '2', '--pods', '1'] as const
  const first = await up(lab, ...small)

  for (const { pid } of await processesIn(await namespacesOf(lab.name))) process.kill(pid, 'SIGKILL')
  const second = await up(lab, ...small)
  expect(second.hosts.map(({ peer }) => peer)).not.toEqual(first.hosts.map(({ peer }) => peer))
  expect(await failing(lab)).toEqual([])

  writeFileSync(labFile(lab.name), '{"version": 1, ')
  expect((await lab.run('check')).stderr).toContain('is damaged')
  await up(lab, ...small)

  rmSync(labDirectory(lab.name), { recursive: true })
  expect((await lab.run('check')).stderr).toContain('there is no lab')
  await up(lab, ...small)
  expect(await failing(lab)).toEqual([])

  const processes = await processesIn(await namespacesOf(lab.name))
  expect(processes.length).toBeGreaterThan(1)
  expect(await lab.json('down')).toEqual({ removed: [lab.name] })
  expect(await Promise.all(processes.map(isAlive))).toEqual(processes.map(() => false))
  expect(await traces(lab.name)).toEqual(nothing)
  expect(await lab.json('down')).toEqual({ removed: [] })
})

describe('`up` that is killed on its way', () => {
  /** What can be seen from outside when it is killed. */
  const stages: readonly { readonly name: string; readonly reached: (lab: LabName) => Promise<boolean> }[] = [
    { name: 'with its first directory', reached: (lab) => Promise.resolve(existsSync(labDirectory(lab))) },
    { name: 'with its first namespace', reached: async (lab) => (await namespacesOf(lab)).length > 0 },
    { name: 'with a router started', reached: (lab) => Promise.resolve(existsSync(hostPaths(lab, hostName(0)).router)) },
    { name: 'with a pod begun', reached: async (lab) => (await namespacesOf(lab)).some((name) => name.endsWith('-a1')) },
  ]

  test.each(stages)('$name', { timeout: LONG_MS }, async ({ reached }) => {
    await using lab = await testLab()
    const killed = spawn(process.execPath, [MAIN, 'lab', 'up', '--name', lab.name, '--hosts', '2'], { stdio: 'ignore' })
    await expect.poll(() => reached(lab.name), { timeout: 30_000, interval: 1 }).toBe(true)
    killed.kill('SIGKILL')
    await once(killed, 'exit')
    expect((await lab.run('check')).status).toBe(1)
    await up(lab, '--hosts', '2')
    expect(await failing(lab)).toEqual([])
    await lab.json('down')
    expect(await traces(lab.name)).toEqual(nothing)
  })

  test('or interrupted: it cleans up by itself', { timeout: LONG_MS }, async () => {
    await using lab = await testLab()
    const interrupted = spawn(process.execPath, [MAIN, 'lab', 'up', '--name', lab.name], { stdio: 'ignore' })
    await expect.poll(() => existsSync(hostPaths(lab.name, hostName(0)).router), { timeout: 30_000, interval: 1 }).toBe(true)
    interrupted.kill('SIGINT')
    expect(await once(interrupted, 'exit')).toEqual([1, null])
    expect(await traces(lab.name)).toEqual(nothing)
  })
})

test('two labs side by side have the same addresses and nothing to do with each other', { timeout: LONG_MS }, async () => {
  await using one = await testLab()
  await using other = await testLab()
  const [first, second] = await Promise.all([up(one, '--hosts', '2'), up(other, '--hosts', '2')])
  expect(first.hosts.map(({ address }) => address)).toEqual(second.hosts.map(({ address }) => address))
  expect([await failing(one), await failing(other)]).toEqual([[], []])
  const { labs } = listSchema.parse(JSON.parse((await weft('lab', 'list', '--json')).stdout))
  for (const { name } of [one, other]) expect(labs).toContainEqual({ name, phase: 'ready', runningRouters: 2 })
  await one.json('down')
  expect(await failing(other)).toEqual([])
})

test('two commands on one lab wait for each other', { timeout: LONG_MS }, async () => {
  await using lab = await testLab()
  await up(lab, '--hosts', '1', '--pods', '0')
  await Promise.all(Array.from({ length: 4 }, () => lab.json('pod add', 'a')))
  expect(await failing(lab)).toEqual([])
  expect((await lab.run('check')).stdout).toContain('12 of 12 pairs')
})

test('two hundred pods, made in parallel, have two hundred addresses', { timeout: LONG_MS }, async () => {
  await using lab = await testLab()
  const { pods } = await up(lab, '--hosts', '2', '--pods', '100')
  expect(new Set(pods.map(({ address }) => address)).size).toBe(200)
  for (const [from, to] of [
    ['a1', 'b100'],
    ['a50', 'a51'],
    ['b99', 'a100'],
  ]) {
    const address = pods.find(({ name }) => name === to)?.address ?? ''
    execFileSync('nsenter', [`--net=${namespacePath(`weft-${lab.name}-${from}`)}`, 'ping', '-c', '1', '-W', '2', address])
  }
})

test('the demo shows a whole cluster, and leaves nothing unless told to', { timeout: LONG_MS }, async () => {
  await using lab = await testLab()
  const shown = await lab.run('demo')
  expect(shown).toMatchObject({ status: 0, stdout: expect.stringContaining('30 of 30 pairs ok') })
  expect(shown.stdout).toContain('npm run -s weft -- lab up')
  expect(await traces(lab.name)).toEqual(nothing)
  const kept = await lab.run('demo', '--keep')
  expect(kept).toMatchObject({ status: 0, stdout: expect.stringContaining(`lab down --name ${lab.name}`) })
  expect(await lab.run('demo')).toMatchObject({ status: 1, stderr: expect.stringContaining('is up already') })
  expect(await failing(lab)).toEqual([])
})
