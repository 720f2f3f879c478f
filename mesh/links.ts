/** All connections of this peer: accepts and dials, lets one live per other peer, and no more than there is room for. */
import { admit, type HalfOpen, noneHalfOpen, release } from './admission.ts'
import { type Millis, millis, type PeerName } from './base/brand.ts'
import type { Clock } from './base/clock.ts'
import { formatIp, type Ip } from './base/ip.ts'
import type { LogFields, Logger } from './base/log.ts'
import type { Random } from './base/random.ts'
import { Beats } from './beats.ts'
import { Connection, type ConnectionPorts, type End, type EndCode, type Traffic } from './connection.ts'
import type { DialEvent } from './dialer.ts'
import { chooseConnection, type Rival } from './duplicates.ts'
import { formatEndpoint, type Target } from './endpoint.ts'
import type { FaultCode, Faults } from './faults.ts'
import type { Authenticated, HandshakeOptions } from './handshake.ts'
import { beatInterval } from './heartbeat.ts'
import type { Liveness } from './liveness.ts'
import type { GossipMessage } from './messages.ts'
import { DEGREE_MAX, degreeWanted, type NeighbourView, surplusOf, whoMakesRoom } from './overlay.ts'
import type { Neighbour, PeerRecord } from './record.ts'
import { Seeker } from './seeker.ts'
import { type ConnectionStatus, connectionStatuses } from './status.ts'
import type { Stream, Transport } from './transport.ts'

export interface LinksPorts {
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly faults: Faults
  readonly handshake: HandshakeOptions
  /** All but our own. */
  readonly records: () => readonly PeerRecord[]
  readonly recordOf: (name: PeerName) => PeerRecord | undefined
  readonly livenessOf: (name: PeerName) => Liveness
  readonly up: (name: PeerName, outbound: boolean) => void
  /** @param isLost neither side has parted from the other one. */
  readonly down: (name: PeerName, isLost: boolean) => void
  readonly message: (name: PeerName, message: GossipMessage) => void
  /** What one is told that is turned away. */
  readonly consolation: (code: EndCode, peer: PeerName) => readonly GossipMessage[]
  /** Another process, at this address, is to keep our identity. */
  readonly yields: (to: Ip) => void
  /** Something that `statuses` tells has changed. */
  readonly changed: () => void
}

/** What we remember of a connection. */
interface Link {
  /** The goal that we dialled. */
  readonly goal: string | undefined
  /** Its number among the handshakes that others have under way with us, while it is one. */
  halfOpen: number | undefined
  /** Proved, whether wanted or not. */
  peer: PeerName | undefined
}

/** Which ends are the other side's fault, and as what they count. */
const FAULT_OF_END: Readonly<Partial<Record<EndCode, FaultCode>>> = {
  foreign: 'handshake',
  key: 'handshake',
  proof: 'handshake',
  collision: 'collision',
  copy: 'collision',
  timeout: 'timeout',
  silence: 'silence',
  frame: 'frame',
  seal: 'seal',
  message: 'message',
}

export class Links implements Disposable {
  readonly seeker: Seeker
  readonly #ports: LinksPorts
  readonly #connectionPorts: ConnectionPorts
  readonly #links = new Map<Connection, Link>()
  readonly #established = new Map<PeerName, Connection>()
  /** Places that did not know the key they were dialled with last, and are to be offered our other one. */
  readonly #offerOther = new Set<string>()
  readonly #beats: Beats
  /** How often they go out, for as long as all records are the same. */
  #beating: { readonly records: readonly PeerRecord[]; readonly interval: Millis } | undefined
  #halfOpen: HalfOpen = noneHalfOpen
  #arrivals = 0
  /** The addresses in all records, for as long as these are the same. */
  #members: { readonly records: readonly PeerRecord[]; readonly addresses: ReadonlySet<Ip> } | undefined
  #ended: Traffic = { bytesIn: 0, bytesOut: 0, messagesIn: 0, messagesOut: 0 }
  #isClosed = false

  constructor(ports: LinksPorts) {
    this.#ports = ports
    this.#beats = new Beats({ clock: ports.clock, interval: () => this.#beatInterval() })
    this.#connectionPorts = {
      clock: ports.clock,
      handshake: ports.handshake,
      admit: (connection, peer) => this.#admit(connection, peer),
      consolation: ({ code }, { name }) => ports.consolation(code, name),
      established: (connection, peer) => this.#onEstablished(connection, peer),
      message: (_connection, peer, message) => ports.message(peer.name, message),
      asked: (connection) => this.#beats.beat(connection, false),
      doubted: (connection, { name }) => this.#onDoubted(connection, name),
      ended: (connection, end) => this.#onEnded(connection, end),
    }
    this.seeker = new Seeker({
      ...ports,
      view: () => ({
        self: ports.handshake.identity.name,
        records: ports.records(),
        connected: new Set(this.#established.keys()),
        livenessOf: ports.livenessOf,
        wanted: this.#wanted(),
      }),
      opened: (stream, place) => this.#add(stream, place),
    })
  }

  /** Names of those with whom a connection is established, in order. */
  get names(): readonly PeerName[] {
    return [...this.#established.keys()].sort()
  }

  /** Takes a stream that somebody has opened to us. */
  accept(stream: Stream): void {
    const { address } = stream.remote
    this.#arrivals += 1
    const admitted = admit(this.#halfOpen, { id: this.#arrivals, address, isMember: this.#isMember(address) }, this.#earnest())
    if (this.#isClosed || !admitted.ok) {
      stream.close()
      if (!admitted.ok) this.#ports.faults.report('admission', { address: formatEndpoint(stream.remote) }, admitted.error)
      return
    }
    const { halfOpen, evicted } = admitted.value
    this.#halfOpen = halfOpen
    if (evicted !== undefined) this.#evict(evicted)
    this.#add(stream, undefined)
  }

  /** Sends to a neighbour. False when it is none, or too slow. */
  send(to: PeerName, message: GossipMessage): boolean {
    return this.#established.get(to)?.send(message) ?? false
  }

  /** Another neighbour doubts this one. */
  challenge(name: PeerName): void {
    const connection = this.#established.get(name)
    if (connection?.challenge() === true) this.#onDoubted(connection, name)
  }

  /** Whether a neighbour would take gossip now. */
  isReady(name: PeerName): boolean {
    return this.#established.get(name)?.isReady ?? false
  }

  /** In order of name. */
  neighbours(): readonly Neighbour[] {
    const neighbours = [...this.#established].map(([name, { remote, outbound }]) => ({ name, ...remote, outbound }))
    return neighbours.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Parts from a neighbour when we have too many, and it has as well. */
  trim(): void {
    const surplus = surplusOf(this.#ports.handshake.identity.name, this.#neighbourViews())
    if (surplus === undefined) return
    this.#established.get(surplus)?.end({ code: 'surplus', reason: 'both have more connections than they need' })
  }

  statuses(nickname: (name: PeerName) => string): readonly ConnectionStatus[] {
    const { clock } = this.#ports
    const offset = clock.wallTime() - clock.now()
    const pending = [...this.#links].filter(([connection]) => connection.established === undefined).map(([, { goal }]) => goal)
    return connectionStatuses({
      connections: this.#links.keys(),
      attempts: this.seeker.attempts,
      targets: this.seeker.targets,
      pending: new Set(pending.filter((goal) => goal !== undefined)),
      connected: new Set(this.#established.keys()),
      nickname,
      wall: (moment) => millis(Math.round(moment + offset)),
    })
  }

  traffic(): Traffic {
    return [...this.#links.keys()].reduce((sum, { traffic }) => addTraffic(sum, traffic), this.#ended)
  }

  /** Says goodbye to all; nothing is dialled or accepted any more. */
  [Symbol.dispose](): void {
    this.#isClosed = true
    this.#beats[Symbol.dispose]()
    this.seeker[Symbol.dispose]()
    for (const connection of [...this.#links.keys()]) connection.end({ code: 'closed', reason: 'the peer is shutting down' })
  }

  /** How many more connections we want. Who knows of nobody alive wants whomever it knows of. */
  #wanted(): number {
    const { records, livenessOf } = this.#ports
    const all = records()
    const alive = all.filter(({ name }) => livenessOf(name) === 'alive').length
    return degreeWanted(alive > 0 ? alive : all.length) - this.#established.size
  }

  #neighbourViews(): readonly NeighbourView[] {
    const { recordOf, handshake } = this.#ports
    const zone = recordOf(handshake.identity.name)?.zone
    return [...this.#established.keys()].map((name) => {
      const record = recordOf(name)
      return { name, degree: record?.neighbours.length ?? 0, isOtherZone: record?.zone !== zone }
    })
  }

  #add(stream: Stream, goal: string | undefined): void {
    // The link is there before the connection can report anything: its handshake begins with bytes of ours only.
    const connection = new Connection(stream, goal !== undefined, this.#portsFor(goal))
    this.#links.set(connection, { goal, halfOpen: goal === undefined ? this.#arrivals : undefined, peer: undefined })
    // A stranger's handshake is told to whoever asks, but wakes nobody: in a flood that would be all that we do.
    if (goal !== undefined) this.#ports.changed()
  }

  #isMember(address: Ip): boolean {
    const records = this.#ports.records()
    if (this.#members?.records !== records) {
      this.#members = { records, addresses: new Set(records.flatMap(({ addresses }) => addresses)) }
    }
    return this.#members.addresses.has(address)
  }

  /** Who has a handshake under way and has said something right: what is wrong ends it at once. */
  #earnest(): ReadonlySet<number> {
    const spoke = [...this.#links].filter(([connection]) => connection.traffic.messagesIn > 0)
    return new Set(spoke.map(([, { halfOpen }]) => halfOpen).filter((arrival) => arrival !== undefined))
  }

  /** Ends a handshake that another one needs the place of. */
  #evict(arrival: number): void {
    const [connection] = [...this.#links].find(([, { halfOpen }]) => halfOpen === arrival) ?? []
    const reason = 'its handshake gave way to a newer one'
    if (connection === undefined) return
    this.#ports.faults.report('admission', { address: formatEndpoint(connection.remote) }, reason)
    connection.end({ code: 'closed', reason })
  }

  #portsFor(goal: string | undefined): ConnectionPorts {
    if (goal === undefined || !this.#offerOther.has(goal)) return this.#connectionPorts
    return { ...this.#connectionPorts, handshake: { ...this.#ports.handshake, offer: 'other' } }
  }

  #admit(connection: Connection, peer: Authenticated): End | undefined {
    const link = this.#links.get(connection)
    if (link !== undefined) link.peer = peer.name
    const old = this.#established.get(peer.name)
    if (old?.established === undefined) return this.#makeRoom(connection, peer)
    const age = millis(this.#ports.clock.now() - old.established.since)
    const { keep, code, reason } = chooseConnection(rival(old, old.established.peer), rival(connection, peer), age)
    if (keep === 'old') return { code, reason }
    old.end({ code, reason })
    return undefined
  }

  /** One that has nobody else gets a place at the expense of a neighbour that has many. */
  #makeRoom({ outbound }: Connection, { name }: Authenticated): End | undefined {
    if (this.#established.size < DEGREE_MAX) return undefined
    const isLonely = outbound || this.#ports.livenessOf(name) !== 'alive'
    const parting = isLonely ? whoMakesRoom(this.#neighbourViews()) : undefined
    const spared = parting === undefined ? undefined : this.#established.get(parting)
    if (spared === undefined) return { code: 'full', reason: `connection limit reached (${DEGREE_MAX})` }
    spared.end({ code: 'surplus', reason: 'making room for a peer that has nobody else' })
    return undefined
  }

  /** Neighbours of ours that say they are this peer's as well. */
  #common(name: PeerName): readonly PeerName[] {
    const neighbours = this.#ports.recordOf(name)?.neighbours ?? []
    return neighbours.map((neighbour) => neighbour.name).filter((other) => this.#established.has(other))
  }

  /**
   * Who else is connected with it asks now, not when it misses a beat itself, and tells others in turn, once. A host that
   * answers has a process that is slow, or cannot be reached by this connection alone: we wait for it.
   */
  #onDoubted(connection: Connection, name: PeerName): void {
    for (const other of this.#common(name)) this.send(other, { kind: 'doubt', peer: name })
    this.#beats.beat(connection, true)
    const record = this.#ports.recordOf(name)
    const places = record?.addresses.map((address): Target => ({ host: formatIp(address), port: record.port })) ?? []
    this.seeker.ask(places, (isThere) => {
      if (isThere) connection.vouch()
      else if (connection.isDoubted) connection.end({ code: 'silence', reason: 'the peer has fallen silent, and its host does not answer' })
    })
  }

  /** How often to beat to each neighbour: rarely where those that miss us can tell each other. */
  #beatInterval(): Millis {
    const records = this.#ports.records()
    if (this.#beating?.records !== records) {
      const watchers = [...this.#established.keys()].map((name) => this.#common(name).length + 1)
      this.#beating = { records, interval: beatInterval(Math.min(...watchers)) }
    }
    return this.#beating.interval
  }

  #onEstablished(connection: Connection, peer: Authenticated): void {
    const { log, up, changed } = this.#ports
    const link = this.#links.get(connection)
    this.#releaseHalfOpen(link)
    this.#established.set(peer.name, connection)
    this.#beats.up(connection)
    if (link?.goal !== undefined) this.seeker.record(link.goal, { kind: 'established', peer: peer.name })
    log.info({ peer: peer.name, address: formatEndpoint(connection.remote) }, 'connection established')
    up(peer.name, connection.outbound)
    changed()
    this.seeker.kick()
  }

  #onEnded(connection: Connection, end: End): void {
    const { log, faults, down, changed, yields } = this.#ports
    const link = this.#links.get(connection)
    this.#links.delete(connection)
    this.#beats.down(connection)
    this.#releaseHalfOpen(link)
    this.#ended = addTraffic(this.#ended, connection.traffic)
    const fields: LogFields = {
      address: formatEndpoint(connection.remote),
      reason: end.reason,
      ...(link?.peer !== undefined && { peer: link.peer }),
    }
    const fault = FAULT_OF_END[end.code]
    if (fault !== undefined) faults.report(fault, fields, end.reason)
    if (end.code === 'copy') yields(connection.remote.address)
    const wasEstablished = link?.peer !== undefined && this.#established.get(link.peer) === connection
    if (link?.peer !== undefined && wasEstablished) {
      this.#established.delete(link.peer)
      log.info(fields, 'connection ended')
      down(link.peer, end.code !== 'surplus')
    } else {
      log.debug(fields, 'connection not established')
    }
    if (link?.goal !== undefined) {
      this.#noteOffer(link.goal, end.code)
      this.seeker.record(link.goal, dialEvent(end, link.peer, wasEstablished))
    } else if (!wasEstablished) return
    changed()
    this.seeker.kick()
  }

  #releaseHalfOpen(link: Link | undefined): void {
    if (link?.halfOpen === undefined) return
    this.#halfOpen = release(this.#halfOpen, link.halfOpen)
    link.halfOpen = undefined
  }

  /** The next dial of a place that did not know one of our keys offers the other one. */
  #noteOffer(goal: string, code: EndCode): void {
    for (const place of this.#offerOther) if (!this.seeker.attempts.has(place)) this.#offerOther.delete(place)
    if (code === 'key' && !this.#offerOther.delete(goal)) this.#offerOther.add(goal)
  }
}

function rival({ outbound }: Connection, { connectionId, instance, incarnation }: Authenticated): Rival {
  return { outbound, connectionId, instance, incarnation }
}

function dialEvent({ code, reason }: End, peer: PeerName | undefined, wasEstablished: boolean): DialEvent {
  if (code === 'self') return { kind: 'ourself' }
  if (code === 'duplicate' && peer !== undefined) return { kind: 'duplicate', peer }
  if ((code === 'full' || code === 'surplus') && peer !== undefined) return { kind: 'declined', peer }
  return wasEstablished ? { kind: 'ended', reason } : { kind: 'failed', reason }
}

function addTraffic(a: Traffic, b: Traffic): Traffic {
  return {
    bytesIn: a.bytesIn + b.bytesIn,
    bytesOut: a.bytesOut + b.bytesOut,
    messagesIn: a.messagesIn + b.messagesIn,
    messagesOut: a.messagesOut + b.messagesOut,
  }
}
