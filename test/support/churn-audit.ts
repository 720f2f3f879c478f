/** Whether a churn's book, the routers' allocations and the kernel say the same of every pod: nothing twice, nothing lost. */
import { expect } from 'vitest'
import { seconds } from '../../mesh/base/brand.ts'
import { systemClock } from '../../mesh/base/clock.ts'
import type { Churn } from './churn.ts'
import { type ClusterHost, provedBy } from './lab-cluster.ts'
import { until } from './until.ts'

/** A DEL that was left to the queue is carried out soon after the router has started. */
const SETTLES_WITHIN = seconds(20)

export interface Audit {
  /** Until the last host's account was that of its pods, and until `weft ipam check` said so of all. */
  readonly settledMs: number
  readonly provedMs: number
}

/** With the churn paused and all routers up. @param by the host whose router proves it. */
export async function audit(hosts: readonly ClusterHost[], churn: Churn, by: ClusterHost): Promise<Audit> {
  const start = systemClock.now()
  const given: string[] = []
  for (const host of hosts) given.push(...(await auditHost(host, churn)))
  const settledMs = systemClock.now() - start
  expect(duplicates(given)).toEqual([])
  expect(churn.twice).toEqual([])
  const { ofPods, stray } = await churn.addresses()
  expect([...ofPods].sort()).toEqual(churn.pods.map(({ containerId, address }) => [`${containerId}/eth0`, address]).sort())
  expect(stray).toEqual([])
  const report = await provedBy(by)
  expect([report.allocated, report.living]).toEqual([given.length, given.length])
  return { settledMs, provedMs: systemClock.now() - start }
}

/** @returns all addresses that are allocated there. */
async function auditHost(host: ClusterHost, churn: Churn): Promise<readonly string[]> {
  const book = new Map(churn.pods.flatMap((pod) => (pod.host === host.name ? [[`${pod.containerId}/eth0`, pod.address] as const] : [])))
  const wanted = lines(book)
  let seen: { readonly kernel: string; readonly allocated: string } | undefined
  await until(
    `the account of ${host.name}`,
    async () => {
      const { ipam, datapath } = await host.snapshot()
      const allocated = new Map(ipam.allocations.map(({ attachment, address }) => [attachment, address]))
      const own = allocated.get('weft/host')
      allocated.delete('weft/host')
      seen = { kernel: lines(await host.podsInKernel()), allocated: lines(allocated) }
      const isSettled = seen.kernel === wanted && seen.allocated === wanted && own !== undefined && own === datapath.hostAddress
      return isSettled ? true : undefined
    },
    SETTLES_WITHIN,
  ).catch(() => expect({ host: host.name, ...seen }).toEqual({ host: host.name, kernel: wanted, allocated: wanted }))
  const { allocations } = (await host.snapshot()).ipam
  return allocations.map(({ address }) => address)
}

function lines(addresses: ReadonlyMap<string, string>): string {
  return [...addresses]
    .map(([key, address]) => `${key} ${address}`)
    .sort()
    .join('\n')
}

function duplicates(addresses: readonly string[]): readonly string[] {
  return addresses.filter((address, index) => addresses.indexOf(address) !== index)
}
