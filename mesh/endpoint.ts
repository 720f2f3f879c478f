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

/** A place to dial, as a person gave it. */
export interface Target {
  /** An IPv4 or IPv6 address, or a DNS name, in lower case; no brackets. */
  readonly host: string
  /** 1 to 65535. */
  readonly port: number
}

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
export function formatTarget({ host, port }: Target): string {
  return hostPort(host, port)
}

export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535
}

/**
 * Parses `host`, `host:port`, an IPv6 address, or `[IPv6 address]:port`; the port is `MESH_PORT` when not given. The
 * error is a sentence for people.
 */
export function parseTarget(text: string): Result<Target, string> {
  // An IPv6 address needs no brackets where no port follows.
  const isBare = !text.includes('[') && text.split(':').length > 2
  return parseAuthority(isBare ? `[${text}]` : text, MESH_PORT)
}

function parseAuthority(text: string, portUnlessGiven: number): Result<Target, string> {
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
