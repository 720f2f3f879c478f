/** Nodes for tests of links. */
import { ipv4 } from '../../mesh/base/address.ts'
import type { PeerName } from '../../mesh/base/brand.ts'
import { LINK_KINDS, type LinkKind } from '../../router/links/kind.ts'
import type { PolicyFacts } from '../../router/links/policy.ts'
import { GOOD_WAY, LinksWorld, nodeName, type WorldNode } from './links-world.ts'

/** Number `index` at 10.0.0.`index`/24, in zone z, which can do all kinds of links. */
export function factsOf(index: number, facts: Partial<PolicyFacts> = {}): PolicyFacts {
  const underlay = [{ address: ipv4(0x0a00_0000 + index), length: 24 }]
  return {
    name: nodeName(index),
    nickname: `n${index}`,
    mode: 'between-zones',
    zone: 'z',
    trusted: [],
    underlay,
    can: LINK_KINDS,
    ...facts,
  }
}

export const A: PeerName = nodeName(1)
export const B: PeerName = nodeName(2)
export const SECOND = 1_000
export const MINUTE: number = 60 * SECOND
export const SEALED: Partial<PolicyFacts> = { mode: 'always' }
export const CAN: readonly LinkKind[] = ['vxlan', 'wireguard', 'sleeve']

export interface Pair {
  readonly world: LinksWorld
  readonly a: WorldNode
  readonly b: WorldNode
}

/** Two nodes that can do `CAN`, between which these kinds work. */
export function pair(kinds: readonly LinkKind[], facts: Partial<PolicyFacts> = {}): Pair {
  const world = new LinksWorld(1)
  for (const kind of kinds) world.set(A, B, kind, GOOD_WAY)
  const a = world.add(factsOf(1, { can: CAN, ...facts }), 1)
  const b = world.add(factsOf(2, { can: CAN, ...facts }), 2)
  world.introduce(a, b)
  return { world, a, b }
}

/** What both use. */
export function kinds({ world }: Pair): readonly (LinkKind | undefined)[] {
  return [world.kindOf(A, B), world.kindOf(B, A)]
}

export function both(kind: LinkKind | undefined): readonly (LinkKind | undefined)[] {
  return [kind, kind]
}
