/**
 * What IPAM does about its own losses. A journal that could not be written is tried again now and then, so that nobody
 * has to restart us when there is room. Who is in doubt about its past asks every peer that may know of it, and is so no
 * longer when each of them has been found to know nothing that we do not know too.
 */
import type { Ipv4 } from '../mesh/base/address.ts'
import { type Millis, millis, type PeerName, seconds } from '../mesh/base/brand.ts'
import { bytesEqual } from '../mesh/base/bytes.ts'
import { type Clock, every } from '../mesh/base/clock.ts'
import type { Logger } from '../mesh/base/log.ts'
import type { Random } from '../mesh/base/random.ts'
import type { Result } from '../mesh/base/result.ts'
import type { GossipFault, GossipPort } from '../mesh/gossip.ts'
import type { AttachmentKey } from './attachment.ts'
import { Census, type CensusAnswer, type NodeProof } from './census.ts'
import type { Ledger } from './ledger.ts'
import { namesOf } from './names.ts'
import { type Living, leaks, proveNode, ringFindings } from './proof.ts'
import { ownedRanges, type SeedId } from './ring.ts'
import { hostNumber } from './universe.ts'

export interface UpkeepPorts {
  readonly ledger: Ledger
  readonly clock: Clock
  readonly random: Random
  /** Who began the ring, as far as we were told: they may know of it when we have lost it. */
  readonly seeds: readonly PeerName[]
  /** How many agree on who begins the ring, and may know of it when we have lost it; 0 when it does not begin so. */
  readonly voters: number
  readonly log: Logger
  digest(): Uint8Array
  trouble(text: string): void
  /** The doubt is over, or the journal is written again. */
  changed(): void
}

export interface Reconciled {
  readonly freed: readonly AttachmentKey[]
  readonly relearnt: readonly AttachmentKey[]
  /** Pods that exist with an address that is none of the universe, or another pod's. */
  readonly refused: readonly AttachmentKey[]
}

interface Network {
  readonly port: GossipPort
  readonly known: () => readonly PeerName[]
}

const MEND_EVERY: Millis = seconds(5)
const ASK_EVERY: Millis = seconds(1)
const ANSWER_WITHIN: Millis = seconds(3)
/** Who has forgotten whom it knew hears from somebody within this, if there is anybody: peers dial each other every few seconds. */
const LISTEN: Millis = seconds(5)

export class Upkeep implements Disposable {
  readonly #ports: UpkeepPorts
  readonly #census: Census
  /** Peers that have been found to know no more than we do. */
  readonly #heard = new Set<PeerName>()
  /** Peers that have answered, and have a ring that did not begin as ours did. What they know of ours they cannot tell. */
  readonly #apart = new Set<PeerName>()
  /** The ring that we had when these were asked. */
  #heardOf: SeedId | undefined
  readonly #asked = new Set<PeerName>()
  #network: Network | undefined
  #prove: (() => Promise<NodeProof>) | undefined
  #mending: Disposable | undefined
  #asking: Disposable | undefined
  #listenedUntil: Millis = millis(0)
  #isClosed = false

  constructor(ports: UpkeepPorts) {
    this.#ports = ports
    this.#census = new Census({
      ...ports,
      seedId: () => ports.ledger.ring?.seedId,
      inDoubt: () => ports.ledger.inDoubt,
      prove: () => Promise.resolve(this.#prove?.()),
      send: (to, message) => this.#network?.port.send(to, message) === true,
    })
  }

  /** @param prove what to say of this node's own addresses when another peer asks. */
  proveWith(prove: () => Promise<NodeProof>): void {
    this.#prove = prove
  }

  /** Undefined when it cannot be reached, or does not answer within `within`. */
  ask(peer: PeerName, within: Millis): Promise<CensusAnswer | undefined> {
    return this.#census.ask(peer, { proof: true, within })
  }

  /** Whether the peer that gave this answer has the same ring as we have now. */
  isAgreed({ digest }: CensusAnswer): boolean {
    return bytesEqual(digest, this.#ports.digest())
  }

  /** Whether that peer has a ring, and it is one that did not begin as ours did. */
  isApart({ seedId }: CensusAnswer): boolean {
    const ours = this.#ports.ledger.ring?.seedId
    return seedId !== undefined && ours !== undefined && seedId !== ours
  }

  /** A message of the census. */
  receive(bytes: Uint8Array, from: PeerName): Result<void, GossipFault> {
    return this.#census.receive(bytes, from)
  }

  /** Why the ring, as this peer knows it, does not give every address exactly one owner; empty when it does. */
  ringFindings(): readonly string[] {
    return ringFindings(this.#ports.ledger)
  }

  /** Whether what is allocated here is what exists. */
  prove(living: Living): NodeProof {
    const { ledger } = this.#ports
    const proof = proveNode(ledger, living)
    const troubles = [ledger.fault?.text, this.words()].filter((text) => text !== undefined)
    return { ...proof, findings: [...proof.findings, ...troubles] }
  }

  /** What is allocated here to nothing that exists. */
  leaks(living: Living): ReadonlyMap<AttachmentKey, Ipv4> {
    return leaks(this.#ports.ledger, living)
  }

  /**
   * Makes the allocations those of the pods that exist: frees the others, and takes up addresses whose records are lost.
   * @param living what exists, each with its address as far as that can be told.
   */
  reconcile(living: ReadonlyMap<AttachmentKey, Ipv4 | undefined>): Reconciled {
    const { ledger, changed } = this.#ports
    const freed = this.#release([...ledger.allocations.keys()].filter((key) => !living.has(key)))
    const differ = [...living].flatMap(([key, address]): [AttachmentKey, Ipv4][] => {
      const host = ledger.allocations.get(key)
      const isSame = address === undefined || host === hostNumber(ledger.universe, address)
      return isSame ? [] : [[key, address]]
    })
    // All of them first: one may have what the journal, as far as it is left, has for another.
    this.#release(differ.map(([key]) => key))
    const taken = differ.map(([key, address]) => ({ key, isRelearnt: ledger.relearn(key, hostNumber(ledger.universe, address)) }))
    if (freed.length + differ.length > 0) changed()
    return {
      freed,
      relearnt: taken.filter(({ isRelearnt }) => isRelearnt).map(({ key }) => key),
      refused: taken.filter(({ isRelearnt }) => !isRelearnt).map(({ key }) => key),
    }
  }

  /** There is a network now. @param known every peer of which we know, whether it can be reached or not. */
  attach(port: GossipPort, known: () => readonly PeerName[]): void {
    this.#network = { port, known }
    this.poke()
  }

  /** Something was or could not be written, the doubt began, or the ring is another one. */
  poke(): void {
    const { ledger, clock } = this.#ports
    if (this.#isClosed) return
    if (ledger.fault !== undefined) this.#mending ??= clock.after(MEND_EVERY, () => this.#mend())
    if (!ledger.inDoubt || this.#network === undefined) return
    // What was heard of another ring than the one that we have now says nothing about this one.
    if (this.#asking === undefined || this.#heardOf !== ledger.ring?.seedId) this.#forget()
    if (this.#asking !== undefined) return
    this.#listenedUntil = millis(clock.now() + LISTEN)
    this.#asking = every(clock, ASK_EVERY, () => this.#ask())
  }

  /** Whom we still have to hear, in order of name. */
  awaited(): readonly PeerName[] {
    const { ledger, seeds } = this.#ports
    const { ring, self } = ledger
    const owners = ring === undefined ? seeds : ownedRanges(ring).map(({ owner }) => owner)
    const all = new Set([...owners, ...(this.#network?.known() ?? []), ...(this.#network?.port.reachable() ?? [])])
    // Whose name is retired does not come back under it: what it knew of our ranges is gone with it.
    return [...all].filter((peer) => peer !== self && !this.#heard.has(peer) && ring?.retired.has(peer) !== true).sort()
  }

  /** Why nothing is given out; undefined when that is not so. */
  words(): string | undefined {
    if (!this.#ports.ledger.inDoubt) return undefined
    const until = 'it gives out no address until'
    return `some of this node's journal is lost; ${until} ${this.#condition()}`
  }

  /**
   * Ends the doubt without those that were not heard.
   * @returns whom it goes on without.
   */
  recover(): readonly PeerName[] {
    if (!this.#ports.ledger.inDoubt) return []
    const awaited = this.awaited()
    this.#end()
    return awaited
  }

  [Symbol.dispose](): void {
    this.#isClosed = true
    this.#mending?.[Symbol.dispose]()
    this.#asking?.[Symbol.dispose]()
  }

  #condition(): string {
    const awaited = this.awaited()
    const silent = awaited.filter((peer) => !this.#apart.has(peer))
    const became = 'what became of its ranges'
    if (silent.length > 0) return `it has heard from ${namesOf(silent)} ${became}`
    if (awaited.length > 0) return `${namesOf(awaited)} and we have one ring: decide which of the two stands with \`weft ipam resolve\``
    const missing = this.#votersMissing()
    const whom = missing > 0 ? `from ${missing} more of the ${this.#ports.voters} peers that vote` : undefined
    return whom === undefined ? `it has listened for other peers ${became}` : `it has heard ${whom} ${became}`
  }

  /** A ring that votes began is known to voters, whether we remember who they are or not. */
  #votersMissing(): number {
    const { ledger, voters } = this.#ports
    return ledger.ring === undefined ? Math.max(0, voters - 1 - this.#heard.size) : 0
  }

  #forget(): void {
    this.#heard.clear()
    this.#apart.clear()
    this.#heardOf = this.#ports.ledger.ring?.seedId
  }

  #mend(): void {
    this.#mending = undefined
    const { ledger, log, changed } = this.#ports
    // Where it fails again the status says so; the log has said it.
    if (ledger.repair().ok) {
      log.info({}, 'the journal of addresses is written again')
      changed()
    }
    this.poke()
  }

  #ask(): void {
    const { clock, ledger } = this.#ports
    const awaited = this.awaited()
    const isHeard = awaited.length === 0 && this.#votersMissing() === 0
    if (!ledger.inDoubt || (isHeard && clock.now() >= this.#listenedUntil)) {
      this.#end()
      return
    }
    const inReach = new Set(this.#network?.port.reachable() ?? [])
    for (const peer of awaited) if (inReach.has(peer) && !this.#asked.has(peer)) void this.#hear(peer)
  }

  async #hear(peer: PeerName): Promise<void> {
    this.#asked.add(peer)
    const answer = await this.#census.ask(peer, { proof: false, within: ANSWER_WITHIN })
    this.#asked.delete(peer)
    if (answer === undefined) return
    if (this.isAgreed(answer)) this.#heard.add(peer)
    if (this.isApart(answer)) this.#apart.add(peer)
    else this.#apart.delete(peer)
  }

  #end(): void {
    const { ledger, log, changed, trouble } = this.#ports
    this.#asking?.[Symbol.dispose]()
    this.#asking = undefined
    if (!ledger.inDoubt) return
    const written = ledger.doubt(false)
    if (!written.ok) trouble(written.error.text)
    log.info({}, 'nothing is left to hear about our ranges; addresses are given out again')
    changed()
    this.poke()
  }

  #release(keys: readonly AttachmentKey[]): readonly AttachmentKey[] {
    const { ledger, trouble } = this.#ports
    for (const key of keys) {
      const { unwritten } = ledger.release(key)
      if (unwritten !== undefined) trouble(unwritten.text)
    }
    return keys
  }
}
