/** The mesh: who the other peers are, connections with them, and gossip over these. One per process; everything else only configures it. */
import { type Millis, millis, type PeerName, seconds } from './base/brand.ts'
import { toHex } from './base/bytes.ts'
import type { Clock } from './base/clock.ts'
import { WeftError } from './base/errors.ts'
import type { Ip } from './base/ip.ts'
import type { Logger } from './base/log.ts'
import type { Random } from './base/random.ts'
import { assert } from './base/result.ts'
import { Channels, type Outgoing } from './channels.ts'
import type { CryptoSuite } from './crypto.ts'
import { formatTarget, type Place, type Target } from './endpoint.ts'
import { countFaults, type Faults } from './faults.ts'
import { GOSSIP_MESSAGE_BYTES_MAX, type GossipPart, type GossipPort } from './gossip.ts'
import { INSTANCE_BYTES, PROTOCOL } from './handshake.ts'
import type { Identity } from './identity.ts'
import { Links } from './links.ts'
import type { GossipMessage } from './messages.ts'
import { type OwnFacts, Peers } from './peers.ts'
import { firstPublication, type Publication, publishAt, published } from './publication.ts'
import { ADDRESSES_MAX, MTU_BYTES_MAX, MTU_BYTES_MIN, NICKNAME_LENGTH_MAX, type PeerRecord, ZONE_LENGTH_MAX } from './record.ts'
import type { ConnectionStatus, MeshStatus } from './status.ts'
import { isPrintable } from './text.ts'
import type { Listener, Transport } from './transport.ts'

/** What the rest of the router finds out about this node, for the others to know. */
export interface MeshFacts {
  /** Underlay addresses of either family, best first, at most `ADDRESSES_MAX`. */
  readonly addresses: readonly Ip[]
  readonly mtuBytes: number
  readonly zone: string | undefined
}

export interface MeshOptions extends MeshFacts {
  readonly identity: Identity
  /** 1 to 63 printable characters. */
  readonly nickname: string
  /** Only peers of the same cluster connect. */
  readonly cluster: string
  /** Port 0 takes any free one. */
  readonly listen: Place
  readonly targets: readonly Target[]
  /** What `records` told in an earlier life. It need not be trusted: records are signed; what is wrong with it is counted and skipped. */
  readonly known?: readonly Uint8Array[]
  readonly transport: Transport
  readonly crypto: CryptoSuite
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

/** Digests go to each neighbour this often, give or take a quarter: what eager news did not bring is late by no more. */
const ANTI_ENTROPY_INTERVAL: Millis = seconds(5)
/** Targets are what people type, or the nodes of a cluster. */
const TARGETS_MAX = 4_096
/** Earlier lives explain one or two; more is another process that goes on with our key. */
const SUPERSESSIONS_TOLERATED = 2

export class Mesh implements AsyncDisposable {
  readonly #options: MeshOptions
  readonly #faults: Faults
  readonly #peers: Peers
  readonly #channels: Channels
  readonly #links: Links
  readonly #listeners = new Set<() => void>()
  /** When to compare digests with each neighbour next. */
  readonly #rounds = new Map<PeerName, Disposable>()
  #facts: MeshFacts
  #publication: Publication
  #publishing: Disposable | undefined
  #notifying: Disposable | undefined
  #listener: Listener | undefined
  /** The records that the links were told. */
  #told: readonly PeerRecord[] = []
  #supersessions = 0

  private constructor(options: MeshOptions) {
    const { identity, crypto, clock, log, cluster } = options
    const incarnation = Math.max(1, Math.floor(clock.wallTime()))
    this.#options = options
    this.#facts = checkedFacts(options)
    this.#faults = countFaults(clock, log)
    this.#peers = new Peers({ identity, crypto, incarnation })
    this.#channels = new Channels((peer, code, detail) => this.#faults.report(code, { peer }, detail))
    this.#channels.register(this.#peers)
    this.#publication = firstPublication(clock.now())
    this.#links = new Links({
      ...options,
      faults: this.#faults,
      handshake: { identity, crypto, cluster, incarnation, instance: crypto.randomBytes(INSTANCE_BYTES) },
      up: (name, outbound) => this.#onUp(name, outbound),
      down: (name) => this.#onDown(name),
      message: (name, message) => this.#onMessage(name, message),
      changed: () => this.#notify(),
    })
  }

  /**
   * Listens, and begins to dial the targets.
   * @throws {WeftError} USAGE when the options are wrong, CONFLICT when the port is taken.
   */
  static async start(options: MeshOptions): Promise<Mesh> {
    if (!isPrintable(options.nickname, NICKNAME_LENGTH_MAX)) {
      throw new WeftError(
        'USAGE',
        `the nickname ${JSON.stringify(options.nickname)} is not 1 to ${NICKNAME_LENGTH_MAX} printable characters`,
      )
    }
    const mesh = new Mesh(options)
    mesh.#listener = await options.transport.listen(options.listen, (stream) => mesh.#links.accept(stream))
    mesh.#publishNow()
    for (const delta of options.known ?? []) mesh.#recall(delta)
    mesh.connect(options.targets, { replace: true })
    return mesh
  }

  get name(): PeerName {
    return this.#options.identity.name
  }

  /** Where we listen. */
  get port(): number {
    assert(this.#listener !== undefined, 'a mesh that was started listens')
    return this.#listener.port
  }

  /**
   * Tells all peers something new about this node, soon.
   * @throws {WeftError} USAGE when a fact is out of its limits.
   */
  publish(facts: Partial<MeshFacts>): void {
    this.#facts = checkedFacts({ ...this.#facts, ...facts })
    this.#publishSoon()
  }

  /** Carries the state of `part` from now on. Once per channel. */
  register(part: GossipPart): GossipPort {
    const { channel } = part
    this.#channels.register(part)
    return {
      broadcast: (delta) => {
        assert(delta.length <= GOSSIP_MESSAGE_BYTES_MAX, `a delta of ${channel} fits into a message`)
        this.#send(this.#channels.spread(channel, delta))
      },
      send: (to, bytes) => {
        assert(bytes.length <= GOSSIP_MESSAGE_BYTES_MAX, `a message of ${channel} fits into one of ours`)
        return this.#links.send(to, { kind: 'unicast', channel, bytes })
      },
      reachable: () => this.#links.neighbours().map(({ name }) => name),
    }
  }

  /**
   * Adds to what we dial, or replaces it; connections that exist stay.
   * @throws {WeftError} USAGE when there are more than `TARGETS_MAX`.
   */
  connect(targets: readonly Target[], { replace = false }: { readonly replace?: boolean } = {}): void {
    const wanted = new Map([...(replace ? [] : this.#links.targets), ...targets].map((target) => [formatTarget(target), target]))
    if (wanted.size > TARGETS_MAX) throw new WeftError('USAGE', `more than ${TARGETS_MAX} targets`)
    this.#links.setTargets([...wanted.values()])
  }

  /** The opposite of `connect`; unknown targets are ignored. Peers that we know otherwise are still dialled. */
  forget(targets: readonly Target[]): void {
    const gone = new Set(targets.map(formatTarget))
    this.#links.setTargets(this.#links.targets.filter((target) => !gone.has(formatTarget(target))))
  }

  targets(): readonly Target[] {
    return this.#links.targets
  }

  /** The newest record of every peer that we know of, our own included, in order of name. */
  peers(): readonly PeerRecord[] {
    return this.#peers.list()
  }

  connections(): readonly ConnectionStatus[] {
    return this.#links.statuses((name) => this.#peers.get(name)?.nickname ?? '')
  }

  /** All records that we know, for a file that outlives this process: see `MeshOptions.known`. */
  records(): readonly Uint8Array[] {
    const all = this.#peers.missing(new Uint8Array(0))
    assert(all.ok, 'an empty summary is a summary')
    return all.value
  }

  /** Calls `listener` after what `peers` or `connections` tell has changed, once for all that changed in one turn. */
  onChange(listener: () => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  status(): MeshStatus {
    return {
      name: this.name,
      nickname: this.#options.nickname,
      port: this.port,
      protocol: PROTOCOL,
      connections: this.connections(),
      targets: this.targets().map(formatTarget),
      peers: this.#peers.list().length,
      supersessions: this.#peers.supersessions,
      digests: Object.fromEntries(this.#channels.digests().map(({ channel, digest }) => [channel, toHex(digest)])),
      traffic: this.#links.traffic(),
      faults: this.#faults.counts(),
    }
  }

  /** Says goodbye to all neighbours and stops listening. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listeners.clear()
    this.#links[Symbol.dispose]()
    this.#publishing?.[Symbol.dispose]()
    this.#notifying?.[Symbol.dispose]()
    await this.#listener?.[Symbol.asyncDispose]()
  }

  #onUp(name: PeerName, outbound: boolean): void {
    this.#channels.up(name)
    // One of the two begins; the other's turn comes with its first round.
    if (outbound) this.#sendDigests(name)
    this.#scheduleRound(name)
    this.#publishSoon()
  }

  #onDown(name: PeerName): void {
    this.#channels.down(name)
    this.#rounds.get(name)?.[Symbol.dispose]()
    this.#rounds.delete(name)
    this.#publishSoon()
  }

  #scheduleRound(name: PeerName): void {
    const { clock, random } = this.#options
    const wait = millis(ANTI_ENTROPY_INTERVAL * (0.75 + random() / 2))
    this.#rounds.set(
      name,
      clock.after(wait, () => {
        this.#sendDigests(name)
        this.#scheduleRound(name)
      }),
    )
  }

  #sendDigests(to: PeerName): void {
    this.#send([{ to, message: { kind: 'digests', digests: this.#channels.digests() } }])
  }

  #onMessage(from: PeerName, message: GossipMessage): void {
    this.#send(this.#channels.receive(from, message, this.#options.clock.now()))
    this.#onRecords()
  }

  #send(outgoing: readonly Outgoing[]): void {
    for (const { to, message } of outgoing) {
      if (!this.#links.send(to, message)) this.#faults.report('backlog', { peer: to }, 'gossip for it was dropped')
    }
  }

  /** Looks at what a merge has changed in the records, if anything. */
  #onRecords(): void {
    const { supersessions } = this.#peers
    if (supersessions !== this.#supersessions) {
      this.#supersessions = supersessions
      if (supersessions > SUPERSESSIONS_TOLERATED) {
        this.#faults.report('collision', { peer: this.name }, 'peer name collision: records of ours come from elsewhere')
      }
      this.#publishSoon()
    }
    const records = this.#peers.list()
    if (records === this.#told) return
    this.#told = records
    this.#links.setRecords(records)
    this.#notify()
  }

  #recall(delta: Uint8Array): void {
    const merged = this.#peers.merge(delta, this.name)
    for (const { code, detail } of merged.ok ? merged.value.faults : [merged.error]) {
      this.#faults.report(code, { peer: this.name }, `a record of an earlier life: ${detail}`)
    }
    this.#onRecords()
  }

  #publishSoon(): void {
    const { clock } = this.#options
    if (this.#publishing !== undefined) return
    const wait = millis(publishAt(this.#publication, clock.now()) - clock.now())
    this.#publishing = clock.after(wait, () => {
      this.#publishing = undefined
      this.#publication = published(this.#publication, clock.now())
      this.#publishNow()
    })
  }

  #publishNow(): void {
    const facts: OwnFacts = { ...this.#facts, nickname: this.#options.nickname, port: this.port, neighbours: this.#links.neighbours() }
    this.#send(this.#channels.spread(this.#peers.channel, this.#peers.publish(facts)))
    this.#onRecords()
  }

  #notify(): void {
    this.#notifying ??= this.#options.clock.after(millis(0), () => {
      this.#notifying = undefined
      for (const listener of [...this.#listeners]) listener()
    })
  }
}

/** The facts alone. @throws {WeftError} USAGE when one is out of its limits. */
function checkedFacts({ addresses, mtuBytes, zone }: MeshFacts): MeshFacts {
  if (addresses.length > ADDRESSES_MAX) throw new WeftError('USAGE', `more than ${ADDRESSES_MAX} underlay addresses`)
  if (!(Number.isInteger(mtuBytes) && mtuBytes >= MTU_BYTES_MIN && mtuBytes <= MTU_BYTES_MAX)) {
    throw new WeftError('USAGE', `an underlay MTU of ${mtuBytes}, not ${MTU_BYTES_MIN} to ${MTU_BYTES_MAX}`)
  }
  if (zone !== undefined && !isPrintable(zone, ZONE_LENGTH_MAX))
    throw new WeftError('USAGE', `the zone ${JSON.stringify(zone)} is not printable`)
  return { addresses, mtuBytes, zone }
}
