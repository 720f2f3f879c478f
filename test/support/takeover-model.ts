/**
 * Several peers that take over from one that is gone, without time: real ledgers on disks in memory, and a
 * pool of messages that are delivered in any order, more than once, or never. Whoever owns an address is
 * taken to use it at once and for good, which is the worst that a peer can do.
 */
import { Ledger } from '../../ipam/ledger.ts'
import { decodeDelta, encodeDelta, type RingDelta } from '../../ipam/ring-codec.ts'
import { seedRing } from '../../ipam/seed.ts'
import { openStore } from '../../ipam/store.ts'
import { decodeTakeoverMessage } from '../../ipam/takeover-messages.ts'
import { Takeovers } from '../../ipam/takeovers.ts'
import { cidrSize, parseCidr } from '../../mesh/base/address.ts'
import { type Millis, millis, type PeerName } from '../../mesh/base/brand.ts'
import { ok, type Result } from '../../mesh/base/result.ts'
import { peerNumber } from './ipam.ts'
import { MemoryDisk } from './memory-disk.ts'

const UNIVERSE = parseCidr('10.32.0.0/27')
const NOW: Millis = millis(0)

interface Member {
  readonly name: PeerName
  readonly disk: MemoryDisk
  ledger: Ledger
  takeovers: Takeovers
}

interface Message {
  readonly from: PeerName
  readonly to: PeerName
  /** Undefined for a delta of the ring. */
  readonly message: Uint8Array | undefined
  readonly delta: Uint8Array | undefined
}

/** What a property draws: `what` chooses the step, `which` its subject. */
export interface ModelStep {
  readonly what: 'deliver' | 'repeat' | 'take over' | 'give' | 'tell' | 'ask again' | 'lose power'
  readonly which: number
  readonly other: number
}

export class TakeoverModel {
  readonly #members: readonly Member[]
  readonly #gone: Member
  readonly #used = new Map<number, PeerName>()
  #isGone = false
  #messages: Message[] = []
  #ids = 0

  /** `count` peers, of which the last will be gone. */
  constructor(count: number) {
    const names = Array.from({ length: count }, (_, index) => peerNumber(index))
    const all = names.map((name) => {
      const disk = new MemoryDisk()
      const member = this.#open(name, disk)
      member.ledger.seed(seedRing(UNIVERSE, names))
      return member
    })
    const last = all.at(-1)
    if (last === undefined) throw new RangeError('no peers')
    this.#members = all.slice(0, -1)
    this.#gone = last
  }

  /** From now on the last one says nothing new. What it has said may still be on its way. */
  end(): void {
    this.#isGone = true
  }

  step({ what, which, other }: ModelStep): void {
    const member = this.#members[which % this.#members.length]
    const [at, message] = this.#pick(which)
    if (what === 'give' && member !== undefined) this.#give(member)
    else if (message !== undefined && (what === 'deliver' || what === 'repeat')) {
      if (what === 'deliver') this.#messages.splice(at, 1)
      this.#deliver(message)
    } else if (member !== undefined) this.#act(what, member, this.#members[other % this.#members.length] ?? member)
    for (const one of this.#members) this.#use(one)
  }

  /** Attempts that got stuck end; then one peer takes over what is left, and hears and tells all. */
  settle(): void {
    this.#isGone = true
    this.#deliverAll()
    for (const member of this.#members) member.takeovers.tick(millis(100_000))
    const [first] = this.#members
    for (let round = 0; round < 2; round++) {
      for (const member of this.#members) for (const other of this.#members) this.#tell(member, other)
      this.#deliverAll()
      if (round === 0 && first !== undefined) this.#takeOver(first)
    }
    for (const member of this.#members) this.#use(member)
  }

  /** Who owns how much, as each of them sees it: equal, and complete, in the end. */
  views(): readonly (ReadonlyMap<PeerName, number> | undefined)[] {
    return this.#members.map(({ ledger }) => {
      const sizes = new Map<PeerName, number>()
      for (const { owner, token, end } of ledger.ring?.entries ?? []) sizes.set(owner, (sizes.get(owner) ?? 0) + end - token)
      return sizes
    })
  }

  get gone(): PeerName {
    return this.#gone.name
  }

  get size(): number {
    return cidrSize(UNIVERSE)
  }

  #deliverAll(): void {
    for (let message = this.#messages.shift(); message !== undefined; message = this.#messages.shift()) this.#deliver(message)
  }

  #act(what: ModelStep['what'], member: Member, other: Member): void {
    if (what === 'take over' && this.#isGone) this.#takeOver(member)
    else if (what === 'tell') this.#tell(member, other)
    else if (what === 'ask again') member.takeovers.tick(millis(1_500))
    else if (what === 'lose power') {
      member.disk.losePower(() => 0)
      Object.assign(member, this.#open(member.name, member.disk))
    }
    this.#collect(member)
  }

  #takeOver(member: Member): void {
    member.takeovers.start(this.#ids++, this.#gone.name, { known: this.#members.map(({ name }) => name), leaveAbsent: false }, NOW)
    this.#collect(member)
  }

  /** The one that will be gone gives to `to`: its answer and its broadcast are on their way, maybe for long. */
  #give(to: Member): void {
    if (this.#isGone) return
    const granted = this.#gone.ledger.grant(to.name)
    if (!granted.ok || granted.value === undefined) return
    const delta = encodeDelta(granted.value)
    for (const { name } of this.#members) this.#messages.push({ from: this.#gone.name, to: name, message: undefined, delta })
    this.#messages.push({ from: this.#gone.name, to: to.name, message: undefined, delta })
  }

  #tell(from: Member, to: Member): void {
    const { ring } = from.ledger
    if (ring === undefined || from === to) return
    const retired = [...ring.retired].map(([peer, by]) => ({ peer, by }))
    const delta = encodeDelta({ universe: UNIVERSE, seedId: ring.seedId, items: ring.entries, retired })
    this.#messages.push({ from: from.name, to: to.name, message: undefined, delta })
  }

  #deliver({ from, to, message, delta }: Message): void {
    const member = this.#members.find(({ name }) => name === to)
    if (member === undefined) return
    const news = delta === undefined ? undefined : decodeDelta(delta)
    if (news?.ok) this.#merge(member, news.value)
    const said = message === undefined ? undefined : decodeTakeoverMessage(message)
    if (said?.ok) member.takeovers.receive(from, said.value, NOW)
    this.#collect(member)
  }

  #merge(member: Member, delta: RingDelta): Result<unknown, never> {
    const merged = member.ledger.merge(delta)
    if (!merged.ok) throw new Error(merged.error.detail)
    return ok(undefined)
  }

  #collect(member: Member): void {
    for (const effect of member.takeovers.drain()) {
      if (effect.kind === 'send') this.#messages.push({ from: member.name, to: effect.to, message: effect.message, delta: undefined })
      if (effect.kind !== 'broadcast') continue
      for (const { name } of this.#members) this.#messages.push({ from: member.name, to: name, message: undefined, delta: effect.delta })
    }
  }

  /** @throws {Error} when somebody else has used one of these before. */
  #use({ name, ledger }: Member): void {
    for (const { start, end } of ledger.unused()) {
      for (let host = start; host < end; host++) {
        const user = this.#used.get(host) ?? name
        if (user !== name) throw new Error(`${host} is used by ${user}, and by ${name}`)
        this.#used.set(host, name)
      }
    }
  }

  #pick(which: number): readonly [at: number, message: Message | undefined] {
    const at = this.#messages.length === 0 ? 0 : which % this.#messages.length
    return [at, this.#messages[at]]
  }

  #open(name: PeerName, disk: MemoryDisk): Member {
    const { store, records } = openStore(disk.open(), { peer: name, universe: UNIVERSE, cluster: '' })
    const ledger = new Ledger(name, UNIVERSE, store, records)
    const ids = (): number => ((this.#ids++ * 2_654_435_761) % 2 ** 32) / 2 ** 32
    const member: Member = {
      name,
      disk,
      ledger,
      takeovers: new Takeovers({
        ledger,
        random: ids,
        reachable: () => this.#members.map((other) => other.name).filter((other) => other !== name),
        merge: (delta) => this.#merge(member, delta),
      }),
    }
    return member
  }
}
