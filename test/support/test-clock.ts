/**
 * Time that passes only when told to: for tests and simulations. Timers fire in order of their moment, then of their
 * making, so that a run is the same every time.
 */
import { type Millis, millis } from '../../mesh/base/brand.ts'
import type { Clock } from '../../mesh/base/clock.ts'

interface Timer {
  readonly at: Millis
  /** Counts up: which of two timers for one moment was made first. */
  readonly order: number
  fire: (() => void) | undefined
}

/** Wall time at the clock's zero, unless told otherwise: 2026-01-01 UTC. */
const WALL_START = millis(1_767_225_600_000)

export class TestClock implements Clock {
  readonly #wallStart: Millis
  /** A binary heap: each timer fires no sooner than the one at (index - 1) / 2. Cancelled ones stay until their time. */
  readonly #timers: Timer[] = []
  #now: Millis = millis(0)
  #made = 0

  constructor(wallStart: Millis = WALL_START) {
    this.#wallStart = wallStart
  }

  now(): Millis {
    return this.#now
  }

  wallTime(): Millis {
    return millis(this.#wallStart + this.#now)
  }

  after(delay: Millis, fire: () => void): Disposable {
    const timer: Timer = { at: millis(this.#now + delay), order: this.#made, fire }
    this.#made += 1
    this.#push(timer)
    return {
      [Symbol.dispose]: () => {
        timer.fire = undefined
      },
    }
  }

  /** Lets `duration` pass, firing what becomes due, also what that sets in turn. */
  advance(duration: Millis): void {
    const end = millis(this.#now + duration)
    while (this.#fireNext(end));
    this.#now = end
  }

  /** As `advance`, but lets promises settle after every timer: for code that awaits. */
  async advanceAsync(duration: Millis, settle: () => Promise<void> = settled): Promise<void> {
    const end = millis(this.#now + duration)
    await settle()
    while (this.#fireNext(end)) await settle()
    this.#now = end
  }

  /** Fires the first timer that is due by `end`; false when there is none. */
  #fireNext(end: Millis): boolean {
    const next = this.#timers[0]
    if (next === undefined || next.at > end) return false
    this.#pop()
    this.#now = next.at
    next.fire?.()
    return true
  }

  #push(timer: Timer): void {
    let index = this.#timers.length
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = this.#timers[parent]
      if (above === undefined || !isSooner(timer, above)) break
      this.#timers[index] = above
      index = parent
    }
    this.#timers[index] = timer
  }

  #pop(): void {
    const last = this.#timers.pop()
    if (last === undefined || this.#timers.length === 0) return
    let index = 0
    for (;;) {
      const child = this.#soonerChild(index)
      const below = this.#timers[child]
      if (below === undefined || !isSooner(below, last)) break
      this.#timers[index] = below
      index = child
    }
    this.#timers[index] = last
  }

  #soonerChild(index: number): number {
    const left = this.#timers[2 * index + 1]
    const right = this.#timers[2 * index + 2]
    return left !== undefined && right !== undefined && isSooner(right, left) ? 2 * index + 2 : 2 * index + 1
  }
}

function isSooner(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** Resolves when every promise that can settle now has. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
