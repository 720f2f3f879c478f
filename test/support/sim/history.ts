/** What was asked of routers, and what came of it. What a router died over is neither done nor not done: `info`. */
import type { Millis } from '../../../mesh/base/brand.ts'

export type Outcome = 'ok' | 'fail' | 'info'

export interface Operation {
  readonly kind: 'add' | 'del' | 'rmpeer' | 'reset' | 'resolve'
  readonly node: string
  readonly what: string
  readonly invoked: Millis
  ended: Millis | undefined
  outcome: Outcome | undefined
  /** The address, or why not. */
  detail: string
}

export class History {
  readonly operations: Operation[] = []
  readonly #now: () => Millis

  constructor(now: () => Millis) {
    this.#now = now
  }

  invoke(kind: Operation['kind'], node: string, what: string): Operation {
    const operation = { kind, node, what, invoked: this.#now(), ended: undefined, outcome: undefined, detail: '' }
    this.operations.push(operation)
    return operation
  }

  end(operation: Operation, outcome: Outcome, detail: string): void {
    operation.ended = this.#now()
    operation.outcome = outcome
    operation.detail = detail
  }

  /** Those without an end. */
  open(): readonly Operation[] {
    return this.operations.filter(({ outcome }) => outcome === undefined)
  }

  /** For a hash, and for people. */
  lines(): readonly string[] {
    return this.operations.map(
      ({ kind, node, what, invoked, ended, outcome, detail }) =>
        `${Math.round(invoked)} ${node} ${kind} ${what}: ${outcome ?? 'open'} ${detail} ${Math.round(ended ?? -1)}`,
    )
  }
}
