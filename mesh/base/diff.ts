/** Want minus have: what to add and what to remove. Used for routes, neighbours, links and addresses alike. */

export interface Diff<T> {
  readonly add: readonly T[]
  readonly remove: readonly T[]
}

/** Compares by `key`, which must say everything that matters: a changed item is removed and added. */
export function diff<T>(want: Iterable<T>, have: Iterable<T>, key: (item: T) => string): Diff<T> {
  const missing = new Map<string, T>()
  for (const item of want) missing.set(key(item), item)
  const remove: T[] = []
  for (const item of have) {
    if (!missing.delete(key(item))) remove.push(item)
  }
  return { add: [...missing.values()], remove }
}
