/**
 * The FIB: which addresses are reached how, as a pure function of the ring, the peers' records and
 * the local pods. Nothing here knows how the kernel is told; `vxlan.ts` and `reconciler.ts` do that.
 */
import type { Universe } from '../../ipam/universe.ts'
import { type Cidr, type Ipv4, type Range, rangeToCidrs } from '../../mesh/base/address.ts'
import type { PeerName } from '../../mesh/base/brand.ts'

/** What the FIB needs of a peer's record. */
export interface Destination {
  readonly peer: PeerName
  /** Where its encapsulated packets go. */
  readonly underlay: Ipv4
  /** The MTU of its underlay. */
  readonly mtuBytes: number
}

export interface FibInput {
  readonly self: PeerName
  readonly universe: Universe
  /** Who owns which addresses, in order, as the ring says. */
  readonly ranges: readonly { readonly owner: PeerName; readonly range: Range }[]
  readonly destinations: ReadonlyMap<PeerName, Destination>
  /** The MTU of our own underlay. */
  readonly mtuBytes: number
}

/** A prefix of one peer, and the peer that carries it. */
export interface RemotePrefix {
  readonly prefix: Cidr
  readonly via: Destination
  /** The biggest pod packet that both underlays carry once it is encapsulated. */
  readonly mtuBytes: number
}

export interface Fib {
  readonly remotes: readonly RemotePrefix[]
  /** Every peer that carries a prefix, once. */
  readonly next: readonly Destination[]
  /** Addresses of the cluster that no known peer can be asked for: answered with "unreachable", never sent elsewhere. */
  readonly universe: Universe
  /** Owners of which no record is known: their prefixes have no route. */
  readonly unknown: readonly PeerName[]
}

const OUTER_IPV4_BYTES = 20
const OUTER_UDP_BYTES = 8
const VXLAN_HEADER_BYTES = 8
const INNER_ETHERNET_BYTES = 14

/** What VXLAN over IPv4 adds to a pod's packet (RFC 7348, section 5): 50 bytes. */
const VXLAN_OVERHEAD_BYTES = OUTER_IPV4_BYTES + OUTER_UDP_BYTES + VXLAN_HEADER_BYTES + INNER_ETHERNET_BYTES

/** The biggest packet a pod may send over an underlay of this MTU. */
export function podMtuBytes(underlayMtuBytes: number): number {
  return underlayMtuBytes - VXLAN_OVERHEAD_BYTES
}

export function computeFib(input: FibInput): Fib {
  const remotes: RemotePrefix[] = []
  const next = new Map<PeerName, Destination>()
  const unknown = new Set<PeerName>()
  for (const { owner, range } of input.ranges) {
    if (owner === input.self) continue
    const via = input.destinations.get(owner)
    if (via === undefined) {
      unknown.add(owner)
      continue
    }
    next.set(owner, via)
    const mtuBytes = podMtuBytes(Math.min(via.mtuBytes, input.mtuBytes))
    for (const prefix of rangeToCidrs(range)) remotes.push({ prefix, via, mtuBytes })
  }
  return { remotes, next: [...next.values()], universe: input.universe, unknown: [...unknown] }
}
