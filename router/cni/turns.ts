/** Tasks that must not overlap: those of one key run one after the other, and an exclusive one runs alone. */

/** Bounded by its callers: each connection of the CNI socket has at most one task here. */
export class Turns {
  /** The last task of each key, settled when it is done. It never rejects. */
  readonly #last = new Map<string, Promise<void>>()
  #lastExclusive: Promise<void> = Promise.resolve()

  /** Runs `task` after all earlier ones of `key` and all earlier exclusive ones. */
  run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const before = Promise.all([this.#last.get(key), this.#lastExclusive])
    const result = before.then(task)
    const done = settled(result)
    this.#last.set(key, done)
    void done.then(() => {
      if (this.#last.get(key) === done) this.#last.delete(key)
    })
    return result
  }

  /** Runs `task` after all earlier ones, and before all later ones. */
  exclusive<T>(task: () => Promise<T>): Promise<T> {
    const result = Promise.all([...this.#last.values(), this.#lastExclusive]).then(task)
    this.#lastExclusive = settled(result)
    return result
  }
}

function settled(promise: Promise<unknown>): Promise<void> {
  return promise.then(ignore, ignore)
}

/** Whoever asked for the task hears of its error; the one behind it has no use for it. */
function ignore(): void {}
