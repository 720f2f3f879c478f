/** What a bad cable does to the packets of a host: as people say it, as it is kept, and as the middlebox is told. */
import { err, ok, type Result } from '../../mesh/base/result.ts'
import type { HostName } from './names.ts'

/** Each way. Rates are per packet and independent of each other. */
export interface Impairment {
  readonly host: HostName
  readonly lossPpm: number
  readonly duplicatePpm: number
  /** So many packets come 5 ms later than others, which overtake them. */
  readonly reorderPpm: number
  readonly delayUs: number
  /** 0 = as fast as it goes. */
  readonly rateKbit: number
  /** The same seed does the same to the n-th packet of a direction. */
  readonly seed: number
}

export const PPM_MAX = 1_000_000
/** Longer ones are a cut. */
export const DELAY_US_MAX = 10_000_000
/** 100 Gbit/s: more than any middlebox carries. */
export const RATE_KBIT_MAX = 100_000_000
export const SEED_MAX = 0xffff_ffff

const PPM_PER_PERCENT = 10_000
const PERCENT = /^(\d{1,3}(?:\.\d{1,4})?)%$/
const DURATION = /^(\d{1,8}(?:\.\d{1,3})?)(us|ms|s)$/
const RATE = /^(\d{1,9}(?:\.\d{1,3})?)(kbit|mbit|gbit)$/
const US_PER: Readonly<Record<string, number>> = { us: 1, ms: 1_000, s: 1_000_000 }
const KBIT_PER: Readonly<Record<string, number>> = { kbit: 1, mbit: 1_000, gbit: 1_000_000 }

/** `1%`, `0.25%`, as parts per million. The error is for people. */
export function parseShare(text: string): Result<number, string> {
  const ppm = Math.round(Number(PERCENT.exec(text)?.[1]) * PPM_PER_PERCENT)
  return ppm <= PPM_MAX ? ok(ppm) : err('not a share such as 1% or 0.25%, from 0% to 100%')
}

/** `20ms`, `1.5s`, `200us`, in microseconds. */
export function parseDelay(text: string): Result<number, string> {
  const us = scaled(DURATION.exec(text), US_PER)
  return us <= DELAY_US_MAX ? ok(us) : err(`not a time such as 20ms, 1.5s or 200us, up to ${DELAY_US_MAX / 1_000_000}s`)
}

/** `100mbit`, `2.5gbit`, `56kbit`, in kbit/s. */
export function parseRate(text: string): Result<number, string> {
  const kbit = scaled(RATE.exec(text), KBIT_PER)
  return kbit >= 1 && kbit <= RATE_KBIT_MAX ? ok(kbit) : err('not a rate such as 100mbit, 2.5gbit or 56kbit, up to 100gbit')
}

export function parseSeed(text: string): Result<number, string> {
  const seed = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  return seed <= SEED_MAX ? ok(seed) : err(`not a whole number from 0 to ${SEED_MAX}`)
}

function scaled(match: RegExpExecArray | null, units: Readonly<Record<string, number>>): number {
  return Math.round(Number(match?.[1]) * (units[match?.[2] ?? ''] ?? Number.NaN))
}

/** What the middlebox is to be called with, after the devices and the file of its counters. */
export function middleboxWords({ seed, lossPpm, duplicatePpm, reorderPpm, delayUs, rateKbit }: Impairment): readonly string[] {
  return [seed, lossPpm, duplicatePpm, reorderPpm, delayUs, rateKbit].map(String)
}

/** In one of the two directions. */
export interface DirectionCounters {
  readonly received: number
  readonly sent: number
  readonly lost: number
  readonly duplicated: number
  readonly reordered: number
  /** Dropped as they had nowhere to wait: more came than the rate or the queue takes. */
  readonly overflowed: number
}

export interface ImpairmentCounters {
  readonly fromHost: DirectionCounters
  readonly toHost: DirectionCounters
}

const COUNTERS = ['received', 'sent', 'lost', 'duplicated', 'reordered', 'overflowed'] as const
const WORD_BYTES = 8

/** @param bytes the middlebox's file: undefined until it is ready. Both machines that Weft runs on are little-endian. */
export function decodeCounters(bytes: Uint8Array): ImpairmentCounters | undefined {
  if (bytes.length !== (1 + 2 * COUNTERS.length) * WORD_BYTES) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const word = (index: number): number => Number(view.getBigUint64(index * WORD_BYTES, true))
  if (word(0) !== 1) return undefined
  const direction = (first: number): DirectionCounters => ({
    received: word(first),
    sent: word(first + 1),
    lost: word(first + 2),
    duplicated: word(first + 3),
    reordered: word(first + 4),
    overflowed: word(first + 5),
  })
  return { fromHost: direction(1), toHost: direction(1 + COUNTERS.length) }
}

/** For people: `a: loss 1%, delay 20ms (seed 7)`. */
export function describeImpairment(impairment: Impairment): string {
  const { host, lossPpm, duplicatePpm, reorderPpm, delayUs, rateKbit, seed } = impairment
  const shares = [
    ['loss', lossPpm],
    ['duplicate', duplicatePpm],
    ['reorder', reorderPpm],
  ] as const
  const parts = [
    ...shares.flatMap(([name, ppm]) => (ppm === 0 ? [] : [`${name} ${ppm / PPM_PER_PERCENT}%`])),
    ...(delayUs === 0 ? [] : [`delay ${delayUs / 1_000}ms`]),
    ...(rateKbit === 0 ? [] : [`rate ${rateKbit / 1_000}mbit`]),
  ]
  return `${host}: ${parts.length === 0 ? 'nothing but the middlebox' : parts.join(', ')} (seed ${seed})`
}
