/** The pod network of this node, as the CNI plugin asks for it: attach, detach, check, collect. */

import type { AllocateError } from '../../ipam/allocator.ts'
import { type AttachmentKey, attachmentKey, bareKey } from '../../ipam/attachment.ts'
import type { Ipam } from '../../ipam/ipam.ts'
import { address4, address6, type Universe } from '../../ipam/universe.ts'
import type { Wanted } from '../../ipam/wish.ts'
import { formatIpv4, type Ipv4 } from '../../mesh/base/address.ts'
import type { Clock } from '../../mesh/base/clock.ts'
import { formatIp } from '../../mesh/base/ip.ts'
import { formatHostPrefix, formatPrefix } from '../../mesh/base/prefix.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import type { AttachmentKey as PluginKey } from '../../plugin/environment.ts'
import type {
  AttachFailure,
  Attachment,
  AttachRequest,
  CheckFailure,
  CheckRequest,
  DetachFailure,
  PodNetworkPort,
  ReserveFailure,
  ReserveRequest,
  StatusFailure,
} from '../../plugin/port.ts'
import { describeKernelError, type KernelError, toWeftError } from '../kernel/kernel-error.ts'
import { deleteLink, getLink, listLinks } from '../kernel/link.ts'
import { type Mac, parseMac } from '../kernel/mac.ts'
import type { Netlink } from '../kernel/netlink.ts'
import { netnsIdentity, ownNetnsIdentity } from '../kernel/netns.ts'
import { Activity } from './activity.ts'
import { ALIAS_BYTES_MAX, renderNote } from './alias.ts'
import { POD_GATEWAY, POD_GATEWAY_MAC, POD_GATEWAY6, podLinkName, podMac } from './names.ts'
import { checkPod } from './pod-check.ts'
import { podLinks } from './pod-links.ts'
import { type PodWiring, wirePod } from './pod-wiring.ts'

export interface PodsOptions {
  readonly netlink: Netlink
  readonly ipam: Ipam
  readonly clock: Clock
  /** The MTU for new pods. */
  mtuBytes(): number
  /** Our source address towards pods, once there is one. */
  hostAddress(): Ipv4 | undefined
  /** Without IPv6 while this node cannot carry it. */
  universe(): Universe
  /** Why an ADD would fail now; undefined when it would not. */
  unavailable(): string | undefined
}

/** Those with an address of this node whose link is there. @throws {WeftError} KERNEL when it does not say. */
export async function attachedPods(netlink: Netlink, ipam: Ipam): Promise<ReadonlySet<AttachmentKey>> {
  const links = await listLinks(netlink)
  if (!links.ok) throw toWeftError(links.error)
  const names = new Set(links.value.map(({ name }) => name))
  return new Set([...ipam.allocations().keys()].filter((key) => names.has(podLinkName(key))))
}

/** All or nothing: what was done before a failure is undone in reverse order. */
export class Pods implements PodNetworkPort {
  /** Which pods are being attached and detached. */
  readonly activity: Activity = new Activity()
  readonly #options: PodsOptions

  constructor(options: PodsOptions) {
    this.#options = options
  }

  async attach(request: AttachRequest, signal: AbortSignal): Promise<Result<Attachment, AttachFailure>> {
    if (netnsIdentity(request.netns.namespace) === ownNetnsIdentity()) return err({ code: 'host-namespace' })
    const wanted = wantedOf(request, this.#options.universe())
    if (!wanted.ok) return wanted
    const key = ipamKey(request.key)
    using _working = this.activity.begin(key)
    const name = podLinkName(key)
    const existing = await getLink(this.#options.netlink, name)
    if (!existing.ok) return kernelRefused(existing.error)
    if (existing.value !== undefined) return err({ code: 'already-attached' })
    await using undo = new AsyncDisposableStack()
    const allocated = await this.#options.ipam.allocate(key, signal, wanted.value)
    if (!allocated.ok) return notAllocated(allocated.error)
    undo.defer(async () => void (await this.#options.ipam.free(key)))
    const mac = request.mac === undefined ? podMac(allocated.value) : parseMac(request.mac)
    const wiring = this.#wiring(request, { key, name, address: allocated.value, mac })
    if (renderNote(wiring).length > ALIAS_BYTES_MAX)
      return err({ code: 'kernel-refused', reason: 'the names of network and container are too long together' })
    undo.defer(async () => void (await deleteLink(this.#options.netlink, name)))
    const wired = await wirePod(this.#options, wiring, signal)
    if (!wired.ok) return wired
    undo.move()
    return ok(describe(wired.value))
  }

  async reserve(request: ReserveRequest, signal: AbortSignal): Promise<Result<Ipv4, ReserveFailure>> {
    const wanted = wantedOf(request, this.#options.universe())
    if (!wanted.ok) return wanted
    const key = bareIpamKey(request.key)
    using _working = this.activity.begin(key)
    if (this.#options.ipam.lookup(key) !== undefined) return err({ code: 'already-attached' })
    const allocated = await this.#options.ipam.allocate(key, signal, wanted.value)
    return allocated.ok ? allocated : notAllocated(allocated.error)
  }

  reserved(key: PluginKey): Promise<Ipv4 | undefined> {
    return Promise.resolve(this.#options.ipam.lookup(bareIpamKey(key)))
  }

  async release(key: PluginKey): Promise<void> {
    await this.#options.ipam.free(bareIpamKey(key))
  }

  async detach(key: PluginKey): Promise<Result<void, DetachFailure>> {
    await this.release(key)
    return await this.#remove(ipamKey(key))
  }

  async check(request: CheckRequest): Promise<Result<void, CheckFailure>> {
    const key = ipamKey(request.key)
    const address = this.#options.ipam.lookup(key)
    if (address === undefined) return err({ code: 'not-attached' })
    const other = address6(this.#options.universe(), address)
    const faults = await checkPod(this.#options, { request, address, address6: other, hostLink: podLinkName(key) })
    return faults.length === 0 ? ok(undefined) : err({ code: 'broken', faults })
  }

  status(): Promise<Result<void, StatusFailure>> {
    const reason = this.#options.unavailable()
    return Promise.resolve(reason === undefined ? ok(undefined) : err({ code: 'unavailable', reason }))
  }

  async collect(network: string, keep: readonly PluginKey[]): Promise<Result<void, readonly DetachFailure[]>> {
    const links = await listLinks(this.#options.netlink)
    if (!links.ok) return err([refusal(links.error)])
    const kept = new Set(keep.map(ipamKey))
    const stale = podLinks(links.value).filter((pod) => pod.network === network && !kept.has(pod.key))
    const removed = await Promise.all(stale.map((pod) => this.#remove(pod.key)))
    const failures = removed.flatMap((result) => (result.ok ? [] : [result.error]))
    return failures.length === 0 ? ok(undefined) : err(failures)
  }

  /** The link goes first: an address is free only when nobody can use it any longer. */
  async #remove(key: AttachmentKey): Promise<Result<void, DetachFailure>> {
    using _working = this.activity.begin(key)
    const deleted = await deleteLink(this.#options.netlink, podLinkName(key))
    if (!deleted.ok) return err(refusal(deleted.error))
    await this.#options.ipam.free(key)
    return ok(undefined)
  }

  #wiring(request: AttachRequest, pod: { key: AttachmentKey; name: string; address: Ipv4; mac: Mac }): PodWiring {
    const [universe, hostAddress] = [this.#options.universe(), this.#options.hostAddress()]
    return {
      hostLink: pod.name,
      podLink: request.key.ifname,
      address: pod.address,
      address6: address6(universe, pod.address),
      mac: pod.mac,
      network: request.network,
      key: pod.key,
      mtuBytes: this.#options.mtuBytes(),
      hostAddress,
      hostAddress6: hostAddress === undefined ? undefined : address6(universe, hostAddress),
      netns: request.netns,
    }
  }
}

function describe({ hostLink, mac, mtuBytes, address, address6: other }: PodWiring): Attachment {
  const gateway = formatIpv4(POD_GATEWAY)
  return {
    host: { name: hostLink, mac: POD_GATEWAY_MAC },
    pod: { mac, mtuBytes },
    addresses: [
      { address: formatHostPrefix(address), gateway },
      ...(other === undefined ? [] : [{ address: formatHostPrefix(other), gateway: POD_GATEWAY6 }]),
    ],
    routes: [
      { destination: `${gateway}/32`, gateway: undefined },
      { destination: '0.0.0.0/0', gateway },
      ...(other === undefined ? [] : [{ destination: '::/0', gateway: POD_GATEWAY6 }]),
    ],
  }
}

function ipamKey({ containerId, ifname }: PluginKey): AttachmentKey {
  return attachmentKey(containerId, ifname)
}

function bareIpamKey({ containerId, ifname }: PluginKey): AttachmentKey {
  return bareKey(containerId, ifname)
}

/** An interface has one address of ours of each family, and these are a pair: who asks for one has asked for the other. */
function wantedOf({ addresses, subnet }: Pick<ReserveRequest, 'addresses' | 'subnet'>, universe: Universe): Result<Wanted, ReserveFailure> {
  const found = new Set<Ipv4>()
  for (const wanted of addresses) {
    const address = address4(universe, wanted)
    if (address === undefined) {
      const range = universe.v6 === undefined ? 'pods have no IPv6 here' : `pods get theirs from ${formatPrefix(universe.v6)}`
      return err({ code: 'address-impossible', reason: `${formatIp(wanted)} asked for, and ${range}` })
    }
    found.add(address)
  }
  const [address, ...more] = found
  if (more.length === 0) return ok({ address, subnet })
  const reason = `${addresses.map(formatIp).join(', ')} asked for, which no interface gets together`
  return err({ code: 'address-impossible', reason })
}

function notAllocated({ code, text }: AllocateError): Result<never, ReserveFailure> {
  if (code === 'cancelled') return err({ code })
  return err({ code: code === 'impossible' ? 'address-impossible' : 'address-unavailable', reason: text })
}

function kernelRefused(error: KernelError): Result<never, AttachFailure> {
  return err(refusal(error))
}

function refusal(error: KernelError): DetachFailure {
  return { code: 'kernel-refused', reason: describeKernelError(error) }
}
