/**
 * A router's mesh and IPAM on a simulated host and disk, life after life: killed, without power, stopped, under a new name.
 * It keeps what the runtime of its node knows: which pod has which address, and which may have one.
 */
import type { AttachmentKey } from '../../../ipam/attachment.ts'
import { openDiskWith } from '../../../ipam/disk.ts'
import { Ipam } from '../../../ipam/ipam.ts'
import type { Ring, SeedId } from '../../../ipam/ring.ts'
import type { IpamInit } from '../../../ipam/seed.ts'
import { type Cidr, formatIpv4, type Ipv4 } from '../../../mesh/base/address.ts'
import type { Millis, PeerName } from '../../../mesh/base/brand.ts'
import { describeError } from '../../../mesh/base/errors.ts'
import { silentLog } from '../../../mesh/base/log.ts'
import { type Random, randomBelow, seededRandom } from '../../../mesh/base/random.ts'
import type { GossipPort } from '../../../mesh/gossip.ts'
import type { Mesh } from '../../../mesh/mesh.ts'
import { SimFiles } from '../sim-files.ts'
import { Effects, type Moment } from './effects.ts'
import type { History, Operation } from './history.ts'
import { SimHost } from './host.ts'
import { allocationsIn, ringIn } from './journal-view.ts'
import { type SimCluster, simAddress, simPeerName } from './mesh.ts'
import { hostile, type Seam } from './seam.ts'

export type Ending = 'kill' | 'power loss'

export interface RouterPorts {
  readonly cluster: SimCluster
  readonly universe: Cidr
  readonly random: Random
  readonly seam: Seam
  readonly history: History
  init(router: SimRouter): IpamInit
  targets(router: SimRouter): readonly number[]
  note(what: string): void
  violate(text: string): void
  /** A pod has an address now, or may have had one all the time. */
  granted(router: SimRouter, key: AttachmentKey, address: Ipv4, isNew: boolean): void
  /** A message that is about to be sent; to all when `to` is undefined. */
  said(router: SimRouter, message: Uint8Array, to: PeerName | undefined): void
  /** The router runs again, and has read its disk. */
  recovered(router: SimRouter): void
  /** Its name is retired. */
  retired(router: SimRouter, by: PeerName, wasRetired: boolean): void
}

interface Life {
  readonly mesh: Mesh
  readonly ipam: Ipam
  readonly effects: Effects
  /** What the mesh gives IPAM. */
  readonly port: GossipPort
}

/** What it is for people: see `ipam-chaos.ts`. */
export type Fate = 'member' | 'gone' | 'back' | 'left'

export const JOURNAL_PATH = '/state/ipam.journal'
export const VOTE_PATH = '/state/ipam.vote'
const IDENTITIES = 100

export class SimRouter {
  readonly index: number
  readonly address: Ipv4
  readonly host: SimHost
  /** What pods have. */
  readonly held: Map<AttachmentKey, Ipv4> = new Map()
  /** What pods may have: it died while they were asked for. */
  readonly possible: Map<AttachmentKey, Ipv4 | undefined> = new Map()
  /** Pods whose release it has confirmed. */
  readonly released: Set<AttachmentKey> = new Set()
  files: SimFiles
  generation = 0
  fate: Fate = 'member'
  life: Life | undefined
  /** When it runs again; undefined as long as that is not known. */
  upAt: Millis | undefined
  /** What it must know when it reads its disk; undefined after damage. */
  promised:
    | {
        readonly ring: Ring | undefined
        /** Another one that may be there instead: it was put in its place, and nobody was told. */
        readonly latest: SeedId | undefined
        readonly ending: Ending
        readonly isWhole: boolean
      }
    | undefined
  /** Bits of its journal have flipped, and it has not made up for it. */
  hasRotted = false
  /** Which calls of its disk fail. */
  failing: readonly string[] = []
  /** How its next death is. */
  ending: Ending = 'kill'
  readonly #ports: RouterPorts
  readonly #asked = new Map<AttachmentKey, Operation>()
  #name: PeerName
  #known: readonly Uint8Array[] = []
  #isStarting = false

  constructor(index: number, ports: RouterPorts) {
    this.index = index
    this.#ports = ports
    this.address = simAddress(index)
    this.#name = simPeerName(index)
    this.host = new SimHost(ports.cluster.network, this.address)
    this.files = new SimFiles(seededRandom(randomBelow(ports.random, 2 ** 31)))
  }

  get name(): PeerName {
    return this.#name
  }

  get isRunning(): boolean {
    return this.life !== undefined
  }

  /** Pods that wait for an address. */
  get asked(): readonly AttachmentKey[] {
    return [...this.#asked.keys()]
  }

  async start(): Promise<void> {
    if (this.life !== undefined || this.#isStarting) return
    this.#isStarting = true
    this.host.boot()
    try {
      await this.#begin()
    } finally {
      this.#isStarting = false
    }
  }

  /** Asks for an address. */
  add(key: AttachmentKey, signal: AbortSignal): void {
    const { life } = this
    const { history } = this.#ports
    if (life === undefined || this.#asked.has(key)) return
    const operation = history.invoke('add', this.name, key)
    this.#asked.set(key, operation)
    void life.ipam.allocate(key, signal).then((result) => {
      if (this.life !== life) return
      this.#asked.delete(key)
      history.end(operation, result.ok ? 'ok' : 'fail', result.ok ? formatIpv4(result.value) : result.error.code)
      if (!result.ok) return
      const before = this.held.get(key)
      if (before !== undefined && before !== result.value) this.#ports.violate(`I10: ${this.name} gives ${key} another address than before`)
      this.held.set(key, result.value)
      this.#ports.granted(this, key, result.value, before === undefined)
    })
  }

  /** The pod is gone, and its address is given back. */
  del(key: AttachmentKey): void {
    const { life } = this
    const { history } = this.#ports
    if (life === undefined) return
    this.held.delete(key)
    const operation = history.invoke('del', this.name, key)
    void life.ipam.free(key)
    history.end(operation, life.effects.isOver ? 'info' : 'ok', '')
    if (!life.effects.isOver) this.released.add(key)
  }

  /** Dies from without. */
  die(ending: Ending): void {
    if (this.life === undefined) return
    this.life.effects.end()
    this.#died(ending)
  }

  /** Stops by itself, as when it is upgraded. */
  async stop(): Promise<void> {
    const { life } = this
    if (life === undefined) return
    this.#remember('kill')
    await life.ipam[Symbol.asyncDispose]()
    await life.mesh[Symbol.asyncDispose]()
    life.effects.end()
    if (this.life === life) this.#over('kill')
  }

  /** The name is given up, and all that was known under it. */
  rename(): void {
    this.die('kill')
    this.held.clear()
    this.possible.clear()
    this.released.clear()
    this.generation += 1
    this.#name = simPeerName(this.#identity)
    this.promised = undefined
    this.hasRotted = false
    this.files = new SimFiles(seededRandom(randomBelow(this.#ports.random, 2 ** 31)))
  }

  get #identity(): number {
    return this.index + IDENTITIES * this.generation
  }

  async #begin(): Promise<void> {
    const { cluster, random, universe } = this.#ports
    const effects = new Effects({
      random,
      died: (moment, effect) => this.#diedIn(moment, effect),
      fault: (effect) => {
        if (!this.failing.includes(effect)) return
        this.#ports.note('a write failed')
        throw Object.assign(new Error('ENOSPC: injected'), { code: 'ENOSPC' })
      },
    })
    const clock = this.host.clock()
    let ipam: Ipam
    try {
      ipam = Ipam.onDisk(openDiskWith(effects.files(this.files.open()), '/state'), {
        ...{ self: this.name, universe, clock, log: silentLog },
        init: this.#ports.init(this),
        random: seededRandom(randomBelow(random, 2 ** 31)),
      })
    } catch (error) {
      // It ends, and is started again some time.
      this.#ports.note('a router could not read its disk')
      if (this.failing.length === 0 && !effects.isOver) this.#ports.violate(`I10: ${this.name} cannot start: ${describeError(error)}`)
      return
    }
    const peer = await cluster.start(this.index, this.#ports.targets(this), { known: this.#known, identityOf: this.#identity })
    const { mesh } = peer
    const part = hostile(ipam.part, { ...this.#ports, clock, peer: () => this.name })
    const port = effects.port(mesh.register(part), (message, to) => this.#ports.said(this, message, to))
    this.life = { mesh, ipam, effects, port }
    this.#settle(ipam)
    if (this.#isOver()) return
    ipam.attach(port, () => mesh.peers().map(({ name }) => name))
    const wasRetired = ipam.members.retiredBy !== undefined
    ipam.members.onRetired(({ by }) => this.#ports.retired(this, by, wasRetired))
  }

  #isOver(): boolean {
    return this.life === undefined
  }

  /** As a router does that starts: the allocations are those of the pods that exist. */
  #settle(ipam: Ipam): void {
    this.#ports.recovered(this)
    for (const key of this.possible.keys()) {
      const address = ipam.lookup(key)
      // Its link was made, or was not.
      if (address !== undefined && this.#ports.random() < 0.5) {
        this.held.set(key, address)
        this.#ports.note('a pod had an address whose allocation was never answered')
      }
    }
    this.possible.clear()
    ipam.upkeep.reconcile(this.held)
    this.promised = undefined
  }

  #diedIn(moment: Moment, effect: string): void {
    this.#ports.note(`died ${moment} a ${effect}`)
    this.#ports.note(`died over a ${effect}`)
    if (this.life !== undefined) this.#died(this.ending)
  }

  #died(ending: Ending): void {
    this.#remember(ending)
    this.#over(ending)
  }

  /** What it has said counts from now on, whatever it still knows. */
  #remember(ending: Ending): void {
    const { universe } = this.#ports
    const bytes = ending === 'kill' ? this.files.contents(JOURNAL_PATH) : this.files.durable(JOURNAL_PATH)
    const written = this.files.contents(JOURNAL_PATH)
    const latest = written === undefined ? undefined : ringIn(written, universe)?.seedId
    const isWhole = this.life?.ipam.status().journalFault === undefined
    this.promised = this.hasRotted || bytes === undefined ? undefined : { ring: ringIn(bytes, universe), latest, ending, isWhole }
    if (this.life !== undefined) this.#known = this.life.mesh.records()
  }

  #over(ending: Ending): void {
    const { history, universe } = this.#ports
    const bytes = this.files.contents(JOURNAL_PATH)
    const allocated = bytes === undefined ? new Map<AttachmentKey, Ipv4>() : allocationsIn(bytes, universe)
    for (const [key, operation] of this.#asked) {
      history.end(operation, 'info', '')
      this.possible.set(key, allocated.get(key))
    }
    this.#asked.clear()
    if (ending === 'power loss') {
      this.held.clear()
      this.possible.clear()
    }
    this.life = undefined
    this.files.end(ending)
    if (ending === 'kill') this.host.kill()
    else this.host.crash()
  }
}
