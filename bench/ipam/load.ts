/** Many calls, by one client or by several at once, and how long each took. */
import { systemClock } from '../../mesh/base/clock.ts'

export interface Load {
  readonly clients: number
  /** Of each. */
  readonly calls: number
}

export interface Timing {
  readonly seconds: number
  /** Of each call, in no order. */
  readonly milliseconds: readonly number[]
}

/** Each client makes its calls one after the other. @param call gets numbers from 0, each once. */
export async function timed({ clients, calls }: Load, call: (number: number) => Promise<unknown>): Promise<Timing> {
  const milliseconds: number[] = []
  const client = async (index: number): Promise<void> => {
    for (let number = index * calls; number < (index + 1) * calls; number++) {
      const start = systemClock.now()
      await call(number)
      milliseconds.push(systemClock.now() - start)
    }
  }
  const start = systemClock.now()
  await Promise.all(Array.from({ length: clients }, (_, index) => client(index)))
  return { seconds: (systemClock.now() - start) / 1_000, milliseconds }
}

/** The least figure that so many of them do not exceed. @param share from above 0 to 1. @throws {RangeError} when there are none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const found = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]
  if (found === undefined) throw new RangeError('no figures')
  return found
}
