/** Peers that are gone and peers that leave: real routers, killed and brought back under a new name, on hosts of one network. */
import { describe, expect, test } from 'vitest'
import { seconds } from '../../../mesh/base/brand.ts'
import type { Snapshot } from '../../../router/api/contract.ts'
import { makeNetns } from '../../support/netns.ts'
import { joinUnderlays, makeRouter, type Running, type TestRouter } from '../../support/router.ts'
import { until } from '../../support/until.ts'

/** 30 addresses: few enough to use them all. */
const RANGE = ['--ipalloc-range', '10.9.0.0/27']

interface Host {
  readonly router: TestRouter
  readonly name: string
  readonly nickname: string
  readonly words: readonly string[]
  running: Running
}

/** Three routers that share the range, and reach each other. */
async function three(stack: AsyncDisposableStack): Promise<readonly [Host, Host, Host]> {
  const hub = stack.use(await makeNetns())
  const routers: TestRouter[] = []
  for (const number of [1, 2, 3]) routers.push(stack.use(await makeRouter(`192.0.2.${number}`)))
  await joinUnderlays(hub, routers)
  const names = await Promise.all(
    routers.map(async ({ weft, stateDirectory }) => (await weft('name', '--state-dir', stateDirectory)).stdout.trim()),
  )
  const hosts = routers.map((router, index): Host => {
    const nickname = `node-${index + 1}`
    const words = [...RANGE, '--ipam-init', `seed=${names.join(',')}`, '--nickname', nickname, '192.0.2.1', '192.0.2.2']
    return { router, name: names[index] ?? '', nickname, words, running: router.start(...words) }
  })
  await Promise.all(routers.map((router) => router.ready()))
  const [a, b, c] = hosts
  if (a === undefined || b === undefined || c === undefined) throw new Error('no hosts')
  for (const { router } of hosts) {
    await until('all know each other', async () =>
      (await router.snapshot()).router.peers.every(({ state }) => state === 'alive') ? true : undefined,
    )
    await until('all are there', async () => ((await router.snapshot()).router.peers.length === 3 ? true : undefined))
  }
  return [a, b, c]
}

async function sees(host: Host, peer: Host, state: 'alive' | 'dead' | 'left'): Promise<void> {
  const isSo = async (): Promise<true | undefined> => {
    const { router } = await host.router.snapshot()
    return router.peers.some((one) => one.name === peer.name && one.state === state) ? true : undefined
  }
  await until(`${host.nickname} sees ${peer.nickname} ${state}`, isSo, seconds(20))
}

/** How many addresses `peer` owns, as `host` sees it. */
async function shareOf(peer: Host, host: Host): Promise<number> {
  const { ipam } = await host.router.snapshot()
  return ipam.owners.find(({ name }) => name === peer.name)?.addresses ?? 0
}

/** Adds pods until none gets an address: those that were given. */
async function addressesOf(host: Host, stack: AsyncDisposableStack): Promise<readonly string[]> {
  const addresses: string[] = []
  for (let count = 0; count < 40; count++) {
    const { answer } = await host.router.cni('ADD', stack.use(await makeNetns()), `${host.nickname}-${count}`)
    const address = answer?.ips?.[0]?.address
    if (address === undefined) return addresses
    addresses.push(address)
  }
  return addresses
}

/** Ready under another name than before. */
function renamed(host: Host): Promise<Snapshot> {
  const isSo = async (): Promise<Snapshot | undefined> => {
    const snapshot = await host.router.snapshot().catch(() => undefined)
    return snapshot?.ready === true && snapshot.router.name !== host.name ? snapshot : undefined
  }
  return until(`${host.nickname} is ready under another name`, isSo, seconds(30))
}

/** Once all have heard of each other's last changes. */
async function addsUp(host: Host): Promise<void> {
  await until(
    `all addresses add up, as ${host.nickname} sees it`,
    async () => (await host.router.weft('ipam', 'check')).status === 0 || undefined,
  )
}

describe('a host that is gone for good', { timeout: 180_000 }, () => {
  test('is removed on another; its addresses are given out again; back, it says what happened, and joins under another name', async () => {
    await using stack = new AsyncDisposableStack()
    const [a, b, c] = await three(stack)
    const pod = stack.use(await makeNetns())
    const lost = (await c.router.cni('ADD', pod, 'lost')).answer?.ips?.[0]?.address ?? ''
    expect(lost).toMatch(/^10\.9\.0\./)

    expect(await a.router.weft('rmpeer', c.nickname)).toMatchObject({ status: 1, stderr: expect.stringContaining('lives') })
    expect(await a.router.weft('rmpeer', a.nickname)).toMatchObject({ status: 1, stderr: expect.stringContaining('weft reset') })
    expect(await a.router.weft('rmpeer', 'node-9')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('no peer is called node-9'),
    })

    c.running.child.kill('SIGKILL')
    await c.running.ended
    await sees(a, c, 'dead')
    const share = await shareOf(c, a)
    const removed = await a.router.weft('rmpeer', c.nickname, '--json')
    expect({ status: removed.status, answer: JSON.parse(removed.stdout) as unknown }).toEqual({
      status: 0,
      answer: { removed: c.name, addresses: share },
    })
    await until('b knows it too', async () =>
      (await b.router.snapshot()).ipam.owners.some(({ name }) => name === c.name) ? undefined : true,
    )
    expect((await b.router.snapshot()).ipam.entries.find(({ epoch }) => epoch === 1)).toMatchObject({ peer: a.name, size: share })

    await addsUp(a)

    const given = await addressesOf(a, stack)
    expect(given).toContain(lost)
    expect(new Set(given).size).toBe(given.length)
    for (const index of [0, 1, 2, 3]) await a.router.cni('DEL', pod, `${a.nickname}-${index}`)

    c.running = c.router.start(...c.words)
    const back = await renamed(c)
    const reason = `${c.name} was removed from the cluster by ${a.name}, which has taken over its addresses`
    expect(back.router.formerly).toMatchObject({ name: c.name, reason })
    expect(back.ipam.allocations.map(({ attachment }) => attachment)).toEqual(['weft/host'])
    expect(c.running.log()).toContain(reason)
    expect(c.running.log()).toContain('the address of this pod may be given to another')
    expect(c.running.log()).toContain('this node was removed from the cluster, and takes a new name; its pods lose their addresses')
    const { answer } = await c.router.cni('ADD', stack.use(await makeNetns()), 'more')
    expect(answer?.ips?.[0]?.address).toMatch(/^10\.9\.0\./)
    expect(given.slice(4)).not.toContain(answer?.ips?.[0]?.address)
    expect((await c.router.weft('ipam', 'check')).stdout).toContain(
      `lost/eth0 exists with ${lost.replace('/32', '')}, and none is allocated to it`,
    )
    await c.router.cni('DEL', pod, 'lost')
    for (const host of [a, c]) await addsUp(host)
    expect((await a.router.snapshot()).ipam.owners.some(({ name }) => name === c.name)).toBe(false)
  })
})

describe('a host that leaves', { timeout: 180_000 }, () => {
  test('not while it has pods; then another has all its addresses, and its router has stopped; started again, it has a new name', async () => {
    await using stack = new AsyncDisposableStack()
    const [a, b, c] = await three(stack)
    const pod = stack.use(await makeNetns())
    await c.router.cni('ADD', pod, 'c1')
    expect(await c.router.weft('reset')).toMatchObject({ status: 1, stderr: expect.stringContaining('1 pod has an address of this node') })
    await c.router.cni('DEL', pod, 'c1')
    const share = await shareOf(c, a)
    const left = await c.router.weft('reset', '--json')
    expect({ status: left.status, answer: JSON.parse(left.stdout) as unknown }).toMatchObject({
      status: 0,
      answer: { given: share, kept: 0 },
    })
    expect(await c.running.ended).toBe(0)
    for (const host of [a, b]) {
      await sees(host, c, 'left')
      const { owners } = (await host.router.snapshot()).ipam
      expect(owners.map(({ addresses }) => addresses).reduce((sum, count) => sum + count, 0)).toBe(32)
      expect(owners.some(({ name }) => name === c.name)).toBe(false)
    }
    await addsUp(a)
    // Nobody need remove it, and it does not stand in the way of removing others.
    expect(await a.router.weft('rmpeer', c.nickname)).toMatchObject({ status: 0, stdout: expect.stringContaining(': 0 addresses') })

    c.running = c.router.start(...c.words)
    expect((await renamed(c)).router.formerly?.reason).toBe(`${c.name} has handed over its addresses and left the cluster`)
    await addsUp(b)
  })
})
