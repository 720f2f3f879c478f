/**
 * Which links a pair of nodes may use: a function of what each says of itself, the same whichever end asks. A pair may
 * talk in the clear only when both ends allow it, each by its own settings; in every other case it must be sealed. What
 * is decided are the very addresses that packets between the two use.
 */
import { ipv4Bytes } from '../../mesh/base/address.ts'
import type { PeerName } from '../../mesh/base/brand.ts'
import { formatIp, type Ip, ipv6Bytes, isIpv4, parseIp } from '../../mesh/base/ip.ts'
import { type Family, isSealed, isSealedThroughRelay, LINK_KINDS, type LinkKind } from './kind.ts'

/** `--encrypt`: always; unless both nodes are in one zone or in trusted subnets; or never, if the other end agrees. */
export type EncryptMode = 'always' | 'between-zones' | 'never'

export const ENCRYPT_MODES: readonly EncryptMode[] = ['always', 'between-zones', 'never']
export const ENCRYPT_DEFAULT: EncryptMode = 'between-zones'

/** An address and the length of a prefix of it, as of an interface; of a network, the bits below the length are zero. */
export interface Subnet {
  readonly address: Ip
  /** 0 to 32, or to 128. */
  readonly length: number
}

/** They travel in every record. */
export const TRUSTED_SUBNETS_MAX = 8

/** What a node says of itself, in its signed record. */
export interface PolicyFacts {
  readonly name: PeerName
  /** For reasons that people read. */
  readonly nickname: string
  readonly mode: EncryptMode
  /** As configured; undefined: it is the subnet of its underlay address. */
  readonly zone: string | undefined
  /** `TRUSTED_SUBNETS_MAX` at most: plain packets to addresses in them are nobody else's to see. */
  readonly trusted: readonly Subnet[]
  /** Underlay addresses with the length of their subnets, best first; a length of undefined: not known. */
  readonly underlay: readonly UnderlayAddress[]
  /** The kinds of links that it can do. */
  readonly can: readonly LinkKind[]
}

export interface UnderlayAddress {
  readonly address: Ip
  readonly length: number | undefined
}

export interface Requirement {
  readonly sealed: boolean
  /** For people. */
  readonly reason: string
}

export interface Candidates {
  readonly requirement: Requirement
  /** What probes may try, best first. */
  readonly allowed: readonly LinkKind[]
  /** Each kind that is not allowed, and why, for people. */
  readonly excluded: readonly { readonly kind: LinkKind; readonly reason: string }[]
  /** Of the addresses that the pair uses; undefined when they have no family in common. */
  readonly family: Family | undefined
}

/**
 * As `--trusted-subnets` has it: `10.0.0.0/16,fd00::/48`; an empty text is none.
 * @throws {RangeError} when one is not a prefix, has bits set below its length, or there are more than `TRUSTED_SUBNETS_MAX`.
 */
export function parseTrustedSubnets(text: string): readonly Subnet[] {
  const words = text.split(',').filter((word) => word !== '')
  if (words.length > TRUSTED_SUBNETS_MAX) throw new RangeError(`${words.length} trusted subnets, more than ${TRUSTED_SUBNETS_MAX}`)
  return words.map(parseSubnet)
}

/** Whether packets between the two must be sealed. The same from either end. */
export function requirement(one: PolicyFacts, other: PolicyFacts): Requirement {
  const [a, b] = one.name < other.name ? [one, other] : [other, one]
  const asking = [a, b].filter(({ mode }) => mode === 'always').map(({ nickname }) => nickname)
  if (asking.length > 0) return sealed(`${asking.join(' and ')} ${asking.length === 1 ? 'asks' : 'ask'} to encrypt always`)
  if (a.mode === 'never' && b.mode === 'never') return plain('both ask to encrypt never')
  const pair = commonAddresses(a, b)
  if (pair === undefined) return sealed('they have no addresses of one family')
  const zones = compareZones([a, pair[0]], [b, pair[1]])
  if (zones.isOne) return plain(zones.text)
  // Who asks for zones must find the other end in a subnet that it trusts itself.
  const wary = [
    [a, pair[1]],
    [b, pair[0]],
  ] as const
  const refusing = wary.filter(([{ mode, trusted }, { address }]) => mode !== 'never' && !trusted.some((net) => contains(net, address)))
  const [first] = refusing
  if (first === undefined) return plain('each trusts the subnet of the other, or asks to encrypt never')
  const isEitherTrusting = a.trusted.length + b.trusted.length > 0
  const [{ nickname }, { address }] = first
  return sealed(isEitherTrusting ? `${zones.text}, and ${nickname} does not trust ${formatIp(address)}` : zones.text)
}

/** What the pair may try, and why not the rest. The same from either end. */
export function candidates(one: PolicyFacts, other: PolicyFacts): Candidates {
  const required = requirement(one, other)
  const [a, b] = one.name < other.name ? [one, other] : [other, one]
  const pair = commonAddresses(a, b)
  const verdicts = LINK_KINDS.map((kind) => ({ kind, reason: obstacle(kind, [a, b], { required, pair }) }))
  return {
    requirement: required,
    allowed: verdicts.flatMap(({ kind, reason }) => (reason === undefined ? [kind] : [])),
    excluded: verdicts.flatMap(({ kind, reason }) => (reason === undefined ? [] : [{ kind, reason }])),
    family: pair === undefined ? undefined : familyOf(pair[0].address),
  }
}

export type RelayVerdict =
  | { readonly how: 'hop by hop' | 'end to end'; readonly reason: string }
  | { readonly how: 'refused'; readonly reason: string }

/**
 * How packets of a pair that cannot meet may go through a third node. What may travel in the clear is routed there, over
 * whatever links the third one has with each. What must be sealed is never opened on its way: a member of the cluster
 * between two zones may be in neither, so a seal from hop to hop would be a weaker promise than was asked for.
 */
export function relayVerdict(one: PolicyFacts, other: PolicyFacts): RelayVerdict {
  const { sealed, reason } = requirement(one, other)
  if (!sealed) return { how: 'hop by hop', reason }
  const [a, b] = one.name < other.name ? [one, other] : [other, one]
  const lacking = [a, b].filter(({ can }) => !can.some(isSealedThroughRelay)).map(({ nickname }) => nickname)
  if (lacking.length === 0) return { how: 'end to end', reason }
  const why = `${lacking.join(' and ')} cannot do sleeve, and a relay would open what WireGuard carries`
  return { how: 'refused', reason: `${reason}; ${why}` }
}

function obstacle(
  kind: LinkKind,
  pair: readonly [PolicyFacts, PolicyFacts],
  given: { readonly required: Requirement; readonly pair: AddressPair | undefined },
): string | undefined {
  if (given.required.sealed && !isSealed(kind)) return `must be encrypted: ${given.required.reason}`
  const lacking = pair.filter(({ can }) => !can.includes(kind)).map(({ nickname }) => nickname)
  if (lacking.length > 0) return `${lacking.join(' and ')} cannot do ${kind}`
  // A stream goes where the mesh goes, if need be from peer to peer.
  if (kind === 'sleeve+stream') return undefined
  if (given.pair === undefined) return 'they have no addresses of one family'
  if (kind === 'direct' && !isOneSubnet(...given.pair)) return 'not on one segment'
  return undefined
}

type AddressPair = readonly [UnderlayAddress, UnderlayAddress]

/** The first of each with a family that both have, IPv4 before IPv6. */
function commonAddresses(a: PolicyFacts, b: PolicyFacts): AddressPair | undefined {
  for (const family of ['ipv4', 'ipv6'] as const) {
    const [one, other] = [a, b].map(({ underlay }) => underlay.find(({ address }) => familyOf(address) === family))
    if (one !== undefined && other !== undefined) return [one, other]
  }
  return undefined
}

type Side = readonly [PolicyFacts, UnderlayAddress]

/** A zone that is not known is another one, and a configured one is never the same as a subnet. */
function compareZones([a, addressA]: Side, [b, addressB]: Side): { readonly isOne: boolean; readonly text: string } {
  const isSubnet = a.zone === undefined && b.zone === undefined
  const isOne = isSubnet ? isOneSubnet(addressA, addressB) : a.zone === b.zone
  const names = [zoneText(a, addressA), zoneText(b, addressB)].join(' / ')
  if (!isOne) return { isOne, text: `zones differ: ${names}` }
  return { isOne, text: isSubnet ? `one subnet: ${names}` : `one zone: ${a.zone}` }
}

function zoneText({ zone }: PolicyFacts, { address, length }: UnderlayAddress): string {
  if (zone !== undefined) return zone
  return length === undefined ? 'unknown' : `${formatIp(address)}/${length}`
}

/** Whether the two have one and the same subnet. */
function isOneSubnet(a: UnderlayAddress, b: UnderlayAddress): boolean {
  return a.length !== undefined && a.length === b.length && contains({ address: a.address, length: a.length }, b.address)
}

function contains({ address, length }: Subnet, other: Ip): boolean {
  if (isIpv4(address) !== isIpv4(other)) return false
  const [mine, theirs] = [bytesOf(address), bytesOf(other)]
  return mine.every((byte, index) => ((byte ^ (theirs[index] ?? 0)) & maskByte(length, index)) === 0)
}

/** The byte at `index` of the mask of a prefix. */
function maskByte(length: number, index: number): number {
  const bits = Math.min(8, Math.max(0, length - 8 * index))
  return (0xff00 >> bits) & 0xff
}

function parseSubnet(text: string): Subnet {
  const [head = '', tail = '', more] = text.split('/')
  if (!/^\d{1,3}$/.test(tail) || more !== undefined) throw new RangeError(`not a prefix like 10.0.0.0/16: ${JSON.stringify(text)}`)
  const subnet: Subnet = { address: parseIp(head), length: Number(tail) }
  const bytes = bytesOf(subnet.address)
  if (subnet.length > 8 * bytes.length) throw new RangeError(`not a prefix length: ${JSON.stringify(text)}`)
  const hasHostBits = bytes.some((byte, index) => (byte & ~maskByte(subnet.length, index)) !== 0)
  if (hasHostBits) throw new RangeError(`${JSON.stringify(text)} has host bits set`)
  return subnet
}

function bytesOf(address: Ip): Uint8Array {
  return isIpv4(address) ? ipv4Bytes(address) : ipv6Bytes(address)
}

function familyOf(address: Ip): Family {
  return isIpv4(address) ? 'ipv4' : 'ipv6'
}

function sealed(reason: string): Requirement {
  return { sealed: true, reason }
}

function plain(reason: string): Requirement {
  return { sealed: false, reason }
}
