/** Many pods at once on one host: as a runtime does it, two hundred real calls of the real plugin. */
import { expect, test } from 'vitest'
import { makeNetns, type Netns } from '../../support/netns.ts'
import { makeRouter } from '../../support/router.ts'

const PODS = 200

test('two hundred pods added in parallel on one host have two hundred addresses; deleting them frees all of them', {
  timeout: 120_000,
}, async () => {
  await using router = await makeRouter()
  await using stack = new AsyncDisposableStack()
  router.start('--ipam-init', 'seed=self')
  await router.ready()
  const pods: Netns[] = []
  for (let count = 0; count < PODS; count++) pods.push(stack.use(await makeNetns()))
  const added = await Promise.all(pods.map((pod, index) => router.cni('ADD', pod, `c${index}`)))
  expect(added.filter(({ status }) => status !== 0)).toEqual([])
  expect(new Set(added.map(({ answer }) => answer?.ips?.[0]?.address)).size).toBe(PODS)
  const [first, last] = [pods[0], added.at(-1)?.answer?.ips?.[0]?.address.replace('/32', '') ?? '']
  await expect(first?.exec('ping', '-c', '1', '-W', '2', last)).resolves.toContain(' 0% packet loss')
  const full = await router.ready()
  expect(full.ipam.activeIps).toBe(PODS + 1)
  const deleted = await Promise.all(pods.map((pod, index) => router.cni('DEL', pod, `c${index}`)))
  expect(deleted.filter(({ status }) => status !== 0)).toEqual([])
  const empty = await router.snapshot()
  expect(empty.ipam.allocations.map(({ attachment }) => attachment)).toEqual(['weft/host'])
  expect(await router.ns.exec('ip', '-o', 'link')).not.toContain('wpod')
})
