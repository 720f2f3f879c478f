/** All connections of this peer: accepts and dials, lets one live per other peer, and no more than there is room for. */

import { admit, CONNECTIONS_MAX, DIALLED_CONNECTIONS_MAX, type HalfOpen, noneHalfOpen, release, whoMakesRoom } from './admission.ts'
import { type Millis, millis, type PeerName, seconds } from './base/brand.ts'
import type { Clock } from './base/clock.ts'
import type { Ip } from './base/ip.ts'
import type { LogFields, Logger } from './base/log.ts'
import type { Random } from './base/random.ts'
import { err, type Result } from './base/result.ts'
import { Connection, type ConnectionPorts, type End, type EndCode, type Traffic } from './connection.ts'
import { type Attempts, type DialEvent, type Goal, goalsOf, hasten, planDials, recordDial, retryNow } from './dialer.ts'
import { chooseConnection, type Rival } from './duplicates.ts'
import { formatEndpoint, formatTarget, type Target } from './endpoint.ts'
import type { FaultCode, Faults } from './faults.ts'
import type { Authenticated, HandshakeOptions } from './handshake.ts'
import type { GossipMessage } from './messages.ts'
import type { Neighbour, PeerRecord } from './record.ts'
import { type ConnectionStatus, connectionStatuses } from './status.ts'
import type { Stream, Transport } from './transport.ts'

/** Two lost SYNs on a slow link; a dead address must not hold a place among the dials for minutes, as the kernel would. */
const DIAL_DEADLINE: Millis = seconds(5)

export interface LinksPorts {
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly faults: Faults
  readonly handshake: HandshakeOptions
  readonly up: (name: PeerName, outbound: boolean) => void
  readonly down: (name: PeerName) => void
  readonly message: (name: PeerName, message: GossipMessage) => void
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
  proof: 'handshake',
  collision: 'collision',
  timeout: 'timeout',
  silence: 'silence',
  frame: 'frame',
  message: 'message',
}

export class Links implements Disposable {
  readonly #ports: LinksPorts
  readonly #connectionPorts: ConnectionPorts
  readonly #links = new Map<Connection, Link>()
  readonly #established = new Map<PeerName, Connection>()
  /** Dials whose stream is not open yet, by goal. */
  readonly #dials = new Map<string, Disposable>()
  #halfOpen: HalfOpen = noneHalfOpen
  #arrivals = 0
  /** The addresses in `#records`; undefined until somebody asks. */
  #memberAddresses: ReadonlySet<Ip> | undefined
  #targets: readonly Target[] = []
  #records: readonly PeerRecord[] = []
  #goals: ReadonlyMap<string, Goal> = new Map()
  #attempts: Attempts = new Map()
  #planning: { readonly at: Millis; readonly timer: Disposable } | undefined
  #ended: Traffic = { bytesIn: 0, bytesOut: 0, messagesIn: 0, messagesOut: 0 }
  #isClosed = false

  constructor(ports: LinksPorts) {
    this.#ports = ports
    this.#connectionPorts = {
      clock: ports.clock,
      handshake: ports.handshake,
      admit: (connection, peer) => this.#admit(connection, peer),
      established: (connection, peer) => this.#onEstablished(connection, peer),
      message: (_connection, peer, message) => ports.message(peer.name, message),
      ended: (connection, end) => this.#onEnded(connection, end),
    }
  }

  get targets(): readonly Target[] {
    return this.#targets
  }

  /** Replaces what people want us to dial; what we have not reached of it is tried at once. */
  setTargets(targets: readonly Target[]): void {
    this.#targets = targets
    this.#attempts = retryNow(this.#attempts, targets.map(formatTarget))
    this.#setGoals()
  }

  /** Replaces what is known of other peers. */
  setRecords(records: readonly PeerRecord[]): void {
    const { clock, random } = this.#ports
    const old = new Set(this.#records)
    // A peer that tells something new lives: if we cannot reach it, that may have changed as well.
    const alive = records.filter((record) => !(old.has(record) || this.#established.has(record.name)))
    const places = alive.flatMap(({ addresses, port }) => addresses.map((address) => formatEndpoint({ address, port })))
    this.#attempts = hasten(this.#attempts, places, { now: clock.now(), random })
    this.#records = records
    this.#memberAddresses = undefined
    this.#setGoals()
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

  /** In order of name. */
  neighbours(): readonly Neighbour[] {
    const neighbours = [...this.#established].map(([name, { remote, outbound }]) => ({ name, ...remote, outbound }))
    return neighbours.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  statuses(nickname: (name: PeerName) => string): readonly ConnectionStatus[] {
    const { clock } = this.#ports
    const offset = clock.wallTime() - clock.now()
    const pending = [...this.#links].filter(([connection]) => connection.established === undefined).map(([, { goal }]) => goal)
    return connectionStatuses({
      connections: this.#links.keys(),
      attempts: this.#attempts,
      goals: this.#goals,
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
    this.#planning?.timer[Symbol.dispose]()
    for (const dial of this.#dials.values()) dial[Symbol.dispose]()
    this.#dials.clear()
    for (const connection of [...this.#links.keys()]) connection.end({ code: 'closed', reason: 'the peer is shutting down' })
  }

  #add(stream: Stream, goal: string | undefined): void {
    // The link is there before the connection can report anything: its handshake begins with bytes of ours only.
    const connection = new Connection(stream, goal !== undefined, this.#connectionPorts)
    this.#links.set(connection, { goal, halfOpen: goal === undefined ? this.#arrivals : undefined, peer: undefined })
    // A stranger's handshake is told to whoever asks, but wakes nobody: in a flood that would be all that we do.
    if (goal !== undefined) this.#ports.changed()
  }

  #isMember(address: Ip): boolean {
    this.#memberAddresses ??= new Set(this.#records.flatMap(({ addresses }) => addresses))
    return this.#memberAddresses.has(address)
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

  #admit(connection: Connection, peer: Authenticated): End | undefined {
    const link = this.#links.get(connection)
    if (link !== undefined) link.peer = peer.name
    const old = this.#established.get(peer.name)
    if (old?.established === undefined) return this.#makeRoom(connection)
    const age = millis(this.#ports.clock.now() - old.established.since)
    const { keep, code, reason } = chooseConnection(rival(old, old.established.peer), rival(connection, peer), age)
    if (keep === 'old') return { code, reason }
    old.end({ code, reason })
    return undefined
  }

  #makeRoom(connection: Connection): End | undefined {
    if (this.#established.size < CONNECTIONS_MAX) return undefined
    const neighbours = this.#records.filter(({ name }) => this.#established.has(name))
    const parting = whoMakesRoom(new Map(neighbours.map((record) => [record.name, record.neighbours.length])))
    const spared = parting === undefined ? undefined : this.#established.get(parting)
    if (spared !== undefined) {
      spared.end({ code: 'closed', reason: 'making room for a peer with fewer connections' })
      return undefined
    }
    const reason = `connection limit reached (${CONNECTIONS_MAX})`
    this.#ports.faults.report('connections', { address: formatEndpoint(connection.remote) }, reason)
    return { code: 'closed', reason }
  }

  #onEstablished(connection: Connection, peer: Authenticated): void {
    const { log, up, changed } = this.#ports
    const link = this.#links.get(connection)
    this.#releaseHalfOpen(link)
    this.#established.set(peer.name, connection)
    if (link?.goal !== undefined) this.#record(link.goal, { kind: 'established', peer: peer.name })
    log.info({ peer: peer.name, address: formatEndpoint(connection.remote) }, 'connection established')
    up(peer.name, connection.outbound)
    changed()
    this.#planAt(this.#ports.clock.now())
  }

  #onEnded(connection: Connection, end: End): void {
    const { log, faults, down, changed, clock } = this.#ports
    const link = this.#links.get(connection)
    this.#links.delete(connection)
    this.#releaseHalfOpen(link)
    this.#ended = addTraffic(this.#ended, connection.traffic)
    const fields: LogFields = {
      address: formatEndpoint(connection.remote),
      reason: end.reason,
      ...(link?.peer !== undefined && { peer: link.peer }),
    }
    const fault = FAULT_OF_END[end.code]
    if (fault !== undefined) faults.report(fault, fields, end.reason)
    const wasEstablished = link?.peer !== undefined && this.#established.get(link.peer) === connection
    if (link?.peer !== undefined && wasEstablished) {
      this.#established.delete(link.peer)
      log.info(fields, 'connection ended')
      down(link.peer)
    } else {
      log.debug(fields, 'connection not established')
    }
    if (link?.goal !== undefined) this.#record(link.goal, dialEvent(end, link.peer, wasEstablished))
    else if (!wasEstablished) return
    changed()
    this.#planAt(clock.now())
  }

  #releaseHalfOpen(link: Link | undefined): void {
    if (link?.halfOpen === undefined) return
    this.#halfOpen = release(this.#halfOpen, link.halfOpen)
    link.halfOpen = undefined
  }

  #record(goal: string, event: DialEvent): void {
    const { clock, random } = this.#ports
    this.#attempts = recordDial(this.#attempts, goal, event, { now: clock.now(), random })
  }

  #setGoals(): void {
    this.#goals = goalsOf(this.#targets, this.#records, this.#ports.handshake.identity.name)
    this.#ports.changed()
    this.#planAt(this.#ports.clock.now())
  }

  /** Plans at `moment`, or sooner if that is planned already: what happens in one turn is planned for once. */
  #planAt(moment: Millis): void {
    if (this.#isClosed || (this.#planning !== undefined && this.#planning.at <= moment)) return
    const { clock } = this.#ports
    this.#planning?.timer[Symbol.dispose]()
    const timer = clock.after(millis(Math.max(0, moment - clock.now())), () => this.#plan())
    this.#planning = { at: moment, timer }
  }

  #plan(): void {
    this.#planning = undefined
    const room = DIALLED_CONNECTIONS_MAX - this.#established.size
    const view = { goals: this.#goals, connected: new Set(this.#established.keys()), room }
    const { attempts, dial, wakeAt } = planDials(this.#attempts, view, this.#ports.clock.now())
    this.#attempts = attempts
    for (const goal of dial) this.#dial(goal)
    if (wakeAt !== undefined) this.#planAt(wakeAt)
  }

  #dial(goal: string): void {
    const target = this.#goals.get(goal)?.target
    if (target === undefined) return
    const { transport, clock, changed } = this.#ports
    this.#record(goal, { kind: 'started' })
    const dial = new DisposableStack()
    dial.use(transport.dial(target, (outcome) => this.#onDialled(goal, outcome)))
    dial.use(clock.after(DIAL_DEADLINE, () => this.#onDialled(goal, err(`dial ${goal}: no answer in time`))))
    this.#dials.set(goal, dial)
    changed()
  }

  #onDialled(goal: string, outcome: Result<Stream, string>): void {
    this.#dials.get(goal)?.[Symbol.dispose]()
    this.#dials.delete(goal)
    if (outcome.ok) {
      this.#add(outcome.value, goal)
      return
    }
    this.#record(goal, { kind: 'failed', reason: outcome.error })
    this.#ports.log.debug({ address: goal, reason: outcome.error }, 'dial failed')
    this.#ports.changed()
    this.#planAt(this.#ports.clock.now())
  }
}

function rival({ outbound }: Connection, { connectionId, instance, incarnation }: Authenticated): Rival {
  return { outbound, connectionId, instance, incarnation }
}

function dialEvent({ code, reason }: End, peer: PeerName | undefined, wasEstablished: boolean): DialEvent {
  if (code === 'self') return { kind: 'ourself' }
  if (code === 'duplicate' && peer !== undefined) return { kind: 'duplicate', peer }
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
