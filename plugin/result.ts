/**
 * Results of ADD: one shape inside, each version's shape outside.
 *
 *   0.1.0 0.2.0         {ip4: {ip, gateway?, routes?}, ip6: {…}, dns}           the first address of each family
 *   0.3.0 0.3.1 0.4.0   {interfaces, ips: [{version, interface?, address, gateway?}], routes, dns}
 *   1.0.0               the same without ips[].version, and without an empty dns
 *   1.1.0               the same with mtu, socketPath, pciID of interfaces and mtu, advmss, … of routes
 */
import { atLeast, type CniVersion } from './versions.ts'

/** Resolver settings; empty when nothing is set. */
export interface CniDns {
  readonly nameservers?: readonly string[] | undefined
  readonly domain?: string | undefined
  readonly search?: readonly string[] | undefined
  readonly options?: readonly string[] | undefined
}

interface CniInterface {
  readonly name: string
  readonly mac?: string | undefined
  readonly mtu?: number | undefined
  /** The path of its namespace; none for interfaces of the host. */
  readonly sandbox?: string | undefined
  readonly socketPath?: string | undefined
  readonly pciID?: string | undefined
}

interface CniAddress {
  /** Counts in `interfaces` from 0. */
  readonly interface?: number | undefined
  /** ADDRESS/LENGTH. */
  readonly address: string
  readonly gateway?: string | undefined
}

interface CniRoute {
  /** PREFIX/LENGTH. */
  readonly dst: string
  readonly gw?: string | undefined
  readonly mtu?: number | undefined
  readonly advmss?: number | undefined
  readonly priority?: number | undefined
  readonly table?: number | undefined
  readonly scope?: number | undefined
}

/** A result in no version yet. */
export interface CniResult {
  readonly interfaces: readonly CniInterface[]
  readonly ips: readonly CniAddress[]
  readonly routes: readonly CniRoute[]
  readonly dns: CniDns
}

export const EMPTY_RESULT: CniResult = { interfaces: [], ips: [], routes: [], dns: {} }

/** What an earlier plugin made and, after it, what we made; our addresses point to our interfaces. */
export function appendResult(earlier: CniResult, ours: CniResult): CniResult {
  const offset = earlier.interfaces.length
  const ips = ours.ips.map((ip) => (ip.interface === undefined ? ip : { ...ip, interface: ip.interface + offset }))
  return {
    interfaces: [...earlier.interfaces, ...ours.interfaces],
    ips: [...earlier.ips, ...ips],
    routes: [...earlier.routes, ...ours.routes],
    dns: Object.keys(ours.dns).length > 0 ? ours.dns : earlier.dns,
  }
}

/** The JSON document of `version`. */
export function renderResult(version: CniVersion, result: CniResult): Readonly<Record<string, unknown>> {
  if (!atLeast(version, '0.3.0')) return renderLegacy(version, result)
  const extended = atLeast(version, '1.1.0')
  const plain = atLeast(version, '1.0.0')
  const { interfaces, ips, routes, dns } = result
  return {
    cniVersion: version,
    interfaces: extended ? interfaces : interfaces.map(({ name, mac, sandbox }) => ({ name, mac, sandbox })),
    ips: plain ? ips : ips.map((ip) => ({ version: family(ip.address), ...ip })),
    routes: extended ? routes : routes.map(({ dst, gw }) => ({ dst, gw })),
    dns: plain && Object.keys(dns).length === 0 ? undefined : dns,
  }
}

function renderLegacy(version: CniVersion, { ips, routes, dns }: CniResult): Readonly<Record<string, unknown>> {
  const of = (wanted: '4' | '6'): unknown => {
    const first = ips.find(({ address }) => family(address) === wanted)
    if (first === undefined) return undefined
    const its = routes.filter(({ dst }) => family(dst) === wanted).map(({ dst, gw }) => ({ dst, gw }))
    return { ip: first.address, gateway: first.gateway, routes: its.length === 0 ? undefined : its }
  }
  return { cniVersion: version, ip4: of('4'), ip6: of('6'), dns }
}

function family(address: string): '4' | '6' {
  return address.includes(':') ? '6' : '4'
}
