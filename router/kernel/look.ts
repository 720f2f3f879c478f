/** Waiting for what the kernel does by itself a moment after it has been told to, and tells nobody of. */
import { type Millis, millis } from '../../mesh/base/brand.ts'
import type { Clock } from '../../mesh/base/clock.ts'
import { ok, type Result } from '../../mesh/base/result.ts'
import type { KernelError } from './kernel-error.ts'

const FIRST_WAIT = millis(1)
/** Each look takes the lock that the kernel's own work is waiting for. */
const WAIT_MAX = millis(64)

export interface Patience {
  readonly clock: Clock
  /** From the first look. */
  readonly within: Millis
  /** Ends the wait: the caller, who knows of it, goes on at once. */
  readonly signal?: AbortSignal | undefined
}

/** Looks again and again, ever more rarely, until `look` says true. The value is false when it did not in time. */
export async function lookUntil(
  look: () => Promise<Result<boolean, KernelError>>,
  { clock, within, signal }: Patience,
): Promise<Result<boolean, KernelError>> {
  const end = clock.now() + within
  for (let wait = FIRST_WAIT; ; wait = millis(Math.min(2 * wait, WAIT_MAX))) {
    const seen = await look()
    if (!seen.ok || seen.value) return seen
    if (clock.now() >= end || signal?.aborted === true) return ok(false)
    await pause(clock, wait, signal)
  }
}

function pause(clock: Clock, wait: Millis, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.after(wait, done)
    function done(): void {
      signal?.removeEventListener('abort', done)
      timer[Symbol.dispose]()
      resolve()
    }
    signal?.addEventListener('abort', done, { once: true })
  })
}
