/** How many connections we have, and who makes room when there are too many. Who is let in before that: see half-open.ts. */
import type { PeerName } from './base/brand.ts'
import { NEIGHBOURS_MAX } from './record.ts'

/** Everyone connects to everyone up to here; all of them fit in our record. */
export const CONNECTIONS_MAX: number = NEIGHBOURS_MAX
/** Who has this many dials no more: the rest is for peers that come later and know only us. */
export const DIALLED_CONNECTIONS_MAX: number = CONNECTIONS_MAX - 8

/**
 * Whose connection is to end so that another peer has room: the best connected neighbour, the first by name of equals,
 * if that will not dial again for want of it. Undefined when nobody can spare us.
 * @param degrees how many connections each neighbour says it has.
 */
export function whoMakesRoom(degrees: ReadonlyMap<PeerName, number>): PeerName | undefined {
  const able = [...degrees].filter(([, degree]) => degree > DIALLED_CONNECTIONS_MAX)
  const [best] = able.sort(([a, degreeOfA], [b, degreeOfB]) => degreeOfB - degreeOfA || (a < b ? -1 : 1))
  return best?.[0]
}
