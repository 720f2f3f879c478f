/**
 * Several whole IPAMs in one process, on disks in memory and a network that loses, repeats, reorders and
 * splits messages, between peers that are killed, lose power, run out of disk, are cut off, and find bits
 * of their journals flipped. It keeps its own account of which pod was given which address, and checks
 * after every step that no address has two pods or two owners.
 */

import type { AttachmentKey } from '../../ipam/attachment.ts'
import { Ipam } from '../../ipam/ipam.ts'
import { decodeDelta, encodeDelta } from '../../ipam/ring-codec.ts'
import type { Cidr, Ipv4 } from '../../mesh/base/address.ts'
import { type PeerName, seconds } from '../../mesh/base/brand.ts'
import { toHex } from '../../mesh/base/bytes.ts'
import { silentLog } from '../../mesh/base/log.ts'
import { pick, type Random, randomBelow } from '../../mesh/base/random.ts'
import type { GossipPort } from '../../mesh/gossip.ts'
import { JOURNAL_HEADER_BYTES, key, peerNumber } from './ipam.ts'
import { checkAccount } from './ipam-account.ts'
import { MemoryDisk, systemError } from './memory-disk.ts'
import { TestClock } from './test-clock.ts'

interface Message {
  readonly from: number
  readonly to: number
  readonly kind: 'delta' | 'summary' | 'unicast'
  readonly bytes: Uint8Array
}

interface Node {
  readonly index: number
  readonly name: PeerName
  readonly disk: MemoryDisk
  /** What pods of this node have, as their runtime knows it. */
  readonly held: Map<AttachmentKey, Ipv4>
  ipam: Ipam
  /** A member; gone for good; taken over from by others; or back after that. */
  fate: 'member' | 'gone' | 'taken' | 'back'
  /** Counts restarts: what an earlier life does reaches nobody. */
  life: number
}

/** Messages under way: the oldest are lost beyond it, as in a mesh that drops and resyncs. */
const IN_FLIGHT_MAX = 300

export type Happening =
  | 'went for good'
  | 'taken over'
  | 'taken by another'
  | 'came back'
  | 'granted'
  | 'denied'
  | 'killed'
  | 'lost power'
  | 'write failed'
  | 'split'
  | 'refused'
  | 'repeated'
  | 'rotted'

const isAway = ({ fate }: Pick<Node, 'fate'>): boolean => fate === 'gone' || fate === 'taken'

export class IpamCluster {
  readonly clock: TestClock = new TestClock()
  readonly happened: Map<Happening, number> = new Map()
  readonly nodes: readonly Node[]
  readonly #universe: Cidr
  readonly #seeds: readonly PeerName[]
  readonly #random: Random
  readonly #cuts = new Set<string>()
  #messages: Message[] = []
  #keys = 0
  #isCalm = false

  constructor(universe: Cidr, count: number, seeds: number, random: Random) {
    this.#universe = universe
    this.#random = random
    this.#seeds = Array.from({ length: seeds }, (_, index) => peerNumber(index))
    this.nodes = Array.from({ length: count }, (_, index) => this.#create(index))
  }

  /** Peers that are members, as far as anybody knows. */
  get members(): readonly Node[] {
    return this.nodes.filter(({ fate }) => fate === 'member')
  }

  /** One random thing happens; then all that follows from it at once; then the checks. */
  async step(): Promise<void> {
    const node = pick(this.#random, this.members)
    if (node === undefined) return
    if (this.#random() < 0.1) this.#bury()
    const chance = this.#random()
    if (chance < 0.45) this.#deliver(randomBelow(this.#random, this.#messages.length))
    else if (chance < 0.6) this.#allocate(node)
    else if (chance < 0.7) this.#free(node)
    else if (chance < 0.82) this.#compare(pick(this.#random, this.nodes) ?? node, pick(this.#random, this.nodes) ?? node)
    else if (chance < 0.86) this.#toggleCut(node, pick(this.#random, this.nodes) ?? node)
    else if (chance < 0.9) this.clock.advance(seconds(this.#random() * 4))
    else this.#hurt(node, chance)
    // Whoever dies here dies after its writes and before its messages are sent.
    if (this.#random() < 0.03) this.#kill(node)
    await settled()
    checkAccount(this.members)
  }

  /** No more faults: everything is delivered until all agree and nobody waits. Resolves to false when they never do. */
  async heal(): Promise<boolean> {
    this.#isCalm = true
    this.#cuts.clear()
    for (const { disk } of this.nodes) disk.fault = undefined
    for (let round = 0; round < 30; round++) {
      for (const node of this.nodes) for (const other of this.nodes) this.#compare(node, other)
      await this.deliverAll()
      this.clock.advance(seconds(1))
      await settled()
      checkAccount(this.members)
    }
    const digests = this.nodes.filter((node) => !isAway(node)).map(({ ipam }) => toHex(ipam.part.digest()))
    return new Set(digests).size === 1 && this.members.every(({ ipam }) => ipam.status().pending.length === 0)
  }

  /** Everybody who went for good is taken over from by somebody. */
  async inherit(): Promise<void> {
    const known = this.nodes.map(({ name }) => name)
    for (const { name } of this.nodes.filter(({ fate }) => fate !== 'member')) {
      const taker = pick(this.#random, this.members)
      const result = taker && (await this.#timely(taker.ipam.members.takeOver(name, { known, leaveAbsent: true })))
      if (result?.ok !== true) throw new Error(`nobody takes over from ${name}: ${JSON.stringify(result)}`)
      checkAccount(this.members)
    }
  }

  /** Releases what no pod has: what a runtime does for pods that went while we were down. */
  async collect(): Promise<void> {
    for (const { ipam, held } of this.members)
      for (const leaked of ipam.allocations().keys()) if (!held.has(leaked)) await ipam.free(leaked)
  }

  /** Allocates on `node` until it is refused; the count. Time passes as needed. */
  async exhaust(node: Node): Promise<number> {
    for (let count = 0; ; count++) {
      const name = key(this.#keys++)
      const result = await this.#timely(node.ipam.allocate(name, new AbortController().signal))
      if (!result.ok) return count
      node.held.set(name, result.value)
      checkAccount(this.members)
    }
  }

  /** Delivers, and lets time pass, until `asked` is answered. */
  async #timely<T>(asked: Promise<T>): Promise<T> {
    let isDone = false
    const answer = asked.finally(() => {
      isDone = true
    })
    await settled()
    while (!isDone) {
      await this.deliverAll()
      if (!isDone) this.clock.advance(seconds(1))
      await settled()
    }
    return await answer
  }

  async deliverAll(): Promise<void> {
    await settled()
    while (this.#messages.length > 0) {
      this.#deliver(0)
      await settled()
    }
  }

  #create(index: number): Node {
    const disk = new MemoryDisk()
    const node = { index, name: peerNumber(index), disk, held: new Map<AttachmentKey, Ipv4>(), fate: 'member' as const, life: 0 }
    return Object.assign(node, { ipam: this.#open(node) })
  }

  #open(node: Omit<Node, 'ipam'>): Ipam {
    const { index, name, disk, held, life } = node
    const isSeed = this.#seeds.includes(name)
    const ipam = Ipam.onDisk(disk.open(), {
      self: name,
      universe: this.#universe,
      init: isSeed ? { kind: 'seed', peers: this.#seeds } : { kind: 'await' },
      clock: this.clock,
      random: this.#random,
      log: silentLog,
    })
    const isAlive = (): boolean => node.life === life
    const port: GossipPort = {
      broadcast: (delta) => {
        if (!isAlive()) return
        this.#note('granted')
        this.#relay(index, index, delta)
      },
      send: (to, bytes) => {
        const other = this.nodes.find((one) => one.name === to)
        if (!isAlive() || other === undefined || isAway(other) || this.#isCut(index, other.index)) return false
        if (bytes[0] === 3) this.#note('denied')
        this.#post({ from: index, to: other.index, kind: 'unicast', bytes })
        return true
      },
      reachable: () =>
        (this.nodes ?? [])
          .filter((other) => other.index !== index && !isAway(other) && !this.#isCut(index, other.index))
          .map((other) => other.name),
    }
    ipam.attach(port, () => (this.nodes ?? []).map((other) => other.name))
    // As a router does from the links of its pods.
    ipam.upkeep.reconcile(held)
    return ipam
  }

  #allocate(node: Node): void {
    const { life, ipam, held } = node
    // Sometimes a pod that has an address already asks again.
    const name = this.#random() < 0.1 ? (pick(this.#random, [...held.keys()]) ?? key(this.#keys++)) : key(this.#keys++)
    const signal = this.#random() < 0.1 ? AbortSignal.abort() : new AbortController().signal
    void ipam.allocate(name, signal).then((result) => {
      if (node.life !== life) return
      if (result.ok) held.set(name, result.value)
      else this.#note('refused')
    })
  }

  #free({ ipam, held }: Node): void {
    const name = pick(this.#random, [...held.keys()])
    if (name === undefined) return
    held.delete(name)
    void ipam.free(name)
  }

  #hurt(node: Node, chance: number): void {
    if (chance < 0.93) this.#breakDisk(node)
    else if (chance < 0.96) this.#kill(node)
    else if (chance < 0.97) this.#losePower(node)
    else if (chance < 0.98) this.#rot(node)
  }

  #kill(node: Node): void {
    this.#note('killed')
    node.disk.kill()
    this.#restart(node)
  }

  #losePower(node: Node): void {
    this.#note('lost power')
    node.disk.losePower(this.#random)
    node.held.clear()
    this.#restart(node)
  }

  /** A bit of the journal flips while the router is down. Two losses at once could be of both copies of one fact. */
  #rot(node: Node): void {
    const { bytes } = node.disk
    if (bytes === undefined || bytes.length <= JOURNAL_HEADER_BYTES || this.members.some(({ ipam }) => ipam.status().doubt !== undefined))
      return
    this.#note('rotted')
    node.disk.kill()
    const bit = 8 * JOURNAL_HEADER_BYTES + randomBelow(this.#random, 8 * (bytes.length - JOURNAL_HEADER_BYTES))
    node.disk.bytes = bytes.map((byte, at) => (at === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte))
    this.#restart(node)
  }

  /** Somebody goes for good, with all its pods; or others are told to take over from it; or it is back, too late. */
  #bury(): void {
    const node = pick(this.#random, this.nodes.filter(isAway))
    if (this.members.length > 2 && this.#random() < 0.05) this.#end(pick(this.#random, this.members))
    else if (node?.fate === 'gone') this.#inherit(node)
    else if (node !== undefined) this.#comeBack(node)
  }

  #end(node: Node | undefined): void {
    // Whoever began the ring, and dies before it has told anybody, takes it along.
    if (node === undefined || this.members.some(({ ipam }) => ipam.ranges().length === 0)) return
    this.#note('went for good')
    node.disk.fault = undefined
    if (this.#random() < 0.5) node.disk.kill()
    else node.disk.losePower(this.#random)
    node.life += 1
    node.fate = 'gone'
    node.held.clear()
  }

  /** One or two are told so at once. */
  #inherit(node: Node): void {
    const { name } = node
    const known = this.nodes.map((other) => other.name)
    for (let count = this.#random() < 0.5 ? 1 : 2; count > 0; count--) {
      const taker = pick(this.#random, this.members)
      // Only those may be left out who are gone for good as well.
      const leaveAbsent = this.members.every((other) => other === taker || taker === undefined || !this.#isCut(taker.index, other.index))
      void taker?.ipam.members.takeOver(name, { known, leaveAbsent }).then((result) => {
        if (result.ok && node.fate === 'gone') node.fate = 'taken'
        if (result.ok && result.value > 0) this.#note('taken over')
        else if (!result.ok && result.error.code === 'busy') this.#note('taken by another')
      })
    }
  }

  #comeBack(node: Node): void {
    this.#note('came back')
    node.fate = 'back'
    this.#restart(node)
  }

  #restart(node: Node): void {
    node.life += 1
    node.disk.fault = undefined
    node.ipam = this.#open(node)
  }

  /** Every call fails for a while, some only after having written half. */
  #breakDisk({ disk }: Node): void {
    if (disk.fault !== undefined) {
      disk.fault = undefined
      return
    }
    const only = pick(this.#random, ['append', 'sync', 'replace', 'any'] as const)
    disk.fault = (call) => {
      if (only !== 'any' && only !== call) return
      this.#note('write failed')
      throw systemError('ENOSPC')
    }
  }

  #toggleCut(a: Node, b: Node, link: string = linkOf(a.index, b.index)): void {
    if (!this.#cuts.delete(link) && this.#cuts.size < this.nodes.length) this.#cuts.add(link)
  }

  #isCut(a: number, b: number): boolean {
    return this.#cuts.has(linkOf(a, b))
  }

  #compare(node: Node, other: Node): void {
    if (node === other || isAway(node) || isAway(other) || toHex(node.ipam.part.digest()) === toHex(other.ipam.part.digest())) return
    this.#post({ from: node.index, to: other.index, kind: 'summary', bytes: node.ipam.part.summary() })
  }

  #relay(from: number, except: number, delta: Uint8Array): void {
    for (const { index } of this.nodes) if (index !== from && index !== except) this.#post({ from, to: index, kind: 'delta', bytes: delta })
  }

  #post(message: Message): void {
    this.#messages.push(message)
    if (this.#messages.length > IN_FLIGHT_MAX) this.#messages.shift()
  }

  #deliver(at: number): void {
    const message = this.#messages[at]
    if (message === undefined) return
    if (this.#isCalm || this.#random() > 0.1) this.#messages.splice(at, 1)
    else this.#note('repeated')
    const isLost = !this.#isCalm && this.#random() < 0.15
    if (!(isLost || this.#isCut(message.from, message.to))) this.#hand(message)
  }

  #hand({ from, to, kind, bytes }: Message): void {
    const node = this.nodes[to]
    if (node === undefined || isAway(node)) return
    const { part } = node.ipam
    if (kind === 'unicast') part.receive(bytes, peerNumber(from))
    else if (kind === 'summary') {
      const deltas = part.missing(bytes)
      if (!deltas.ok) throw new Error(deltas.error.detail)
      for (const { delta } of deltas.value) this.#post({ from: to, to: from, kind: 'delta', bytes: delta })
    } else {
      const merged = part.merge(this.#split(bytes), peerNumber(from))
      if (!merged.ok || merged.value.faults.length > 0) throw new Error(`a fault in a good delta: ${JSON.stringify(merged)}`)
      for (const { delta } of merged.value.news) this.#relay(to, from, delta)
    }
  }

  /** Some of a delta: peers may cut one anywhere. */
  #split(bytes: Uint8Array): Uint8Array {
    const delta = decodeDelta(bytes)
    if (!delta.ok || this.#isCalm || this.#random() < 0.5) return bytes
    this.#note('split')
    const some = <T>(list: readonly T[]): readonly T[] => list.filter(() => this.#random() < 0.5)
    return encodeDelta({ ...delta.value, items: some(delta.value.items), retired: some(delta.value.retired) })
  }

  #note(what: Happening): void {
    this.happened.set(what, (this.happened.get(what) ?? 0) + 1)
  }
}

function linkOf(a: number, b: number): string {
  return a < b ? `${a}-${b}` : `${b}-${a}`
}

/** Resolves when every promise that can settle now has. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
