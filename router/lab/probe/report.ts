/** What a check of the pods' connectivity answers. */

/** What is tried from each pod to each other one. */
export const CHECKS = ['ping', 'tcp', 'udp64k', 'fullMtu'] as const
export type CheckName = (typeof CHECKS)[number]

export const FAMILIES = ['ipv4', 'ipv6'] as const
export type FamilyName = (typeof FAMILIES)[number]

type Passed = Readonly<Record<CheckName, boolean>>

/** What passed over one family. */
export interface FamilyReport extends Passed {
  readonly provenBytes: number
}

/** One direction of one pair. A check is passed when it is over each family that both pods have. */
export interface PairReport extends Passed {
  readonly from: string
  readonly to: string
  /** The biggest packet that has arrived in one piece over each of these families, with its IP header; 0 when none has over one. */
  readonly provenBytes: number
  /** Each family by itself; of those that both pods have. */
  readonly families: Readonly<Partial<Record<FamilyName, FamilyReport>>>
  /** Why each failed check failed, beginning with the family where that is IPv6. */
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
