/**
 * What happens when rings of different beginnings meet. They are never merged: each keeps its ranges and
 * its pods, and both sides say so until a person decides which one stands (`weft ipam resolve`). Then each
 * peer of the other one gathers the whole of the ring that stands, and takes it in place of its own in one
 * step. Its pods keep their addresses; `claims.ts` sees that they become its own again.
 */
import { type Millis, type PeerName, seconds } from '../mesh/base/brand.ts'
import type { Clock } from '../mesh/base/clock.ts'
import { describeError, WeftError } from '../mesh/base/errors.ts'
import type { Logger } from '../mesh/base/log.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import type { GossipFault, Merged, News } from '../mesh/gossip.ts'
import { openBeside } from './beside.ts'
import type { Disk } from './disk.ts'
import { namesOf } from './names.ts'
import { emptyRing, gapsOf, mergeRing, type Ring, type SeedId } from './ring.ts'
import { encodeDelta, type RingDelta, type RingHead } from './ring-codec.ts'
import { formatUniverse, type Universe } from './universe.ts'
import { decodeVerdict, decodeVerdicts, encodeVerdict, encodeVerdicts, type Verdict, Verdicts } from './verdicts.ts'

interface RivalryPorts {
  readonly universe: Universe
  readonly clock: Clock
  readonly log: Logger
  /** Where IPAM keeps its journal. */
  readonly disk: Disk
  ring(): Ring | undefined
  /** Takes another ring in the place of ours; false when it cannot be written now. */
  adopt(ring: Ring): boolean
  broadcast(delta: Uint8Array): void
  trouble(text: string): void
}

/** In the state directory. */
const FILE = 'ipam.verdicts'

/** Another ring than ours, of which we have heard lately. */
export interface Rival {
  readonly seedId: SeedId
  /** Neighbours that have it. */
  readonly peers: readonly PeerName[]
}

/** Neighbours compare every 5 s, each time with another one: who has not been heard of for so long is gone, or has come over. */
const HEARD_FOR: Millis = seconds(60)
/** More rings than this in one mesh, or more of their peers, tell nobody more. */
const RIVALS_MAX = 8
const PEERS_MAX = 16

const RESOLVE_HINT = 'decide which ring stands: `weft ipam resolve --keep-ours` or `weft ipam resolve --take-theirs`, on one node'

export class Rivalry implements Disposable {
  readonly #ports: RivalryPorts
  readonly #disk: Disk
  readonly #verdicts = new Verdicts()
  readonly #rivals = new Map<SeedId, { heardAt: Millis; readonly peers: Map<PeerName, Millis> }>()
  /** What we have gathered of the ring that we are to take. */
  #gathered: Ring | undefined

  constructor(ports: RivalryPorts) {
    this.#ports = ports
    this.#disk = openBeside(ports.disk, FILE)
    for (const verdict of this.#load()) this.#verdicts.add(verdict)
  }

  [Symbol.dispose](): void {
    this.#disk[Symbol.dispose]()
  }

  /** The ring that stands in the place of ours, which we have not got whole yet. */
  get awaited(): SeedId | undefined {
    const ours = this.#ports.ring()?.seedId
    return ours === undefined ? undefined : this.#verdicts.against(ours).at(-1)?.winner
  }

  /** A ring of the same range that did not begin as ours did. */
  isRival(theirs: RingHead): theirs is { readonly universe: Universe; readonly seedId: SeedId } {
    const ours = this.#ports.ring()?.seedId
    const isOurRange = formatUniverse(theirs.universe) === formatUniverse(this.#ports.universe)
    return isOurRange && ours !== undefined && theirs.seedId !== undefined && theirs.seedId !== ours
  }

  rivals(): readonly Rival[] {
    const now = this.#ports.clock.now()
    const ours = this.#ports.ring()?.seedId
    for (const [seedId, { heardAt, peers }] of this.#rivals) {
      if (seedId === ours || now - heardAt > HEARD_FOR) this.#rivals.delete(seedId)
      for (const [peer, at] of peers) if (now - at > HEARD_FOR) peers.delete(peer)
    }
    return [...this.#rivals].map(([seedId, { peers }]) => ({ seedId, peers: [...peers.keys()].sort() }))
  }

  /** For people: a line for each other ring. */
  words(): readonly string[] {
    const { awaited } = this
    const ours = this.#ports.ring()?.seedId
    return this.rivals().map(({ seedId, peers }) => {
      const of = peers.length === 0 ? '' : ` of ${namesOf(peers)}`
      if (seedId === awaited) return `our ring is given up for ring ${seedId}${of}, which is being fetched`
      if (this.#verdicts.against(seedId).at(-1)?.winner === ours) return `ring ${seedId}${of} is given up for ours`
      return `another ring (${seedId})${of} has met ours (${ours ?? 'none'}): ${RESOLVE_HINT}`
    })
  }

  /** Somebody has another ring. @param from undefined when it is not known who. @returns what to tell him. */
  met(theirs: SeedId, from: PeerName | undefined): readonly News[] {
    const ours = this.#ports.ring()
    if (ours === undefined) return []
    this.#note(theirs, ours.seedId, from)
    const { universe } = this.#ports
    const verdicts = this.#verdicts.against(theirs)
    // An empty delta says whose ring we have, so that the other side can name us.
    const head = encodeDelta({ universe, seedId: ours.seedId, items: [], retired: [] })
    return [head, ...verdicts.map((verdict) => encodeVerdict(universe, verdict))].map((delta) => ({ key: undefined, delta }))
  }

  /** True when `delta` needs no more to be done: a part of the ring that we are to take, or only the name of another one. */
  gather(delta: RingDelta, from: PeerName): boolean {
    if (!this.isRival(delta)) return false
    this.met(delta.seedId, from)
    if (delta.items.length + delta.retired.length === 0) return true
    const { awaited } = this
    const ours = this.#ports.ring()
    if (ours === undefined || awaited === undefined || delta.seedId !== awaited) return false
    const known = this.#gathered?.seedId === awaited ? this.#gathered : emptyRing(awaited, ours.size)
    this.#gathered = mergeRing(known, delta).ring
    // Parts of it are of little use: they would cost the routes to all others.
    if (gapsOf(this.#gathered).length === 0 && this.#ports.adopt(this.#gathered)) {
      this.#ports.log.info({ range: formatUniverse(this.#ports.universe), reason: awaited }, 'ring given up for another one')
      this.#gathered = undefined
    }
    return true
  }

  /** A verdict that a peer tells of. */
  receive(bytes: Uint8Array): Result<Merged, GossipFault> {
    const verdict = decodeVerdict(bytes)
    if (!verdict.ok) return verdict
    const [range, ours] = [formatUniverse(verdict.value.universe), formatUniverse(this.#ports.universe)]
    if (range !== ours) return err({ code: 'foreign', detail: `a verdict on rings of the range ${range}; ours is ${ours}` })
    const added = this.#verdicts.add(verdict.value)
    if (added === 'full') return err({ code: 'limit', detail: 'too many verdicts on rings' })
    if (added === 'new') this.#save(this.#verdicts.all)
    return ok({ news: added === 'new' ? [{ key: undefined, delta: bytes.slice() }] : [], held: [], faults: [] })
  }

  /**
   * A person decides.
   * @param theirs which other ring is meant; undefined: there is but one.
   * @returns the ring that stands.
   * @throws {WeftError} USAGE when there is nothing to decide.
   */
  resolve(keep: 'ours' | 'theirs', theirs: string | undefined): SeedId {
    const { universe, clock, broadcast } = this.#ports
    const ours = this.#ports.ring()?.seedId
    const rivals = this.rivals().filter(({ seedId }) => theirs === undefined || seedId === theirs)
    const [rival, another] = rivals
    if (ours === undefined || rival === undefined) {
      throw new WeftError(
        'USAGE',
        theirs === undefined ? 'no other ring has been heard of lately' : `no ring ${theirs} has been heard of lately`,
        {
          hint: 'see `weft status ipam`',
        },
      )
    }
    if (another !== undefined) {
      const known = rivals.map(({ seedId }) => seedId).join(', ')
      throw new WeftError('USAGE', `there are several other rings: ${known}`, { hint: 'name one with --ring' })
    }
    const [loser, winner] = keep === 'ours' ? [rival.seedId, ours] : [ours, rival.seedId]
    const verdict = { loser, winner, at: clock.wallTime() }
    if (this.#verdicts.against(loser).at(-1)?.winner === winner) return winner
    const stands = this.#verdicts.against(winner).at(-1)?.winner ?? this.#verdicts.against(loser).at(-1)?.winner
    if (stands !== undefined)
      throw new WeftError('USAGE', `it was decided otherwise before: ${stands} stands`, { hint: 'see `weft status ipam`' })
    if (this.#verdicts.isFull) {
      throw new WeftError('USAGE', 'more was decided about rings than can be kept', {
        hint: `stop the routers, and remove ${this.#disk.path} of each`,
      })
    }
    if (!this.#save([...this.#verdicts.all, verdict])) {
      throw new WeftError('STATE', `cannot write ${this.#disk.path}, so nothing was decided`, { hint: 'check the disk' })
    }
    this.#verdicts.add(verdict)
    broadcast(encodeVerdict(universe, verdict))
    return winner
  }

  #load(): readonly Verdict[] {
    const { universe, trouble } = this.#ports
    try {
      const bytes = this.#disk.read()
      const verdicts = bytes === undefined ? [] : decodeVerdicts(universe, bytes)
      if (verdicts === undefined) trouble(`${this.#disk.path} is damaged: what was decided about rings may have to be decided again`)
      return verdicts ?? []
    } catch (error) {
      trouble(`cannot read ${this.#disk.path}: ${describeError(error)}`)
      return []
    }
  }

  #save(verdicts: readonly Verdict[]): boolean {
    try {
      this.#disk.replace(encodeVerdicts(this.#ports.universe, verdicts))
      return true
    } catch (error) {
      this.#ports.trouble(`cannot write ${this.#disk.path}: ${describeError(error)}`)
      return false
    }
  }

  #note(theirs: SeedId, ours: SeedId, from: PeerName | undefined): void {
    const { clock, log } = this.#ports
    const known = this.#rivals.get(theirs) ?? { heardAt: clock.now(), peers: new Map<PeerName, Millis>() }
    const isNew = !this.rivals().some(({ seedId }) => seedId === theirs)
    if (isNew && this.#rivals.size >= RIVALS_MAX) return
    known.heardAt = clock.now()
    if (from !== undefined && (known.peers.has(from) || known.peers.size < PEERS_MAX)) known.peers.set(from, clock.now())
    this.#rivals.set(theirs, known)
    if (isNew && this.#verdicts.against(theirs).length === 0 && this.#verdicts.against(ours).length === 0) {
      log.error(
        { reason: `ring ${theirs} and ours, ${ours}, were begun by different seeds; ${RESOLVE_HINT}` },
        'two rings of IP ranges have met',
      )
    }
  }
}
