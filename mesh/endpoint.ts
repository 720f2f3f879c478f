/** Where a mesh listens: addresses that gossip tells, and targets that people give. */
import { formatIp, type Ip, isIpv4, parseIp } from './base/ip.ts'
import { err, ok, type Result } from './base/result.ts'

/** The port that routers listen on unless told otherwise, as Weave Net's. */
export const MESH_PORT = 6783

export interface Endpoint {
  readonly address: Ip
  /** 1 to 65535. */
  readonly port: number
}

/** A host and a port of it. */
export interface Place {
  /** An IPv4 or IPv6 address, or a DNS name, in lower case; no brackets. */
  readonly host: string
  /** 1 to 65535. */
  readonly port: number
}

/** A mesh behind a web server: reached by WebSocket, plain or through TLS. */
export interface WebTarget extends Place {
  readonly scheme: WebScheme
  /** Begins with a slash. */
  readonly path: string
}

export type WebScheme = 'ws' | 'wss'

/** What to dial, as a person gave it: a router's own port, or one behind a web server. */
export type Target = Place | WebTarget

/** Where a router answers on its own port; a web server in front of it may have another path for it. */
export const WEB_PATH = '/weft'

/** Ports of the web. */
const WEB_PORTS: Readonly<Record<WebScheme, number>> = { ws: 80, wss: 443 }
/** Longer ones are refused by many web servers, with the rest of the request. */
const PATH_LENGTH_MAX = 1_024
/** The characters of RFC 3986 that stand for themselves, in segments, and a query. */
const PATH = /^(\/[\w.~!$&'()*+,;=:@%-]*)+(\?[\w.~!$&'()*+,;=:@%/?-]*)?$/
/** A web client takes these away before it asks. */
const DOT_SEGMENT = /\/(\.|%2e){1,2}(\/|\?|$)/i
const WEB = /^(?<scheme>wss?):\/\/(?<authority>[^/?#]*)(?<path>.*)$/i

/** The longest name that DNS can carry. */
const HOST_LENGTH_MAX = 253
const LABEL = '[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?'
const NAME = new RegExp(`^${LABEL}(\\.${LABEL})*\\.?$`)
/** What resolvers take for a number and not for a name, as in `10.1`. */
const NUMBER = /(^|\.)(\d+|0x[0-9a-f]*)\.?$/
/** `[v6]` or `[v6]:port`; `host` or `host:port`. */
const BRACKETED = /^\[(?<host>[^\]]*)\](?::(?<port>.*))?$/
const PLAIN = /^(?<host>[^:[\]]*)(?::(?<port>[^:]*))?$/

export function formatEndpoint({ address, port }: Endpoint): string {
  return hostPort(formatIp(address), port)
}

/** The same text for the same place, as `formatEndpoint` writes it where the host is an address. */
export function formatTarget(target: Target): string {
  const place = hostPort(target.host, target.port)
  return isWeb(target) ? `${target.scheme}://${place}${target.path}` : place
}

export function isWeb(target: Target): target is WebTarget {
  return 'scheme' in target
}

export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535
}

/**
 * Parses `host`, `host:port`, an IPv6 address, `[IPv6 address]:port`, or `ws://` and `wss://` before one of these and
 * a path after it. The port is `MESH_PORT`, or that of the web, when not given; the path is `WEB_PATH`. The error is a
 * sentence for people.
 */
export function parseTarget(text: string): Result<Target, string> {
  const web = WEB.exec(text)?.groups
  if (web !== undefined) return parseWeb(web)
  // An IPv6 address needs no brackets where no port follows.
  const isBare = !text.includes('[') && text.split(':').length > 2
  return parseAuthority(isBare ? `[${text}]` : text, MESH_PORT)
}

function parseWeb({ scheme = '', authority = '', path = '' }: Readonly<Record<string, string>>): Result<Target, string> {
  const known = scheme.toLowerCase() === 'wss' ? 'wss' : 'ws'
  if (authority.includes('@')) return err('a target takes no user name or password')
  const place = parseAuthority(authority, WEB_PORTS[known])
  if (!place.ok) return place
  if (path !== '' && (path.length > PATH_LENGTH_MAX || !PATH.test(path) || DOT_SEGMENT.test(path))) {
    return err(`not a path of a web server: ${JSON.stringify(path)}`)
  }
  return ok({ scheme: known, ...place.value, path: path === '' ? WEB_PATH : path })
}

function parseAuthority(text: string, portUnlessGiven: number): Result<Place, string> {
  const found = BRACKETED.exec(text) ?? PLAIN.exec(text)
  if (found === null) return err(`not a host, host:port or [address]:port: ${JSON.stringify(text)}`)
  const { host: name = '', port } = found.groups ?? {}
  const host = text.startsWith('[') ? parseIpv6Host(name) : parseHost(name.toLowerCase())
  if (!host.ok) return host
  if (port === undefined) return ok({ host: host.value, port: portUnlessGiven })
  if (!/^\d{1,5}$/.test(port) || !isPort(Number(port))) return err(`not a port from 1 to 65535: ${JSON.stringify(port)}`)
  return ok({ host: host.value, port: Number(port) })
}

function parseHost(text: string): Result<string, string> {
  const isName = text.length <= HOST_LENGTH_MAX && NAME.test(text) && !NUMBER.test(text)
  const address = isName ? undefined : addressOf(text)
  if (isName || (address !== undefined && isIpv4(address))) return ok(text)
  return err(`not a host name or IP address: ${JSON.stringify(text)}`)
}

function parseIpv6Host(text: string): Result<string, string> {
  try {
    if (text.includes(':')) return ok(formatIp(parseIp(text)))
  } catch (error) {
    return err(error instanceof RangeError ? error.message : String(error))
  }
  return err(`not an IPv6 address: ${JSON.stringify(text)}`)
}

function addressOf(text: string): Ip | undefined {
  try {
    return parseIp(text)
  } catch {
    return undefined
  }
}

function hostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
