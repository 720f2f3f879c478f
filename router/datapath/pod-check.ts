/** Whether an attachment is still as ADD left it. Looks only; others may have added things. */
import type { Ipv4 } from '../../mesh/base/address.ts'
import { formatIp, type Ip, type Ipv6, isIpv4 } from '../../mesh/base/ip.ts'
import { formatHostPrefix, formatPrefix } from '../../mesh/base/prefix.ts'
import type { Result } from '../../mesh/base/result.ts'
import type { CheckRequest } from '../../plugin/port.ts'
import { listAddresses } from '../kernel/addr.ts'
import type { Link } from '../kernel/codec/link.ts'
import type { IpFamily } from '../kernel/codec/numbers.ts'
import { describeKernelError, type KernelError } from '../kernel/kernel-error.ts'
import { getLink } from '../kernel/link.ts'
import { Netlink } from '../kernel/netlink.ts'
import { listRoutes, MAIN_TABLE } from '../kernel/route.ts'
import { POD_GATEWAY, POD_GATEWAY6, ROUTE_PROTOCOL } from './names.ts'
import type { WiringPorts } from './pod-wiring.ts'

export interface CheckSubject {
  readonly request: CheckRequest
  /** The address that IPAM holds for it. */
  readonly address: Ipv4
  /** The one that goes with it; undefined where there is no IPv6. */
  readonly address6: Ipv6 | undefined
  readonly hostLink: string
}

/** One line for each difference. */
export async function checkPod(ports: WiringPorts, { request, address, address6, hostLink }: CheckSubject): Promise<readonly string[]> {
  const allocated = [address, ...(address6 === undefined ? [] : [address6])].map((each) => ({ each, text: formatHostPrefix(each) }))
  const texts = allocated.map(({ text }) => text)
  const unknown = request.addresses
    .filter((listed) => !texts.includes(listed))
    .map((listed) => `${listed} is not allocated to it, ${texts.join(' and ')} ${texts.length === 1 ? 'is' : 'are'}`)
  // Of IPv6 ADD makes nothing where the pod has it switched off.
  const made = allocated.filter(({ each, text }) => isIpv4(each) || request.addresses.includes(text)).map(({ each }) => each)
  using pod = Netlink.open({ clock: ports.clock, fd: request.netns.routeSocket, lent: true })
  return [
    ...unknown,
    ...(await checkLink(pod, request.key.ifname, made, insideFaults)),
    ...(await checkLink(ports.netlink, hostLink, made, outsideFaults)),
  ]
}

interface Place {
  readonly netlink: Netlink
  readonly link: Link
  readonly address: Ip
  readonly family: IpFamily
}

type Faults = (place: Place) => Promise<readonly string[]>

async function checkLink(netlink: Netlink, name: string, addresses: readonly Ip[], faults: Faults): Promise<readonly string[]> {
  const where = faults === insideFaults ? 'pod' : 'node'
  const link = valueOr(await getLink(netlink, name))
  if (typeof link === 'string') return [link]
  if (link === undefined) return [where === 'pod' ? `the pod has no interface ${name}` : `the node has no link ${name}`]
  const down = link.up ? [] : [where === 'pod' ? `${name} is down in the pod` : `${name} is down on the node`]
  const each = addresses.map((address) => faults({ netlink, link, address, family: isIpv4(address) ? 'inet' : 'inet6' }))
  return [...down, ...(await Promise.all(each)).flat()]
}

async function insideFaults({ netlink, link, address, family }: Place): Promise<readonly string[]> {
  const addresses = valueOr(await listAddresses(netlink, link.index, family))
  const routes = valueOr(await listRoutes(netlink, { family, table: MAIN_TABLE, link: link.index }))
  if (typeof addresses === 'string') return [addresses]
  if (typeof routes === 'string') return [routes]
  const gateway = isIpv4(address) ? POD_GATEWAY : POD_GATEWAY6
  const hasAddress = addresses.some((one) => one.address === address)
  const hasRoute = routes.some((route) => route.destination.length === 0 && route.gateway === gateway)
  return [
    ...(hasAddress ? [] : [`${link.name} has lost the address ${formatIp(address)}`]),
    ...(hasRoute ? [] : [`${link.name} has lost the default route${isIpv4(address) ? '' : ' of IPv6'}`]),
  ]
}

async function outsideFaults({ netlink, link, address, family }: Place): Promise<readonly string[]> {
  const routes = valueOr(await listRoutes(netlink, { family, protocol: ROUTE_PROTOCOL, table: MAIN_TABLE, link: link.index }))
  if (typeof routes === 'string') return [routes]
  const isRouted = routes.some(({ destination }) => formatPrefix(destination) === formatHostPrefix(address))
  return isRouted ? [] : [`the node has no route to ${formatIp(address)} by ${link.name}`]
}

/** Of objects that are never strings: a string is what the kernel refused. */
function valueOr<T extends object | undefined>(result: Result<T, KernelError>): T | string {
  return result.ok ? result.value : describeKernelError(result.error)
}
