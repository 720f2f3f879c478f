/** Cuts in the underlay: which frames the switch drops between two hosts, as a list and as nftables text. */
import type { HostName } from './names.ts'

/** One direction of one pair of hosts. */
export interface Cut {
  readonly from: HostName
  readonly to: HostName
  /** Everything, ARP too; or UDP only, which leaves the mesh's TCP whole. */
  readonly what: 'all' | 'udp'
}

/** The table in the switch's namespace; the ports of the switch are named after the hosts. */
const TABLE = 'bridge weft_lab'

const MATCHES: Readonly<Record<Cut['what'], string>> = { all: '', udp: 'meta l4proto udp ' }

/** A later cut of the same direction replaces the earlier one. */
export function addCuts(cuts: readonly Cut[], more: readonly Cut[]): readonly Cut[] {
  return [...cuts.filter((cut) => !more.some((other) => other.from === cut.from && other.to === cut.to)), ...more]
}

/** Without the cuts between two hosts, in both directions. */
export function healPair(cuts: readonly Cut[], a: HostName, b: HostName): readonly Cut[] {
  return cuts.filter(({ from, to }) => !((from === a && to === b) || (from === b && to === a)))
}

/** An nft script that replaces all cuts in one transaction. The first line makes the second succeed when there is no table yet. */
export function renderCuts(cuts: readonly Cut[]): string {
  const rules = cuts.map(({ from, to, what }) => `    iifname "${from}" oifname "${to}" ${MATCHES[what]}drop`)
  return [
    `table ${TABLE}`,
    `delete table ${TABLE}`,
    `table ${TABLE} {`,
    '  chain forward {',
    '    type filter hook forward priority filter; policy accept;',
    ...rules,
    '  }',
    '}',
    '',
  ].join('\n')
}

/** For people: `a → b (UDP only)`. */
export function describeCut({ from, to, what }: Cut): string {
  return `${from} → ${to}${what === 'udp' ? ' (UDP only)' : ''}`
}
