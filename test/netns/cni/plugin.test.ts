/** The plugin as a runtime sees it: relay, socket and router together, with a pod network in memory. */
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { seconds } from '../../../mesh/base/brand.ts'
import { type Clock, systemClock } from '../../../mesh/base/clock.ts'
import { silentLog } from '../../../mesh/base/log.ts'
import { startCni } from '../../../router/cni/start.ts'
import { netnsIdentity } from '../../../router/kernel/netns.ts'
import { openDescriptors } from '../../support/descriptors.ts'
import { makeNetns, type Netns } from '../../support/netns.ts'
import { PodNetworkModel } from '../../support/pod-network-model.ts'
import { makeRelayDirectory, netConf, type RelayDirectory, runRelay, runtimeEnv, startRelay } from '../../support/relay.ts'
import { TestClock } from '../../support/test-clock.ts'

/** The plugin as a router runs it, with a pod network in memory. */
async function servePlugin(
  directory: RelayDirectory,
  { addresses = 250, clock = systemClock }: { addresses?: number; clock?: Clock } = {},
) {
  const port = new PodNetworkModel({ addresses, identify: ({ namespace }) => netnsIdentity(namespace) })
  const { socketPath, pendingDirectory } = directory
  const service = await startCni({ socketPath, pendingDirectory, port, clock, log: silentLog })
  return { port, [Symbol.asyncDispose]: () => service[Symbol.asyncDispose]() }
}

const add = (directory: RelayDirectory, pod: Netns, containerId: string) =>
  runRelay({ env: runtimeEnv(directory, 'ADD', pod.path, containerId), stdin: netConf() })

test('a pod comes, is checked, and goes', async () => {
  await using directory = await makeRelayDirectory()
  await using pod = await makeNetns()
  await using plugin = await servePlugin(directory)
  const added = await add(directory, pod, 'c')
  const prevResult = JSON.parse(added.stdout)
  expect(prevResult).toMatchObject({
    cniVersion: '1.1.0',
    interfaces: [{}, { name: 'eth0', sandbox: pod.path }],
    ips: [{ address: '10.32.0.2/32' }],
  })
  const silence = { exitCode: 0, stdout: '', stderr: '' }
  expect(await runRelay({ env: runtimeEnv(directory, 'CHECK', pod.path), stdin: netConf({ prevResult }) })).toEqual(silence)
  expect(await runRelay({ env: runtimeEnv(directory, 'STATUS'), stdin: netConf() })).toEqual(silence)
  expect(await runRelay({ env: runtimeEnv(directory, 'DEL'), stdin: netConf() })).toEqual(silence)
  expect(plugin.port.attached).toEqual([])
})

test('another plugin gets an address for an interface of its own, and gives it back', async () => {
  await using directory = await makeRelayDirectory()
  await using pod = await makeNetns()
  await using plugin = await servePlugin(directory)
  const stdin = netConf({ type: 'macvlan', ipam: { type: 'weft-ipam' } })
  const run = await runRelay({ env: runtimeEnv(directory, 'ADD', pod.path), stdin })
  expect(JSON.parse(run.stdout)).toMatchObject({ cniVersion: '1.1.0', ips: [{ address: '10.32.0.2/32' }] })
  expect([plugin.port.attached, plugin.port.freeAddresses]).toEqual([[], 249])
  expect(await runRelay({ env: runtimeEnv(directory, 'DEL'), stdin })).toEqual({ exitCode: 0, stdout: '', stderr: '' })
  expect(plugin.port.freeAddresses).toBe(250)
})

test('errors come to stdout, with exit code 1', async () => {
  await using directory = await makeRelayDirectory()
  await using _ = await servePlugin(directory)
  const run = await runRelay({ env: runtimeEnv(directory, 'ADD', '/proc/self/ns/net'), stdin: netConf({ cniVersion: '1.0.0' }) })
  expect([run.exitCode, run.stderr, JSON.parse(run.stdout)]).toMatchObject([1, '', { cniVersion: '1.0.0', code: 8 }])
  expect(JSON.parse((await runRelay({ env: runtimeEnv(directory, 'NOPE'), stdin: netConf() })).stdout)).toMatchObject({
    code: 4,
    msg: 'unknown CNI_COMMAND: NOPE',
  })
})

test('200 pods at once get 200 addresses, and no descriptor stays open', async () => {
  await using directory = await makeRelayDirectory()
  await using pod = await makeNetns()
  await using plugin = await servePlugin(directory)
  const before = await openDescriptors()
  const names = Array.from({ length: 200 }, (_, index) => `c${index}`)
  const runs = await Promise.all(
    names.map((name) => runRelay({ env: { ...runtimeEnv(directory, 'ADD', pod.path, name), CNI_IFNAME: name }, stdin: netConf() })),
  )
  expect(new Set(runs.map(({ stdout }) => JSON.parse(stdout).ips[0].address)).size).toBe(200)
  expect(plugin.port.freeAddresses).toBe(50)
  await expect.poll(openDescriptors).toEqual(before)
})

test('killing the relay undoes the ADD, and the DEL that follows finds nothing', async () => {
  await using directory = await makeRelayDirectory()
  await using pod = await makeNetns()
  await using plugin = await servePlugin(directory)
  const before = await openDescriptors()
  const release = plugin.port.hold()
  const relay = startRelay({ env: runtimeEnv(directory, 'ADD', pod.path), stdin: netConf() })
  await expect.poll(() => plugin.port.busy).toBe(1)
  relay.child.kill('SIGKILL')
  await expect.poll(() => plugin.port.busy).toBe(0)
  release()
  expect([plugin.port.attached, plugin.port.freeAddresses]).toEqual([[], 250])
  expect(await runRelay({ env: runtimeEnv(directory, 'DEL', pod.path), stdin: netConf() })).toMatchObject({ exitCode: 0 })
  await expect.poll(openDescriptors).toEqual(before)
})

test('an ADD that takes too long is undone, and the runtime hears why', async () => {
  await using directory = await makeRelayDirectory()
  await using pod = await makeNetns()
  const clock = new TestClock()
  await using plugin = await servePlugin(directory, { clock })
  plugin.port.hold()
  const answer = add(directory, pod, 'c')
  await expect.poll(() => plugin.port.busy).toBe(1)
  clock.advance(seconds(49))
  expect(plugin.port.busy).toBe(1)
  clock.advance(seconds(1))
  expect(JSON.parse((await answer).stdout)).toMatchObject({ code: 11, msg: 'gave up and undid everything: it took longer than 50000 ms' })
  expect(plugin.port.freeAddresses).toBe(250)
})

test('DELs that were queued while no router ran are carried out when one starts', async () => {
  await using directory = await makeRelayDirectory()
  await using pod = await makeNetns()
  const env = runtimeEnv(directory, 'DEL')
  expect(await runRelay({ env, stdin: netConf() })).toMatchObject({ exitCode: 0 })
  expect(await readdir(directory.pendingDirectory)).toEqual(['c@eth0'])
  await using plugin = await servePlugin(directory)
  await expect.poll(() => readdir(directory.pendingDirectory)).toEqual([])
  await add(directory, pod, 'c')
  expect(plugin.port.attached).toEqual(['c/eth0'])
})

test('one that fails is tried again later', async () => {
  await using directory = await makeRelayDirectory()
  await using pod = await makeNetns()
  const clock = new TestClock()
  await using plugin = await servePlugin(directory, { clock })
  await add(directory, pod, 'c')
  await writeFile(join(directory.pendingDirectory, 'c@eth0'), '')
  plugin.port.refusal = 'EBUSY'
  const release = plugin.port.hold()
  clock.advance(seconds(30))
  await expect.poll(() => plugin.port.busy).toBe(1)
  release()
  await expect.poll(() => plugin.port.busy).toBe(0)
  expect([plugin.port.attached, await readdir(directory.pendingDirectory)]).toEqual([['c/eth0'], ['c@eth0']])
  plugin.port.refusal = undefined
  await clock.advanceAsync(seconds(30))
  await expect.poll(() => readdir(directory.pendingDirectory)).toEqual([])
  expect(plugin.port.attached).toEqual([])
})
