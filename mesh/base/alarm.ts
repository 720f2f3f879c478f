/** One task that many ask for: it runs once, at the soonest of the moments that were asked for since it last ran. */
import type { Millis } from './brand.ts'
import { atMoment, type Clock } from './clock.ts'

export class Alarm implements Disposable {
  readonly #clock: Clock
  readonly #task: () => void
  #set: { readonly at: Millis; readonly timer: Disposable } | undefined
  #isDisposed = false

  constructor(clock: Clock, task: () => void) {
    this.#clock = clock
    this.#task = task
  }

  /** Never inside this call, even if the moment is over. */
  at(moment: Millis): void {
    if (this.#isDisposed || (this.#set !== undefined && this.#set.at <= moment)) return
    this.#set?.timer[Symbol.dispose]()
    const timer = atMoment(this.#clock, moment, () => {
      this.#set = undefined
      this.#task()
    })
    this.#set = { at: moment, timer }
  }

  /** The task does not run any more. */
  [Symbol.dispose](): void {
    this.#isDisposed = true
    this.#set?.timer[Symbol.dispose]()
    this.#set = undefined
  }
}
