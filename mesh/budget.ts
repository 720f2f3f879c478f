/** How much somebody may use of something, a token bucket: so much at once, and so much a second for ever. */
import { type Millis, millis } from './base/brand.ts'

export interface Budget {
  /** What is left, at `at`. */
  readonly left: number
  readonly at: Millis
}

export interface BudgetPolicy {
  readonly perSecond: number
  readonly burst: number
}

export function fullBudget({ burst }: BudgetPolicy, now: Millis): Budget {
  return { left: burst, at: now }
}

/** The budget after spending `amount` now, or undefined when there is not as much left. */
export function spend(budget: Budget, policy: BudgetPolicy, amount: number, now: Millis): Budget | undefined {
  const left = Math.min(policy.burst, budget.left + ((now - budget.at) / 1_000) * policy.perSecond)
  return amount > left ? undefined : { left: left - amount, at: millis(now) }
}
