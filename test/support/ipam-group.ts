/** A few IPAMs that hear each other at once, for scenarios: links can be cut and peers made deaf, by hand. */
import { Ipam } from '../../ipam/ipam.ts'
import { type IpamInit, parseIpamInit } from '../../ipam/seed.ts'
import { decodeBootstrap, isBootstrapMessage } from '../../ipam/vote.ts'
import { parseCidr } from '../../mesh/base/address.ts'
import { type Millis, millis, type PeerName } from '../../mesh/base/brand.ts'
import { toHex } from '../../mesh/base/bytes.ts'
import { silentLog } from '../../mesh/base/log.ts'
import { seededRandom } from '../../mesh/base/random.ts'
import type { GossipPort } from '../../mesh/gossip.ts'
import { peer } from './ipam.ts'
import { MemoryDisk } from './memory-disk.ts'
import { TestClock } from './test-clock.ts'

interface Member {
  readonly name: PeerName
  readonly ipam: Ipam
  readonly disk: MemoryDisk
}

/** a, b and c share 10.32.0.0/24: c has the second half. */
export function three(): { readonly group: IpamGroup; readonly a: Ipam; readonly b: Ipam; readonly c: Ipam; readonly disk: MemoryDisk } {
  const group = new IpamGroup('10.32.0.0/24')
  const [a, b, c] = ['a', 'b', 'c'].map((letter) => group.join(letter, 'seed=a,b,c'))
  if (a === undefined || b === undefined || c === undefined) throw new Error('no members')
  return { group, a: a.ipam, b: b.ipam, c: c.ipam, disk: c.disk }
}

export class IpamGroup {
  readonly clock: TestClock = new TestClock()
  /** Peers that get messages and do nothing with them. */
  readonly deaf: Set<PeerName> = new Set()
  /** Peers that nobody can send to. */
  readonly gone: Set<PeerName> = new Set()
  /** Peers of which a peer's mesh knows although nobody can reach them. */
  readonly known: PeerName[] = []
  /** Of each of these and another of these only: what is between them and the rest is cut. */
  readonly apart: Set<PeerName> = new Set()
  /** Nobody hears a broadcast any more, as if all of them were lost. */
  isSilent = false
  /** Every unicast message: from, to, kind of message (1 ask, 2 grant, 3 denial, or a word of the bootstrap). */
  readonly sent: string[] = []
  /** The last of them. */
  last: Uint8Array = new Uint8Array()
  readonly #universe: string
  readonly #members = new Map<PeerName, Member>()
  readonly #random = seededRandom(1)

  constructor(universe: string) {
    this.#universe = universe
  }

  /** @param letter names the peer. @param init as on the command line, with letters for names. */
  join(letter: string, init: string | IpamInit, disk: MemoryDisk = new MemoryDisk()): Member {
    const name = peer(letter)
    const parsed = typeof init === 'string' ? parseIpamInit(lettersToNames(init), name) : init
    const ipam = Ipam.onDisk(disk.open(), {
      self: name,
      universe: parseCidr(this.#universe),
      init: parsed,
      clock: this.clock,
      random: this.#random,
      log: silentLog,
    })
    const member = { name, ipam, disk }
    this.#members.set(name, member)
    const port: GossipPort = {
      // What is new there is told on, as the mesh does it.
      broadcast: (delta) => {
        if (!this.isSilent) this.#spread(name, delta)
      },
      send: (to, message) => {
        const other = this.#others(name).find((one) => one.name === to)
        if (other === undefined) return false
        this.sent.push(`${name[0]}→${to[0]} ${kindOf(message)}`)
        this.last = message
        if (!this.deaf.has(to)) other.ipam.part.receive(message, name)
        return true
      },
      reachable: () => this.#others(name).map((other) => other.name),
    }
    ipam.attach(port, () => [...this.known, ...port.reachable()])
    return member
  }

  /** Those of these peers. */
  disks(...letters: readonly string[]): readonly MemoryDisk[] {
    return letters.flatMap((letter) => this.#members.get(peer(letter))?.disk ?? [])
  }

  /** Anti-entropy, everybody with everybody. @returns what was wrong with the messages. */
  gossip(): readonly string[] {
    return [...this.#members.values()].flatMap((member) => this.#others(member.name).flatMap((other) => this.#learn(member, other)))
  }

  /** `message` of one peer comes to another, as if it had taken that long. */
  deliver(message: Uint8Array, from: string, to: string): void {
    this.#members.get(peer(to))?.ipam.part.receive(message, peer(from))
  }

  async pass(duration: Millis = millis(0)): Promise<void> {
    await this.clock.advanceAsync(duration)
    await new Promise((resolve) => setImmediate(resolve))
  }

  /** `member` asks `other` for what it lacks. */
  #learn(member: Member, other: Member): readonly string[] {
    if (toHex(member.ipam.part.digest()) === toHex(other.ipam.part.digest())) return []
    const deltas = other.ipam.part.missing(member.ipam.part.summary())
    if (!deltas.ok) return [`${other.name[0]}: ${deltas.error.code}: ${deltas.error.detail}`]
    return deltas.value.flatMap(({ delta }) => {
      const merged = member.ipam.part.merge(delta, other.name)
      if (!merged.ok) return [`${member.name[0]}: ${merged.error.code}: ${merged.error.detail}`]
      for (const news of merged.value.news) this.#spread(member.name, news.delta)
      return []
    })
  }

  #spread(from: PeerName, delta: Uint8Array): void {
    for (const other of this.#others(from)) {
      const merged = other.ipam.part.merge(delta, from)
      if (merged.ok) for (const news of merged.value.news) this.#spread(other.name, news.delta)
    }
  }

  #others(name: PeerName): readonly Member[] {
    if (this.gone.has(name)) return []
    const isNear = (other: PeerName): boolean => !this.gone.has(other) && this.apart.has(other) === this.apart.has(name)
    return [...this.#members.values()].filter((other) => other.name !== name && isNear(other.name))
  }
}

function lettersToNames(init: string): string {
  return init.replace(/^seed=(.*)/, (_, letters: string) => `seed=${letters.split(',').map(peer).join(',')}`)
}

function kindOf(message: Uint8Array): string {
  const decoded = isBootstrapMessage(message) ? decodeBootstrap(message) : undefined
  return decoded?.ok ? decoded.value.message.kind : String(message[0])
}
