/** A big ring in one process: merging, encoding, decoding, comparing. The only file of the benches that knows how rings are made. */

import { emptyRing, mergeRing, type Ring, type RingItem, type SeedId } from '../../ipam/ring.ts'
import { decodeDelta, encodeDelta } from '../../ipam/ring-codec.ts'
import { ringDigest, ringSummary } from '../../ipam/ring-digest.ts'
import { type Cidr, cidrSize, parseCidr } from '../../mesh/base/address.ts'
import { type PeerName, parsePeerName } from '../../mesh/base/brand.ts'
import { toHex } from '../../mesh/base/bytes.ts'
import { systemClock } from '../../mesh/base/clock.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { type BenchContext, compare, median, type Row } from '../form.ts'
import { GO_RING, WEAVE_MERGE_MICROSECONDS, WEAVE_NAME } from './weave.ts'

const UNIVERSE: Cidr = parseCidr('10.32.0.0/12')
const SEED_ID = 'ab'.repeat(8) as SeedId
const { entries: ENTRIES, peers: PEERS } = GO_RING

/** Passes of a round, of which the median counts; what comes before is for the compiler. */
const PASSES = 301
const PASSES_QUICK = 51

/** What one pass measures, in microseconds. */
interface Costs {
  readonly merge: number
  readonly decodeAndMerge: number
  readonly encode: number
  readonly decode: number
  readonly digest: number
}

interface Sizes {
  readonly wholeBytes: number
  readonly digestBytes: number
  readonly summaryBytes: number
  readonly grantBytes: number
}

export function measureRings(context: BenchContext): readonly Row[] {
  context.progress(`rings of ${ENTRIES} entries`)
  const scene = makeScene()
  const passes = context.quick ? PASSES_QUICK : PASSES
  const round = (): Costs => medians(Array.from({ length: passes }, () => pass(scene)))
  round()
  const rounds = Array.from({ length: context.rounds }, round)
  return [...timeRows((cost) => rounds.map((one) => one[cost])), ...sizeRows(sizesOf(scene), context.rounds)]
}

interface Scene {
  readonly ring: Ring
  /** The same, but each entry is newer. */
  readonly newer: readonly RingItem[]
  readonly delta: Uint8Array
}

function makeScene(): Scene {
  const newer = itemsOf(2)
  return { ring: ringOf(itemsOf(1)), newer, delta: encodeDelta({ universe: UNIVERSE, seedId: SEED_ID, items: newer, retired: [] }) }
}

/** Equal ranges, each peer's all over the universe: none of a peer's touch, so that they stay so many. */
function itemsOf(version: number): readonly RingItem[] {
  const size = Math.floor(cidrSize(UNIVERSE) / ENTRIES)
  return Array.from({ length: ENTRIES }, (_, index) => {
    const end = index === ENTRIES - 1 ? cidrSize(UNIVERSE) : (index + 1) * size
    return { token: index * size, end, owner: nameOf(index % PEERS), version, epoch: 0 }
  })
}

function nameOf(index: number): PeerName {
  return parsePeerName(toHex(Uint8Array.from([1, 2, 3, 4, 5, 6, index >> 8, index & 0xff])))
}

/** @throws {WeftError} INPUT when it is not what was to be measured. */
function ringOf(items: readonly RingItem[]): Ring {
  const { ring, faults } = mergeRing(emptyRing(SEED_ID, cidrSize(UNIVERSE)), { items, retired: [] })
  if (faults.length > 0 || ring.entries.length !== ENTRIES) throw new WeftError('INPUT', 'not the ring that was to be measured')
  return ring
}

function pass({ ring, newer, delta }: Scene): Costs {
  return {
    merge: microseconds(() => mergeRing(ring, { items: newer, retired: [] })),
    decodeAndMerge: microseconds(() => {
      const decoded = decodeDelta(delta)
      if (decoded.ok) mergeRing(ring, decoded.value)
    }),
    encode: microseconds(() => encodeDelta({ universe: UNIVERSE, seedId: SEED_ID, items: newer, retired: [] })),
    decode: microseconds(() => decodeDelta(delta)),
    digest: microseconds(() => ringDigest(UNIVERSE, ring)),
  }
}

function microseconds(work: () => void): number {
  const start = systemClock.now()
  work()
  return (systemClock.now() - start) * 1_000
}

function medians(passes: readonly Costs[]): Costs {
  const of = (cost: keyof Costs): number => median(passes.map((one) => one[cost]))
  return {
    merge: of('merge'),
    decodeAndMerge: of('decodeAndMerge'),
    encode: of('encode'),
    decode: of('decode'),
    digest: of('digest'),
  }
}

const GO_ALONE = 'its merge alone, in Go'
const GOB = 'its ring, Go’s gob'

function timeRows(samples: (cost: keyof Costs) => readonly number[]): readonly Row[] {
  const common = { case: `ring of ${ENTRIES} entries`, unit: 'µs', better: 'lower' } as const
  const row = (metric: string, cost: keyof Costs, [peer, theirs]: readonly [string, number], note?: string): Row =>
    compare({ ...common, metric, ours: samples(cost), peer, theirs, ...(note !== undefined && { note }) })
  const { mergeMicroseconds, encodeMicroseconds, decodeMicroseconds } = GO_RING
  const parts = mergeMicroseconds + decodeMicroseconds
  return [
    row('merge, all newer', 'merge', [WEAVE_NAME, WEAVE_MERGE_MICROSECONDS], MERGE_NOTE),
    row('merge, all newer, against the loops', 'merge', [GO_ALONE, mergeMicroseconds], GO_NOTE),
    row('decode and merge, all newer', 'decodeAndMerge', [`${GO_ALONE}, and gob`, parts]),
    row('encode', 'encode', [GOB, encodeMicroseconds]),
    row('decode', 'decode', [GOB, decodeMicroseconds]),
    row('digest, to compare with a neighbour', 'digest', [GOB, encodeMicroseconds], DIGEST_NOTE),
  ]
}

const MERGE_NOTE = 'the figure of Weave Net is of another machine of this class, and does not tell what else is in it'
const GO_NOTE = 'compiled code that does nothing but the loops of Weave Net’s merge: the hardest comparison'
const DIGEST_NOTE = 'in place of which Weave Net encodes and sends the whole ring'

function sizesOf({ ring, newer }: Scene): Sizes {
  const encoded = (items: readonly RingItem[]): number => encodeDelta({ universe: UNIVERSE, seedId: SEED_ID, items, retired: [] }).length
  return {
    wholeBytes: encoded(newer),
    digestBytes: ringDigest(UNIVERSE, ring).length,
    summaryBytes: ringSummary(UNIVERSE, ring).length,
    // What is given, and what is left behind it.
    grantBytes: encoded(newer.slice(0, 2)),
  }
}

function sizeRows({ wholeBytes, digestBytes, summaryBytes, grantBytes }: Sizes, rounds: number): readonly Row[] {
  const common = { case: `ring of ${ENTRIES} entries`, unit: 'B', better: 'lower', peer: `${WEAVE_NAME}, the whole ring` } as const
  const row = (metric: string, bytes: number): Row =>
    compare({ ...common, metric, ours: Array.from({ length: rounds }, () => bytes), theirs: GO_RING.bytes })
  return [
    row('the whole', wholeBytes),
    row('sent at regular times', digestBytes),
    row('sent where digests differ, before what is lacking', summaryBytes),
    row('sent of a range that was given away', grantBytes),
  ]
}
