/** How long to wait before the next try: exponential, capped, with jitter so that many do not come at once. */
import { type Millis, millis } from './brand.ts'
import type { Random } from './random.ts'

export interface BackoffPolicy {
  readonly first: Millis
  readonly max: Millis
}

/** @param attempt how many tries have failed so far, from 1. Between half and all of min(first · 2^(attempt-1), max). */
export function backoff(policy: BackoffPolicy, attempt: number, random: Random): Millis {
  const full = Math.min(policy.first * 2 ** Math.min(attempt - 1, 30), policy.max)
  return millis(full * (0.5 + random() / 2))
}
