/** Real routers that begin: by consensus, and apart, so that their rings meet later. */
import { expect, test } from 'vitest'
import { seconds } from '../../../mesh/base/brand.ts'
import { makeNetns } from '../../support/netns.ts'
import { joinUnderlays, makeRouter } from '../../support/router.ts'
import { until } from '../../support/until.ts'

const LONG_MS = 120_000

test('three routers begin with consensus: one alone gives no address and says why, two decide, the third joins, and all come back', {
  timeout: LONG_MS,
}, async () => {
  await using stack = new AsyncDisposableStack()
  const hub = stack.use(await makeNetns())
  const routers = [
    stack.use(await makeRouter('192.0.2.1')),
    stack.use(await makeRouter('192.0.2.2')),
    stack.use(await makeRouter('192.0.2.3')),
  ]
  const [a, b, c] = routers
  if (a === undefined || b === undefined || c === undefined) throw new Error('three routers')
  await joinUnderlays(hub, routers)
  const pod = stack.use(await makeNetns())
  const words = ['--ipam-init', 'consensus=3', '192.0.2.1', '192.0.2.2']
  a.start('--nickname', 'a', ...words)
  const stdout = await until(
    'the router waits',
    async () => {
      const asked = await a.weft('status')
      return asked.status === 3 ? asked.stdout : undefined
    },
    seconds(20),
  )
  expect(stdout).toContain('awaiting consensus (quorum: 2, known: 1)')
  expect(stdout).toContain('waiting for 1 more of 3 peers; in reach: nobody')
  const refused = await a.cni('ADD', pod, 'c1')
  expect([refused.status, refused.answer]).toEqual([1, expect.objectContaining({ code: 11 })])
  expect(JSON.stringify(refused.answer)).toContain('waiting for 1 more of 3 peers; in reach: nobody')
  expect((await a.snapshot()).ipam.entries).toEqual([])

  let running = b.start('--nickname', 'b', ...words)
  await Promise.all([a.ready(), b.ready()])
  expect((await a.cni('ADD', pod, 'c1')).answer?.ips).toHaveLength(2)
  c.start('--nickname', 'c', ...words)
  const { ipam } = await c.ready()
  expect(ipam.ring).toBe((await a.snapshot()).ipam.ring)
  expect((await a.weft('status')).stdout).toMatch(/Bootstrap: consensus of 3 \(quorum 2\), ballot \d+ by [0-9a-f]{16}\([ab]\)/)

  running.child.kill('SIGKILL')
  await running.ended
  running = b.start('--nickname', 'b', ...words)
  const back = await b.ready()
  expect([back.ipam.ring, back.ipam.faults]).toEqual([ipam.ring, []])
})

test('two routers that began apart and meet keep their pods, say so, and are one cluster once a person has decided', {
  timeout: LONG_MS,
}, async () => {
  await using stack = new AsyncDisposableStack()
  const hub = stack.use(await makeNetns())
  const [a, b] = [stack.use(await makeRouter('192.0.2.1')), stack.use(await makeRouter('192.0.2.2'))]
  await joinUnderlays(hub, [a, b])
  const [podA, podB, both] = [stack.use(await makeNetns()), stack.use(await makeNetns()), stack.use(await makeNetns())]
  a.start('--nickname', 'a', '--ipam-init', 'seed=self')
  const running = b.start('--nickname', 'b', '--ipam-init', 'seed=self')
  await Promise.all([a.ready(), b.ready()])
  const address = async (router: typeof a, pod: typeof podA, id: string): Promise<string> =>
    (await router.cni('ADD', pod, id)).answer?.ips?.[0]?.address.replace('/32', '') ?? ''
  const given = [await address(a, podA, 'a1'), await address(b, both, 'b1'), await address(b, podB, 'b2')]
  expect(given).toEqual(['10.32.0.2', '10.32.0.2', '10.32.0.3'])

  await b.weft('connect', '192.0.2.1')
  const notice = await until(
    'b says that rings have met',
    async () => {
      const { stdout } = await b.weft('status', 'ipam')
      return stdout.includes('another ring') ? stdout : undefined
    },
    seconds(30),
  )
  expect(notice).toContain('weft ipam resolve --keep-ours')
  expect(running.log()).toContain('two rings of IP ranges have met')
  const apart = (await a.snapshot()).ipam.ring
  expect(apart).not.toBe((await b.snapshot()).ipam.ring)
  const check = await b.weft('ipam', 'check')
  expect([check.status, check.stdout.trim().split('\n')]).toEqual([
    1,
    [
      expect.stringMatching(new RegExp(`\\(a\\): it has a ring that began apart from ours, ${apart}: decide .* \`weft ipam resolve\`$`)),
      '1 finding; 5 addresses allocated, 5 attachments exist, 2 of 2 peers heard',
    ],
  ])

  expect((await b.weft('ipam', 'resolve', '--take-theirs')).stdout).toContain('stands')
  const { ipam, datapath } = await until(
    'b has the ring of a, and knows whose addresses it may keep',
    async () => {
      const snapshot = await b.snapshot()
      const isDone =
        snapshot.ipam.ring === (await a.snapshot()).ipam.ring && snapshot.ipam.notices.some((line) => line.includes('in use at'))
      return isDone && snapshot.datapath.hostAddress !== '10.32.0.1' && snapshot.ready ? snapshot : undefined
    },
    seconds(60),
  )
  expect(ipam.allocations.map(({ attachment }) => attachment).sort()).toEqual(
    ['b1/eth0', 'b2/eth0', 'weft/host'].map((name) => expect.stringContaining(name)),
  )
  expect(ipam.notices.filter((line) => line.includes('in use at'))).toEqual([expect.stringMatching(/^10\.32\.0\.2 of .*b1.* is in use at/)])
  expect(datapath.hostAddress).toMatch(/^10\./)
  await until(
    'a pod of a reaches the pod of b that kept its address',
    () =>
      podA.exec('ping', '-c', '1', '-W', '1', '10.32.0.3').then(
        (text) => text,
        () => undefined,
      ),
    seconds(20),
  )
})
