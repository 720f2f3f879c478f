/**
 * A lab whose hosts a test reaches from its own process: their sockets, their kernel, their routers. For tests that do a
 * thing hundreds of times; everything else is done as people do it, by `weft lab`.
 */
import { closeSync, openSync } from 'node:fs'
import { formatIpv4 } from '../../mesh/base/address.ts'
import type { PeerName } from '../../mesh/base/brand.ts'
import { seconds } from '../../mesh/base/brand.ts'
import { systemClock } from '../../mesh/base/clock.ts'
import { systemRandom } from '../../mesh/base/random.ts'
import type { CheckReport, Snapshot } from '../../router/api/contract.ts'
import { ask } from '../../router/cli/client.ts'
import { podLinks } from '../../router/datapath/pod-links.ts'
import { listLinks } from '../../router/kernel/link.ts'
import type { Fd } from '../../router/kernel/native.ts'
import { Netlink } from '../../router/kernel/netlink.ts'
import type { Cut } from '../../router/lab/cuts.ts'
import { openLab } from '../../router/lab/lab.ts'
import { namespaceOf } from '../../router/lab/names.ts'
import { hostPaths, namespacePath } from '../../router/lab/paths.ts'
import type { LabPorts } from '../../router/lab/ports.ts'
import { killRouter, startRouters } from '../../router/lab/routers.ts'
import type { LabHost, LabState } from '../../router/lab/state.ts'
import { applyCuts } from '../../router/lab/underlay.ts'
import { CniClient } from './cni-client.ts'
import { type TestLab, testLab } from './lab.ts'
import { must } from './result.ts'
import { until } from './until.ts'

/** As setup.mjs runs routers. */
const FLAGS = ['--max-semi-space-size=1', '--heap-growing-percent=25', '--v8-pool-size=1']

export interface ClusterHost {
  readonly name: string
  readonly peer: PeerName
  readonly cni: CniClient
  readonly socket: string
  readonly cniSocket: string
  readonly pendingDirectory: string
  readonly netnsPath: string
  /** Of the pods: attachment and the address in the note on its link, as the kernel has it. */
  podsInKernel(): Promise<ReadonlyMap<string, string>>
  snapshot(): Promise<Snapshot>
  /** What `weft ipam check` prints; undefined when no router answers. */
  check(): Promise<CheckReport | undefined>
  kill(): Promise<void>
  /** Resolves when it is ready. */
  start(): Promise<void>
}

export interface LabCluster extends AsyncDisposable {
  readonly lab: TestLab
  readonly hosts: readonly ClusterHost[]
  host(name: string): ClusterHost
  /** Nothing passes between the first `count` hosts and the others, from one moment on. */
  cutAfter(count: number): Promise<void>
  heal(): Promise<void>
}

/** @param words of `weft lab up`. */
export async function labCluster(...words: readonly string[]): Promise<LabCluster> {
  await using stack = new AsyncDisposableStack()
  const lab = stack.use(await testLab())
  await lab.json('up', '--pods', '0', ...words)
  const state = await openLab(lab.name)
  const hosts = state.hosts.map((host) => stack.use(clusterHost(state, host)))
  const made = stack.move()
  return {
    lab,
    hosts,
    host(name) {
      const found = hosts.find((host) => host.name === name)
      if (found === undefined) throw new Error(`there is no host ${name}`)
      return found
    },
    cutAfter: (count) => applyCuts(state, cutsBetween(state, count)),
    heal: () => applyCuts(state, []),
    [Symbol.asyncDispose]: () => made.disposeAsync(),
  }
}

function cutsBetween({ hosts }: LabState, count: number): readonly Cut[] {
  const [left, right] = [hosts.slice(0, count), hosts.slice(count)]
  return left.flatMap(({ name: a }) =>
    right.flatMap(({ name: b }): readonly Cut[] => [
      { from: a, to: b, what: 'all' },
      { from: b, to: a, what: 'all' },
    ]),
  )
}

function clusterHost(lab: LabState, host: LabHost): ClusterHost & Disposable {
  const { apiSocket: socket, cniSocket, pending: pendingDirectory } = hostPaths(lab.name, host.name)
  const netnsPath = namespacePath(namespaceOf(lab.name, host.name))
  const netns = openSync(netnsPath, 'r') as Fd
  const netlink = Netlink.open({ clock: systemClock, netns })
  const report = async (path: string): Promise<unknown> => JSON.parse((await ask(socket, 'GET', path)).body)
  return {
    ...{ name: host.name, peer: host.peer, cni: new CniClient(cniSocket), socket, cniSocket, pendingDirectory, netnsPath },
    async podsInKernel() {
      const pods = podLinks(must(await listLinks(netlink)))
      return new Map(pods.map(({ key, address }) => [key, address === undefined ? 'none' : formatIpv4(address)]))
    },
    snapshot: async () => (await report('/report')) as Snapshot,
    check: async () => (await report('/ipam/check').catch(() => undefined)) as CheckReport | undefined,
    kill: () => killRouter(lab, host),
    start: () => startRouters(lab, [host], PORTS),
    [Symbol.dispose]() {
      netlink[Symbol.dispose]()
      closeSync(netns)
    },
  }
}

const PORTS: LabPorts = {
  clock: systemClock,
  random: systemRandom,
  node: { path: process.execPath, flags: FLAGS, compileCache: process.env['NODE_COMPILE_CACHE'] },
  searchPath: process.env['PATH'] ?? '',
  signal: new AbortController().signal,
  step: () => undefined,
}

/** Waits until `weft ipam check` has no findings on this host. @returns what it said. */
export async function provedBy(host: ClusterHost): Promise<CheckReport> {
  let last: CheckReport | undefined
  return await until(
    'the account adds up',
    async () => {
      last = await host.check()
      return last?.ok === true ? last : undefined
    },
    seconds(20),
  ).catch((cause: unknown) => {
    throw new Error(`${host.name}: ${last?.findings.join('; ') ?? 'no answer'}`, { cause })
  })
}
