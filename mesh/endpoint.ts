/** Where a mesh listens: addresses that gossip tells, and targets that people give. */
import { formatIpv4, type Ipv4 } from './base/address.ts'
import { err, ok, type Result } from './base/result.ts'

/** The port that routers listen on unless told otherwise, as Weave Net's. */
export const MESH_PORT = 6783

export interface Endpoint {
  readonly address: Ipv4
  /** 1 to 65535. */
  readonly port: number
}

/** A place to dial, as a person gave it. */
export interface Target {
  /** An IPv4 address or a DNS name, in lower case. */
  readonly host: string
  /** 1 to 65535. */
  readonly port: number
}

/** The longest name that DNS can carry. */
const HOST_LENGTH_MAX = 253
const LABEL = '[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?'
const HOST = new RegExp(`^${LABEL}(\\.${LABEL})*\\.?$`)

export function formatEndpoint({ address, port }: Endpoint): string {
  return `${formatIpv4(address)}:${port}`
}

/** The same text for the same place, as `formatEndpoint` writes it where the host is an address. */
export function formatTarget({ host, port }: Target): string {
  return `${host}:${port}`
}

export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535
}

/** Parses `host` or `host:port`; the port is `MESH_PORT` when not given. The error is a sentence for people. */
export function parseTarget(text: string): Result<Target, string> {
  const [host = '', port, more] = text.toLowerCase().split(':')
  if (more !== undefined) return err(`not a host or host:port: ${JSON.stringify(text)}`)
  if (host.length > HOST_LENGTH_MAX || !HOST.test(host)) return err(`not a host name or IPv4 address: ${JSON.stringify(host)}`)
  if (port === undefined) return ok({ host, port: MESH_PORT })
  if (!/^\d{1,5}$/.test(port) || !isPort(Number(port))) return err(`not a port from 1 to 65535: ${JSON.stringify(port)}`)
  return ok({ host, port: Number(port) })
}
