/**
 * Who is alive, as all can tell from the records: a peer on some path of the topology is. One that is on none is
 * suspected; the suspicion is refuted when it is on a path again, begins anew when it has told something new, and
 * otherwise it counts as dead after `suspicionTime`. So a death has as many witnesses as the peer had neighbours, each
 * speaking for itself, and no word of one peer can kill another.
 *
 *     alive ──off every path──▶ suspect ───in time────▶ dead
 *       ▲                        │  ▲                  │ │
 *       └───────on a path────────┴──┼──────────────────┘ │
 *                                   └───a newer record───┘
 *
 *     left: it has said so itself, until it is on a path again
 */
import { type Millis, millis, type PeerName } from './base/brand.ts'
import type { PeerRecord } from './record.ts'

/** A peer that is not alive. */
export interface Doubt {
  readonly kind: 'suspect' | 'dead' | 'left'
  readonly since: Millis
  /** Of the record that it was doubted with. */
  readonly incarnation: number
  readonly version: number
}

/** All that are not alive. */
export type Doubts = ReadonlyMap<PeerName, Doubt>

export const nobodyDoubted: Doubts = new Map()

export type Liveness = 'alive' | Doubt['kind']

/**
 * How long a peer may be off every path before it counts as dead: longer than news of its new connections takes to
 * reach all when one of its neighbours was wrong about it.
 */
const SUSPICION_MIN: Millis = millis(1_000)
/** For each doubling of the mesh: paths grow with the logarithm of its size. */
const SUSPICION_PER_DOUBLING: Millis = millis(200)

export function suspicionTime(peers: number): Millis {
  return millis(SUSPICION_MIN + SUSPICION_PER_DOUBLING * Math.log2(Math.max(1, peers / 8)))
}

export interface LivenessView {
  /** All but our own. */
  readonly records: readonly PeerRecord[]
  readonly isReachable: (name: PeerName) => boolean
}

export interface LivenessStep {
  readonly doubts: Doubts
  /** What has changed, in order of name. */
  readonly changes: readonly { readonly name: PeerName; readonly from: Liveness; readonly to: Liveness }[]
  /** When the next suspicion is over. */
  readonly wakeAt: Millis | undefined
}

export function stepLiveness(doubts: Doubts, { records, isReachable }: LivenessView, now: Millis): LivenessStep {
  const next = new Map<PeerName, Doubt>()
  const changes: { readonly name: PeerName; readonly from: Liveness; readonly to: Liveness }[] = []
  const patience = suspicionTime(records.length + 1)
  let wakeAt: Millis | undefined
  for (const record of records) {
    const { name } = record
    const old = doubts.get(name)
    const doubt = isReachable(name) ? undefined : doubted(old, record, patience, now)
    if (doubt !== undefined) next.set(name, doubt)
    if (doubt?.kind === 'suspect') wakeAt = millis(Math.min(doubt.since + patience, wakeAt ?? Number.MAX_VALUE))
    const from: Liveness = old?.kind ?? 'alive'
    const to: Liveness = doubt?.kind ?? 'alive'
    if (from !== to) changes.push({ name, from, to })
  }
  return { doubts: next, changes, wakeAt }
}

function doubted(old: Doubt | undefined, { incarnation, version, hasLeft }: PeerRecord, patience: Millis, now: Millis): Doubt {
  const isSameRecord = old !== undefined && old.incarnation === incarnation && old.version === version
  if (hasLeft) return old?.kind === 'left' && isSameRecord ? old : { kind: 'left', since: now, incarnation, version }
  // Whoever tells something new was alive a moment ago.
  if (old === undefined || !isSameRecord) return { kind: 'suspect', since: now, incarnation, version }
  if (old.kind === 'suspect' && now >= old.since + patience) return { kind: 'dead', since: now, incarnation, version }
  return old
}
