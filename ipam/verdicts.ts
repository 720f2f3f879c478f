/**
 * What people have decided about rings that met: whose stands, and whose is given up. A verdict travels as
 * a delta of IPAM's channel, beside those of rings, which begin with another form. Big endian:
 *
 *   | form 2 | universe 22, as in universe-codec.ts | loser 8 | winner 8 | wall time of the decision, ms 8 |
 *
 * On disk: | CRC-32 of the rest 4 | as above | as above | … , so that neither the one who was told nor those
 * who heard of it can forget what a person has decided.
 *
 * Verdicts may contradict each other, as two people may decide at once. What counts is the same wherever
 * the same verdicts are known: the earlier ones, without those that would send a ring's peers in a circle.
 */
import { crc32 } from 'node:zlib'
import { type Millis, millis } from '../mesh/base/brand.ts'
import { concatBytes, fromHex, toHex } from '../mesh/base/bytes.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import type { SeedId } from './ring.ts'
import { formatUniverse, type Universe } from './universe.ts'
import { putUniverse, UNIVERSE_BYTES, universeAt } from './universe-codec.ts'

export interface Verdict {
  readonly loser: SeedId
  readonly winner: SeedId
  /** Wall time. */
  readonly at: Millis
}

const FORM = 2
const UNIVERSE_AT = 1
const LOSER_AT = UNIVERSE_AT + UNIVERSE_BYTES
const WINNER_AT = LOSER_AT + 8
const TIME_AT = WINNER_AT + 8
const BYTES = TIME_AT + 8
const CRC_BYTES = 4
/** A cluster whose rings met more often has other troubles; more would be somebody filling our memory. */
const VERDICTS_MAX = 16

export function isVerdict(bytes: Uint8Array): boolean {
  return bytes[0] === FORM
}

export function encodeVerdict(universe: Universe, { loser, winner, at }: Verdict): Uint8Array {
  const bytes = new Uint8Array(BYTES)
  bytes[0] = FORM
  putUniverse(bytes, UNIVERSE_AT, universe)
  bytes.set(fromHex(loser), LOSER_AT)
  bytes.set(fromHex(winner), WINNER_AT)
  new DataView(bytes.buffer).setBigUint64(TIME_AT, BigInt(Math.floor(at)))
  return bytes
}

export function decodeVerdict(bytes: Uint8Array): Result<Verdict & { readonly universe: Universe }, GossipFault> {
  if (bytes.length !== BYTES || bytes[0] !== FORM) return malformed(`a verdict of ${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const at = Number(view.getBigUint64(TIME_AT))
  if (!Number.isSafeInteger(at)) return malformed('a verdict of no time')
  try {
    const universe = universeAt(bytes, UNIVERSE_AT)
    const loser = toHex(bytes.subarray(LOSER_AT, WINNER_AT)) as SeedId
    const winner = toHex(bytes.subarray(WINNER_AT, TIME_AT)) as SeedId
    return loser === winner ? malformed('a verdict on a ring against itself') : ok({ universe, loser, winner, at: millis(at) })
  } catch (error) {
    if (error instanceof RangeError) return malformed(error.message)
    throw error
  }
}

export function encodeVerdicts(universe: Universe, verdicts: readonly Verdict[]): Uint8Array {
  const body = concatBytes(verdicts.map((verdict) => encodeVerdict(universe, verdict)))
  const head = new Uint8Array(CRC_BYTES)
  new DataView(head.buffer).setUint32(0, crc32(body))
  return concatBytes([head, body])
}

/** Undefined when the bytes are damaged, or of another range. */
export function decodeVerdicts(universe: Universe, bytes: Uint8Array): readonly Verdict[] | undefined {
  const body = bytes.subarray(CRC_BYTES)
  if (bytes.length < CRC_BYTES || crc32(body) !== new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)) return undefined
  const verdicts: Verdict[] = []
  for (let at = 0; at < body.length; at += BYTES) {
    const verdict = decodeVerdict(body.subarray(at, at + BYTES))
    if (!verdict.ok || formatUniverse(verdict.value.universe) !== formatUniverse(universe)) return undefined
    const { loser, winner, at: time } = verdict.value
    verdicts.push({ loser, winner, at: time })
  }
  return verdicts
}

export class Verdicts {
  #all: readonly Verdict[] = []
  #winners: ReadonlyMap<SeedId, SeedId> = new Map()

  /** In order of their time. */
  get all(): readonly Verdict[] {
    return this.#all
  }

  get isFull(): boolean {
    return this.#all.length >= VERDICTS_MAX
  }

  /** 'full' when no more can be kept. */
  add(verdict: Verdict): 'new' | 'known' | 'full' {
    if (this.#all.some((known) => compare(known, verdict) === 0)) return 'known'
    if (this.isFull) return 'full'
    this.#all = [...this.#all, verdict].sort(compare)
    this.#winners = winnersOf(this.#all)
    return 'new'
  }

  /** The verdicts by which `ring` is given up, from it to the ring that stands in its place; none when it stands. */
  against(ring: SeedId): readonly Verdict[] {
    const winner = this.#winners.get(ring)
    const verdict = this.#all.find((one) => one.loser === ring && one.winner === winner)
    return verdict === undefined ? [] : [verdict, ...this.against(verdict.winner)]
  }
}

function winnersOf(verdicts: readonly Verdict[]): ReadonlyMap<SeedId, SeedId> {
  const winners = new Map<SeedId, SeedId>()
  for (const { loser, winner } of verdicts) {
    if (!winners.has(loser) && last(winners, winner) !== loser) winners.set(loser, winner)
  }
  return winners
}

/** Where the way from `ring` ends. */
function last(winners: ReadonlyMap<SeedId, SeedId>, ring: SeedId): SeedId {
  const next = winners.get(ring)
  return next === undefined ? ring : last(winners, next)
}

function compare(a: Verdict, b: Verdict): number {
  if (a.at !== b.at) return a.at - b.at
  const [left, right] = [`${a.loser} ${a.winner}`, `${b.loser} ${b.winner}`]
  return left < right ? -1 : Number(left > right)
}

function malformed(detail: string): { readonly ok: false; readonly error: GossipFault } {
  return err({ code: 'malformed', detail })
}
