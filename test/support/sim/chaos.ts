/**
 * A few whole meshes in a hostile world, from one seed: faults drawn by lot for a while, then none, then what must hold
 * whatever has happened. Says what was violated, what happened on the way, and a hash of how everything ended.
 */
import { createHash } from 'node:crypto'
import { type Millis, millis, type PeerName, seconds } from '../../../mesh/base/brand.ts'
import { toHex } from '../../../mesh/base/bytes.ts'
import { pick, type Random, randomBelow } from '../../../mesh/base/random.ts'
import { ok } from '../../../mesh/base/result.ts'
import type { GossipPart, GossipPort } from '../../../mesh/gossip.ts'
import { DEGREE_MAX, DEGREE_TARGET } from '../../../mesh/overlay.ts'
import { Versions } from '../versions.ts'
import { agree, allAlive, degree, SimCluster, type SimPeer } from './mesh.ts'

export interface ChaosRun {
  readonly violations: readonly string[]
  /** How often each thing happened. */
  readonly happened: ReadonlyMap<string, number>
  readonly hash: string
}

interface Member extends SimPeer {
  readonly letters: Letters
  readonly pages: Pages
}

/** Counts messages of one peer to another. */
class Letters implements GossipPart {
  readonly channel = 'letters'
  readonly received: string[] = []
  port: GossipPort | undefined
  digest(): Uint8Array {
    return new Uint8Array(16)
  }
  summary(): Uint8Array {
    return new Uint8Array()
  }
  missing(): ReturnType<GossipPart['missing']> {
    return ok([])
  }
  merge(): ReturnType<GossipPart['merge']> {
    return ok({ news: [], held: [], faults: [] })
  }
  receive(message: Uint8Array, from: PeerName): void {
    this.received.push(`${from} ${message.join()}`)
  }
}

/** Something of which one tells a lot at once. */
class Pages extends Versions {
  port: GossipPort | undefined

  /** Next versions of these, for all. */
  print(keys: readonly number[]): void {
    for (const key of keys) this.port?.broadcast(this.make(key).delta)
  }
}

const CHAOS: Millis = seconds(60)
/** A process gets no processor for so long at most. */
const PAUSE_MAX: Millis = seconds(30)
/** After the last fault: longer than any pause between dials. */
const PEACE_MAX: Millis = seconds(75)
/** Several times as many as are told without asking. */
const PAGES = 100
/** Faults of one's own making have no place in a mesh of honest peers. */
const HONEST = new Set(['silence', 'timeout', 'backlog', 'admission'])

export async function chaos(seed: number): Promise<ChaosRun> {
  const world = new World(seed)
  await world.populate()
  await world.suffer()
  world.recover()
  if (world.violations.length === 0) world.tellNews()
  if (world.violations.length === 0) world.tellMuch()
  if (world.violations.length === 0) world.writeLetters()
  if (world.violations.length === 0) world.rest()
  if (world.violations.length === 0) world.stall()
  if (world.violations.length === 0) world.reunite()
  if (world.violations.length === 0) await world.partings()
  return { violations: world.violations, happened: world.happened, hash: world.hash() }
}

type Fault = (world: World) => void | Promise<void>

class World {
  readonly violations: string[] = []
  readonly happened: Map<string, number> = new Map()
  readonly #cluster: SimCluster
  readonly #random: Random
  readonly #seed: number
  #members: readonly Member[] = []

  constructor(seed: number) {
    this.#seed = seed
    const latency = [0.2 + (seed % 5) * 8, 1 + (seed % 5) * 10] as const
    this.#cluster = new SimCluster(seed, { latencyMs: latency, loss: seed % 3 === 0 ? 0.02 : 0 })
    this.#random = this.#cluster.random
  }

  async populate(): Promise<void> {
    const small = 3 + randomBelow(this.#random, 14)
    // So many that even their records are offered, not told.
    const size = this.#seed % 8 === 0 ? small + 16 : small
    for (let index = 1; index <= size; index += 1) {
      await this.start(index)
      this.#cluster.clock.advance(seconds(this.#random()))
    }
    this.#within(seconds(30), 'all find each other after the start', () => this.#isWhole())
    this.#check()
  }

  async suffer(): Promise<void> {
    // Whoever has found the others needs nobody's word any more on where they are.
    if (this.#random() < 0.5) for (const { mesh } of this.#members) mesh.connect([], { replace: true })
    const kinds = FAULTS.filter(() => this.#random() < 0.5)
    const end = this.#cluster.clock.now() + CHAOS
    while (this.#cluster.clock.now() < end) {
      await pick(this.#random, kinds)?.(this)
      this.#cluster.clock.advance(seconds(6 * this.#random()))
      this.#check()
    }
  }

  recover(): void {
    this.#cluster.network.healAll()
    this.#cluster.clock.advance(PAUSE_MAX)
    this.#within(PEACE_MAX, 'all agree, and take each other for alive, when the faults are over', () => this.#isWhole())
    for (const { mesh } of this.#members) {
      const { refuted, confirmed } = mesh.status().living
      this.note('a suspicion was refuted', refuted)
      this.note('a suspicion came true', confirmed)
      const faults = Object.keys(mesh.status().faults).filter((code) => !HONEST.has(code))
      if (faults.length > 0) this.violations.push(`honest peers are accused of ${faults.join()}`)
    }
  }

  tellNews(): void {
    const teller = this.#any()
    teller.mesh.publish({ zone: 'news' })
    // One that has just published again and again waits up to 5 s with the next.
    this.#within(seconds(6), 'news of one is seen by all', () =>
      this.#members.every(({ mesh }) => mesh.peer(teller.mesh.name)?.zone === 'news'),
    )
  }

  /** A lot of news, of which two have only offered their part when they stop: the others turn to each other. */
  tellMuch(): void {
    const teller = this.#any()
    this.print(teller)
    this.#cluster.clock.advance(millis(30 + 90 * this.#random()))
    const stopped = [this.#any(), this.#any()].filter((member) => member !== teller)
    for (const { host } of stopped) host.pause(seconds(20))
    const others = this.#members.filter((member) => !stopped.includes(member))
    this.#within(seconds(5), 'much news of one is seen by all', () => areEqual(others))
    this.#cluster.clock.advance(seconds(20))
    this.#within(seconds(30), 'much news is seen even by those that had stopped', () => areEqual(this.#members))
  }

  writeLetters(): void {
    // A stream that was held up long is tried again as rarely by TCP: by now it goes on, or was given up.
    this.#cluster.clock.advance(seconds(60))
    const carried = (): number => this.#members.reduce((sum, { mesh }) => sum + mesh.status().post.carried, 0)
    const before = carried()
    const expected = new Map<Member, string[]>(this.#members.map((member) => [member, []]))
    for (const member of this.#members) member.letters.received.length = 0
    for (let number = 0; number < 20; number += 1) {
      const [from, to] = [this.#any(), this.#any()]
      if (from === to) continue
      if (from.letters.port?.send(to.mesh.name, Uint8Array.of(number)) !== true) this.violations.push('a way to a living peer is not known')
      expected.get(to)?.push(`${from.mesh.name} ${number}`)
    }
    this.#cluster.clock.advance(seconds(5))
    for (const [member, letters] of expected) {
      const [got, due] = [member.letters.received.toSorted(), letters.toSorted()]
      if (got.length > due.length) this.violations.push('a letter came twice')
      else if (got.join() !== due.join()) this.violations.push('a letter was lost')
    }
    this.note('a letter was carried', carried() - before)
    if (carried() - before > 20 * 3) this.violations.push('letters go long ways')
  }

  rest(): void {
    this.#cluster.clock.advance(seconds(60))
    const bytes = (): number => this.#members.reduce((sum, { host }) => sum + host.bytesIn + host.bytesOut, 0)
    const before = bytes()
    this.#cluster.clock.advance(seconds(20))
    if ((bytes() - before) / 20 / this.#members.length > 1_000) this.violations.push('a mesh at rest is not quiet')
    if (this.#members.length > 1) {
      const degrees = this.#members.map(degree)
      const wanted = Math.min(8, this.#members.length - 1)
      if (Math.min(...degrees) < wanted) this.violations.push(`a peer has ${Math.min(...degrees)} connections at rest, not ${wanted}`)
    }
  }

  /** A process that gets no processor is not dead: its host answers for it. */
  stall(): void {
    const confirmed = (): number => this.#members.reduce((sum, { mesh }) => sum + mesh.status().living.confirmed, 0)
    const before = confirmed()
    this.#any().host.pause(seconds(25))
    this.#cluster.clock.advance(seconds(30))
    if (confirmed() !== before) this.violations.push('one that was only slow was taken for dead')
  }

  /** Two halves that were parted for so long that each has all that it wants look for each other all the same. */
  reunite(): void {
    const half = Math.floor(this.#members.length / 2)
    if (half <= DEGREE_TARGET) return
    const addresses = this.#members.map(({ address }) => address)
    this.#cluster.network.partition(addresses.slice(0, half), addresses.slice(half))
    this.#cluster.clock.advance(seconds(120))
    this.#cluster.network.healAll()
    this.#within(seconds(10), 'two halves find each other', () => this.#isWhole())
    this.note('two halves found each other', 1)
  }

  /** One says goodbye, one loses power: the others hear of it in time, and are not mistaken about the rest. */
  async partings(): Promise<void> {
    const [leaver, victim, ...others] = this.#members
    if (leaver === undefined || victim === undefined || others.length < 2) return
    await leaver.mesh[Symbol.asyncDispose]()
    this.#within(seconds(3), 'all know who has left', () => others.every(({ mesh }) => mesh.livenessOf(leaver.mesh.name) === 'left'))
    const confirmed = others.map(({ mesh }) => mesh.status().living.confirmed)
    victim.host.crash()
    this.#within(seconds(12), 'all know who has died', () => others.every(({ mesh }) => mesh.livenessOf(victim.mesh.name) === 'dead'))
    if (others.some(({ mesh }, index) => mesh.status().living.confirmed !== (confirmed[index] ?? 0) + 1)) {
      this.violations.push('somebody was taken for dead who is not')
    }
  }

  hash(): string {
    return createHash('sha256')
      .update(JSON.stringify(this.#members.map(({ mesh }) => mesh.status())))
      .digest('hex')
  }

  // What the faults below do.

  get network(): SimCluster['network'] {
    return this.#cluster.network
  }

  note(what: string, count = 1): void {
    this.happened.set(what, (this.happened.get(what) ?? 0) + count)
  }

  two(): readonly [Member, Member] {
    return [this.#any(), this.#any()]
  }

  share(): readonly Member[] {
    return this.#members.filter(() => this.#random() < 0.3)
  }

  /** The whole group, cut in two. */
  halves(): readonly [readonly Member[], readonly Member[]] {
    const left = this.#members.filter(() => this.#random() < 0.5)
    return [left, this.#members.filter((member) => !left.includes(member))]
  }

  print({ index, pages }: Member): void {
    pages.print(Array.from({ length: PAGES }, (_, page) => index * PAGES + page))
    this.note('much was told at once')
  }

  duration(max: Millis): Millis {
    return millis(max * this.#random())
  }

  async start(index: number): Promise<void> {
    const targets = [1, 2].filter((target) => target !== index)
    // What it knew is on its disk; the last moments are not.
    const known = this.#members.find((other) => other.index === index)?.mesh.records() ?? []
    const peer = await this.#cluster.start(index, targets, { known })
    const letters = new Letters()
    letters.port = peer.mesh.register(letters)
    const pages = new Pages()
    pages.port = peer.mesh.register(pages)
    const member: Member = { ...peer, letters, pages }
    this.#members = [...this.#members.filter((other) => other.index !== index), member].sort((a, b) => a.index - b.index)
  }

  advance(time: Millis): void {
    this.#cluster.clock.advance(time)
  }

  #any(): Member {
    const member = pick(this.#random, this.#members)
    if (member === undefined) throw new Error('a world without peers')
    return member
  }

  #isWhole(): boolean {
    return agree(this.#members) && allAlive(this.#members) && areEqual(this.#members)
  }

  /** What must hold at any moment. */
  #check(): void {
    for (const { mesh, index } of this.#members) {
      const names = mesh.connections().flatMap((connection) => (connection.state === 'established' ? [connection.name] : []))
      if (new Set(names).size !== names.length) this.violations.push(`node-${index} has two connections with one peer`)
      if (names.length > DEGREE_MAX) this.violations.push(`node-${index} has ${names.length} connections`)
    }
  }

  #within(limit: Millis, what: string, condition: () => boolean): void {
    try {
      this.#cluster.until(condition, limit)
    } catch {
      this.violations.push(`not within ${limit / 1_000} s: ${what}`)
    }
  }
}

/** Whether all hold the same pages. */
function areEqual(members: readonly Member[]): boolean {
  return new Set(members.map(({ pages }) => toHex(pages.digest()))).size <= 1
}

const FAULTS: readonly Fault[] = [
  (world) => {
    const [a, b] = world.two()
    world.network.cut(a.address, b.address)
    world.note('a link was cut')
  },
  (world) => {
    const [a, b] = world.two()
    world.network.cutOneWay(a.address, b.address)
    world.note('a link was cut in one direction')
  },
  (world) => {
    const [left, right] = world.halves()
    for (const a of left) for (const b of right) world.network.cut(a.address, b.address)
    world.note('the mesh was parted')
  },
  (world) => world.network.healAll(),
  (world) => world.note('a connection was reset', world.network.resetSome(0.3)),
  (world) => {
    for (const { host } of world.share()) host.pause(world.duration(PAUSE_MAX))
    world.note('processes got no processor')
  },
  (world) => {
    const [{ host }] = world.two()
    host.jumpClock(world.duration(seconds(7_200)) - 3_600_000)
    world.note('a clock jumped')
  },
  async (world) => {
    const [{ host, index }] = world.two()
    host.kill()
    world.advance(world.duration(seconds(4)))
    await world.start(index)
    world.note('a process was killed and came back')
  },
  async (world) => {
    const [{ host, index }] = world.two()
    host.crash()
    world.advance(world.duration(seconds(15)))
    host.boot()
    await world.start(index)
    world.note('a host lost power and came back')
  },
  (world) => {
    const [teller] = world.two()
    world.print(teller)
  },
]
