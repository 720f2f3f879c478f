/** Nodes for tests of links. */
import { ipv4 } from '../../mesh/base/address.ts'
import { LINK_KINDS } from '../../router/links/kind.ts'
import type { PolicyFacts } from '../../router/links/policy.ts'
import { nodeName } from './links-world.ts'

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
