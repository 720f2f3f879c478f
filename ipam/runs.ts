/**
 * A set of whole numbers as its runs of neighbours: it costs memory by the runs, never by the numbers in it. To find
 * one takes the logarithm of how many runs there are.
 */
import type { Range } from '../mesh/base/address.ts'

export class Runs {
  /** In order; none is empty, none touches another. */
  readonly #runs: Range[] = []
  #count = 0

  /** How many numbers are in it. */
  get count(): number {
    return this.#count
  }

  has(number: number): boolean {
    return this.next({ start: number, end: number + 1 }) !== undefined
  }

  /** The least number of `within`. */
  next({ start, end }: Range): number | undefined {
    const run = this.#runs[this.#firstEndingAfter(start)]
    const least = run === undefined ? end : Math.max(run.start, start)
    return least < end ? least : undefined
  }

  add(range: Range): void {
    if (range.start >= range.end) return
    // What touches it becomes one with it.
    const from = this.#firstEndingAfter(range.start - 1)
    const to = this.#firstStartingAfter(range.end)
    const joined = this.#runs.slice(from, to)
    const run = {
      start: Math.min(range.start, joined[0]?.start ?? range.start),
      end: Math.max(range.end, joined.at(-1)?.end ?? range.end),
    }
    this.#replace(from, to, [run])
  }

  remove({ start, end }: Range): void {
    if (start >= end) return
    const from = this.#firstEndingAfter(start)
    const to = this.#firstStartingAfter(end - 1)
    const cut = this.#runs.slice(from, to)
    const first = { start: cut[0]?.start ?? start, end: start }
    const last = { start: end, end: cut.at(-1)?.end ?? end }
    this.#replace(
      from,
      to,
      [first, last].filter((rest) => rest.start < rest.end),
    )
  }

  /** In order. */
  all(): readonly Range[] {
    return [...this.#runs]
  }

  /** What is in it of `range`, in order. */
  *within({ start, end }: Range): Generator<Range> {
    for (let index = this.#firstEndingAfter(start); index < this.#runs.length; index++) {
      const run = this.#runs[index]
      if (run === undefined || run.start >= end) return
      yield { start: Math.max(run.start, start), end: Math.min(run.end, end) }
    }
  }

  #replace(from: number, to: number, runs: readonly Range[]): void {
    const replaced = this.#runs.splice(from, to - from, ...runs)
    this.#count += sizeOf(runs) - sizeOf(replaced)
  }

  #firstEndingAfter(number: number): number {
    return firstWhere(this.#runs, ({ end }) => end > number)
  }

  #firstStartingAfter(number: number): number {
    return firstWhere(this.#runs, ({ start }) => start > number)
  }
}

/** How many numbers are in disjoint ranges. */
export function sizeOf(ranges: Iterable<Range>): number {
  let size = 0
  for (const { start, end } of ranges) size += end - start
  return size
}

/** By halving: `holds` is false up to some place and true from there on. */
function firstWhere(runs: readonly Range[], holds: (run: Range) => boolean): number {
  let [low, high] = [0, runs.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    const run = runs[middle]
    if (run !== undefined && holds(run)) high = middle
    else low = middle + 1
  }
  return low
}
