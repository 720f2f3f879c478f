/** What the mesh tells about itself: plain values, for people and programs. */
import type { Millis, PeerName } from './base/brand.ts'
import type { Connection, Traffic } from './connection.ts'
import type { Attempts } from './dialer.ts'
import { formatEndpoint, formatTarget, type Target } from './endpoint.ts'
import type { FaultCode } from './faults.ts'
import type { PostStatus } from './post.ts'
import type { Living } from './view.ts'

/** In Weave Net's words. Times are wall time. */
export type ConnectionStatus = {
  /** host:port of the other side: as we see it, after its scheme when that is of the web; or as we dial it. */
  readonly address: string
  readonly outbound: boolean
} & (
  | { readonly state: 'established'; readonly since: Millis; readonly name: PeerName; readonly nickname: string }
  /** The handshake is under way. */
  | { readonly state: 'pending' }
  /** First try under way. */
  | { readonly state: 'connecting' }
  /** Another try under way, and why the last one failed. */
  | { readonly state: 'retrying'; readonly reason: string }
  | { readonly state: 'failed'; readonly reason: string; readonly retryAt: Millis | 'never' }
)

export interface MeshStatus {
  readonly name: PeerName
  readonly nickname: string
  readonly port: number
  readonly protocol: { readonly min: number; readonly max: number }
  readonly connections: readonly ConnectionStatus[]
  /** As given, in order. */
  readonly targets: readonly string[]
  readonly peers: number
  readonly living: Living
  /** Records of ours from elsewhere that we had to outdo. */
  readonly supersessions: number
  /** Hex, by channel: equal in all peers when all know the same. */
  readonly digests: Readonly<Record<string, string>>
  /** Since start, ended connections included. */
  readonly traffic: Traffic
  readonly post: PostStatus
  readonly faults: Readonly<Partial<Record<FaultCode, number>>>
}

export interface ConnectionView {
  readonly connections: Iterable<Connection>
  readonly attempts: Attempts
  /** As people gave them. */
  readonly targets: readonly Target[]
  /** Places whose connection is in its handshake. */
  readonly pending: ReadonlySet<string>
  readonly connected: ReadonlySet<PeerName>
  nickname(name: PeerName): string
  /** Wall time of a moment of the clock. */
  wall(moment: Millis): Millis
}

/** Live ones first, then what we try to reach, each in order of address. */
export function connectionStatuses(view: ConnectionView): readonly ConnectionStatus[] {
  const live = [...view.connections].map((connection) => liveStatus(connection, view))
  const given = new Set(view.targets.map(formatTarget))
  const tried = [...view.attempts.keys()].map((place) => wantedStatus(place, given.has(place), view))
  const wanted = tried.filter((status) => status !== undefined)
  return [...live.sort(byAddress), ...wanted.sort(byAddress)]
}

function byAddress(a: ConnectionStatus, b: ConnectionStatus): number {
  return a.address < b.address ? -1 : 1
}

function liveStatus(connection: Connection, { nickname }: ConnectionView): ConnectionStatus {
  const { remote, via, outbound, established } = connection
  const address = via === undefined ? formatEndpoint(remote) : `${via}://${formatEndpoint(remote)}`
  if (established === undefined) return { address, outbound, state: 'pending' }
  const { name } = established.peer
  return { address, outbound, state: 'established', since: established.sinceWall, name, nickname: nickname(name) }
}

/** Undefined when there is nothing to tell: it is connected, or its turn has not come. */
function wantedStatus(
  address: string,
  isGiven: boolean,
  { attempts, pending, connected, wall }: ConnectionView,
): ConnectionStatus | undefined {
  const attempt = attempts.get(address)
  if (attempt === undefined || pending.has(address)) return undefined
  if (attempt.kind === 'ourself') {
    return isGiven ? { address, outbound: true, state: 'failed', reason: 'cannot connect to ourself', retryAt: 'never' } : undefined
  }
  if (attempt.peer !== undefined && connected.has(attempt.peer)) return undefined
  if (attempt.kind === 'dialing') {
    if (attempt.reason === undefined) return { address, outbound: true, state: 'connecting' }
    return { address, outbound: true, state: 'retrying', reason: attempt.reason }
  }
  if (attempt.kind === 'connected' || attempt.reason === undefined) return undefined
  return { address, outbound: true, state: 'failed', reason: attempt.reason, retryAt: wall(attempt.retryAt) }
}
