/** Whether an attachment is still as ADD left it. Looks only; others may have added things. */
import { formatIpv4, type Ipv4 } from '../../mesh/base/address.ts'
import type { Result } from '../../mesh/base/result.ts'
import type { CheckRequest } from '../../plugin/port.ts'
import { listAddresses } from '../kernel/addr.ts'
import { describeKernelError, type KernelError } from '../kernel/kernel-error.ts'
import { getLink } from '../kernel/link.ts'
import { Netlink } from '../kernel/netlink.ts'
import { listRoutes, MAIN_TABLE } from '../kernel/route.ts'
import { POD_GATEWAY, ROUTE_PROTOCOL } from './names.ts'
import type { WiringPorts } from './pod-wiring.ts'

export interface CheckSubject {
  readonly request: CheckRequest
  /** The address that IPAM holds for it. */
  readonly address: Ipv4
  readonly hostLink: string
}

/** One line for each difference. */
export async function checkPod(ports: WiringPorts, { request, address, hostLink }: CheckSubject): Promise<readonly string[]> {
  const text = `${formatIpv4(address)}/32`
  const unknown = request.addresses.filter((listed) => listed !== text).map((listed) => `${listed} is not allocated to it, ${text} is`)
  using pod = Netlink.open({ clock: ports.clock, fd: request.netns.routeSocket, lent: true })
  return [...unknown, ...(await checkInside(pod, request.key.ifname, address)), ...(await checkOutside(ports.netlink, hostLink, address))]
}

async function checkInside(pod: Netlink, ifname: string, address: Ipv4): Promise<readonly string[]> {
  const found = valueOr(await getLink(pod, ifname))
  if (typeof found === 'string') return [found]
  if (found === undefined) return [`the pod has no interface ${ifname}`]
  const addresses = valueOr(await listAddresses(pod, found.index))
  const routes = valueOr(await listRoutes(pod, { table: MAIN_TABLE, link: found.index }))
  if (typeof addresses === 'string') return [addresses]
  if (typeof routes === 'string') return [routes]
  const has = {
    address: addresses.some((one) => one.address === address),
    route: routes.some((route) => route.destination.length === 0 && route.gateway === POD_GATEWAY),
  }
  return [
    ...(found.up ? [] : [`${ifname} is down in the pod`]),
    ...(has.address ? [] : [`${ifname} has lost the address ${formatIpv4(address)}`]),
    ...(has.route ? [] : [`${ifname} has lost the default route`]),
  ]
}

async function checkOutside(netlink: Netlink, hostLink: string, address: Ipv4): Promise<readonly string[]> {
  const found = valueOr(await getLink(netlink, hostLink))
  if (typeof found === 'string') return [found]
  if (found === undefined) return [`the node has no link ${hostLink}`]
  const routes = valueOr(await listRoutes(netlink, { protocol: ROUTE_PROTOCOL, table: MAIN_TABLE, link: found.index }))
  if (typeof routes === 'string') return [routes]
  const isRouted = routes.some(({ destination }) => destination.base === address && destination.length === 32)
  return [
    ...(found.up ? [] : [`${hostLink} is down on the node`]),
    ...(isRouted ? [] : [`the node has no route to ${formatIpv4(address)} by ${hostLink}`]),
  ]
}

/** Of objects that are never strings: a string is what the kernel refused. */
function valueOr<T extends object | undefined>(result: Result<T, KernelError>): T | string {
  return result.ok ? result.value : describeKernelError(result.error)
}
