/** Chance as an argument. The only file of the product that draws random numbers (keys come from `mesh/crypto.ts`). */

/** Uniform in [0, 1). */
export type Random = () => number

export const systemRandom: Random = Math.random

/** A uniform whole number in [0, bound). */
export function randomBelow(random: Random, bound: number): number {
  return Math.floor(random() * bound)
}

/** One of `items`, or undefined when there is none. */
export function pick<T>(random: Random, items: readonly T[]): T | undefined {
  return items[randomBelow(random, items.length)]
}

/** Reproducible chance for simulations (mulberry32, public domain by Tommy Ettinger). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
