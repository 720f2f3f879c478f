/** What the plugin asks of the router. Whoever implements it does the work in the kernel and keeps the addresses. */
import type { Cidr, Ipv4 } from '../mesh/base/address.ts'
import type { Brand } from '../mesh/base/brand.ts'
import type { Ip } from '../mesh/base/ip.ts'
import type { Result } from '../mesh/base/result.ts'
import type { AttachmentKey } from './environment.ts'

/** The same types as the router's kernel code has, which knows what to do with them. */
type Fd = Brand<number, 'Fd'>

/** A hardware address that an interface may have: six lower-case hex bytes with colons, not multicast. */
export type MacAddress = Brand<string, 'Mac'>

/**
 * The pod's network namespace as the relay passed it. The server owns both descriptors and closes them when the
 * call has settled: whoever needs them longer duplicates them.
 */
export interface PodNamespace {
  /** Of the namespace itself: for IFLA_NET_NS_FD. */
  readonly namespace: Fd
  /** A NETLINK_ROUTE socket, non-blocking and not bound yet, that was created inside the namespace. */
  readonly routeSocket: Fd
}

/** The pod that an attachment is for, when the runtime tells (Kubernetes does). */
export interface PodReference {
  readonly namespace: string
  readonly name: string
  /** Older runtimes leave it out. */
  readonly uid: string | undefined
}

export interface AttachRequest {
  readonly key: AttachmentKey
  /** The network's name in the configuration: GC removes by it. */
  readonly network: string
  readonly netns: PodNamespace
  readonly pod: PodReference | undefined
  /** Addresses that the pod must get, of either family; empty to let the router choose. */
  readonly addresses: readonly Ip[]
  /** Where its address must be from; undefined when any will do. */
  readonly subnet?: Cidr | undefined
  /** The hardware address that the pod's interface must get. */
  readonly mac: MacAddress | undefined
}

/** An address for an interface that another plugin makes. */
export interface ReserveRequest {
  readonly key: AttachmentKey
  /** Addresses that it must get, of either family; empty to let the router choose. */
  readonly addresses: readonly Ip[]
  /** Where its address must be from; undefined when any will do. */
  readonly subnet?: Cidr | undefined
}

/** An interface in the pod, up and routed, with policy in place. */
export interface Attachment {
  /** The host's end. */
  readonly host: { readonly name: string; readonly mac: string }
  /** The pod's end; its name is the one asked for. */
  readonly pod: { readonly mac: string; readonly mtuBytes: number }
  readonly addresses: readonly [PodAddress, ...PodAddress[]]
  readonly routes: readonly PodRoute[]
}

interface PodAddress {
  /** ADDRESS/LENGTH, IPv4 or IPv6. */
  readonly address: string
  readonly gateway: string | undefined
}

interface PodRoute {
  /** PREFIX/LENGTH, IPv4 or IPv6. */
  readonly destination: string
  readonly gateway: string | undefined
}

/**
 * - `already-attached`: this very attachment exists; the runtime must DEL it first
 * - `interface-exists`: the pod has an interface of that name that is not ours
 * - `address-unavailable`: no address is free, or the one asked for is not to be had; a later try may succeed
 * - `address-impossible`: what was asked for is no address that it could ever get
 * - `namespace-gone`: the pod's namespace went away, or is not one
 * - `host-namespace`: it is the router's own namespace
 * - `kernel-refused`: and everything that was done has been undone
 * - `cancelled`: the signal aborted, and everything that was done has been undone
 */
export type AttachFailure =
  | { readonly code: 'already-attached' }
  | { readonly code: 'interface-exists' }
  | { readonly code: 'address-unavailable'; readonly reason: string }
  | { readonly code: 'address-impossible'; readonly reason: string }
  | { readonly code: 'namespace-gone' }
  | { readonly code: 'host-namespace' }
  | { readonly code: 'kernel-refused'; readonly reason: string }
  | { readonly code: 'cancelled' }

export type ReserveFailure = Exclude<AttachFailure, { readonly code: 'interface-exists' | 'namespace-gone' | 'host-namespace' }>

export type DetachFailure = Extract<AttachFailure, { readonly code: 'kernel-refused' }>

export interface CheckRequest {
  readonly key: AttachmentKey
  readonly netns: PodNamespace
  /** The pod's addresses according to the result of ADD, each as ADDRESS/LENGTH. Others may have added some. */
  readonly addresses: readonly string[]
}

/**
 * - `not-attached`: we know of no such attachment
 * - `broken`: it is not as ADD left it; one line for each difference
 */
export type CheckFailure = { readonly code: 'not-attached' } | { readonly code: 'broken'; readonly faults: readonly string[] }

/**
 * - `unavailable`: an ADD would fail now
 * - `limited`: it would fail, and pods that run may have lost connections too
 */
export type StatusFailure = { readonly code: 'unavailable' | 'limited'; readonly reason: string }

/** Calls for one attachment never overlap, and `collect` overlaps with none: whoever calls sees to it. */
export interface PodNetworkPort {
  /** All or nothing. Settles soon after `signal` aborts. */
  attach(request: AttachRequest, signal: AbortSignal): Promise<Result<Attachment, AttachFailure>>
  /** An address without an interface, and nothing in the kernel. It is kept until `release` or `detach`, whatever becomes of the pod. */
  reserve(request: ReserveRequest, signal: AbortSignal): Promise<Result<Ipv4, ReserveFailure>>
  /** What is reserved for `key`; undefined when nothing is. */
  reserved(key: AttachmentKey): Promise<Ipv4 | undefined>
  /** Frees what is reserved for `key`, should there be anything, and leaves what is attached alone. */
  release(key: AttachmentKey): Promise<void>
  /** Frees what is reserved too. An attachment that does not exist, or whose namespace is gone, is a success. */
  detach(key: AttachmentKey): Promise<Result<void, DetachFailure>>
  /** Compares what is there with what ADD made. Changes nothing. */
  check(request: CheckRequest): Promise<Result<void, CheckFailure>>
  /** Whether an ADD could be served now. */
  status(): Promise<Result<void, StatusFailure>>
  /** Detaches all of `network` that is not in `keep`; goes on after a failure and reports them all. What is reserved stays: it is of no network. */
  collect(network: string, keep: readonly AttachmentKey[]): Promise<Result<void, readonly DetachFailure[]>>
}
