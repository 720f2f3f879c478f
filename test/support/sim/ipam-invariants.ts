/**
 * What must hold of the addresses of a cluster, each as a function that says what is wrong; an empty list is good. Those on
 * top hold at every moment, those below when the cluster has come to rest.
 *
 *   I1  an address is of one pod                       I6   one beginning, and not by a minority
 *   I2  who gives an address owns it, durably          I7   merging is a join, and takes nothing back
 *   I3  an address has one owner who may use it        I8   all come to agree, and nobody waits for ever
 *   I4  a ring covers the range, each number once      I9   who was removed gives nothing any more
 *   I5  no address is lost                             I10  what was confirmed survives
 *                                                      I11  whoever has none gets one while others have some
 */
import type { AttachmentKey } from '../../../ipam/attachment.ts'
import type { Ipam } from '../../../ipam/ipam.ts'
import { checkInvariants, emptyRing, entryOver, gapsOf, mergeRing, type Ring, ringNews } from '../../../ipam/ring.ts'
import { decodeDelta } from '../../../ipam/ring-codec.ts'
import { ringDigest, ringSummary } from '../../../ipam/ring-digest.ts'
import { type Cidr, cidrSize, formatIpv4, type Ipv4 } from '../../../mesh/base/address.ts'
import type { PeerName } from '../../../mesh/base/brand.ts'
import { bytesEqual } from '../../../mesh/base/bytes.ts'

/** A running router, as it is now. */
export interface Seen {
  readonly name: PeerName
  readonly ipam: Ipam
  readonly ring: Ring | undefined
}

/** Whose pods count. */
export interface Holder {
  readonly name: PeerName
  readonly held: ReadonlyMap<AttachmentKey, Ipv4>
  readonly possible: ReadonlyMap<AttachmentKey, Ipv4 | undefined>
}

const views = new WeakMap<Ipam, { readonly digest: Uint8Array; readonly ring: Ring | undefined }>()

/** The ring of a running router, by what it would tell one that has none. */
export function ringOf(ipam: Ipam, universe: Cidr): Ring | undefined {
  const digest = ipam.part.digest()
  const known = views.get(ipam)
  if (known?.digest === digest) return known.ring
  const news = ipam.part.missing(ringSummary(universe, undefined))
  let ring: Ring | undefined
  for (const { delta } of news.ok ? news.value : []) {
    const decoded = decodeDelta(delta)
    if (!decoded.ok || decoded.value.seedId === undefined) continue
    ring = mergeRing(ring ?? emptyRing(decoded.value.seedId, cidrSize(universe)), decoded.value).ring
  }
  views.set(ipam, { digest, ring })
  return ring
}

/** @param isExcused of addresses that a pod had before rings of two beginnings became one. */
export function singleUse(holders: readonly Holder[], isExcused: (name: PeerName, address: Ipv4) => boolean): readonly string[] {
  const users = new Map<Ipv4, string>()
  const wrong: string[] = []
  for (const { name, held, possible } of holders) {
    for (const [key, address] of new Map([...possible, ...held])) {
      if (address === undefined || isExcused(name, address)) continue
      const other = users.get(address)
      if (other !== undefined) wrong.push(`I1: ${formatIpv4(address)} is of ${key} of ${name} and of ${other}`)
      users.set(address, `${key} of ${name}`)
    }
  }
  return wrong
}

export function authority(name: PeerName, host: number, durable: Ring | undefined): readonly string[] {
  const owner = durable === undefined ? undefined : entryOver(durable, host)?.owner
  return owner === name ? [] : [`I2: ${name} gives number ${host}, which is of ${owner ?? 'nobody'} on its disk`]
}

/** @param hosts what its own pods have. */
export function keepsItsPods(name: PeerName, delta: Uint8Array, hosts: readonly number[]): readonly string[] {
  const decoded = decodeDelta(delta)
  const given = (decoded.ok ? decoded.value.items : []).filter(({ owner }) => owner !== name)
  const wrong = hosts.filter((host) => given.some(({ token, end }) => token <= host && host < end))
  return wrong.map((host) => `I2: ${name} gives away number ${host}, which a pod of its own has`)
}

/** Who has been removed without knowing of it believes in an epoch that others have raised: it does not count. */
export function exclusiveOwnership(routers: readonly Seen[], size: number): readonly string[] {
  const fences = new Int32Array(size)
  for (const { ring } of routers) for (const { token, end, epoch } of ring?.entries ?? []) raise(fences, token, end, epoch)
  const owners = new Map<number, PeerName>()
  for (const router of routers) {
    for (const host of usable(router, fences)) {
      const other = owners.get(host)
      if (other !== undefined) return [`I3: ${router.name} and ${other} both take number ${host} for their own`]
      owners.set(host, router.name)
    }
  }
  return []
}

/** What it takes for its own, and may. Who has forgotten what it gave away takes that for its own too, and gives nothing to anybody. */
function usable({ name, ring, ipam }: Seen, fences: Int32Array): readonly number[] {
  if (ring === undefined || ring.retired.has(name) || ipam.upkeep.words() !== undefined) return []
  return ring.entries
    .filter(({ owner }) => owner === name)
    .flatMap(({ token, end, epoch }) =>
      Array.from({ length: end - token }, (_, at) => token + at).filter((host) => epoch >= (fences[host] ?? 0)),
    )
}

function raise(fences: Int32Array, start: number, end: number, epoch: number): void {
  for (let host = start; host < end; host++) fences[host] = Math.max(fences[host] ?? 0, epoch)
}

export function coverage({ name, ring }: Seen): readonly string[] {
  if (ring === undefined) return []
  const unsound = checkInvariants(ring)
  const owned = ring.entries.reduce((sum, { token, end }) => sum + end - token, 0)
  const missing = gapsOf(ring).reduce((sum, { start, end }) => sum + end - start, 0)
  if (unsound !== undefined) return [`I4: the ring of ${name}: ${unsound}`]
  return owned + missing === ring.size ? [] : [`I4: the ring of ${name} has ${owned} numbers and lacks ${missing} of ${ring.size}`]
}

export function knownOwners({ name, ring }: Seen, names: ReadonlySet<string>): readonly string[] {
  const strange = (ring?.entries ?? []).find(({ owner }) => !names.has(owner))
  return strange === undefined ? [] : [`I3: in the ring of ${name} number ${strange.token} is of ${strange.owner}, which never was`]
}

export function oneBeginning(beginnings: ReadonlySet<string>, allowed: number): readonly string[] {
  return beginnings.size <= allowed ? [] : [`I6: ${beginnings.size} rings were begun: ${[...beginnings].join(', ')}`]
}

/** @param accepted how many voters have the decision on their disks. */
export function noMinority(accepted: number, voters: number): readonly string[] {
  return 2 * accepted > voters ? [] : [`I6: a ring was begun that ${accepted} of ${voters} voters have accepted`]
}

export function onlyGrows(name: PeerName, before: Ring | undefined, after: Ring | undefined): readonly string[] {
  if (before === undefined || after === undefined || before.seedId !== after.seedId || before === after) return []
  return mergeRing(after, ringNews(before)).ring === after ? [] : [`I7: ${name} has taken back something of its ring`]
}

export function isJoin(a: Ring, b: Ring, universe: Cidr): readonly string[] {
  const [ab, ba] = [mergeRing(a, ringNews(b)).ring, mergeRing(b, ringNews(a)).ring]
  const wrong = checkInvariants(ab)
  if (wrong !== undefined) return [`I4: two rings make one that is unsound: ${wrong}`]
  if (!bytesEqual(ringDigest(universe, ab), ringDigest(universe, ba))) return ['I7: it matters which of two rings is merged into the other']
  return mergeRing(ab, ringNews(a)).ring === ab ? [] : ['I7: it matters how often a ring is merged']
}

export function fenced({ name, ipam }: Seen): readonly string[] {
  const { retiredBy, freeAddresses } = ipam.status()
  return retiredBy === undefined || freeAddresses === 0 ? [] : [`I9: ${name} was removed, and has ${freeAddresses} free addresses`]
}

export function survived(name: PeerName, promised: Ring | undefined, now: Ring | undefined): readonly string[] {
  if (promised === undefined || now?.seedId !== promised.seedId)
    return promised === undefined ? [] : [`I10: ${name} has another ring after its death`]
  return mergeRing(now, ringNews(promised)).ring === now ? [] : [`I10: ${name} has lost something of its ring by its death`]
}

/** What is told of one's own doing is on the device. */
export function told(name: PeerName, delta: Uint8Array, durable: Ring | undefined): readonly string[] {
  const decoded = decodeDelta(delta)
  if (!decoded.ok || decoded.value.items.length + decoded.value.retired.length === 0) return []
  const isWritten = durable !== undefined && decoded.value.seedId === durable.seedId && mergeRing(durable, decoded.value).ring === durable
  return isWritten ? [] : [`I10: ${name} tells of what is not on its disk`]
}

// At rest.

export function noneLost(routers: readonly Seen[], held: number, universe: Cidr): readonly string[] {
  const free = routers.reduce((sum, { ipam }) => sum + ipam.status().freeAddresses, 0)
  const all = cidrSize(universe) - 2
  const findings = routers.flatMap(({ ipam, name }) => ipam.upkeep.ringFindings().map((finding) => `I5: ${name}: ${finding}`))
  return held + free === all ? findings : [`I5: ${held} addresses are held and ${free} are free, of ${all}`, ...findings]
}

/** What is allocated is what pods have. */
export function accounted({ name, ipam }: Seen, held: ReadonlyMap<AttachmentKey, Ipv4>): readonly string[] {
  const allocated = ipam.allocations()
  const wrong = [...held].filter(([key, address]) => allocated.get(key) !== address)
  const leaked = [...allocated.keys()].filter((key) => !held.has(key))
  return [
    ...wrong.map(([key, address]) => `I10: ${name} has forgotten that ${key} has ${formatIpv4(address)}`),
    ...leaked.map((key) => `I5: ${name} keeps the address of ${key}, which is gone`),
  ]
}
