/**
 * The data path of this node: owns the netlink socket, the monitor and the filter, and runs a pass over the kernel
 * whenever something changed — what we want, or, by somebody else's hand, what is there.
 */

import { address6, type Universe } from '../../ipam/universe.ts'
import { formatIpv4, type Ipv4, type Range } from '../../mesh/base/address.ts'
import { type Millis, millis, seconds } from '../../mesh/base/brand.ts'
import type { Clock } from '../../mesh/base/clock.ts'
import { describeError, WeftError } from '../../mesh/base/errors.ts'
import type { Logger } from '../../mesh/base/log.ts'
import type { DatapathReport } from '../api/contract.ts'
import { describeKernelError } from '../kernel/kernel-error.ts'
import { type KernelEvent, Monitor } from '../kernel/monitor.ts'
import type { Netlink } from '../kernel/netlink.ts'
import { writeSysctl } from '../kernel/sysctl.ts'
import { podMtuBytes } from './fib.ts'
import { Filter } from './filter.ts'
import { IPV6_MTU_BYTES_MIN, prepareIpv6, refuseRouters } from './ipv6.ts'
import { ROUTE_PROTOCOL, VXLAN_LINK, VXLAN_PORT } from './names.ts'
import { type Passed, type PassInput, pass } from './pass.ts'
import type { Underlay } from './underlay.ts'

export interface DatapathOptions {
  readonly netlink: Netlink
  readonly clock: Clock
  readonly log: Logger
  /** What is wanted now; asked anew for every pass. */
  wants(): PassInput
  /** From where encapsulated packets may come, now. */
  peers(): readonly Ipv4[]
  /** The underlay is another than at the last pass. */
  onUnderlay(underlay: Underlay): void
}

/** Changes come in bunches: one pass serves all that arrive within it. */
const GATHER_DELAY = millis(20)
/** Between passes, so that somebody who keeps undoing them does not keep us busy. */
const PASS_GAP = millis(100)
const RETRY_DELAY = seconds(1)
/** The filter has no notifications here, and one may be lost: so we look, too. */
const LOOK_PERIOD = seconds(10)

export class Datapath implements AsyncDisposable {
  readonly #options: DatapathOptions
  readonly #filter = new Filter()
  readonly #monitor: Monitor
  #last: Passed | undefined
  #error: string | undefined
  /** Why pods get no IPv6 here, although the cluster has some. */
  #ipv6Fault: string | undefined
  #repairs = 0
  #running: Promise<void> | undefined
  #dirty = false
  #verifyAt: Millis = millis(0)
  #timer: Disposable | undefined
  #closed = false

  private constructor(options: DatapathOptions) {
    this.#options = options
    this.#monitor = Monitor.open({ topics: ['links', 'addresses', 'routes', 'neighbours'], onEvent: (event) => this.#onEvent(event) })
  }

  /**
   * Returns after the first pass.
   * @throws {WeftError} KERNEL when the kernel refuses what every pod needs; MISSING when nft is not there.
   */
  static async start(options: DatapathOptions): Promise<Datapath> {
    await writeSysctl('net.ipv4.ip_forward', '1')
    const datapath = new Datapath(options)
    await datapath.#run()
    if (datapath.#last !== undefined) return datapath
    await datapath[Symbol.asyncDispose]()
    throw new WeftError('KERNEL', `cannot set up the data path: ${datapath.#error}`, {
      hint: 'the router needs CAP_NET_ADMIN and an underlay address',
    })
  }

  /** What is wanted may have changed: a pass follows soon. */
  kick(): void {
    this.#dirty = true
    if (this.#running === undefined) this.#schedule(GATHER_DELAY)
  }

  /** Undefined before the first pass; then always the latest. */
  get underlay(): Underlay | undefined {
    return this.#last?.underlay
  }

  /** This node's own address in the cluster, once the kernel has it: routes may name it as their source. */
  get hostAddress(): Ipv4 | undefined {
    return this.#last?.hostAddress
  }

  /** What pods get their addresses from here: without IPv6 while this node cannot carry it. */
  get universe(): Universe {
    return this.#last?.universe ?? { ...this.#options.wants().universe, v6: undefined }
  }

  get podMtuBytes(): number {
    return podMtuBytes(this.#last?.underlay.mtuBytes ?? 0)
  }

  /** All that is wanted is in the kernel. */
  get settled(): boolean {
    return this.#error === undefined && this.#last !== undefined && this.#last.changes.routesPresent === this.#last.routesWanted
  }

  report(): DatapathReport {
    const last = this.#last
    const hostAddress = this.hostAddress
    const hostAddress6 = hostAddress === undefined ? undefined : address6(this.universe, hostAddress)
    return {
      link: VXLAN_LINK,
      port: VXLAN_PORT,
      underlay: last === undefined ? 'unknown' : formatIpv4(last.underlay.address),
      underlayMtuBytes: last?.underlay.mtuBytes ?? 0,
      podMtuBytes: this.podMtuBytes,
      ...(hostAddress === undefined ? {} : { hostAddress: formatIpv4(hostAddress) }),
      ...(hostAddress6 === undefined ? {} : { hostAddress6 }),
      ...(this.#ipv6Fault === undefined ? {} : { ipv6Fault: this.#ipv6Fault }),
      routesWanted: last?.routesWanted ?? 0,
      routesPresent: last?.changes.routesPresent ?? 0,
      repairs: this.#repairs,
      pods: last?.pods ?? 0,
      unknownOwners: last?.unknownOwners ?? [],
      ...(this.#error === undefined ? {} : { error: this.#error }),
    }
  }

  /** Leaves everything in the kernel as it is: pods go on talking without us. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#timer?.[Symbol.dispose]()
    this.#monitor[Symbol.dispose]()
    await this.#running
  }

  #onEvent(event: KernelEvent): void {
    if (this.#concerns(event)) this.kick()
  }

  #concerns(event: KernelEvent): boolean {
    switch (event.kind) {
      case 'route':
        return event.route.protocol === ROUTE_PROTOCOL
      case 'neighbour':
        return event.neighbour.permanent === true && this.#last?.links.has(event.neighbour.link) === true
      case 'forwarding':
        return this.#last?.links.has(event.entry.link) === true
      default:
        return true
    }
  }

  #schedule(delay: Millis): void {
    if (this.#closed) return
    this.#timer?.[Symbol.dispose]()
    this.#timer = this.#options.clock.after(delay, () => void this.#run())
  }

  async #run(): Promise<void> {
    this.#timer?.[Symbol.dispose]()
    this.#dirty = false
    this.#running = this.#pass().catch((error: unknown) => {
      this.#error = describeError(error)
    })
    await this.#running
    this.#running = undefined
    this.#schedule(this.#error !== undefined ? RETRY_DELAY : this.#dirty ? PASS_GAP : LOOK_PERIOD)
  }

  async #pass(): Promise<void> {
    const { clock, netlink, wants, peers, log } = this.#options
    const wanted = wants()
    const nodeFault = wanted.universe.v6 === undefined ? undefined : await prepareIpv6()
    const input = nodeFault === undefined ? wanted : { ...wanted, universe: { ...wanted.universe, v6: undefined } }
    const verify = clock.now() >= this.#verifyAt
    const filtered = await this.#filter.ensure({ universe: input.universe, peers: peers(), own: ownRanges(input) }, verify)
    if (!filtered.ok) return this.#fail(`nft: ${filtered.error.message}`)
    if (verify) this.#verifyAt = millis(clock.now() + LOOK_PERIOD / 2)
    if (filtered.value.repaired) this.#noteRepairs(1, 'the filter')
    const passed = await pass(netlink, input)
    if (!passed.ok) return this.#fail(passed.error)
    const { changes, underlay, links } = passed.value
    const tooNarrow = input.universe.v6 !== undefined && passed.value.universe.v6 === undefined
    this.#noteIpv6(
      nodeFault ?? (tooNarrow ? `it needs an MTU of ${IPV6_MTU_BYTES_MIN}, and pods have ${podMtuBytes(underlay.mtuBytes)}` : undefined),
    )
    const fresh = [...links].filter(([index]) => this.#last?.links.has(index) !== true)
    if (input.universe.v6 !== undefined) await Promise.all(fresh.map(([, name]) => refuseRouters(name)))
    const earlier = this.#last?.changes.wanted
    this.#noteRepairs(changes.added.filter((key) => earlier?.has(key)).length, 'routes, neighbours or addresses')
    const before = this.#last?.underlay
    this.#last = passed.value
    const [refused] = changes.errors
    if (refused !== undefined) this.#fail(describeKernelError(refused))
    else this.#error = undefined
    if (before?.address !== underlay.address || before.mtuBytes !== underlay.mtuBytes) {
      log.info({ address: formatIpv4(underlay.address), link: String(underlay.link) }, 'underlay address in use')
      this.#options.onUnderlay(underlay)
    }
  }

  #fail(reason: string): void {
    if (this.#error !== reason) this.#options.log.warn({ reason }, 'the kernel is not as wanted; trying again')
    this.#error = reason
  }

  #noteIpv6(fault: string | undefined): void {
    if (fault === this.#ipv6Fault) return
    this.#ipv6Fault = fault
    if (fault === undefined) this.#options.log.info({}, 'pods of this node get IPv6 from now on')
    else this.#options.log.warn({ reason: fault }, 'pods of this node get no IPv6; they get IPv4 as ever')
  }

  #noteRepairs(count: number, what: string): void {
    if (count === 0) return
    this.#repairs += count
    this.#options.log.warn({ count, reason: what }, 'put back what somebody had removed or changed')
  }
}

function ownRanges({ ranges, self }: PassInput): readonly Range[] {
  return ranges.flatMap(({ owner, range }) => (owner === self ? [range] : []))
}
