/** Builders for tests of IPAM: peers with short names, rings from a line of text, and arbitrary rings for properties. */
import fc from 'fast-check'
import { type AttachmentKey, attachmentKey } from '../../ipam/attachment.ts'
import type { Ipam } from '../../ipam/ipam.ts'
import { encodeHeader } from '../../ipam/journal.ts'
import { emptyRing, mergeRing, type Ring, type RingItem, type RingNews, ringNews, type SeedId } from '../../ipam/ring.ts'
import { type Cidr, formatIpv4, type Ipv4, parseCidr } from '../../mesh/base/address.ts'
import { type PeerName, parsePeerName } from '../../mesh/base/brand.ts'
import type { Result } from '../../mesh/base/result.ts'

export const SEED_ID = '00112233aabbccdd' as SeedId

/** `peer('a')` is aaaaaaaaaaaaaaaa: a hex digit. */
export function peer(letter: string): PeerName {
  return parsePeerName(letter.repeat(16))
}

/** Peer number `index`, from 0. */
export function peerNumber(index: number): PeerName {
  return parsePeerName((index + 1).toString(16).padStart(16, '0'))
}

/** Where the records of a journal begin, as long as no cluster is named in it: damage before that is told, not survived. */
export const JOURNAL_HEADER_BYTES: number = encodeHeader({ peer: peerNumber(0), universe: parseCidr('10.32.0.0/12'), cluster: '' }).length

export function key(number: number): AttachmentKey {
  return attachmentKey(`pod-${number}`, 'eth0')
}

/** A ring from `token:owner:version` words; `-` is a gap. `ring(16, '0:a:1 8:b:2')`. An epoch above 0 stands after the version: `0:a:1.2`. */
export function ring(size: number, text: string): Ring {
  return mergeRing(emptyRing(SEED_ID, size), news(items(size, text))).ring
}

/** As `ring`, but the items alone; an end may be given as a fourth number. */
export function items(size: number, text: string): readonly RingItem[] {
  const words = text.split(' ').filter((word) => word !== '')
  return words.flatMap((word, index) => {
    const [token, owner, stamp, end] = word.split(':')
    const [version, epoch = 0] = (stamp ?? '').split('.')
    const next = words[index + 1]?.split(':')[0]
    if (owner === '-') return []
    return [
      { token: Number(token), owner: peer(owner ?? ''), version: Number(version), epoch: Number(epoch), end: Number(end ?? next ?? size) },
    ]
  })
}

/** Items without retirements. */
export function news(sound: readonly RingItem[]): RingNews {
  return { items: sound, retired: [] }
}

/** The reverse of `ring`. */
export function show({ entries, size }: Ring): string {
  const words = entries.flatMap(({ token, end, owner, version, epoch }, index) => {
    const gap = end < (entries[index + 1]?.token ?? size) ? [`${end}:-:0`] : []
    return [`${token}:${owner[0]}:${version}${epoch > 0 ? `.${epoch}` : ''}`, ...gap]
  })
  return words.join(' ')
}

export const universes: fc.Arbitrary<Cidr> = fc.constantFrom(
  ...['10.32.0.0/12', '10.0.0.0/8', '192.168.7.0/24', '172.16.0.8/29'].map(parseCidr),
)

/** Items as any sound peer might send: few tokens, versions and owners, so that they often meet. */
export function soundItems(size: number): fc.Arbitrary<readonly RingItem[]> {
  const item = fc
    .record({
      token: fc.nat(size - 1),
      length: fc.integer({ min: 1, max: size }),
      owner: fc.constantFrom('a', 'b', 'c'),
      version: fc.nat(4),
      epoch: fc.nat(1),
    })
    .map(({ length, owner, epoch, ...item }) => ({
      ...item,
      epoch: item.version === 0 ? 0 : epoch,
      end: Math.min(size, item.token + length),
      owner: peer(owner),
    }))
  return fc.array(item, { maxLength: 12 })
}

/** Retirements as any sound peer might tell. */
export const soundRetired: fc.Arbitrary<RingNews['retired']> = fc.array(
  fc.record({ peer: fc.constantFrom('a', 'b', 'c').map(peer), by: fc.constantFrom('b', 'c', 'd').map(peer) }),
  { maxLength: 3 },
)

export function soundRing(size: number): fc.Arbitrary<Ring> {
  return fc
    .tuple(soundItems(size), soundRetired)
    .map(([sound, retired]) => mergeRing(emptyRing(SEED_ID, size), { items: sound, retired }).ring)
}

/** All of `from` merged into `into`. */
export function joined(into: Ring, from: Ring): Ring {
  return mergeRing(into, ringNews(from)).ring
}

/** The address, or the error's code. */
export function told(result: Result<Ipv4 | undefined, { readonly code: string }>): string | undefined {
  if (!result.ok) return result.error.code
  return result.value === undefined ? undefined : formatIpv4(result.value)
}

/** An address for pod `number`, or the error's code. */
export async function allocate(ipam: Ipam, number: number): Promise<string | undefined> {
  return told(await ipam.allocate(key(number), new AbortController().signal))
}

/** Who owns what, by the last octet: `a:0-128 b:128-0`. */
export function ranges(ipam: Ipam): string {
  return ipam
    .ranges()
    .map(({ owner, range }) => `${owner[0]}:${range.start & 255}-${range.end & 255}`)
    .join(' ')
}

type Taken = { readonly taken: number } | { readonly code: string; readonly peers: readonly PeerName[] }

export async function takeOver(ipam: Ipam, letter: string, leaveAbsent = false, known: readonly PeerName[] = []): Promise<Taken> {
  const result = await ipam.members.takeOver(peer(letter), { known, leaveAbsent })
  return result.ok ? { taken: result.value } : { code: result.error.code, peers: result.error.peers }
}
