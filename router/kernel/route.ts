/** Routes, in the words of `ip route`. */
import { formatIp, type Ip } from '../../mesh/base/ip.ts'
import { formatPrefix, isCidr6 } from '../../mesh/base/prefix.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import { MessageFlag } from './codec/message.ts'
import { Family, familyOf, RtmType, type Scope } from './codec/numbers.ts'
import {
  decodeLookup,
  decodeRoute,
  type Encap,
  encodeRoute,
  encodeRouteDump,
  encodeRouteQuery,
  type Route,
  type RouteFilter,
} from './codec/route.ts'
import type { KernelError } from './kernel-error.ts'
import type { Netlink } from './netlink.ts'
import { words } from './words.ts'

/** RT_TABLE_MAIN. */
export const MAIN_TABLE = 254

/** RTPROT_BOOT: what `ip` writes when it is not told. */
const PROTOCOL_BOOT = 3
/** IP6_RT_PRIO_USER. */
const PRIORITY_INET6 = 1_024

/**
 * Equivalent to: `ip -4|-6 route show table all|TABLE [proto PROTOCOL] [dev LINK]`. A table that does not exist is empty.
 * A route with several next hops is listed with neither gateway nor link.
 */
export async function listRoutes(netlink: Netlink, filter: RouteFilter = {}): Promise<Result<readonly Route[], KernelError>> {
  const { family = 'inet', table, protocol, link } = filter
  const operation = words(
    `ip -f ${family} route show`,
    ['table', table ?? 'all'],
    ['proto', protocol],
    ['dev', link === undefined ? undefined : `if${link}`],
  )
  const found = await netlink.dump({ type: RtmType.getRoute, payload: encodeRouteDump(filter), operation }, decodeRoute)
  if (!found.ok) return found.error.code === 'ENOENT' ? ok([]) : found
  return ok(found.value.filter((route) => isListed(route, filter)))
}

/** Equivalent to: `ip route get ADDRESS`: the route that a packet of this machine to `destination` takes. ENETUNREACH when there is none. */
export async function getRoute(netlink: Netlink, destination: Ip): Promise<Result<Route | undefined, KernelError>> {
  const operation = `ip route get ${formatIp(destination)}`
  const found = await netlink.query({ type: RtmType.getRoute, payload: encodeRouteQuery(destination), operation }, decodeLookup)
  return found.ok ? ok(found.value[0]) : found
}

/** Equivalent to: `ip route add ROUTE`. EEXIST when the table has one for the same destination and priority. */
export function addRoute(netlink: Netlink, route: Route): Promise<Result<void, KernelError>> {
  const operation = `ip route add ${describeRoute(route)}`
  const flags = MessageFlag.create | MessageFlag.exclusive
  return netlink.request({ type: RtmType.newRoute, flags, payload: encodeRoute(completeRoute(route)), operation })
}

/** Equivalent to: `ip route replace ROUTE`. Takes the place of the one for the same destination and priority in the table, in one step. */
export function replaceRoute(netlink: Netlink, route: Route): Promise<Result<void, KernelError>> {
  const operation = `ip route replace ${describeRoute(route)}`
  const flags = MessageFlag.create | MessageFlag.replace
  return netlink.request({ type: RtmType.newRoute, flags, payload: encodeRoute(completeRoute(route)), operation })
}

/** Equivalent to: `ip route delete ROUTE`: the first that has all that is given (the table is the main one when absent). Not there is success. */
export async function deleteRoute(netlink: Netlink, route: Route): Promise<Result<void, KernelError>> {
  const operation = `ip route delete ${describeRoute(route)}`
  const payload = encodeRoute({ ...route, table: route.table ?? MAIN_TABLE })
  const result = await netlink.request({ type: RtmType.deleteRoute, payload, operation })
  return !result.ok && !isAbsent(result.error) ? err(result.error) : ok(undefined)
}

/** With all that `addRoute` fills in, as the kernel will list it. */
export function completeRoute(route: Route): Route {
  const { type = 'unicast', protocol = PROTOCOL_BOOT, table = MAIN_TABLE, onlink = false } = route
  const isInet6 = isCidr6(route.destination)
  const priority = route.priority ?? (isInet6 ? PRIORITY_INET6 : 0)
  const scope = isInet6 ? 'global' : (route.scope ?? defaultScope(route))
  return { ...route, type, protocol, table, onlink, priority, scope }
}

const NOWHERE: ReadonlySet<Route['type']> = new Set<Route['type']>(['blackhole', 'unreachable', 'prohibit', 'throw'])

/** All that matters of a route, for `diff`: equal for one that is wanted and the same as listed. */
export function routeKey(route: Route): string {
  const { destination, type, gateway, link, scope, protocol, table, source, mtuBytes, onlink, priority, encap } = completeRoute(route)
  // Routes of IPv6 that lead nowhere are listed with the loopback device.
  const isNowhere = isCidr6(destination) && NOWHERE.has(type ?? 'unicast')
  const hop = [gateway, isNowhere ? undefined : link, onlink, encap === undefined ? '' : encapKey(encap)]
  return [destination.base, destination.length, type, scope, protocol, table, source, mtuBytes, priority, ...hop].join()
}

function encapKey({ id, destination, source, ttl, tos, dontFragment = false, checksum = false }: Encap): string {
  return [id, destination, source, ttl, tos, dontFragment, checksum].join(':')
}

function defaultScope({ type = 'unicast', gateway }: Route): Scope {
  if (type === 'local') return 'host'
  const direct = type === 'broadcast' || type === 'multicast' || type === 'anycast' || (type === 'unicast' && gateway === undefined)
  return direct ? 'link' : 'global'
}

/** Kernels without strict checks do not filter, and those without IPv6 list IPv4 instead. */
function isListed(route: Route, { family = 'inet', table, protocol, link }: RouteFilter): boolean {
  return (
    familyOf(route.destination.base) === Family[family] &&
    (table === undefined || route.table === table) &&
    (protocol === undefined || route.protocol === protocol) &&
    (link === undefined || route.link === link)
  )
}

function isAbsent({ code }: KernelError): boolean {
  return code === 'ESRCH' || code === 'ENODEV'
}

/** As `ip route` would be told it. */
export function describeRoute(route: Route): string {
  const { destination, type, gateway, link, scope, protocol, table, source, mtuBytes, onlink, priority, encap } = route
  const ip = (address: Ip | undefined): string | undefined => (address === undefined ? undefined : formatIp(address))
  return words(
    type === undefined || type === 'unicast' ? '' : type,
    destination.length === 0 ? 'default' : formatPrefix(destination),
    encap === undefined
      ? ''
      : words('encap ip', ['id', encap.id], ['src', ip(encap.source)], ['dst', ip(encap.destination)], encap.checksum ? 'csum' : ''),
    ['via', ip(gateway)],
    ['dev', link === undefined ? undefined : `if${link}`],
    onlink ? 'onlink' : '',
    ['src', ip(source)],
    ['mtu', mtuBytes],
    ['scope', scope],
    ['table', table],
    ['proto', protocol],
    ['metric', priority],
  )
}
