/** What the middlebox of the lab does to the n-th frame of a direction, computed apart from it: splitmix64, three draws for each frame. */
const WORD = 64
const GAMMA = 0x9e3779b97f4a7c15n

export interface Fate {
  readonly isLost: boolean
  readonly isDuplicated: boolean
  readonly isReordered: boolean
}

export interface Chances {
  readonly lossPpm: number
  readonly duplicatePpm: number
  readonly reorderPpm: number
}

/** @param seed of the direction from the near device; the other one has all its 64 bits inverted. */
export function fatesOf(seed: bigint, count: number, { lossPpm, duplicatePpm, reorderPpm }: Chances): readonly Fate[] {
  let state = seed
  const happens = (ppm: number): boolean => {
    state = BigInt.asUintN(WORD, state + GAMMA)
    let mixed = BigInt.asUintN(WORD, (state ^ (state >> 30n)) * 0xbf58476d1ce4e5b9n)
    mixed = BigInt.asUintN(WORD, (mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn)
    const drawn = (mixed ^ (mixed >> 31n)) >> 32n
    return (drawn * 1_000_000n) >> 32n < BigInt(ppm)
  }
  return Array.from({ length: count }, () => ({
    isLost: happens(lossPpm),
    isDuplicated: happens(duplicatePpm),
    isReordered: happens(reorderPpm),
  }))
}

export function inverted(seed: bigint): bigint {
  return BigInt.asUintN(WORD, ~seed)
}
