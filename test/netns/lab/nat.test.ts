/** Hosts behind address translation: what leaves, what comes back, and what does not come in. */
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatIpv4 } from '../../../mesh/base/address.ts'
import { type HostName, hostName } from '../../../router/lab/names.ts'
import { udpIn } from '../../support/flows.ts'
import { testLab } from '../../support/lab.ts'
import { makeScene, type Scene } from '../../support/underlay.ts'

const [a, b, c] = [hostName(0), hostName(1), hostName(2)]
let scene: Scene

beforeAll(async () => {
  scene = await makeScene('routed', [1_500, 1_500, 1_500], [a, c])
})
afterAll(async () => await scene[Symbol.asyncDispose]())

/** Who the first datagram to a port seems to come from, and whether an answer to that gets back. */
async function exchange(from: HostName, to: HostName): Promise<{ seen: string; answered: boolean }> {
  const [client, server] = [await udpIn(scene.netns(from)), await udpIn(scene.netns(to))]
  try {
    const [asked, answered] = [once(server, 'message'), once(client, 'message')]
    client.send('hello', server.address().port, formatIpv4(scene.address(to)))
    const [, { address, port }] = (await asked) as [Buffer, { address: string; port: number }]
    server.send('hello yourself', port, address)
    await answered
    return { seen: `${address} ${port === client.address().port ? 'same port' : 'another port'}`, answered: true }
  } finally {
    client.close()
    server.close()
  }
}

test('what it sends comes from its public address and its own port, and is answered', async () => {
  expect(await exchange(a, b)).toEqual({ seen: '198.19.0.1 same port', answered: true })
  expect([await scene.pings(a, b), await scene.connects(c, b)]).toEqual([true, true])
})

test('nobody reaches it first, at neither address; not even another one of its kind', async () => {
  const tries = [scene.pings(b, a), scene.connects(b, a), scene.arrives(b, c), scene.pings(a, c), scene.connects(c, a)]
  expect(await Promise.all(tries)).toEqual([false, false, false, false, false])
})

test('routers find each other all the same, through the one that can be reached', { timeout: 90_000 }, async () => {
  await using lab = await testLab()
  expect(await lab.json('up', '--underlay', 'routed', '--hosts', '3', '--pods', '0', '--nat', 'a,c')).toMatchObject({
    hosts: [{ publicAddress: '198.19.0.1' }, { name: 'b' }, { publicAddress: '198.19.0.3' }],
  })
  expect((await lab.run('exec', 'c', '--', 'weft', 'status', 'peers')).stdout).toMatch(/\(a\)/)
})

test.each([
  [['--nat', 'a'], '--nat needs a router between the hosts'],
  [['--underlay', 'routed', '--nat', 'z'], '--nat names "z", and the hosts are a, b, c'],
  [['--underlay', 'routed', '--nat', 'a,b,c'], '--nat leaves no host that others can reach'],
])('%j is refused', async (words, reason) => {
  await using lab = await testLab()
  expect(await lab.run('up', ...words)).toMatchObject({ status: 2, stderr: expect.stringContaining(reason) })
})
