/**
 * Pods that come and go on every host of a cluster at once, and a book of those that there are: what a container runtime
 * knows. Whoever asks for an address and does not get one, or does not learn what became of it, sends a DEL until that
 * succeeds, as runtimes do. An address that is given out while the book says that another pod has it is noted at once.
 */

import { type Millis, millis } from '../../mesh/base/brand.ts'
import { sleep, systemClock } from '../../mesh/base/clock.ts'
import { formatIp } from '../../mesh/base/ip.ts'
import { type Random, randomBelow } from '../../mesh/base/random.ts'
import { listAddresses } from '../../router/kernel/addr.ts'
import { Netlink } from '../../router/kernel/netlink.ts'
import type { CniOutcome } from './cni-client.ts'
import type { ClusterHost } from './lab-cluster.ts'
import { makeNetns, type Netns } from './netns.ts'
import { runRelay } from './relay.ts'
import { must } from './result.ts'
import { until } from './until.ts'

/** Of each host at a time. */
const CALLS_AT_ONCE = 4
const RETRY: Millis = millis(50)
const IDLE: Millis = millis(5)
/** Of the DELs that meet no router: how many are left to the plugin's queue, as a runtime does that does not try again. */
const QUEUED_OF_TEN = 3

const NOBODY_THERE: readonly string[] = ['ECONNREFUSED', 'ENOENT']

interface Place {
  readonly ns: Netns
  readonly netlink: Netlink
}

export interface ChurnPod {
  readonly host: string
  readonly containerId: string
  readonly address: string
  readonly place: Place
}

export interface ChurnCounts {
  adds: number
  dels: number
  queued: number
  /** Calls that met no router. */
  unserved: number
  /** Calls that a router had taken and did not answer any more. */
  lost: number
}

export interface ChurnOptions {
  readonly hosts: readonly ClusterHost[]
  readonly random: Random
  /** Namespaces for pods, of each host. */
  readonly places: number
}

export class Churn implements AsyncDisposable {
  readonly counts: ChurnCounts = { adds: 0, dels: 0, queued: 0, unserved: 0, lost: 0 }
  /** ADDs by host that ended well. */
  readonly addsOf: Map<string, number> = new Map()
  /** Why calls were refused, and how often. */
  readonly refusals: Map<string, number> = new Map()
  /** Addresses that were given out twice. */
  readonly twice: string[] = []
  /** How many pods each host is to have. */
  readonly targets: Map<string, number> = new Map()
  readonly #hosts: readonly ClusterHost[]
  readonly #random: Random
  readonly #stack = new AsyncDisposableStack()
  readonly #idle = new Map<string, Place[]>()
  readonly #pods = new Map<string, ChurnPod>()
  readonly #holders = new Map<string, string>()
  #count = 0
  #pause = new AbortController()
  #running: Promise<unknown> = Promise.resolve()

  private constructor({ hosts, random }: ChurnOptions) {
    this.#hosts = hosts
    this.#random = random
  }

  static async make(options: ChurnOptions): Promise<Churn> {
    await using stack = new AsyncDisposableStack()
    const churn = stack.use(new Churn(options))
    for (const { name } of options.hosts) {
      const places: Place[] = []
      for (let count = 0; count < options.places; count++) places.push(await churn.#place())
      churn.#idle.set(name, places)
    }
    stack.move()
    return churn
  }

  /** The pods that there are; in the midst of a churn, those whose ADD has ended well and whose DEL has not begun. */
  get pods(): readonly ChurnPod[] {
    return [...this.#pods.values()]
  }

  resume(): void {
    this.#pause = new AbortController()
    const workers = this.#hosts.flatMap((host) => Array.from({ length: CALLS_AT_ONCE }, () => this.#work(host, this.#pause.signal)))
    this.#running = Promise.all(workers)
    this.#running.catch(() => undefined)
  }

  /** Hangs up on ADDs under way, and waits until everything that was begun has an end. Needs all routers. */
  async pause(): Promise<void> {
    this.#pause.abort()
    await this.#running
  }

  /**
   * Pods of a host whose router is dead go without a DEL, as when the runtime's memory is lost too: their namespaces are
   * removed, and the router has to find out when it starts. @returns how many there were.
   */
  async abandon(host: ClusterHost, count: number): Promise<number> {
    const lost = this.pods.filter((pod) => pod.host === host.name).slice(0, count)
    for (const { containerId, address } of lost) {
      this.#pods.delete(containerId)
      this.#holders.delete(address)
    }
    for (const { place } of lost) await this.#replace(host.name, place)
    // The kernel takes a namespace down some time after it has lost its name.
    const keys = lost.map(({ containerId }) => `${containerId}/eth0`)
    await until('their links are gone', async () => {
      const left = await host.podsInKernel()
      return keys.some((key) => left.has(key)) ? undefined : true
    })
    return lost.length
  }

  /** The addresses of all namespaces of pods, as the kernel has them: by attachment, and of those that should have none. */
  async addresses(): Promise<{ readonly ofPods: ReadonlyMap<string, string>; readonly stray: readonly string[] }> {
    const ofPods = new Map<string, string>()
    for (const { containerId, place } of this.pods) ofPods.set(`${containerId}/eth0`, (await addressesIn(place)).join())
    const idle = [...this.#idle.values()].flat()
    return { ofPods, stray: (await Promise.all(idle.map(addressesIn))).flat() }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#pause.abort()
    await this.#stack.disposeAsync()
  }

  async #work(host: ClusterHost, pause: AbortSignal): Promise<void> {
    while (!pause.aborted) {
      const mine = this.pods.filter((pod) => pod.host === host.name)
      const place = mine.length < (this.targets.get(host.name) ?? 0) ? this.#idle.get(host.name)?.pop() : undefined
      const victim = mine[randomBelow(this.#random, Math.max(1, mine.length))]
      if (place !== undefined) await this.#add(host, place, pause)
      else if (victim !== undefined) await this.#remove(host, victim)
      else await sleep(IDLE)
    }
  }

  async #add(host: ClusterHost, place: Place, signal: AbortSignal): Promise<void> {
    const containerId = `${host.name}${++this.#count}`
    const outcome = await host.cni.add({ containerId, pod: place.ns, signal })
    if (outcome.kind === 'done' && outcome.address !== undefined) {
      this.counts.adds += 1
      this.addsOf.set(host.name, (this.addsOf.get(host.name) ?? 0) + 1)
      const { address } = outcome
      const holder = this.#holders.get(address)
      if (holder !== undefined) this.twice.push(`${address}: ${holder} has it, and ${containerId} got it`)
      this.#holders.set(address, containerId)
      this.#pods.set(containerId, { host: host.name, containerId, address, place })
      return
    }
    this.#note(outcome)
    await this.#clear(host, containerId, place)
    if (!signal.aborted) await sleep(RETRY)
  }

  async #remove(host: ClusterHost, { containerId, address, place }: ChurnPod): Promise<void> {
    if (!this.#pods.delete(containerId)) return
    this.#holders.delete(address)
    await this.#clear(host, containerId, place)
    this.counts.dels += 1
  }

  /** Until it has succeeded. */
  async #clear(host: ClusterHost, containerId: string, place: Place): Promise<void> {
    for (;;) {
      const outcome = await host.cni.del({ containerId, pod: undefined })
      if (outcome.kind === 'done') break
      this.#note(outcome)
      if (outcome.kind === 'gone' && randomBelow(this.#random, 10) < QUEUED_OF_TEN && (await this.#queue(host, containerId, place))) return
      await sleep(RETRY)
    }
    this.#idle.get(host.name)?.push(place)
  }

  #note(outcome: CniOutcome): void {
    if (outcome.kind === 'refused') this.refusals.set(outcome.msg, (this.refusals.get(outcome.msg) ?? 0) + 1)
    else if (outcome.kind === 'gone' && NOBODY_THERE.includes(outcome.reason)) this.counts.unserved += 1
    else this.counts.lost += 1
  }

  /** By the real plugin, which queues it while no router runs; the pod's namespace is gone then, and there is a new one. */
  async #queue(host: ClusterHost, containerId: string, place: Place): Promise<boolean> {
    const env = { CNI_COMMAND: 'DEL', CNI_CONTAINERID: containerId, CNI_NETNS: place.ns.path, CNI_IFNAME: 'eth0', CNI_PATH: '/bin' }
    const where = { WEFT_CNI_SOCKET: host.cniSocket, WEFT_CNI_PENDING: host.pendingDirectory }
    const run = await runRelay({ env: { ...env, ...where }, stdin: '{"cniVersion":"1.0.0","name":"weft","type":"weft-cni"}' })
    if (run.exitCode !== 0) return false
    this.counts.queued += 1
    await this.#replace(host.name, place)
    return true
  }

  async #replace(host: string, place: Place): Promise<void> {
    await place.ns[Symbol.asyncDispose]()
    this.#idle.get(host)?.push(await this.#place())
  }

  async #place(): Promise<Place> {
    const ns = await makeNetns()
    const netlink = Netlink.open({ clock: systemClock, netns: ns.fd })
    let isGone = false
    const dispose = async (): Promise<void> => {
      if (isGone) return
      isGone = true
      netlink[Symbol.dispose]()
      await ns[Symbol.asyncDispose]()
    }
    this.#stack.defer(dispose)
    return { ns: { ...ns, [Symbol.asyncDispose]: dispose }, netlink }
  }
}

/** But for loopback's, of which there is none while it is down. */
async function addressesIn({ netlink }: Place): Promise<readonly string[]> {
  return must(await listAddresses(netlink)).map(({ address }) => formatIp(address))
}
