/** What is drawn from a seed before anything happens: how many routers, how they begin, and what they have to bear. */
import type { IpamInit, SeedSource } from '../../../ipam/seed.ts'
import { type Cidr, parseCidr } from '../../../mesh/base/address.ts'
import { type Millis, millis, type PeerName, seconds } from '../../../mesh/base/brand.ts'
import type { Clock } from '../../../mesh/base/clock.ts'
import { pick, type Random, randomBelow, seededRandom } from '../../../mesh/base/random.ts'
import type { SimRouter } from './ipam-router.ts'
import { simPeerName } from './mesh.ts'
import type { LinkQuality } from './network.ts'

export type Mode = 'seed' | 'consensus' | 'named' | 'rivals'

export interface Plan {
  readonly seed: number
  readonly random: Random
  readonly size: number
  readonly universe: Cidr
  readonly mode: Mode
  /** Who shares the range at the start; of rivals each its own. */
  readonly seeds: readonly PeerName[]
  readonly voters: number
  /** From this index on they only observe. */
  readonly observersFrom: number
  /** Indexes that all dial. */
  readonly targets: readonly number[]
  readonly quality: LinkQuality
  /** The most that a message at the seam has to bear. */
  readonly seam: number
  readonly cancelled: number
  /** How long those that died are away, at most. */
  readonly downtime: Millis
  /** Between one thing that happens and the next, at most. */
  readonly pace: Millis
  readonly operations: number
  readonly releases: number
}

const MODES: readonly Mode[] = ['seed', 'seed', 'consensus', 'named', 'rivals']

export function planOf(seed: number): Plan {
  const random = seededRandom(seed * 7_919 + 17)
  const size = 2 + Math.floor(11 * random() ** 1.5)
  const mode = pick(random, MODES) ?? 'seed'
  const latency = 0.2 + 40 * random() ** 3
  const voters = mode === 'consensus' && size > 2 ? size - randomBelow(random, Math.ceil(size / 3)) : size
  return {
    ...{ seed, random, size, mode, voters },
    universe: parseCidr(`10.32.0.0/${28 - randomBelow(random, 5)}`),
    seeds: Array.from({ length: mode === 'rivals' ? 2 : 1 + randomBelow(random, Math.min(3, size)) }, (_, at) =>
      simPeerName(mode === 'rivals' && at === 1 ? half(size) + 1 : at + 1),
    ),
    observersFrom: voters + 1,
    targets: [1, 2, 3].filter((target) => target <= size).concat(mode === 'rivals' ? [half(size) + 1] : []),
    quality: { latencyMs: [latency, 2 * latency + 1], loss: random() < 0.3 ? 0.02 : 0 },
    seam: random() < 0.5 ? 0 : 0.2 * random(),
    cancelled: random() < 0.5 ? 0 : 0.3 * random(),
    downtime: seconds(12 * random() ** 2),
    pace: seconds(0.4 + 2.6 * random()),
    operations: 1 + randomBelow(random, 6),
    releases: 0.1 + 0.4 * random(),
  }
}

/** Of two groups that begin apart, how many are in the first. */
export function half(size: number): number {
  return Math.ceil(size / 2)
}

export function initOf(plan: Plan, { index, name, generation }: SimRouter, clock: Clock): IpamInit {
  const { mode, seeds, voters, observersFrom } = plan
  // Who has taken a new name has met a cluster that has a ring.
  if (generation > 0 && mode !== 'seed') return { kind: 'await' }
  switch (mode) {
    case 'seed':
      return { kind: 'seed', peers: seeds }
    case 'consensus':
      return index >= observersFrom ? { kind: 'await' } : { kind: 'consensus', voters }
    case 'named':
      return { kind: 'named', source: lateSource(plan, clock) }
    default:
      return seeds.includes(name) ? { kind: 'seed', peers: [name] } : { kind: 'await' }
  }
}

/** Answers after a while, or not this time. */
function lateSource({ seeds, random }: Plan, clock: Clock): SeedSource {
  return {
    name: 'an object of the cluster',
    seeds: () =>
      new Promise((resolve, reject) => {
        const isRefused = random() < 0.3
        clock.after(millis(3_000 * random()), () => (isRefused ? reject(new Error('it is away')) : resolve(seeds)))
      }),
  }
}
