/**
 * How a ring begins. A list of peers shares the universe; each of them could compute the same first ring
 * from that list alone. `seed=a,b,c` gives the list, with `consensus=N` the peers agree on one, and
 * something else may name it: a `SeedSource`. Everybody else waits to hear of a ring.
 */
import { createHash } from 'node:crypto'
import { cidrSize } from '../mesh/base/address.ts'
import { isPeerName, type PeerName } from '../mesh/base/brand.ts'
import { WeftError } from '../mesh/base/errors.ts'
import { emptyRing, mergeRing, type Ring, type RingItem, type SeedId } from './ring.ts'
import { formatUniverse, type Universe } from './universe.ts'

/** What the ring begins with, should this peer have none on disk. */
export type IpamInit =
  | { readonly kind: 'await' }
  /** Sorted, each name once, at least one. */
  | { readonly kind: 'seed'; readonly peers: readonly PeerName[] }
  /** So many peers say this, and a majority of them agrees on the list. */
  | { readonly kind: 'consensus'; readonly voters: number }
  | { readonly kind: 'named'; readonly source: SeedSource }

/** Whoever knows which peers share the universe at the start: an object of Kubernetes that is made once, for example. */
export interface SeedSource {
  /** For people: what is asked, as in `awaiting the seeds from …`. */
  readonly name: string
  /**
   * The same list for everybody who asks, for ever; at least one. At once, or as late as need be. When it rejects, it is
   * asked again later; `signal` aborts when the answer is of no use any more.
   */
  seeds(signal: AbortSignal): readonly PeerName[] | Promise<readonly PeerName[]>
}

/** Of a list that everybody has. */
export function listedSeeds(peers: readonly PeerName[]): SeedSource {
  return { name: 'the seed list', seeds: () => peers }
}

export function isSeedList(seeds: ReturnType<SeedSource['seeds']>): seeds is readonly PeerName[] {
  return Array.isArray(seeds)
}

/** More seeds than this is no bootstrap but a membership list: the others get their space by asking. */
export const SEEDS_MAX = 1_024

const HINT =
  'use seed=NAME,NAME,… or consensus=NUMBER, the same on every node (self stands for the name of this one), or observer to join the ring of others'
const CONSENSUS_HINT = `say how many nodes begin with consensus, from 1 to ${SEEDS_MAX}: the same number on each; all others say observer`

/**
 * `seed=name,name` where `self` may stand for our own name, `consensus=number`, `observer`, or nothing, which is the same.
 * @throws {WeftError} USAGE
 */
export function parseIpamInit(text: string, self: PeerName): IpamInit {
  if (text === '' || text === 'observer') return { kind: 'await' }
  const [, voters] = /^consensus=(.*)$/.exec(text) ?? []
  if (voters !== undefined) return { kind: 'consensus', voters: parseVoters(voters) }
  const [, list] = /^seed=(.+)$/.exec(text) ?? []
  if (list === undefined) throw new WeftError('USAGE', `cannot begin IP allocation with ${JSON.stringify(text)}`, { hint: HINT })
  const names = list.split(',').map((word) => seedName(word.trim(), self))
  const peers = [...new Set(names)].sort()
  if (peers.length > SEEDS_MAX) {
    throw new WeftError('USAGE', `${peers.length} seeds for IP allocation, more than ${SEEDS_MAX}`, { hint: 'name a few; the others join' })
  }
  return { kind: 'seed', peers }
}

function parseVoters(text: string): number {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : 0
  if (count >= 1 && count <= SEEDS_MAX) return count
  throw new WeftError('USAGE', `consensus=${text} is not a number of peers from 1 to ${SEEDS_MAX}`, { hint: CONSENSUS_HINT })
}

function seedName(word: string, self: PeerName): PeerName {
  if (word === 'self') return self
  if (!isPeerName(word)) throw new WeftError('USAGE', `${JSON.stringify(word)} is not a peer name`, { hint: HINT })
  return word
}

/** The first ring: the universe halved again and again among the sorted peers. Peers beyond its size get nothing. */
export function seedRing(universe: Universe, peers: readonly PeerName[]): Ring {
  const size = cidrSize(universe)
  const empty = emptyRing(seedIdOf(universe, peers), size)
  return mergeRing(empty, { items: share(0, size, [...peers].sort()), retired: [] }).ring
}

export function seedIdOf(universe: Universe, peers: readonly PeerName[]): SeedId {
  const text = `${formatUniverse(universe)} ${[...peers].sort().join(',')}`
  return createHash('sha256').update(text).digest('hex').slice(0, 16) as SeedId
}

function share(start: number, end: number, peers: readonly PeerName[]): readonly RingItem[] {
  const [owner, ...others] = peers
  if (owner === undefined) return []
  if (others.length === 0 || end - start === 1) return [{ token: start, end, owner, version: 1, epoch: 0 }]
  const middle = (start + end) / 2
  const left = Math.ceil(peers.length / 2)
  return [...share(start, middle, peers.slice(0, left)), ...share(middle, end, peers.slice(left))]
}
