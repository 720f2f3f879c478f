/** What goes wrong around a real router: each gives a precise error, and nothing is lost. */
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { native } from '../../../router/kernel/native.ts'
import { makeNetns } from '../../support/netns.ts'
import { makeRouter, type TestRouter } from '../../support/router.ts'
import { until } from '../../support/until.ts'

const SEED = ['--ipam-init', 'seed=self']

async function routes(router: TestRouter): Promise<string> {
  return await router.ns.exec('ip', 'route', 'show', 'proto', '119')
}

describe('a router that is killed', () => {
  test('comes back with the same identity, ranges and addresses; its pods talk all the while', async () => {
    await using router = await makeRouter()
    await using one = await makeNetns()
    await using other = await makeNetns()
    const first = router.start(...SEED)
    const before = await router.ready()
    const added = await router.cni('ADD', one, 'c1')
    await router.cni('ADD', other, 'c2')
    const address = added.answer?.ips?.[0]?.address.replace('/32', '') ?? ''
    const kept = { routes: await routes(router), allocations: (await router.snapshot()).ipam.allocations }
    first.child.kill('SIGKILL')
    await first.ended
    await expect(other.exec('ping', '-c', '1', '-W', '2', address)).resolves.toContain(' 0% packet loss')
    router.start(...SEED)
    const after = await router.ready()
    expect(after.router.name).toBe(before.router.name)
    expect(after.ipam.entries).toEqual(before.ipam.entries)
    expect({ routes: await routes(router), allocations: after.ipam.allocations }).toEqual(kept)
    await expect(other.exec('ping', '-c', '1', '-W', '2', address)).resolves.toContain(' 0% packet loss')
  })

  test('carries out the DEL that came while it was away', async () => {
    await using router = await makeRouter()
    await using pod = await makeNetns()
    const first = router.start(...SEED)
    await router.ready()
    expect((await router.cni('ADD', pod, 'c1')).status).toBe(0)
    first.child.kill('SIGKILL')
    await first.ended
    expect(await router.cni('DEL', pod, 'c1')).toEqual({ status: 0, answer: undefined })
    expect((await router.cni('ADD', pod, 'c9')).answer).toMatchObject({ code: 11, msg: expect.stringContaining('cni.sock') })
    router.start(...SEED)
    await router.ready()
    await until('the DEL is carried out', async () => ((await router.snapshot()).ipam.activeIps === 1 ? true : undefined))
    await until('the interface is gone', async () => ((await pod.exec('ip', '-o', 'link')).includes('eth0') ? undefined : true))
  })

  test('recovers from a journal whose last record was cut short: the pod keeps its address', async () => {
    await using router = await makeRouter()
    await using pod = await makeNetns()
    const first = router.start(...SEED)
    await router.ready()
    await router.cni('ADD', pod, 'c1')
    const before = (await router.snapshot()).ipam.allocations
    first.child.kill('SIGKILL')
    await first.ended
    const journal = join(router.stateDirectory, 'ipam', 'ipam.journal')
    const { length } = await readFile(journal)
    await truncate(journal, length - 3)
    const second = router.start(...SEED)
    const after = await router.ready()
    expect(after.ipam.entries).toHaveLength(1)
    expect(after.ipam.allocations).toEqual(before)
    expect(second.log()).toContain('cut short')
  })

  test('recovers from a flipped bit: listens for other peers first, keeps what was damaged, and its pods keep their addresses', async () => {
    await using router = await makeRouter()
    await using one = await makeNetns()
    await using other = await makeNetns()
    const first = router.start(...SEED)
    await router.ready()
    await router.cni('ADD', one, 'c1')
    const before = (await router.snapshot()).ipam.allocations
    first.child.kill('SIGKILL')
    await first.ended
    const journal = join(router.stateDirectory, 'ipam', 'ipam.journal')
    const bytes = await readFile(journal)
    // In the record of the ring, of the node's address or of the pod's: all that is behind it is lost.
    bytes[60] = (bytes[60] ?? 0) ^ 8
    await writeFile(journal, bytes)
    const second = router.start(...SEED)
    const early = await until('it answers', () => router.snapshot().catch(() => undefined))
    expect([early.ready, early.ipam.doubt]).toEqual([false, expect.stringContaining('journal is lost')])
    const added = await router.cni('ADD', other, 'c2')
    expect(before.map(({ address }) => `${address}/32`)).not.toContain(added.answer?.ips?.[0]?.address)
    await router.cni('DEL', other, 'c2')
    const after = await router.ready()
    expect(after.ipam.allocations.toSorted((a, b) => (a.address < b.address ? -1 : 1))).toEqual(before)
    expect(second.log()).toContain('damaged')
    expect(await readdir(join(router.stateDirectory, 'ipam'))).toContain('ipam.journal.damaged-1')
  })
})

describe('a router does not start', () => {
  test.each([
    {
      name: 'with a range that is not one',
      words: ['--ipalloc-range', '10.32.0.1/12'],
      says: '--ipalloc-range: 10.32.0.1/12 has host bits set (did you mean 10.32.0.0/12?)',
    },
    {
      name: 'with an address that is not here',
      words: ['--advertise', '198.51.100.7'],
      says: 'no interface that is up has the address 198.51.100.7',
    },
    { name: 'with a consensus of nobody', words: ['--ipam-init', 'consensus=0'], says: 'not a number of peers from 1 to 1024' },
    { name: 'with seeds that are not names', words: ['--ipam-init', 'seed=node-a'], says: 'node-a' },
    { name: 'with a flag that is not one', words: ['--ipalloc-rang', 'x'], says: 'Did you mean --ipalloc-range?' },
    { name: 'with a peer that cannot be one', words: ['host:port'], says: 'not a port from 1 to 65535' },
  ])('$name, and says why', async ({ words, says }) => {
    await using router = await makeRouter()
    const running = router.start(...words)
    expect(await running.ended).toBeGreaterThan(0)
    expect(running.log()).toContain(says)
    expect(running.log()).not.toContain('    at ')
  })

  test('beside another of the same state directory', async () => {
    await using router = await makeRouter()
    const first = router.start(...SEED)
    await router.ready()
    const second = router.start(...SEED, '--port', '7000')
    expect(await second.ended).toBe(1)
    expect(second.log()).toMatch(/in use|another/)
    expect(first.child.exitCode).toBeNull()
    expect((await router.snapshot()).ready).toBe(true)
  })

  test('with the journal of another cluster', async () => {
    await using router = await makeRouter()
    const first = router.start(...SEED, '--cluster', 'red')
    await router.ready()
    first.child.kill('SIGTERM')
    await first.ended
    const second = router.start(...SEED, '--cluster', 'blue')
    expect(await second.ended).toBe(1)
    expect(second.log()).toContain('is of the cluster red; we are to join blue')
    expect(second.log()).toContain('give --cluster red')
  })

  test('with the journal of another range', async () => {
    await using router = await makeRouter()
    const first = router.start(...SEED)
    await router.ready()
    first.child.kill('SIGTERM')
    expect(await first.ended).toBe(0)
    const second = router.start(...SEED, '--ipalloc-range', '10.2.0.0/16')
    expect(await second.ended).toBe(1)
    expect(second.log()).toContain('10.2.0.0/16')
    const third = router.start(...SEED)
    await router.ready()
    expect(third.child.exitCode).toBeNull()
  })
})

describe('a router that runs', () => {
  test('answers an ADD beyond the last address with the reason, and serves again after a DEL', async () => {
    await using router = await makeRouter()
    router.start(...SEED, '--ipalloc-range', '10.9.0.0/29')
    await router.ready()
    await using pods = new AsyncDisposableStack()
    const answers = []
    for (let count = 0; count < 6; count++) answers.push(await router.cni('ADD', pods.use(await makeNetns()), `c${count}`))
    expect(answers.slice(0, 5).map(({ status }) => status)).toEqual([0, 0, 0, 0, 0])
    expect(answers[5]).toMatchObject({ status: 1, answer: { code: 11, msg: expect.stringContaining('no address is free here') } })
    await router.cni('DEL', '', 'c2')
    expect((await router.cni('ADD', pods.use(await makeNetns()), 'c6')).answer?.ips).toEqual(answers[2]?.answer?.ips)
  })

  test.each([
    { name: 'a namespace that vanished', changes: { CNI_NETNS: '/run/netns/weft-never' }, code: 8 },
    { name: 'no container id', changes: { CNI_CONTAINERID: '' }, code: 4 },
    { name: 'an interface name that cannot be one', changes: { CNI_IFNAME: 'a/b' }, code: 4 },
    { name: 'a configuration that is not JSON', changes: { CONF: '{"cniVersion":' }, code: 6 },
    { name: 'a version that nobody knows', changes: { CONF: '{"cniVersion":"9.9.9","name":"weft","type":"weft-cni"}' }, code: 1 },
    { name: 'a container id longer than any', changes: { CNI_CONTAINERID: 'x'.repeat(200) }, code: 4 },
  ])('refuses an ADD with $name by code $code, and leaves nothing', async ({ changes, code }) => {
    await using router = await makeRouter()
    await using pod = await makeNetns()
    router.start(...SEED)
    await router.ready()
    expect(await router.cni('ADD', pod, 'c1', changes)).toMatchObject({ status: 1, answer: { code, msg: expect.stringMatching(/.{10}/) } })
    expect((await router.snapshot()).ipam.activeIps).toBe(1)
    expect(await router.ns.exec('ip', '-o', 'link')).not.toContain('wpod')
  })

  test('shrugs off garbage and oversized frames on its mesh port', async () => {
    await using router = await makeRouter()
    router.start(...SEED)
    await router.ready()
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.alloc(64, 0xff),
      Buffer.from([0, 16, 0, 0, 1]),
      Buffer.from([0, 0, 0, 4, 1, 2, 3, 4]),
    ]) {
      await closedAfter(router, bytes)
    }
    const { ready, router: mesh } = await router.snapshot()
    expect(ready).toBe(true)
    expect(Object.values(mesh.faults).reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(3)
  })

  test('finds what was damaged in the kernel, within 2 s', async () => {
    await using router = await makeRouter()
    await using pod = await makeNetns()
    router.start(...SEED)
    await router.ready()
    await router.cni('ADD', pod, 'c1')
    const before = await routes(router)
    await router.ns.exec('ip', 'route', 'flush', 'proto', '119')
    await until('the routes are back', async () => ((await routes(router)) === before ? true : undefined))
    expect((await router.snapshot()).datapath.repairs).toBeGreaterThan(0)
  })

  test('says in its status what the kernel refuses, and recovers', async () => {
    await using router = await makeRouter()
    router.start(...SEED)
    await router.ready()
    await router.ns.exec('sh', '-c', 'ip address flush dev eth0')
    const text = await until('the status says so', async () => {
      const { stdout } = await router.weft('status')
      return stdout.includes('no interface that is up has an IPv4 address') ? stdout : undefined
    })
    expect(text).toContain('Error:')
    await router.ns.exec('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'eth0')
    await router.ready()
  })

  test('ignores a file of known peers that is of no use', async () => {
    await using router = await makeRouter()
    const first = router.start(...SEED)
    await router.ready()
    first.child.kill('SIGKILL')
    await first.ended
    await writeFile(join(router.stateDirectory, 'peers.json'), '{"format":"weft-peers-1","records":["AAAA"')
    router.start(...SEED)
    await router.ready()
  })
})

/** Connects to the mesh port from inside the router's namespace, says `bytes`, and waits until the router hangs up. */
async function closedAfter(router: TestRouter, bytes: Uint8Array): Promise<void> {
  const fd = native().socket(router.ns.fd, 2, 1, 0)
  const socket = connect({ fd, host: '127.0.0.1', port: 6783 } as never)
  socket.on('error', () => undefined)
  socket.on('connect', () => socket.write(bytes))
  socket.resume()
  await until('the router hangs up', () => (socket.destroyed ? true : undefined))
}
