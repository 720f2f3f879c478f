/** From the FIB and the local pods to kernel objects: the routes, neighbours and addresses that must be there, all of them, and no others. */
import { address6, prefix6 } from '../../ipam/universe.ts'
import type { Ipv4 } from '../../mesh/base/address.ts'
import { type Ip, type Ipv6, isIpv4 } from '../../mesh/base/ip.ts'
import { hostPrefix } from '../../mesh/base/prefix.ts'
import type { Address } from '../kernel/codec/addr.ts'
import type { FdbEntry, Neighbour } from '../kernel/codec/neigh.ts'
import type { Route } from '../kernel/codec/route.ts'
import type { Mac } from '../kernel/mac.ts'
import type { Fib } from './fib.ts'
import { ROUTE_PROTOCOL, vxlanGateway6, vxlanMac } from './names.ts'

/** A pod of this node whose link is there. */
export interface LocalPod {
  readonly address: Ipv4
  /** Undefined when it has none. */
  readonly address6?: Ipv6 | undefined
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

/** Of IPv6 there is as much as of IPv4, where the universe has it: the same prefixes, pods and neighbours, at other addresses. */
export function computeWants({ fib, vxlan, hostAddress, pods }: WantsInput): Wants {
  const { universe } = fib
  const hostAddress6 = hostAddress === undefined ? undefined : address6(universe, hostAddress)
  const sourceOf = (address: Ip): Ip | undefined => (isIpv4(address) ? hostAddress : hostAddress6)
  const remotes = fib.remotes.flatMap(({ prefix, via, mtuBytes }): readonly Route[] => {
    const common = { link: vxlan, onlink: true, mtuBytes, protocol: ROUTE_PROTOCOL }
    const other = prefix6(universe, prefix)
    return [
      { ...common, destination: prefix, gateway: via.underlay, source: hostAddress },
      ...(other === undefined ? [] : [{ ...common, destination: other, gateway: vxlanGateway6(via.peer), source: hostAddress6 }]),
    ]
  })
  const local = pods.flatMap(({ address, address6, ...pod }) => addressesOf(address, address6).map((each) => ({ ...pod, address: each })))
  const locals = local.map(({ address, link }) => podRoute(address, link, sourceOf(address)))
  const rest = [universe, ...(universe.v6 === undefined ? [] : [universe.v6])].map((destination): Route => {
    return { destination, type: 'unreachable', priority: UNREACHABLE_PRIORITY, protocol: ROUTE_PROTOCOL }
  })
  const gateways = fib.next.flatMap(({ peer, underlay }) =>
    addressesOf(underlay, universe.v6 === undefined ? undefined : vxlanGateway6(peer)).map((address) => ({ peer, address })),
  )
  return {
    routes: [...rest, ...locals, ...remotes],
    neighbours: [
      ...gateways.map(({ peer, address }): Neighbour => ({ link: vxlan, address, mac: vxlanMac(peer) })),
      ...local.map(({ link, address, mac }): Neighbour => ({ link, address, mac })),
    ],
    forwarding: fib.next.map(({ peer, underlay }): FdbEntry => ({ link: vxlan, mac: vxlanMac(peer), destination: underlay })),
    addresses: hostAddress === undefined ? [] : addressesOf(hostAddress, hostAddress6).map((address) => hostAddressOn(vxlan, address)),
  }
}

/** The host's route to a pod. */
export function podRoute(address: Ip, link: number, source: Ip | undefined): Route {
  return { destination: hostPrefix(address), link, scope: isIpv4(address) ? 'link' : 'global', source, protocol: ROUTE_PROTOCOL }
}

/**
 * An address that nobody else can have: of IPv6 it is used at once, as the ring has seen to it that it is given once.
 * Nothing else is on the link, so no route comes with it.
 */
export function hostAddressOn(link: number, address: Ip): Address {
  const prefixLength = hostPrefix(address).length
  return isIpv4(address) ? { link, address, prefixLength } : { link, address, prefixLength, noPrefixRoute: true, noDad: true }
}

function addressesOf(address: Ipv4, other: Ipv6 | undefined): readonly Ip[] {
  return other === undefined ? [address] : [address, other]
}
