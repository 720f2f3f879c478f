/** Cuts in the underlay: which packets are dropped between two hosts, as a list and as nftables text. */
import { VXLAN_PORT } from '../datapath/names.ts'
import { cableDevices, switchOf } from './devices.ts'
import type { HostName, UnderlayKind } from './names.ts'

/** What Weft uses, for the names that people say. */
const MESH_PORT = 6_783
const SLEEVE_PORT = 6_783
const WIREGUARD_PORT = 6_785
const PORT_MAX = 65_535

/** One direction of one pair of hosts. */
export interface Cut {
  readonly from: HostName
  readonly to: HostName
  readonly what: CutKind
}

const NAMED = ['all', 'udp', 'tcp', 'icmp', 'mesh', 'sleeve', 'vxlan', 'wireguard'] as const
type NamedCut = (typeof NAMED)[number]
type PortCut = `port ${number}`

/** `all` is everything, ARP too. A port is one of TCP or UDP, at either end: both directions of what uses it. */
export type CutKind = NamedCut | PortCut

/** What each matches, any of them. */
const MATCHES: Readonly<Record<NamedCut, readonly string[]>> = {
  all: [''],
  udp: ['meta l4proto udp'],
  tcp: ['meta l4proto tcp'],
  // Of IPv6 not the neighbour discovery, which is its ARP.
  icmp: ['meta l4proto icmp', 'icmpv6 type { 1, 2, 3, 4, 128, 129 }'],
  mesh: portOf('tcp', MESH_PORT),
  sleeve: portOf('udp', SLEEVE_PORT),
  vxlan: portOf('udp', VXLAN_PORT),
  wireguard: portOf('udp', WIREGUARD_PORT),
}

function portOf(transport: 'tcp' | 'udp', port: number): readonly string[] {
  return ['dport', 'sport'].map((end) => `meta l4proto ${transport} th ${end} ${port}`)
}

const NAMES: ReadonlySet<string> = new Set(NAMED)

/** What a person may say, for --help and errors. */
export const CUT_WORDS: string = [...NAMED, 'a port'].join(', ')

const WHOLE_NUMBER = /^[1-9]\d{0,4}$/

/** `udp`, `vxlan`, `6783`, …; undefined when it is none. */
export function parseCutKind(text: string): CutKind | undefined {
  if (isNamedCut(text)) return text
  return WHOLE_NUMBER.test(text) && Number(text) <= PORT_MAX ? `port ${Number(text)}` : undefined
}

export function isCutKind(text: string): text is CutKind {
  return isNamedCut(text) || (text.startsWith('port ') && parseCutKind(text.slice('port '.length)) === text)
}

function isNamedCut(text: string): text is NamedCut {
  return NAMES.has(text)
}

/** Each once. */
export function addCuts(cuts: readonly Cut[], more: readonly Cut[]): readonly Cut[] {
  return [...cuts.filter((cut) => !more.some((other) => sameCut(cut, other))), ...more]
}

/** Which cuts to undo: those from one host to the other, and back unless `oneWay`; of one kind, or, when undefined, of all. */
export interface Healing {
  readonly from: HostName
  readonly to: HostName
  readonly oneWay: boolean
  readonly what: CutKind | undefined
}

export function healCuts(cuts: readonly Cut[], { from, to, oneWay, what }: Healing): readonly Cut[] {
  const isMeant = (cut: Cut): boolean => (cut.from === from && cut.to === to) || (!oneWay && cut.from === to && cut.to === from)
  return cuts.filter((cut) => !(isMeant(cut) && (what === undefined || cut.what === what)))
}

function sameCut(one: Cut, other: Cut): boolean {
  return one.from === other.from && one.to === other.to && one.what === other.what
}

/**
 * An nft script that replaces all cuts in one transaction. The first line makes the second succeed when there is no table yet.
 * The one switch drops frames between its ports, which are the hosts' cables; the router drops packets between its subnets.
 */
export function renderCuts(cuts: readonly Cut[], underlay: UnderlayKind): string {
  const table = `${underlay === 'l2' ? 'bridge' : 'inet'} weft_lab`
  const rules = cuts.flatMap(({ from, to, what }) =>
    matchesOf(what).map((match) => `    iifname ${devices(from, underlay)} oifname ${devices(to, underlay)}${match && ` ${match}`} drop`),
  )
  return [
    `table ${table}`,
    `delete table ${table}`,
    `table ${table} {`,
    '  chain forward {',
    '    type filter hook forward priority filter; policy accept;',
    ...rules,
    '  }',
    '}',
    '',
  ].join('\n')
}

function matchesOf(what: CutKind): readonly string[] {
  if (isNamedCut(what)) return MATCHES[what]
  const number = Number(what.slice('port '.length))
  return [...portOf('tcp', number), ...portOf('udp', number)]
}

function devices(host: HostName, underlay: UnderlayKind): string {
  const names = underlay === 'l2' ? cableDevices(host).ports : [switchOf(underlay, host)]
  return `{ ${names.map((name) => `"${name}"`).join(', ')} }`
}

/** For people: `a → b (udp only)`. */
export function describeCut({ from, to, what }: Cut): string {
  return `${from} → ${to}${what === 'all' ? '' : ` (${what} only)`}`
}
