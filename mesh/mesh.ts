/** The mesh: who the other peers are, connections with them, and gossip over these. One per process; everything else only configures it. */
import { Alarm } from './base/alarm.ts'
import { type Millis, type PeerName, seconds } from './base/brand.ts'
import { toHex } from './base/bytes.ts'
import { everyAbout } from './base/clock.ts'
import { WeftError } from './base/errors.ts'
import type { Ip } from './base/ip.ts'
import { pick } from './base/random.ts'
import { assert } from './base/result.ts'
import { Channels } from './channels.ts'
import { elsewhere } from './clones.ts'
import type { EndCode } from './connection.ts'
import { formatTarget, type Target } from './endpoint.ts'
import { countFaults, type Faults } from './faults.ts'
import { Flow } from './flow.ts'
import { GOSSIP_MESSAGE_BYTES_MAX, type GossipPart, type GossipPort } from './gossip.ts'
import { INSTANCE_BYTES, PROTOCOL } from './handshake.ts'
import { keyIdsOf } from './keyring.ts'
import { Links } from './links.ts'
import type { Liveness } from './liveness.ts'
import type { ChannelMessage, GossipMessage } from './messages.ts'
import { checkedFacts, checkNickname, type MeshFacts, type MeshOptions } from './options.ts'
import { referrals } from './overlay.ts'
import { type OwnFacts, Peers } from './peers.ts'
import { Post } from './post.ts'
import { firstPublication, type Publication, publishAt, published } from './publication.ts'
import type { PeerRecord } from './record.ts'
import type { ConnectionStatus, MeshStatus } from './status.ts'
import type { Listener } from './transport.ts'
import { View } from './view.ts'

/** Digests go to one neighbour this often, give or take a quarter: what eager news did not bring comes then. */
const ANTI_ENTROPY_INTERVAL: Millis = seconds(10)
/** How often to look for connections that nobody needs. */
const TRIM_INTERVAL: Millis = seconds(8)
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
  readonly #view: View
  readonly #post: Post
  readonly #listeners = new Set<() => void>()
  readonly #timers: DisposableStack = new DisposableStack()
  #facts: MeshFacts
  #publication: Publication
  readonly #publishing: Alarm
  readonly #flow: Flow
  readonly #notifying: Alarm
  #listener: Listener | undefined
  #supersessions = 0
  #hasYielded = false

  private constructor(options: MeshOptions) {
    const { identity, crypto, clock, log, cluster, keyring, random } = options
    const startedAt = Math.max(1, Math.floor(clock.wallTime()))
    this.#options = options
    this.#facts = checkedFacts(options)
    this.#faults = countFaults(clock, log)
    this.#peers = new Peers({ identity, crypto, incarnation: startedAt, read: options.readRecord })
    this.#channels = new Channels((peer, code, detail) => this.#faults.report(code, { peer }, detail))
    this.#channels.register(this.#peers)
    this.#publication = firstPublication(clock.now())
    this.#publishing = this.#timers.use(new Alarm(clock, () => this.#onPublish()))
    this.#notifying = this.#timers.use(new Alarm(clock, () => this.#tell()))
    this.#view = new View({
      clock,
      random,
      self: identity.name,
      peers: this.#peers,
      neighbours: () => this.#links.names,
      revived: (records) => this.#links.seeker.revived(records),
      reunited: (records) => this.#links.seeker.reunite(records),
      forsaken: (name) => this.#links.challenge(name),
      changed: () => this.#onView(),
    })
    const recordOf = (name: PeerName): PeerRecord | undefined => this.#peers.get(name)
    this.#links = new Links({
      ...options,
      faults: this.#faults,
      handshake: {
        identity,
        crypto,
        cluster,
        keyring,
        incarnation: () => this.#peers.incarnation,
        instance: crypto.randomBytes(INSTANCE_BYTES),
        startedAt,
        hadPods: options.hadPods ?? false,
      },
      records: () => this.#view.others,
      recordOf,
      livenessOf: (name) => this.#view.livenessOf(name),
      up: (name, outbound) => this.#onUp(name, outbound),
      down: (name, isLost) => this.#onDown(name, isLost),
      message: (name, message) => this.#onMessage(name, message),
      consolation: (code, name) => this.#consolation(code, name),
      yields: (to) => this.#yield(to),
      changed: () => this.#notify(),
    })
    this.#flow = this.#timers.use(
      new Flow({
        clock,
        channels: this.#channels,
        peers: () => this.#view.others.length,
        isReady: (name) => this.#links.isReady(name),
        send: (to, message) => this.#sendNow(to, message),
      }),
    )
    this.#post = new Post({
      identity,
      crypto,
      now: () => clock.now(),
      recordOf,
      nextHop: (name) => this.#view.nextHop(name),
      send: (to, message) => this.#links.send(to, message),
      deliver: (channel, body, from) => this.#deliver(channel, body, from),
      fault: (peer, code, detail) => this.#faults.report(code, { peer }, detail),
    })
  }

  /**
   * Listens, and begins to dial the targets.
   * @throws {WeftError} USAGE when the options are wrong, CONFLICT when the port is taken.
   */
  static async start(options: MeshOptions): Promise<Mesh> {
    checkNickname(options.nickname)
    const mesh = new Mesh(options)
    mesh.#listener = await options.transport.listen(options.listen, (stream) => mesh.#links.accept(stream))
    mesh.#publishNow()
    for (const delta of options.known ?? []) mesh.#recall(delta)
    mesh.#repeat(ANTI_ENTROPY_INTERVAL, () => mesh.#compare())
    mesh.#repeat(TRIM_INTERVAL, () => mesh.#links.trim())
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
    this.#publishSoon(true)
  }

  /** Carries the state of `part` from now on. Once per channel. */
  register(part: GossipPart): GossipPort {
    const { channel } = part
    this.#channels.register(part)
    // Who is there already knows what has been said on it.
    for (const name of this.#links.names) this.#sendDigests(name)
    return {
      broadcast: (delta) => {
        assert(delta.length <= GOSSIP_MESSAGE_BYTES_MAX, `a delta of ${channel} fits into a message`)
        this.#channels.spread(channel, [{ key: undefined, delta }])
        this.#flow.soon()
      },
      send: (to, bytes) => {
        assert(bytes.length <= GOSSIP_MESSAGE_BYTES_MAX, `a message of ${channel} fits into one of ours`)
        return this.#post.send(to, channel, bytes)
      },
      reachable: () => this.#view.reachable().filter((name) => this.#peers.get(name) !== undefined),
    }
  }

  /**
   * Adds to what we dial, or replaces it; connections that exist stay.
   * @throws {WeftError} USAGE when there are more than `TARGETS_MAX`.
   */
  connect(targets: readonly Target[], { replace = false }: { readonly replace?: boolean } = {}): void {
    const wanted = new Map([...(replace ? [] : this.targets()), ...targets].map((target) => [formatTarget(target), target]))
    if (wanted.size > TARGETS_MAX) throw new WeftError('USAGE', `more than ${TARGETS_MAX} targets`)
    this.#links.seeker.setTargets([...wanted.values()])
  }

  /** The opposite of `connect`; unknown targets are ignored. Peers that we know otherwise are still dialled. */
  forget(targets: readonly Target[]): void {
    const gone = new Set(targets.map(formatTarget))
    this.#links.seeker.setTargets(this.targets().filter((target) => !gone.has(formatTarget(target))))
  }

  targets(): readonly Target[] {
    return this.#links.seeker.targets
  }

  /** The newest record of every peer that we know of, our own included, in order of name. */
  peers(): readonly PeerRecord[] {
    return this.#peers.list()
  }

  /** The newest record of one peer. */
  peer(name: PeerName): PeerRecord | undefined {
    return this.#peers.get(name)
  }

  /** Whether a peer that we know of is alive, as far as all can tell. */
  livenessOf(name: PeerName): Liveness {
    return this.#view.livenessOf(name)
  }

  connections(): readonly ConnectionStatus[] {
    return this.#links.statuses((name) => this.#peers.get(name)?.nickname ?? '')
  }

  /** All records that we know, for a file that outlives this process: see `MeshOptions.known`. */
  records(): readonly Uint8Array[] {
    const all = this.#peers.missing(new Uint8Array(0))
    assert(all.ok, 'an empty summary is a summary')
    return all.value.map(({ delta }) => delta)
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
      living: this.#view.living(),
      supersessions: this.#peers.supersessions,
      digests: Object.fromEntries(this.#channels.digests().map(({ channel, digest }) => [channel, toHex(digest)])),
      traffic: this.#links.traffic(),
      post: this.#post.status,
      faults: this.#faults.counts(),
    }
  }

  /** Tells all that we are leaving, says goodbye to the neighbours, and stops listening. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listeners.clear()
    if (!this.#hasYielded) this.#publishNow({ hasLeft: true })
    this.#flow.flush()
    this.#links[Symbol.dispose]()
    this.#view[Symbol.dispose]()
    this.#timers[Symbol.dispose]()
    await this.#listener?.[Symbol.asyncDispose]()
  }

  #onUp(name: PeerName, outbound: boolean): void {
    this.#channels.up(name)
    // Before anything else: no message can be sent to somebody whose record is unknown, nor be believed of him.
    this.#sendNow(name, this.#peers.told([this.name]))
    // One of the two begins; the other's turn comes with its rounds.
    if (outbound) this.#sendDigests(name)
    // One more way to a peer that all take for alive is no news.
    this.#onNeighbours(this.#view.livenessOf(name) !== 'alive')
  }

  #onDown(name: PeerName, isLost: boolean): void {
    this.#channels.down(name)
    this.#post.forget(name)
    this.#onNeighbours(isLost)
  }

  #onNeighbours(isUrgent: boolean): void {
    this.#view.reviewNow()
    this.#publishSoon(isUrgent)
  }

  #repeat(interval: Millis, task: () => void): void {
    this.#timers.use(everyAbout(this.#options.clock, interval, this.#options.random, task))
  }

  /** One round of anti-entropy, with a neighbour drawn by lot. */
  #compare(): void {
    const chosen = pick(this.#options.random, this.#links.names)
    if (chosen !== undefined) this.#sendDigests(chosen)
  }

  #sendDigests(to: PeerName): void {
    this.#sendNow(to, { kind: 'digests', digests: this.#channels.digests() })
  }

  #onMessage(from: PeerName, message: GossipMessage): void {
    if (message.kind === 'parcel') {
      this.#post.receive(from, message)
      return
    }
    if (message.kind === 'doubt') {
      this.#links.challenge(message.peer)
      return
    }
    const before = this.#peers.revision
    for (const answer of this.#channels.receive(from, message, this.#options.clock.now())) this.#sendNow(answer.to, answer.message)
    this.#flow.soon()
    if (this.#peers.revision !== before) this.#onRecords()
  }

  #deliver(channel: string, body: Uint8Array, from: PeerName): void {
    const part = this.#channels.part(channel)
    if (part === undefined) this.#faults.report('channel', { peer: from }, `a message on the unknown channel ${channel}`)
    else part.receive(body, from)
  }

  #sendNow(to: PeerName, message: ChannelMessage): void {
    if (!this.#links.send(to, message)) this.#faults.report('backlog', { peer: to }, 'gossip for it was dropped')
  }

  /** Who finds no room here hears of others to turn to, and who has a name that is taken hears where the other one is. */
  #consolation(code: EndCode, name: PeerName): readonly GossipMessage[] {
    if (code !== 'full' && code !== 'collision') return []
    const isAlive = (other: PeerName): boolean => this.#view.livenessOf(other) === 'alive'
    const names = code === 'full' ? referrals(this.#view.others, isAlive, this.#options.random) : [name]
    return [this.#peers.told(names)]
  }

  /** A merge has changed the records, or met one of ours that we have not made. */
  #onRecords(): void {
    const { supersessions, superseder } = this.#peers
    if (supersessions !== this.#supersessions) {
      this.#supersessions = supersessions
      if (supersessions > SUPERSESSIONS_TOLERATED) {
        this.#faults.report('collision', { peer: this.name }, 'peer name collision: records of ours come from elsewhere')
      }
      if (superseder !== undefined) this.#links.seeker.visit(elsewhere(superseder, { ...this.#facts, port: this.port }))
      this.#publishSoon(true)
    }
    this.#post.recordsCame()
    this.#view.reviewSoon()
  }

  /** From now on the name is the other process's alone. */
  #yield(to: Ip): void {
    if (this.#hasYielded) return
    this.#hasYielded = true
    this.#options.yields?.(to)
  }

  /** Records, paths or the living have changed. */
  #onView(): void {
    this.#links.seeker.kick()
    this.#notify()
  }

  #recall(delta: Uint8Array): void {
    const merged = this.#peers.merge(delta, this.name)
    for (const { code, detail } of merged.ok ? merged.value.faults : [merged.error]) {
      this.#faults.report(code, { peer: this.name }, `a record of an earlier life: ${detail}`)
    }
    this.#onRecords()
  }

  #publishSoon(isUrgent: boolean): void {
    this.#publishing.at(publishAt(this.#publication, this.#options.clock.now(), isUrgent))
  }

  #onPublish(): void {
    this.#publication = published(this.#publication, this.#options.clock.now())
    this.#publishNow()
  }

  #publishNow(more: Partial<OwnFacts> = {}): void {
    const news = this.#peers.publish({
      ...this.#facts,
      nickname: this.#options.nickname,
      port: this.port,
      neighbours: this.#links.neighbours(),
      keyIds: keyIdsOf(this.#options.keyring()),
      hasLeft: false,
      ...more,
    })
    if (news === undefined) return
    this.#channels.spread(this.#peers.channel, [news])
    this.#flow.soon()
    this.#onRecords()
  }

  #notify(): void {
    this.#notifying.at(this.#options.clock.now())
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener()
  }
}
