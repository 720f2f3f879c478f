/**
 * Which of our own host numbers are free. It costs memory by ranges owned and addresses in use, never
 * by the size of the universe.
 */
import { alignedSize, type Range } from '../mesh/base/address.ts'
import { isReserved } from './universe.ts'

export class Space {
  readonly #size: number
  readonly #used = new Set<number>()
  #owned: readonly Range[] = []
  #free = 0
  #cursor = 0

  /** @param size of the universe, whose first and last numbers are never free. */
  constructor(size: number) {
    this.#size = size
  }

  /** How many host numbers can still be taken. */
  get free(): number {
    return this.#free
  }

  /** Where the search for a free number begins: after the last one taken, so that a number just freed rests for long. */
  get cursor(): number {
    return this.#cursor
  }

  set cursor(host: number) {
    this.#cursor = host
  }

  /** @param owned disjoint, in order. Numbers in use stay in use, even where they are not ours any more. */
  own(owned: readonly Range[]): void {
    this.#owned = owned
    this.#free = owned.reduce((sum, range) => sum + this.#usable(range), 0)
    for (const host of this.#used) if (this.#isOurs(host)) this.#free -= 1
  }

  isUsed(host: number): boolean {
    return this.#used.has(host)
  }

  /** The free number that is next after the last one taken, around to the first; undefined when none is free. */
  next(): number | undefined {
    if (this.#free === 0) return undefined
    const after = this.#owned.flatMap(({ start, end }) => (end > this.#cursor ? [{ start: Math.max(start, this.#cursor), end }] : []))
    return this.#firstFree(after) ?? this.#firstFree(this.#owned)
  }

  take(host: number): void {
    if (this.#used.has(host)) return
    this.#used.add(host)
    if (this.#isOurs(host)) this.#free -= 1
    this.#cursor = host + 1
  }

  release(host: number): void {
    if (this.#used.delete(host) && this.#isOurs(host)) this.#free += 1
  }

  /**
   * What to give to a peer that asks: the biggest aligned block without an address in use, but with no
   * more than half of what is free here (rounded up, so that the last one can be given). The uppermost
   * of equals: we take from below. The two numbers that nobody gets may be in it; it holds others too.
   */
  blockToGive(): Range | undefined {
    let best: Range | undefined
    for (const run of this.#unusedRuns()) {
      const block = biggestBlock(run)
      const isBetter = best === undefined || block.end - block.start >= best.end - best.start
      if (isBetter && this.#usable(block) > 0) best = block
    }
    if (best === undefined) return undefined
    const half = Math.ceil(this.#free / 2)
    let block = best
    while (this.#usable(block) > half) block = { start: (block.start + block.end) / 2, end: block.end }
    return block
  }

  /** Stretches of ours without a number in use, none empty, in order. */
  unused(): readonly Range[] {
    return [...this.#unusedRuns()]
  }

  #usable({ start, end }: Range): number {
    return end - start - (start === 0 ? 1 : 0) - (end === this.#size ? 1 : 0)
  }

  #isOurs(host: number): boolean {
    return this.#owned.some(({ start, end }) => host >= start && host < end)
  }

  #isFree(host: number): boolean {
    return !(this.#used.has(host) || isReserved(this.#size, host))
  }

  #firstFree(ranges: readonly Range[]): number | undefined {
    for (const { start, end } of ranges) {
      for (let host = start; host < end; host++) if (this.#isFree(host)) return host
    }
    return undefined
  }

  /** Stretches of ours without a number in use, none empty, in order. */
  *#unusedRuns(): Generator<Range> {
    const taken = [...this.#used].sort((a, b) => a - b)
    let at = 0
    for (const { start, end } of this.#owned) {
      let from = start
      while ((taken[at] ?? end) < start) at++
      for (let host = taken[at]; host !== undefined && host < end; host = taken[++at]) {
        if (host > from) yield { start: from, end: host }
        from = host + 1
      }
      if (end > from) yield { start: from, end }
    }
  }
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
