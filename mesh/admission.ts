/**
 * Whom we let in. Before anybody has proved anything: so many handshakes at a time, and so many from one address,
 * that a stranger can neither fill our memory nor keep all peers out.
 */
import { formatIpv4, type Ipv4 } from './base/address.ts'
import { err, ok, type Result } from './base/result.ts'

/** A handshake on a LAN takes milliseconds; 1,000 peers that all come at once are through in seconds. */
export const HALF_OPEN_MAX = 64
/** Peers behind one NAT share an address; each is through long before the deadline. */
export const HALF_OPEN_PER_SOURCE_MAX = 8

/** How many handshakes others have under way with us, by their address. */
export type HalfOpen = ReadonlyMap<Ipv4, number>

export const noneHalfOpen: HalfOpen = new Map()

/** The error is a sentence for people. */
export function admit(halfOpen: HalfOpen, source: Ipv4): Result<HalfOpen, string> {
  const total = halfOpen.values().reduce((sum, count) => sum + count, 0)
  if (total >= HALF_OPEN_MAX) return err(`${HALF_OPEN_MAX} handshakes are under way`)
  const count = halfOpen.get(source) ?? 0
  if (count >= HALF_OPEN_PER_SOURCE_MAX) return err(`${HALF_OPEN_PER_SOURCE_MAX} handshakes from ${formatIpv4(source)} are under way`)
  return ok(new Map(halfOpen).set(source, count + 1))
}

/** The handshake of one that was admitted is over, well or badly. */
export function release(halfOpen: HalfOpen, source: Ipv4): HalfOpen {
  const next = new Map(halfOpen)
  const count = next.get(source) ?? 0
  if (count > 1) next.set(source, count - 1)
  else next.delete(source)
  return next
}
