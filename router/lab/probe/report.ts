/** What a check of the pods' connectivity answers. */

/** What is tried from each pod to each other one. */
export const CHECKS = ['ping', 'tcp', 'udp64k', 'fullMtu'] as const
export type CheckName = (typeof CHECKS)[number]

/** One direction of one pair. */
export interface PairReport extends Readonly<Record<CheckName, boolean>> {
  readonly from: string
  readonly to: string
  /** The biggest packet that has arrived in one piece, with its IP header; 0 when none has. */
  readonly provenBytes: number
  /** Why each failed check failed. */
  readonly errors: Readonly<Partial<Record<CheckName, string>>>
}

export interface CheckReport {
  readonly lab: string
  readonly pods: readonly string[]
  /** All checks of all pairs passed. */
  readonly ok: boolean
  /** Every pod to every other one; not to itself. */
  readonly pairs: readonly PairReport[]
  readonly tookMs: number
}
