/**
 * Rules of Weave Net 2.8 that did not hold, each as a small function, so that a test can put one and the same
 * history to them and to ours. Written from the description of their behaviour, only as far as these histories go.
 *
 * In Weave's ring an entry reaches from its token to the next one, the last one around to the first. Tokens are
 * never removed.
 */
import type { Range } from '../../mesh/base/address.ts'
import type { PeerName } from '../../mesh/base/brand.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import { items } from './ipam.ts'

export interface WeaveEntry {
  readonly token: number
  readonly owner: PeerName
  version: number
}

export type WeaveRing = readonly WeaveEntry[]

export type WeaveFault = 'invalid' | 'entry in my range' | 'newer version of my entry' | 'inconsistent entry'

/** Whether a pod has an address in `[start, end)`; an `end` that is not above `start` stands for the way around. */
export type InUse = (start: number, end: number) => boolean

export const nothingInUse: InUse = () => false

/** From the words of `items`. */
export function weaveRing(text: string): WeaveRing {
  return items(Number.POSITIVE_INFINITY, text).map(({ token, owner, version }) => ({ token, owner, version }))
}

export function showWeave(ring: WeaveRing): string {
  return ring.map(({ token, owner, version }) => `${token}:${owner[0]}:${version}`).join(' ')
}

/** Whose `host` is. */
export function weaveOwner(ring: WeaveRing, host: number): PeerName | undefined {
  return (ring.findLast(({ token }) => token <= host) ?? ring.at(-1))?.owner
}

/** Merging as `self`: one entry that is not liked refuses the message, and what was raised before that stays raised. */
export function weaveMerge(self: PeerName, size: number, mine: WeaveRing, theirs: WeaveRing, inUse: InUse): Result<WeaveRing, WeaveFault> {
  const isSound = theirs.every(({ token }, at) => token >= 0 && token < size && token > (theirs[at - 1]?.token ?? -1))
  if (!isSound) return err('invalid')
  const merged = mine.filter(({ token }) => !theirs.some((entry) => entry.token === token))
  for (const other of theirs) {
    const own = mine.find(({ token }) => token === other.token)
    const chosen =
      own === undefined ? weaveInsert(self, mine, other, inUse) : weaveChoice(self, own, other, () => inUse(...reach(mine, own)))
    if (!chosen.ok) return chosen
    merged.push(chosen.value)
  }
  return ok(merged.sort((a, b) => a.token - b.token))
}

/** A token that we do not have. Behind our last one nobody looked whether anything is in use; before our first one nobody looked at all. */
function weaveInsert(self: PeerName, mine: WeaveRing, other: WeaveEntry, inUse: InUse): Result<WeaveEntry, WeaveFault> {
  const before = mine.findLast(({ token }) => token < other.token)
  const after = mine.find(({ token }) => token > other.token)
  const isInMine = before?.owner === self && other.owner !== self
  return isInMine && (after === undefined || inUse(other.token, after.token)) ? err('entry in my range') : ok({ ...other })
}

function reach(ring: WeaveRing, { token }: WeaveEntry): [start: number, end: number] {
  return [token, (ring.find((entry) => entry.token > token) ?? ring[0])?.token ?? token]
}

/** Of two entries at one token. */
function weaveChoice(self: PeerName, own: WeaveEntry, other: WeaveEntry, isUsed: () => boolean): Result<WeaveEntry, WeaveFault> {
  if (own.version > other.version) return ok(own)
  if (own.version === other.version) {
    if (own.owner !== other.owner && own.owner === self && isUsed()) return err('inconsistent entry')
    // The one with more free addresses; with as many, whichever was here first.
    return ok(own)
  }
  if (own.owner !== self) return ok({ ...other })
  if (other.owner === self) {
    own.version = other.version + 1
    return ok(own)
  }
  return isUsed() ? err('newer version of my entry') : ok({ ...other })
}

/** `rmpeer`: far enough above what the peer that is gone is thought to have written. */
export function weaveRemove(ring: WeaveRing, gone: PeerName, heir: PeerName): WeaveRing {
  return ring.map((entry) => (entry.owner === gone ? { ...entry, owner: heir, version: entry.version + 100 } : entry))
}

/** A pod came or went at `self`: the count of free addresses is part of the entry, which has a new version therefore. */
export function weaveReport(ring: WeaveRing, self: PeerName): WeaveRing {
  return ring.map((entry) => (entry.owner === self ? { ...entry, version: entry.version + 1 } : entry))
}

/** Giving `[start, end)` away: a token at its start, and one at its end. */
export function weaveGrant(ring: WeaveRing, start: number, end: number, to: PeerName): WeaveRing {
  const owner = weaveOwner(ring, start) ?? to
  const first = ring.find(({ token }) => token === start)
  const given = { token: start, owner: to, version: (first?.version ?? 0) + 1 }
  const behind = ring.some(({ token }) => token === end) ? [] : [{ token: end, owner, version: 0 }]
  return [...ring.filter((entry) => entry !== first), given, ...behind].sort((a, b) => a.token - b.token)
}

/** How many of `peers` voted on the first ring: each counted all but itself. */
export function weaveVoters(peers: number): number {
  return peers - 1
}

/** Free space after the ring has changed: only ever more. */
export function weaveSpace(known: readonly Range[], owned: readonly Range[]): readonly Range[] {
  return [...known, ...owned.filter(({ start, end }) => !known.some((range) => range.start <= start && end <= range.end))]
}

/** What was left of the data on the disk at a start: nothing, when it was of another range. */
export function weaveLoad<T>(data: { readonly range: string; readonly kept: T }, range: string): T | undefined {
  return data.range === range ? data.kept : undefined
}

/** When a pod without a free address got an answer: `retry` is asked every five seconds. */
export function weaveWait(retry: (now: number) => boolean, untilSeconds: number): number | undefined {
  for (let now = 0; now <= untilSeconds; now += 5) if (retry(now)) return now
  return undefined
}
