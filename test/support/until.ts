/** Waiting for a condition of the real world: a bounded poll instead of a sleep. */
import { type Millis, millis, seconds } from '../../mesh/base/brand.ts'
import { sleep, systemClock } from '../../mesh/base/clock.ts'

const POLL_EVERY = millis(5)

/** Resolves with the first result of `look` that is not undefined. Rejects after `within` with `what` in the message. */
export async function until<T>(what: string, look: () => Promise<T | undefined> | T | undefined, within: Millis = seconds(10)): Promise<T> {
  const end = systemClock.now() + within
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (systemClock.now() > end) throw new Error(`this did not come true within ${within} ms: ${what}`)
    await sleep(POLL_EVERY)
  }
}
