/**
 * Whom we let in. Before anybody has proved anything: so many handshakes at a time, and so many from one place, that a
 * stranger can neither fill our memory nor keep peers out. Members have places of their own, which no stranger can take.
 * When all places are taken a newcomer still comes in: of those who have said nothing right so far, whoever holds the most
 * places loses its oldest. A handshake that is meant takes milliseconds, and one that holds a place takes as long as it can.
 */
import { formatNetwork, type Ip, networkOf } from './base/ip.ts'
import { err, ok, type Result } from './base/result.ts'

/** A handshake on a LAN takes milliseconds; 1,000 peers that all come at once are through in seconds. */
export const HALF_OPEN_MAX = 64
/** As many again, for addresses that records of peers tell. */
export const HALF_OPEN_MEMBERS_MAX = 64
/** Peers behind one NAT share an address; each is through long before the deadline. */
export const HALF_OPEN_PER_SOURCE_MAX = 8

/** Somebody who begins a handshake. */
export interface Arrival {
  /** Ours, to tell it from the others. */
  readonly id: number
  readonly address: Ip
  /** The address is in the record of a peer. */
  readonly isMember: boolean
}

interface Entry {
  readonly id: number
  /** Of a member its address, as a cluster may have one /64; of a stranger all that it may have as easily. */
  readonly place: Ip
  readonly isMember: boolean
}

/** Oldest first. */
export type HalfOpen = readonly Entry[]

export const noneHalfOpen: HalfOpen = []

export interface Admitted {
  readonly halfOpen: HalfOpen
  /** Whose handshake is to end, so that there is room. */
  readonly evicted: number | undefined
}

/**
 * The error is a sentence for people.
 * @param earnest those whose first message was right: they keep their places.
 */
export function admit(halfOpen: HalfOpen, { id, address, isMember }: Arrival, earnest: ReadonlySet<number>): Result<Admitted, string> {
  const entry: Entry = { id, place: isMember ? address : networkOf(address), isMember }
  const rivals = halfOpen.filter((other) => other.isMember === isMember)
  const counts = new Map<Ip, number>()
  for (const { place } of rivals) counts.set(place, (counts.get(place) ?? 0) + 1)
  if ((counts.get(entry.place) ?? 0) >= HALF_OPEN_PER_SOURCE_MAX) {
    return err(`${HALF_OPEN_PER_SOURCE_MAX} handshakes from ${formatNetwork(entry.place)} are under way`)
  }
  const limit = isMember ? HALF_OPEN_MEMBERS_MAX : HALF_OPEN_MAX
  if (rivals.length < limit) return ok({ halfOpen: [...halfOpen, entry], evicted: undefined })
  const idle = rivals.filter((other) => !earnest.has(other.id))
  if (idle.length === 0) return err(`${limit} handshakes are under way`)
  const most = Math.max(...idle.map(({ place }) => counts.get(place) ?? 0))
  const evicted = idle.find(({ place }) => counts.get(place) === most)?.id
  return ok({ halfOpen: [...halfOpen.filter((other) => other.id !== evicted), entry], evicted })
}

/** The handshake of one that was admitted is over, well or badly. */
export function release(halfOpen: HalfOpen, id: number): HalfOpen {
  return halfOpen.filter((entry) => entry.id !== id)
}
