/**
 * Through whom packets go to a peer that no link leads to: a third one that both ends can reach. Every record names the
 * peers that its owner cannot reach, which are few, so a breadth-first search of two steps over all others is a look at
 * what is not named. All who know the same records choose the same relay for a pair, so both directions go the same way.
 *
 * **One relay at most**: what came from a peer is delivered directly or not at all. So a packet makes two hops at most
 * and never goes round, whatever each node believes of the others at the moment: a relay that cannot deliver answers
 * "unreachable", and its record soon says so. Pairs that only two relays in a row would join are not joined; nobody has
 * to count hops, which the kernel could not do for all kinds of links.
 *
 * What the kernel has to hold: a packet that came in by a link of a peer (the device of VXLAN, WireGuard or the sleeve;
 * for `direct` the underlay's) is routed by a table of its own, which has the direct routes only and ends with
 * "unreachable". Rules for the ingress device, or for a mark that the filter sets there, choose that table.
 */
import type { PeerName } from '../../mesh/base/brand.ts'
import type { RelayVerdict } from './policy.ts'

export interface RelayView {
  readonly self: PeerName
  /** All that live, without ourselves. */
  readonly peers: readonly PeerName[]
  /** Those that a link of ours leads to, as its probes say. */
  readonly reached: ReadonlySet<PeerName>
  /** Whom each peer cannot reach, as its record says; nobody, of one that is not here. */
  readonly exceptions: ReadonlyMap<PeerName, ReadonlySet<PeerName>>
}

export type NextHop =
  | { readonly kind: 'direct' }
  | { readonly kind: 'relay'; readonly via: PeerName; readonly how: 'hop by hop' | 'end to end' }
  /** The reason is for people. */
  | { readonly kind: 'none'; readonly reason: string }

/** @param verdict what policy says of relays between the two. */
export function nextHop(view: RelayView, destination: PeerName, verdict: RelayVerdict): NextHop {
  if (view.reached.has(destination)) return { kind: 'direct' }
  if (verdict.how === 'refused') return { kind: 'none', reason: `no relay may be used: ${verdict.reason}` }
  const via = relayTo(view, destination)
  if (via === undefined) return { kind: 'none', reason: 'no peer reaches both ends' }
  return { kind: 'relay', via, how: verdict.how }
}

/** Each pair has its own order of all peers, so that no peer carries for all. */
function relayTo({ self, peers, reached, exceptions }: RelayView, destination: PeerName): PeerName | undefined {
  const meets = (a: PeerName, b: PeerName): boolean => !exceptions.get(a)?.has(b) && !exceptions.get(b)?.has(a)
  const pair = self < destination ? `${self} ${destination}` : `${destination} ${self}`
  let best: { readonly name: PeerName; readonly weight: number } | undefined
  for (const name of peers) {
    if (name === destination || name === self || !reached.has(name) || !meets(name, self) || !meets(name, destination)) continue
    const weight = hashOf(`${pair} ${name}`)
    if (best === undefined || weight > best.weight || (weight === best.weight && name < best.name)) best = { name, weight }
  }
  return best?.name
}

/** FNV-1a, and the last step of MurmurHash3 to spread names that differ by a bit: 32 bits, for fairness alone. */
function hashOf(text: string): number {
  let hash = 0x811c_9dc5
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x0100_0193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
