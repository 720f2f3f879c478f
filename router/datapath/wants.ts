/** From the FIB and the local pods to kernel objects: the routes, neighbours and addresses that must be there, all of them, and no others. */
import type { Cidr, Ipv4 } from '../../mesh/base/address.ts'
import type { Address } from '../kernel/codec/addr.ts'
import type { FdbEntry, Neighbour } from '../kernel/codec/neigh.ts'
import type { Route } from '../kernel/codec/route.ts'
import type { Mac } from '../kernel/mac.ts'
import type { Fib } from './fib.ts'
import { ROUTE_PROTOCOL, vxlanMac } from './names.ts'

/** A pod of this node whose link is there. */
export interface LocalPod {
  readonly address: Ipv4
  readonly mac: Mac
  /** The index of the host's end of its link. */
  readonly link: number
}

export interface WantsInput {
  readonly fib: Fib
  /** The index of the VXLAN device. */
  readonly vxlan: number
  /** This node's own address in the cluster, once it has one. */
  readonly hostAddress: Ipv4 | undefined
  readonly pods: readonly LocalPod[]
}

export interface Wants {
  /** Of our protocol number, in the main table. */
  readonly routes: readonly Route[]
  /** On the VXLAN device and on pod links. */
  readonly neighbours: readonly Neighbour[]
  /** Of the VXLAN device: where each peer's hardware address is. */
  readonly forwarding: readonly FdbEntry[]
  /** On the VXLAN device. */
  readonly addresses: readonly Address[]
}

/** Loses against every other route to the same prefix: the cluster may be one range of one peer. */
const UNREACHABLE_PRIORITY = 1_000_000

export function computeWants({ fib, vxlan, hostAddress, pods }: WantsInput): Wants {
  const source = hostAddress
  const remotes = fib.remotes.map(({ prefix, via, mtuBytes }): Route => {
    return { destination: prefix, gateway: via.underlay, link: vxlan, onlink: true, mtuBytes, source, protocol: ROUTE_PROTOCOL }
  })
  const locals = pods.map(
    ({ address, link }): Route => ({ destination: hostPrefix(address), link, scope: 'link', source, protocol: ROUTE_PROTOCOL }),
  )
  const rest: Route = { destination: fib.universe, type: 'unreachable', priority: UNREACHABLE_PRIORITY, protocol: ROUTE_PROTOCOL }
  return {
    routes: [rest, ...locals, ...remotes],
    neighbours: [
      ...fib.next.map(({ peer, underlay: address }): Neighbour => ({ link: vxlan, address, mac: vxlanMac(peer) })),
      ...pods.map(({ link, address, mac }): Neighbour => ({ link, address, mac })),
    ],
    forwarding: fib.next.map(({ peer, underlay }): FdbEntry => ({ link: vxlan, mac: vxlanMac(peer), destination: underlay })),
    addresses: hostAddress === undefined ? [] : [{ link: vxlan, address: hostAddress, prefixLength: 32 }],
  }
}

function hostPrefix(address: Ipv4): Cidr {
  return { base: address, length: 32 }
}
