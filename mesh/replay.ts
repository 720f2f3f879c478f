/** Which numbers of a sender were seen already, in a window that slides with the highest (after RFC 6479). */
import { assert } from './base/result.ts'

const WORD_BITS = 32

export class ReplayWindow {
  readonly #words: Uint32Array
  #highest = 0

  /** @param size how far behind the highest a number may be: a multiple of 32. One more word makes room to slide. */
  constructor(size: number) {
    assert(size > 0 && size % WORD_BITS === 0, `a window of ${size} is a multiple of ${WORD_BITS}`)
    this.#words = new Uint32Array(size / WORD_BITS + 1)
  }

  /** True once for every number from 1 on; false for one that was seen, or is too old to tell. */
  accept(number: number): boolean {
    if (!(Number.isSafeInteger(number) && number > 0)) return false
    const size = (this.#words.length - 1) * WORD_BITS
    if (number + size <= this.#highest) return false
    if (number > this.#highest) this.#slide(number)
    const at = this.#wordOf(number)
    const bit = 1 << (number % WORD_BITS)
    const word = this.#words[at] ?? 0
    if ((word & bit) !== 0) return false
    this.#words[at] = word | bit
    return true
  }

  #slide(to: number): void {
    const words = Math.floor(to / WORD_BITS) - Math.floor(this.#highest / WORD_BITS)
    for (let step = 1; step <= Math.min(words, this.#words.length); step += 1)
      this.#words[this.#wordOf(this.#highest + step * WORD_BITS)] = 0
    this.#highest = to
  }

  #wordOf(number: number): number {
    return Math.floor(number / WORD_BITS) % this.#words.length
  }
}
