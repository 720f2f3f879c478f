/**
 * Our nftables table, rendered whole: `nft` replaces the old one in one transaction, so there is never a moment without rules.
 *
 * Nothing here accepts a packet against somebody else's rules; it only drops what must not be, and hides pods behind their node
 * when they talk to the world.
 */
import { prefix6, type Universe } from '../../ipam/universe.ts'
import { formatCidr, formatIpv4, type Ipv4, type Range, rangeToCidrs } from '../../mesh/base/address.ts'
import { formatPrefix } from '../../mesh/base/prefix.ts'
import { POD_LINK_PREFIX, VXLAN_LINK, VXLAN_PORT } from './names.ts'

export const NFT_TABLE = 'weft'

export interface RulesetInput {
  /** Without a range of IPv6 nothing of IPv6 passes. */
  readonly universe: Universe
  /** From where encapsulated packets may come. */
  readonly peers: readonly Ipv4[]
  /** The ranges of this node, of absolute addresses. */
  readonly own: readonly Range[]
}

const NO_IPV6 = 'meta nfproto ipv6 counter drop comment "pods have no IPv6: no router advertisements either"'

/**
 * Every packet of every pod passes here. So what nearly all packets pass is asked first, sets are asked before routes,
 * and no packet takes more than one lookup of routes on a node.
 */
export function renderRuleset({ universe, ...sets }: RulesetInput): string {
  const pods = `"${POD_LINK_PREFIX}*"`
  const overlay = `"${VXLAN_LINK}"`
  const { v6 } = universe
  const cluster = formatCidr(universe)
  return `table inet ${NFT_TABLE}
delete table inet ${NFT_TABLE}
table inet ${NFT_TABLE} {
  set peers {
    type ipv4_addr
  }

  set own {
    type ipv4_addr
    flags interval
  }

  set own6 {
    type ipv6_addr
    flags interval
  }

  # Before routing: nobody speaks with an address that is not theirs, and no pod makes itself a node.
  chain sources {
    type filter hook prerouting priority raw; policy accept;
    iifname ${pods} jump from_pod
    iifname ${overlay} jump from_peer
    udp dport ${VXLAN_PORT} ip saddr @peers notrack accept comment "what is inside is tracked; once is enough"
    udp dport ${VXLAN_PORT} fib daddr type local counter drop comment "encapsulated, but not from a peer"
  }

  chain to_peers {
    type filter hook output priority raw; policy accept;
    udp dport ${VXLAN_PORT} notrack
  }

  chain from_pod {
    ${v6 === undefined ? NO_IPV6 : 'meta nfproto ipv6 jump from_pod6'}
    fib saddr . iif oif missing counter drop comment "not the address of this pod"
    udp dport ${VXLAN_PORT} ip daddr != ${cluster} counter drop comment "a pod is not a node"
    udp dport ${VXLAN_PORT} fib daddr type local counter drop comment "a pod is not a node"
  }

  # A lookup of the route back does not tell of "no address", by which hosts ask whether somebody has theirs.
  chain from_pod6 {
    icmpv6 type { nd-router-advert, nd-redirect } counter drop comment "a pod is not a router"
    ip6 saddr :: counter drop comment "a pod has its address"
  }

  chain from_peer {
    ip saddr != ${cluster} counter drop comment "only pods and nodes of the cluster come this way"
    ip saddr @own counter drop comment "an address of this node cannot come from another"
    ${v6 === undefined ? NO_IPV6 : `ip6 saddr != ${formatPrefix(v6)} counter drop comment "only pods and nodes of the cluster come this way"`}
    ip6 saddr @own6 counter drop comment "an address of this node cannot come from another"
    udp dport ${VXLAN_PORT} fib daddr type local counter drop comment "a pod is not a node"
  }

  # What leaves the cluster leaves with the node's address.
  chain to_world {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${cluster} ip daddr != ${cluster} oifname != { ${pods}, ${overlay}, "lo" } masquerade
    ${v6 === undefined ? '' : `ip6 saddr ${formatPrefix(v6)} ip6 daddr != ${formatPrefix(v6)} oifname != { ${pods}, ${overlay}, "lo" } masquerade`}
  }
}
${renderSets({ universe, ...sets })}`
}

/** Replaces what is in the sets and nothing else: counters go on counting. */
export function renderSets({ universe, peers, own }: RulesetInput): string {
  const addresses = [...new Set(peers)].sort((a, b) => a - b).map(formatIpv4)
  const prefixes = own.flatMap(rangeToCidrs)
  const others = prefixes.flatMap((prefix) => prefix6(universe, prefix) ?? []).map(formatPrefix)
  return renderSet('peers', addresses) + renderSet('own', prefixes.map(formatCidr)) + renderSet('own6', others)
}

function renderSet(name: string, elements: readonly string[]): string {
  const flush = `flush set inet ${NFT_TABLE} ${name}\n`
  return elements.length === 0 ? flush : `${flush}add element inet ${NFT_TABLE} ${name} { ${elements.join(', ')} }\n`
}
