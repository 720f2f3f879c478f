/** Numbers that rest: a queue that one can leave from anywhere. Each step costs the same, whatever the length, counted over many. */
import type { Range } from '../mesh/base/address.ts'

const GONE = -1
/** So few places of those that have left are not worth the copying. */
const GAPS_MIN = 1_024

export class Resting {
  /** By place; `GONE` where one has left. */
  #order: number[] = []
  /** Each one's place, counted from `#base`. */
  readonly #places = new Map<number, number>()
  #base = 0
  /** No one is before this index. */
  #head = 0

  get count(): number {
    return this.#places.size
  }

  has(number: number): boolean {
    return this.#places.has(number)
  }

  /** At the end; one that is in it already goes there. */
  add(number: number): void {
    this.remove(number)
    this.#places.set(number, this.#base + this.#order.length)
    this.#order.push(number)
  }

  remove(number: number): void {
    const place = this.#places.get(number)
    if (place === undefined) return
    this.#places.delete(number)
    this.#order[place - this.#base] = GONE
    if (this.#order.length > 2 * this.#places.size + GAPS_MIN) this.#close()
  }

  /** Who is in it for longest. */
  first(): number | undefined {
    while (this.#order[this.#head] === GONE) this.#head += 1
    return this.#order[this.#head]
  }

  /** Of those in `range` the one that is in it for longest. It costs by the size of the range, or of the queue where that is less. */
  firstIn(range: Range): number | undefined {
    const first = this.first()
    if (first === undefined || contains(range, first)) return first
    let found: { readonly number: number; readonly place: number } | undefined
    for (const number of this.#candidates(range)) {
      const place = this.#places.get(number)
      if (place !== undefined && place < (found?.place ?? Number.POSITIVE_INFINITY)) found = { number, place }
    }
    return found?.number
  }

  /** Those in `range`, in no order. It costs as `firstIn`. */
  listIn(range: Range): readonly number[] {
    return [...this.#candidates(range)].filter((number) => this.#places.has(number))
  }

  /** All, from the first to the last. */
  list(): readonly number[] {
    return this.#order.filter((number) => number !== GONE)
  }

  /** Numbers of `range`; all that are in the queue are among them. */
  *#candidates(range: Range): Generator<number> {
    if (range.end - range.start < this.count) for (let number = range.start; number < range.end; number++) yield number
    else for (const number of this.#places.keys()) if (contains(range, number)) yield number
  }

  /** Closes the gaps. */
  #close(): void {
    this.#base += this.#order.length
    this.#order = this.#order.filter((number) => number !== GONE)
    for (const [index, number] of this.#order.entries()) this.#places.set(number, this.#base + index)
    this.#head = 0
  }
}

function contains({ start, end }: Range, number: number): boolean {
  return number >= start && number < end
}
