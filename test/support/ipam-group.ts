/** A few IPAMs that hear each other at once, for scenarios: links can be cut and peers made deaf, by hand. */
import { Ipam } from '../../ipam/ipam.ts'
import { type IpamInit, parseIpamInit } from '../../ipam/seed.ts'
import { parseCidr } from '../../mesh/base/address.ts'
import { type Millis, millis, type PeerName } from '../../mesh/base/brand.ts'
import { toHex } from '../../mesh/base/bytes.ts'
import { silentLog } from '../../mesh/base/log.ts'
import { seededRandom } from '../../mesh/base/random.ts'
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
  /** Of each of these and another of these only: what is between them and the rest is cut. */
  readonly apart: Set<PeerName> = new Set()
  /** Nobody hears a broadcast any more, as if all of them were lost. */
  isSilent = false
  /** Every unicast message: from, to, kind of message (1 ask, 2 grant, 3 denial). */
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
  join(letter: string, init: string, disk: MemoryDisk = new MemoryDisk()): Member {
    const name = peer(letter)
    const text = init.replace(/=(.*)/, (_, letters: string) => `=${letters.split(',').map(peer).join(',')}`)
    const parsed: IpamInit = parseIpamInit(text, name)
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
    ipam.attach({
      broadcast: (delta) => {
        if (this.isSilent) return
        for (const other of this.#others(name)) other.ipam.part.merge(delta, name)
      },
      send: (to, message) => {
        const other = this.#others(name).find((one) => one.name === to)
        if (other === undefined) return false
        this.sent.push(`${name[0]}→${to[0]} ${message[0]}`)
        this.last = message
        if (!this.deaf.has(to)) other.ipam.part.receive(message, name)
        return true
      },
      reachable: () => this.#others(name).map((other) => other.name),
    })
    return member
  }

  /** Anti-entropy, everybody with everybody. @returns what was wrong with the messages. */
  gossip(): readonly string[] {
    return [...this.#members.values()].flatMap((member) => this.#others(member.name).flatMap((other) => learn(member, other)))
  }

  async pass(duration: Millis = millis(0)): Promise<void> {
    await this.clock.advanceAsync(duration)
    await new Promise((resolve) => setImmediate(resolve))
  }

  #others(name: PeerName): readonly Member[] {
    if (this.gone.has(name)) return []
    const isNear = (other: PeerName): boolean => !this.gone.has(other) && this.apart.has(other) === this.apart.has(name)
    return [...this.#members.values()].filter((other) => other.name !== name && isNear(other.name))
  }
}

/** `member` asks `other` for what it lacks. */
function learn(member: Member, other: Member): readonly string[] {
  if (toHex(member.ipam.part.digest()) === toHex(other.ipam.part.digest())) return []
  const deltas = other.ipam.part.missing(member.ipam.part.summary())
  if (!deltas.ok) return [`${other.name[0]}: ${deltas.error.code}: ${deltas.error.detail}`]
  for (const { delta } of deltas.value) member.ipam.part.merge(delta, other.name)
  return []
}
