/** Two hosts with real routers and the real plugin: pods on one of them that want addresses of the other's range. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { seconds } from '../../../mesh/base/brand.ts'
import { timed } from '../../support/cni-client.ts'
import { type ClusterHost, type LabCluster, labCluster, provedBy } from '../../support/lab-cluster.ts'
import { makeNetns, type Netns } from '../../support/netns.ts'
import { type CniAnswer, runPlugin } from '../../support/router.ts'
import { until } from '../../support/until.ts'

const LONG_MS = 120_000
/** What an ADD waits for an address at most. */
const DEADLINE_MS = 10_000

/** The address that goes with it. */
const OF_IPV6 = { address: expect.stringMatching(/^fd.*\/128$/) }

let cluster: LabCluster
beforeAll(async () => {
  cluster = await labCluster('--hosts', '2', '--range', '10.32.0.0/24')
}, LONG_MS)
afterAll(async () => await cluster[Symbol.asyncDispose](), LONG_MS)

/** Addresses of `host`'s range, from the last one down: those that nobody got yet are at its end. */
async function freeOf(host: ClusterHost): Promise<readonly string[]> {
  const report = await provedBy(cluster.host('b'))
  const ranges = report.peers.find(({ name }) => name === host.peer)?.ranges ?? []
  return ranges.flatMap(addressesOf).toReversed()
}

function addressesOf(cidr: string): readonly string[] {
  const [base = '', length] = cidr.split('/')
  const first = Number(base.split('.')[3])
  return Array.from({ length: 2 ** (32 - Number(length)) }, (_, at) => `10.32.0.${first + at}`).filter(
    (address) => !/\.(0|255)$/.test(address),
  )
}

interface Wants {
  readonly args?: string
  readonly conf?: object
}

function add(host: ClusterHost, pod: Netns, containerId: string, { args = '', conf = {} }: Wants): Promise<CniAnswer> {
  const CONF = JSON.stringify({ cniVersion: '1.0.0', name: 'weft', type: 'weft-cni', ...conf })
  return runPlugin(host, 'ADD', pod, { containerId, changes: { CNI_ARGS: args, CONF } })
}

/** That it has moved is news to the other host's routes. */
async function reached(from: Netns, address: string): Promise<void> {
  const ping = (): Promise<string | undefined> => from.exec('ping', '-c', '1', '-W', '1', address).catch(() => undefined)
  expect(await until(`${address} answers`, ping, seconds(10))).toContain(' 0% packet loss')
}

function del(host: ClusterHost, pod: Netns, containerId: string): Promise<CniAnswer> {
  return runPlugin(host, 'DEL', pod, { containerId })
}

test.each<{ name: string; wants: (address: string) => Wants }>([
  { name: 'CNI_ARGS', wants: (address) => ({ args: `IgnoreUnknown=1;K8S_POD_NAME=p;IP=${address}` }) },
  { name: 'the capability ips', wants: (address) => ({ conf: { runtimeConfig: { ips: [`${address}/24`] } } }) },
  { name: 'a subnet', wants: (address) => ({ conf: { ipam: { subnet: `${address}/32` } } }) },
])(
  'an address of the other host by $name: had at once, reached from there, and back when the pod is gone',
  { timeout: LONG_MS },
  async ({ name, wants }) => {
    const [a, b] = [cluster.host('a'), cluster.host('b')]
    await using pod = await makeNetns()
    await using near = await makeNetns()
    const id = `pod-${name.replaceAll(' ', '-')}`
    const [address = ''] = await freeOf(a)
    const { ms, result } = await timed(() => add(b, pod, id, wants(address)))
    expect(result).toMatchObject({ status: 0, answer: { ips: [{ address: `${address}/32` }, OF_IPV6] } })
    expect(ms).toBeLessThan(DEADLINE_MS / 2)
    expect([...(await b.podsInKernel())]).toEqual([[`${id}/eth0`, address]])
    expect(await add(a, near, 'near', {})).toMatchObject({ status: 0 })
    await reached(near, address)
    expect(await add(a, pod, 'other', { args: `IP=${address}` })).toMatchObject({
      status: 1,
      answer: { code: 11, msg: `no address: ${address} is in use on ${b.peer}` },
    })
    await provedBy(a)
    for (const [host, netns, containerId] of [
      [b, pod, id],
      [a, near, 'near'],
    ] as const)
      expect(await del(host, netns, containerId)).toMatchObject({ status: 0 })
    expect(await add(a, near, 'again', { args: `IP=${address}` })).toMatchObject({
      status: 0,
      answer: { ips: [{ address: `${address}/32` }, OF_IPV6] },
    })
    expect(await del(a, near, 'again')).toMatchObject({ status: 0 })
  },
)

test('one that is in use there, here, or nowhere in the range: told at once, and nothing is left', { timeout: LONG_MS }, async () => {
  const [a, b] = [cluster.host('a'), cluster.host('b')]
  await using pod = await makeNetns()
  await using place = await makeNetns()
  const address = (await add(a, pod, 'holder', {})).answer?.ips?.[0]?.address.replace('/32', '')
  const { ms, result } = await timed(() => add(b, place, 'wants', { args: `IP=${address}` }))
  expect(result).toMatchObject({ status: 1, answer: { code: 11, msg: `no address: ${address} is in use on ${a.peer}` } })
  expect(ms).toBeLessThan(DEADLINE_MS / 2)
  expect(await add(a, place, 'wants', { conf: { runtimeConfig: { ips: [address] } } })).toMatchObject({
    status: 1,
    answer: { code: 11, msg: `no address: ${address} is in use by holder/eth0 on this node` },
  })
  expect(await add(b, place, 'wants', { args: 'IP=10.99.0.1' })).toMatchObject({
    status: 1,
    answer: { code: 7, msg: 'no such address: 10.99.0.1 is outside of 10.32.0.0/24, from which pods get their addresses' },
  })
  expect([await a.podsInKernel(), await b.podsInKernel()].map((pods) => pods.size)).toEqual([1, 0])
  expect(await del(a, pod, 'holder')).toMatchObject({ status: 0 })
  await provedBy(b)
})

test('one whose host is away: told at the deadline with its name; who hangs up before leaves nothing; had when it is back', {
  timeout: LONG_MS,
}, async () => {
  const [a, b] = [cluster.host('a'), cluster.host('b')]
  await using pod = await makeNetns()
  const [address = ''] = await freeOf(a)
  await a.kill()
  const { ms, result } = await timed(() => add(b, pod, 'late', { args: `IP=${address}` }))
  expect(result).toMatchObject({ status: 1, answer: { code: 11 } })
  expect(result.answer?.msg).toMatch(
    new RegExp(`^no address: ${address} is in a range of ${a.peer}, which (cannot be reached|did not answer)$`),
  )
  expect(ms).toBeGreaterThan(DEADLINE_MS - 100)
  const caller = new AbortController()
  const hanging = b.cni.add({ containerId: 'hangs-up', pod, args: `IP=${address}`, signal: caller.signal })
  setTimeout(() => caller.abort(), 500)
  expect(await hanging).toMatchObject({ kind: 'gone' })
  const again = add(b, pod, 'waits', { args: `IP=${address}` })
  await a.start()
  expect(await again).toMatchObject({ status: 0, answer: { ips: [{ address: `${address}/32` }, OF_IPV6] } })
  expect([...(await b.podsInKernel())]).toEqual([['waits/eth0', address]])
  expect(await del(b, pod, 'waits')).toMatchObject({ status: 0 })
  const report = await provedBy(b)
  expect([report.allocated, report.living]).toEqual([2, 2])
})
