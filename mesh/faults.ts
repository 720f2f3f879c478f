/** Counts what others do wrong, and tells a person once in a while: a flood of faults must not become a flood of log lines. */
import { type Millis, seconds } from './base/brand.ts'
import type { Clock } from './base/clock.ts'
import type { LogFields, Logger } from './base/log.ts'
import type { GossipFault } from './gossip.ts'

/**
 * - `admission`: too many handshakes at once, from one address or in all
 * - `connections`: more peers want a connection than we may have
 * - `handshake`: it failed: a stranger, another cluster or secret, a wrong proof
 * - `collision`: another process uses the identity key of a peer, or ours
 * - `timeout`: the handshake did not end in time
 * - `silence`: a peer was not heard of for too long
 * - `frame`: an oversized or empty frame
 * - `seal`: a frame that was changed on its way, repeated or left out
 * - `message`: a frame that is no message of ours
 * - `channel`: gossip on a channel that we do not have
 * - `flood`: a peer asks for more, or tells more, than it has reason to
 * - `backlog`: a peer reads too slowly; it gets what it missed by anti-entropy
 * - the rest: what a gossip part found wrong with an entry
 */
export type FaultCode =
  | 'admission'
  | 'connections'
  | 'handshake'
  | 'collision'
  | 'timeout'
  | 'silence'
  | 'frame'
  | 'seal'
  | 'message'
  | 'channel'
  | 'flood'
  | 'backlog'
  | GossipFault['code']

/** One line per code in this time. */
const LOG_INTERVAL: Millis = seconds(60)

interface Tally {
  count: number
  loggedAt: Millis | undefined
  /** Faults since the last line. */
  unlogged: number
}

export interface Faults {
  /** @param where the peer or address it came from. */
  report(code: FaultCode, where: LogFields, detail: string): void
  /** Since start, by code; codes that did not occur are absent. */
  counts(): Readonly<Partial<Record<FaultCode, number>>>
}

export function countFaults(clock: Clock, log: Logger): Faults {
  const tallies = new Map<FaultCode, Tally>()
  return {
    report(code, where, detail) {
      const tally = tallies.get(code) ?? { count: 0, loggedAt: undefined, unlogged: 0 }
      tallies.set(code, tally)
      tally.count += 1
      tally.unlogged += 1
      const now = clock.now()
      if (tally.loggedAt !== undefined && now - tally.loggedAt < LOG_INTERVAL) return
      log.warn({ ...where, operation: code, reason: detail, count: tally.unlogged }, 'another peer is at fault')
      tally.loggedAt = now
      tally.unlogged = 0
    },
    counts: () => Object.fromEntries([...tallies].sort().map(([code, { count }]) => [code, count])),
  }
}
