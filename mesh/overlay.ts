/**
 * With whom to be connected. While the mesh is small, with all. In a larger one every peer wants `DEGREE_TARGET`
 * connections with peers drawn at random, and takes up to `DEGREE_MAX`: a random graph of degree 8 has a path of at
 * most 5 connections between any two of 1,000 peers, and holds together when 30 % of them vanish at once. Every peer
 * knows the records of all others, so that it has somebody to turn to whatever is gone; links drawn at random are long
 * ones, and no more is needed to keep distant parts joined.
 */
import type { PeerName } from './base/brand.ts'
import { type Random, randomBelow } from './base/random.ts'
import type { Liveness } from './liveness.ts'
import type { PeerRecord } from './record.ts'

export const DEGREE_TARGET = 8
export const DEGREE_MAX = 12
/** As many peers are looked at before one is chosen: enough to find good ones, and the same work in any mesh. */
const SAMPLE = 64
/** What one that we have no room for is told: others to turn to. */
const REFERRALS = 16
/** Links into other zones that are kept when there are too many. */
const OTHER_ZONE_MIN = 2

/** @param others how many peers there are besides us. */
export function degreeWanted(others: number): number {
  return Math.min(DEGREE_TARGET, others)
}

export interface NeighbourView {
  readonly name: PeerName
  /** How many connections it says it has. */
  readonly degree: number
  readonly isOtherZone: boolean
}

/**
 * The neighbour to part from, when we have more connections than we want and it has as well: of two such, the one whose
 * name comes first parts. Undefined when there is none.
 */
export function surplusOf(self: PeerName, neighbours: readonly NeighbourView[]): PeerName | undefined {
  if (neighbours.length <= DEGREE_TARGET) return undefined
  const farLinks = neighbours.filter(({ isOtherZone }) => isOtherZone).length
  const able = neighbours.filter(
    ({ name, degree, isOtherZone }) => self < name && degree > DEGREE_TARGET && !(isOtherZone && farLinks <= OTHER_ZONE_MIN),
  )
  return mostConnected(able)
}

/** The neighbour that can best spare us, for one that has nobody else. Undefined when none can. */
export function whoMakesRoom(neighbours: readonly NeighbourView[]): PeerName | undefined {
  return mostConnected(neighbours.filter(({ degree }) => degree > DEGREE_TARGET))
}

function mostConnected(neighbours: readonly NeighbourView[]): PeerName | undefined {
  return neighbours.toSorted((a, b) => b.degree - a.degree || (a.name < b.name ? -1 : 1))[0]?.name
}

/** Those of some drawn at random that are best to connect with, best first: alive ones, with room for more. */
export function candidates(
  records: readonly PeerRecord[],
  isEligible: (record: PeerRecord) => boolean,
  livenessOf: (name: PeerName) => Liveness,
  random: Random,
): readonly PeerRecord[] {
  const eligible = sample(records, random).filter(isEligible)
  const rank = (record: PeerRecord): number => LIVENESS_RANK[livenessOf(record.name)] * 4 + roominess(record.neighbours.length)
  return eligible.sort((a, b) => rank(a) - rank(b))
}

/** Peers with room for one that we turn away, in no order. */
export function referrals(records: readonly PeerRecord[], isAlive: (name: PeerName) => boolean, random: Random): readonly PeerName[] {
  const alive = sample(records, random).filter(({ name }) => isAlive(name))
  return alive
    .sort((a, b) => roominess(a.neighbours.length) - roominess(b.neighbours.length))
    .slice(0, REFERRALS)
    .map(({ name }) => name)
}

const LIVENESS_RANK: Readonly<Record<Liveness, number>> = { alive: 0, suspect: 1, dead: 2, left: 3 }

function roominess(degree: number): number {
  if (degree < DEGREE_TARGET) return 0
  return degree < DEGREE_MAX ? 1 : 2
}

/** `SAMPLE` of them, in random order; all when there are no more. */
function sample(records: readonly PeerRecord[], random: Random): PeerRecord[] {
  const chosen = new Set<PeerRecord>()
  if (records.length > 4 * SAMPLE) {
    while (chosen.size < SAMPLE) {
      const record = records[randomBelow(random, records.length)]
      if (record !== undefined) chosen.add(record)
    }
    return [...chosen]
  }
  return shuffled(records, random).slice(0, SAMPLE)
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const next = [...items]
  for (let end = next.length - 1; end > 0; end -= 1) {
    const at = randomBelow(random, end + 1)
    const [a, b] = [next[end], next[at]]
    if (a !== undefined && b !== undefined) {
      next[end] = b
      next[at] = a
    }
  }
  return next
}
