/** Says what a command is doing, once it has taken so long that a person would ask. */
import { seconds } from '../../mesh/base/brand.ts'
import type { Clock } from '../../mesh/base/clock.ts'

const PATIENCE = seconds(1)

/** Silent for the first second; then the step under way, and each one that follows. */
export class Progress implements Disposable {
  readonly #print: (line: string) => void
  readonly #timer: Disposable
  #current: string | undefined
  #isLong = false

  constructor(clock: Clock, print: (line: string) => void) {
    this.#print = print
    this.#timer = clock.after(PATIENCE, () => {
      this.#isLong = true
      if (this.#current !== undefined) this.#print(`${this.#current}\n`)
    })
  }

  step(text: string): void {
    this.#current = text
    if (this.#isLong) this.#print(`${text}\n`)
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]()
  }
}
