/** What is done for callers who wait for an address that is not free here. One search serves all who would take the same. */
import type { Millis, PeerName } from '../mesh/base/brand.ts'
import type { Prospects } from './donation.ts'
import type { Ledger } from './ledger.ts'
import type { Ring } from './ring.ts'
import type { Wish } from './wish.ts'

export interface SearchPorts {
  readonly ledger: Ledger
  /** The peers that a message can be sent to now. */
  reachable(): readonly PeerName[]
}

/** Why there is none: see `AllocateError`. */
export interface SearchError {
  readonly code: 'exhausted' | 'taken' | 'unreachable'
  readonly text: string
}

/** What a search would have done. */
export interface SearchStep {
  /** Those who wait for nothing, and why. */
  readonly inVain: readonly { readonly request: number; readonly error: SearchError }[]
  readonly send: { readonly to: PeerName; readonly message: Uint8Array } | undefined
}

/** Owns no timer: the caller says what time it is. */
export interface Search {
  readonly wish: Wish
  /** Since when each request waits. */
  readonly waiting: Map<number, Millis>
  /** @param ring undefined while nothing may be asked for. */
  step(ring: Ring | undefined, now: Millis): SearchStep
  /** When to call `step`, at the latest, as far as the search can say. */
  wakeAt(): Millis | undefined
  /** A message to `to` could not be sent. */
  unsent(to: PeerName, now: Millis): void
  /** How matters stand. */
  prospects(): Prospects
  /** The same for people. */
  reason(): SearchError
}
