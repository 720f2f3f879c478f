/**
 * IP addresses of both families, as the mesh names them. An IPv4 address is a number, an IPv6 address is its text of
 * RFC 5952, so that either can be compared and be a key as it stands. One address has one form: IPv4 inside IPv6
 * (::ffff:a.b.c.d) is IPv4. Link-local addresses are refused: without the name of a link they lead nowhere. Where there
 * is a link, as in the kernel's tables, `ipv6OnLink` takes them.
 */
import { formatIpv4, type Ipv4, ipv4FromBytes, parseIpv4 } from './address.ts'
import type { Brand } from './brand.ts'

/** An IPv6 address in the form of RFC 5952: lower case, the longest run of zeros as `::`. */
export type Ipv6 = Brand<string, 'Ipv6'>

export type Ip = Ipv4 | Ipv6

const IPV6_BYTES = 16
const GROUPS = 8
/** How many leading groups name the network that one host or site is given. */
const NETWORK_GROUPS = 4
const GROUP = /^[0-9a-f]{1,4}$/i

export function isIpv4(address: Ip): address is Ipv4 {
  return typeof address === 'number'
}

/** @throws {RangeError} when `text` is no address of either family, or a link-local one. */
export function parseIp(text: string): Ip {
  return text.includes(':') ? fromGroups(parseGroups(text), text) : parseIpv4(text)
}

/** @throws {RangeError} when `text` is no address of IPv6, or a link-local one. */
export function parseIpv6(text: string): Ipv6 {
  const address = parseIp(text)
  if (isIpv4(address)) throw new RangeError(`not an IPv6 address: ${JSON.stringify(text)}`)
  return address
}

export function formatIp(address: Ip): string {
  return isIpv4(address) ? formatIpv4(address) : address
}

/** Of 2000::/3 (the internet, RFC 4291) or fc00::/7 (one's own networks, RFC 4193). */
export function isGlobal(address: Ip): boolean {
  if (isIpv4(address)) return false
  const [first = 0] = ipv6Bytes(address)
  return first >> 5 === 1 || first >> 1 === 0xfc >> 1
}

/** Network byte order. */
export function ipv6Bytes(address: Ipv6): Uint8Array {
  return Uint8Array.from(parseGroups(address).flatMap((group) => [group >> 8, group & 255]))
}

/** @throws {RangeError} when it is not 16 bytes long, IPv4 or link-local. */
export function ipv6FromBytes(bytes: Uint8Array): Ipv6 {
  const groups = groupsIn(bytes)
  const address = fromGroups(groups, formatGroups(groups))
  if (isIpv4(address)) throw new RangeError(`not an IPv6 address: ${formatIpv4(address)}`)
  return address
}

/** Any address of IPv6, link-local and IPv4-mapped ones too: what the kernel has on its links. @throws {RangeError} when it is not 16 bytes long. */
export function ipv6OnLink(bytes: Uint8Array): Ipv6 {
  return formatGroups(groupsIn(bytes)) as Ipv6
}

function groupsIn(bytes: Uint8Array): readonly number[] {
  if (bytes.length !== IPV6_BYTES) throw new RangeError(`an IPv6 address has ${IPV6_BYTES} bytes, not ${bytes.length}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Array.from({ length: GROUPS }, (_, index) => view.getUint16(2 * index))
}

/** What one host or site has all of: an IPv4 address itself, the first address of an IPv6 address's /64. */
export function networkOf(address: Ip): Ip {
  if (isIpv4(address)) return address
  const groups = parseGroups(address).map((group, index) => (index < NETWORK_GROUPS ? group : 0))
  return formatGroups(groups) as Ipv6
}

/** The network for people: `10.0.0.1`, `2001:db8::/64`. */
export function formatNetwork(network: Ip): string {
  return isIpv4(network) ? formatIpv4(network) : `${network}/${16 * NETWORK_GROUPS}`
}

function fromGroups(groups: readonly number[], text: string): Ip {
  const [first = 0] = groups
  if ((first & 0xffc0) === 0xfe80) throw new RangeError(`a link-local address leads nowhere without its link: ${JSON.stringify(text)}`)
  if (isMapped(groups)) return ipv4FromBytes(Uint8Array.from(groups.slice(6).flatMap((group) => [group >> 8, group & 255])))
  return formatGroups(groups) as Ipv6
}

/** ::ffff:0:0/96 (RFC 4291, section 2.5.5.2). */
function isMapped(groups: readonly number[]): boolean {
  return groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0)
}

/** The eight groups of RFC 4291, section 2.2. @throws {RangeError} */
function parseGroups(text: string): readonly number[] {
  const [head = '', tail, more] = text.split('::')
  const before = groupsOf(head, tail === undefined)
  const after = tail === undefined ? [] : groupsOf(tail, true)
  const count = (before?.length ?? 0) + (after?.length ?? 0)
  const isComplete = tail === undefined ? count === GROUPS : count < GROUPS
  if (before === undefined || after === undefined || more !== undefined || !isComplete) {
    throw new RangeError(`not an IPv6 address: ${JSON.stringify(text)}`)
  }
  return [...before, ...new Array<number>(GROUPS - count).fill(0), ...after]
}

/** Groups between colons; the last two may be written as IPv4 when `text` ends the address. */
function groupsOf(text: string, isEnd: boolean): readonly number[] | undefined {
  if (text === '') return []
  const words = text.split(':')
  const last = words.at(-1) ?? ''
  const dotted = isEnd && last.includes('.') ? dottedGroups(last) : undefined
  const plain = dotted === undefined ? words : words.slice(0, -1)
  if (!plain.every((word) => GROUP.test(word))) return undefined
  return [...plain.map((word) => Number.parseInt(word, 16)), ...(dotted ?? [])]
}

function dottedGroups(text: string): readonly number[] | undefined {
  try {
    const address = parseIpv4(text)
    return [address >>> 16, address & 0xffff]
  } catch {
    return undefined
  }
}

/** RFC 5952, section 4: no leading zeros; `::` for the longest run of two or more zero groups, the first of equals. */
function formatGroups(groups: readonly number[]): string {
  const run = longestZeros(groups)
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':')
  if (run.length < 2) return hex(groups)
  return `${hex(groups.slice(0, run.start))}::${hex(groups.slice(run.start + run.length))}`
}

function longestZeros(groups: readonly number[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 }
  let length = 0
  for (const [index, group] of groups.entries()) {
    length = group === 0 ? length + 1 : 0
    if (length > best.length) best = { start: index + 1 - length, length }
  }
  return best
}
