/** Questions that wait for their answer: each ends once, with success, with a reason, or when the time is over. */
import { type Millis, millis } from '../../../mesh/base/brand.ts'
import type { Clock } from '../../../mesh/base/clock.ts'
import { err, ok, type Result } from '../../../mesh/base/result.ts'

/** The outcome of one check; the error is for people. */
export type Outcome = Result<void, string>

/** No packet of a healthy network takes this long; a lost one is not sent again. */
export const ANSWER_WITHIN: Millis = millis(2_000)

/**
 * After the deadline: answers that have arrived meanwhile, while this process had no turn, still count. The timer
 * fires before the sockets are read.
 */
const GRACE = millis(50)

interface Question {
  readonly settle: (outcome: Outcome) => void
  timer: Disposable
}

export class Pending {
  readonly #clock: Clock
  readonly #questions = new Map<number, Question>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @param late what to say when no answer comes. The key is free again once the promise has resolved. */
  ask(key: number, late: string): Promise<Outcome> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(ANSWER_WITHIN, () => {
        question.timer = this.#clock.after(GRACE, () => this.answer(key, err(late)))
      })
      const question: Question = { settle: resolve, timer }
      this.#questions.set(key, question)
    })
  }

  /** Does nothing when nobody waits for it. */
  answer(key: number, outcome: Outcome): void {
    const question = this.#questions.get(key)
    if (question === undefined) return
    this.#questions.delete(key)
    question.timer[Symbol.dispose]()
    question.settle(outcome)
  }
}

export const SUCCESS: Outcome = ok(undefined)
