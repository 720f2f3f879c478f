/** Where the peers' packets go, from their records. */

import type { PeerName } from '../../mesh/base/brand.ts'
import { isIpv4 } from '../../mesh/base/ip.ts'
import type { Liveness } from '../../mesh/liveness.ts'
import type { PeerRecord } from '../../mesh/record.ts'
import type { Destination } from './fib.ts'

/**
 * Pods' packets travel over IPv4 only; the mesh uses every address. An address is one peer's: who has the same in its
 * record is what that node was called before, and nobody answers to it. So the living come before the others, the latest
 * to start first.
 * @param records with our own, whose address no other peer has.
 */
export function destinationsOf(
  records: readonly PeerRecord[],
  livenessOf: (name: PeerName) => Liveness,
): ReadonlyMap<PeerName, Destination> {
  const isAlive = ({ name }: PeerRecord): number => Number(livenessOf(name) === 'alive')
  const ranked = records.toSorted((a, b) => isAlive(b) - isAlive(a) || b.incarnation - a.incarnation)
  const taken = new Map<number, Destination>()
  for (const { name, addresses, mtuBytes } of ranked) {
    const underlay = addresses.find(isIpv4)
    if (underlay !== undefined && !taken.has(underlay)) taken.set(underlay, { peer: name, underlay, mtuBytes })
  }
  return new Map([...taken.values()].map((destination) => [destination.peer, destination]))
}
