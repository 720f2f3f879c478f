/**
 * Which of our own host numbers are free, and which is the next. It costs memory by ranges owned, addresses in use and
 * addresses that rest, never by the size of the universe.
 *
 * A pod that gets the number of one that just died gets its connections too: packets still on their way to it, and what
 * others remember of it. So a free number is taken the later the more recently it was in use: first those that are fresh,
 * going round, then those that rest, in the order in which they were freed. What others had before us counts as fresh, as
 * we cannot know; so does what rests for longest when too many do.
 */
import { alignedSize, type Range } from '../mesh/base/address.ts'
import { Resting } from './resting.ts'
import { Runs, sizeOf } from './runs.ts'
import { isReserved } from './universe.ts'

/** Many times the pods that a node starts while anybody remembers one of them; 16 KiB in the journal. */
const RESTING_MAX = 4_096

export class Space {
  readonly #size: number
  readonly #restingMax: number
  readonly #used = new Set<number>()
  #owned: readonly Range[] = []
  /** Of ours; with the two numbers that nobody gets, should we have them. */
  readonly #fresh = new Runs()
  readonly #resting = new Resting()
  #cursor = 0

  /** @param size of the universe, whose first and last numbers are never free. */
  constructor(size: number, restingMax: number = RESTING_MAX) {
    this.#size = size
    this.#restingMax = restingMax
  }

  /** How many host numbers can still be taken. */
  get free(): number {
    return this.#fresh.count + this.#resting.count - this.#owned.reduce((sum, range) => sum + this.#reservedIn(range), 0)
  }

  /** Where the search for a fresh number begins. */
  get cursor(): number {
    return this.#cursor
  }

  set cursor(host: number) {
    this.#cursor = host
  }

  /** Free numbers in the order in which they were freed. */
  get resting(): readonly number[] {
    return this.#resting.list()
  }

  /** @param owned disjoint, in order. Numbers in use stay in use, even where they are not ours any more. */
  own(owned: readonly Range[]): void {
    const [lost, gained] = [without(this.#owned, owned), without(owned, this.#owned)]
    this.#owned = owned
    for (const range of lost.all()) {
      this.#fresh.remove(range)
      for (const host of this.#resting.listIn(range)) this.#resting.remove(host)
    }
    for (const range of gained.all()) this.#fresh.add(range)
    if (gained.count > 0) for (const host of this.#used) if (gained.has(host)) this.#fresh.remove(one(host))
  }

  isUsed(host: number): boolean {
    return this.#used.has(host)
  }

  /** How many of `within` can still be taken. */
  freeIn(within: Range): number {
    if (within.start <= 0 && within.end >= this.#size) return this.free
    let free = this.#resting.listIn(within).length
    for (const run of this.#fresh.within(within)) free += this.#usable(run)
    return free
  }

  /** The number of `within` to be taken next; undefined when none is free. */
  next(within: Range = this.#all()): number | undefined {
    return this.#nextFresh(within) ?? this.#resting.firstIn(within)
  }

  take(host: number): void {
    if (this.#used.has(host)) return
    // Who asked for a certain number leaves the way of the others as it is.
    if (host === this.#nextFresh(this.#all())) this.#cursor = host + 1
    this.#used.add(host)
    this.#fresh.remove(one(host))
    this.#resting.remove(host)
  }

  release(host: number): void {
    if (this.#used.delete(host) && this.#isOurs(host)) this.#rest(host)
  }

  /** These are free, and were freed in this order after all others. What is not ours or in use is left out. */
  rest(hosts: readonly number[]): void {
    for (const host of hosts) {
      if (isReserved(this.#size, host) || !this.#fresh.has(host)) continue
      this.#fresh.remove(one(host))
      this.#rest(host)
    }
  }

  /**
   * What of `within` to give to a peer that asks: the biggest aligned block without an address in use, but with no more
   * than half of what is free there (rounded up, so that the last one can be given). Fresh numbers rather than others,
   * unless that makes it less than half as big. The uppermost of equals: we take from below. The two numbers that nobody
   * gets may be in it; it holds others too.
   */
  blockToGive(within: Range = this.#all()): Range | undefined {
    const unused = this.#unused(within)
    const half = Math.ceil(this.freeIn(within) / 2)
    const [fresh, any] = [this.#fresh.within(within), unused].map((runs) => this.#biggestBlock(runs, half))
    if (fresh === undefined || any === undefined) return any
    return 2 * this.#usable(fresh) >= this.#usable(any) ? fresh : any
  }

  /** Stretches of ours without a number in use, none empty, in order. */
  unused(): readonly Range[] {
    return this.#unused(this.#all())
  }

  #all(): Range {
    return { start: 0, end: this.#size }
  }

  #nextFresh(within: Range): number | undefined {
    const [start, end] = [Math.max(within.start, 1), Math.min(within.end, this.#size - 1)]
    return this.#fresh.next({ start: Math.max(start, this.#cursor), end }) ?? this.#fresh.next({ start, end })
  }

  #rest(host: number): void {
    this.#resting.add(host)
    const oldest = this.#resting.count > this.#restingMax ? this.#resting.first() : undefined
    if (oldest === undefined) return
    this.#resting.remove(oldest)
    this.#fresh.add(one(oldest))
  }

  #reservedIn({ start, end }: Range): number {
    return (start === 0 ? 1 : 0) + (end === this.#size ? 1 : 0)
  }

  #usable(range: Range): number {
    return sizeOf([range]) - this.#reservedIn(range)
  }

  #isOurs(host: number): boolean {
    return !isReserved(this.#size, host) && this.#owned.some(({ start, end }) => host >= start && host < end)
  }

  #biggestBlock(runs: Iterable<Range>, usableMax: number): Range | undefined {
    let best: Range | undefined
    for (const run of runs) {
      const block = biggestBlock(run)
      const isBetter = best === undefined || block.end - block.start >= best.end - best.start
      if (isBetter && this.#usable(block) > 0) best = block
    }
    while (best !== undefined && this.#usable(best) > usableMax) best = { start: (best.start + best.end) / 2, end: best.end }
    return best
  }

  /** Stretches of ours without a number in use, none empty, in order. */
  #unused(within: Range): readonly Range[] {
    const unused = new Runs()
    for (const { start, end } of this.#owned) unused.add({ start: Math.max(start, within.start), end: Math.min(end, within.end) })
    const used = [...this.#used].sort((a, b) => b - a)
    for (const host of used) unused.remove(one(host))
    return [...unused.all()]
  }
}

function one(host: number): Range {
  return { start: host, end: host + 1 }
}

function without(ranges: readonly Range[], others: readonly Range[]): Runs {
  const rest = new Runs()
  for (const range of ranges) rest.add(range)
  for (const range of others) rest.remove(range)
  return rest
}

/** The biggest block of a power of two, aligned to its size, inside `run`; the uppermost of equals. */
function biggestBlock(run: Range): Range {
  let best: Range = { start: run.start, end: run.start }
  for (let at = run.start; at < run.end; ) {
    const size = alignedSize(at, run.end)
    if (size >= best.end - best.start) best = { start: at, end: at + size }
    at += size
  }
  return best
}
