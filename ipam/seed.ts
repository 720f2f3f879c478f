/**
 * How a ring begins. `seed=a,b,c` names the peers that share the universe; each of them computes the
 * same first ring from that list alone, without a message. Everybody else waits to hear of a ring.
 */
import { createHash } from 'node:crypto'
import { type Cidr, cidrSize, formatCidr } from '../mesh/base/address.ts'
import { isPeerName, type PeerName } from '../mesh/base/brand.ts'
import { WeftError } from '../mesh/base/errors.ts'
import { emptyRing, mergeRing, type Ring, type RingItem, type SeedId } from './ring.ts'

/** What the ring begins with, should this peer have none on disk. */
export type IpamInit =
  | { readonly kind: 'await' }
  /** Sorted, each name once, at least one. */
  | { readonly kind: 'seed'; readonly peers: readonly PeerName[] }

/** More seeds than this is no bootstrap but a membership list: the others get their space by asking. */
const SEEDS_MAX = 1_024

const HINT = 'use seed=NAME,NAME,… with the same names on every node (self stands for this one), or leave it empty to join a ring'

/**
 * `seed=name,name` or nothing; `self` may stand for our own name.
 * @throws {WeftError} USAGE
 */
export function parseIpamInit(text: string, self: PeerName): IpamInit {
  if (text === '') return { kind: 'await' }
  const [, list] = /^seed=(.+)$/.exec(text) ?? []
  if (list === undefined) throw new WeftError('USAGE', `cannot begin IP allocation with ${JSON.stringify(text)}`, { hint: HINT })
  const names = list.split(',').map((word) => seedName(word.trim(), self))
  const peers = [...new Set(names)].sort()
  if (peers.length > SEEDS_MAX) {
    throw new WeftError('USAGE', `${peers.length} seeds for IP allocation, more than ${SEEDS_MAX}`, { hint: 'name a few; the others join' })
  }
  return { kind: 'seed', peers }
}

function seedName(word: string, self: PeerName): PeerName {
  if (word === 'self') return self
  if (!isPeerName(word)) throw new WeftError('USAGE', `${JSON.stringify(word)} is not a peer name`, { hint: HINT })
  return word
}

/** The first ring: the universe halved again and again among the sorted peers. Peers beyond its size get nothing. */
export function seedRing(universe: Cidr, peers: readonly PeerName[]): Ring {
  const size = cidrSize(universe)
  const empty = emptyRing(seedIdOf(universe, peers), size)
  return mergeRing(empty, { items: share(0, size, [...peers].sort()), retired: [] }).ring
}

export function seedIdOf(universe: Cidr, peers: readonly PeerName[]): SeedId {
  const text = `${formatCidr(universe)} ${[...peers].sort().join(',')}`
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
