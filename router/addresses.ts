/** What this node tells its peers about where it is: the IPv4 address that pods' packets use and, for the mesh, the IPv6 address beside it. */
import type { NetworkInterfaceInfo } from 'node:os'
import type { Ipv4 } from '../mesh/base/address.ts'
import { type Ip, isGlobal, parseIp } from '../mesh/base/ip.ts'

type Interfaces = Readonly<Record<string, readonly Pick<NetworkInterfaceInfo, 'address' | 'family'>[] | undefined>>

/** Best first. @param interfaces as `os.networkInterfaces` tells them. */
export function advertisedAddresses(underlay: Ipv4, interfaces: Interfaces): readonly Ip[] {
  const lists = Object.values(interfaces).map((list) => (list ?? []).map(({ address }) => addressOf(address)))
  const beside = lists.find((addresses) => addresses.includes(underlay)) ?? []
  const global = beside.find((address) => address !== undefined && isGlobal(address))
  return global === undefined ? [underlay] : [underlay, global]
}

/** Undefined when it is link-local. */
function addressOf(text: string): Ip | undefined {
  try {
    return parseIp(text)
  } catch {
    return undefined
  }
}
