/**
 * Which peer of a WireGuard device gets which prefixes, in steps. Each gives one prefix to one peer and takes it from whoever has
 * it; the kernel does that at once. Addresses that a peer has and is to keep are its own after every step, and those that change
 * hands are never without an owner:
 *
 *   - Longer prefixes go first. So a shorter one, when it comes, takes nothing that is not meant by it.
 *   - A prefix that nobody is to have while another one around it has an owner is of that owner too, and stays: the kernel can
 *     take a prefix only from all, or with all others of its peer, and either would leave its addresses alone for a moment.
 *   - What no wanted prefix contains is dropped last.
 */
import { ipBytes, ipOf } from './codec/sockaddr.ts'
import type { Prefix } from './codec/wireguard.ts'

/** Peers by any name that tells them apart. */
export type Holdings = ReadonlyMap<string, readonly Prefix[]>

interface AllowedIpsPlan {
  /** In order. */
  readonly gifts: readonly Gift[]
  /** To be taken from those that have them. */
  readonly drops: readonly Prefix[]
  /** All that those peers are to have who end with more than `LEFTOVERS_MAX` others. */
  readonly cluttered: readonly Gift[]
}

export interface Gift {
  readonly to: string
  readonly prefixes: readonly Prefix[]
}

/** Some hundred bytes of the kernel each. Ranges that grow together leave one now and then. */
export const LEFTOVERS_MAX = 32

interface Holding {
  readonly prefix: Prefix
  readonly owner: string
}

/**
 * @param want no prefix twice; of several owners the first counts.
 * @param have as it is now. Those of peers that are not in `want` go with these, at the end.
 */
export function planAllowedIps(want: Holdings, have: Holdings): AllowedIpsPlan {
  const wanted = holdersOf(want)
  const held = holdersOf(have)
  const missing = [...wanted].filter(([key, { owner }]) => held.get(key)?.owner !== owner).map(([, holding]) => holding)
  const unwanted = [...held].filter(([key, { owner }]) => !wanted.has(key) && want.has(owner)).map(([, holding]) => holding)
  const placed = unwanted.map(({ prefix, owner }) => ({ prefix, owner, heir: ownerAround(prefix, wanted) }))
  const inherited = placed.flatMap(({ prefix, owner, heir }) => (heir === undefined || heir === owner ? [] : [{ prefix, owner: heir }]))
  return {
    gifts: inOrder([...missing, ...inherited]),
    drops: placed.filter(({ heir }) => heir === undefined).map(({ prefix }) => prefix),
    cluttered: thoseWithMany(placed.flatMap(({ heir }) => (heir === undefined ? [] : [heir]))).map((to) => ({
      to,
      prefixes: [...wanted.values()].filter(({ owner }) => owner === to).map(({ prefix }) => prefix),
    })),
  }
}

function prefixKey({ base, length }: Prefix): string {
  return `${base}/${length}`
}

function holdersOf(holdings: Holdings): ReadonlyMap<string, Holding> {
  const holders = new Map<string, Holding>()
  for (const [owner, prefixes] of holdings) {
    for (const prefix of prefixes) {
      const key = prefixKey(prefix)
      if (!holders.has(key)) holders.set(key, { prefix, owner })
    }
  }
  return holders
}

/** Who has the smallest of `holders` that contains `prefix` and more. */
function ownerAround(prefix: Prefix, holders: ReadonlyMap<string, Holding>): string | undefined {
  for (let length = prefix.length - 1; length >= 0; length -= 1) {
    const base = ipOf(truncated(ipBytes(prefix.base), length))
    const found = base === undefined ? undefined : holders.get(prefixKey({ base, length }))
    if (found !== undefined) return found.owner
  }
  return undefined
}

/** With zeros behind the first `length` bits. */
function truncated(bytes: Uint8Array, length: number): Uint8Array {
  return bytes.map((byte, index) => byte & (0xff << Math.min(8, Math.max(0, 8 * (index + 1) - length))))
}

/** Longer prefixes first, and of one length those of each peer together. */
function inOrder(holdings: readonly Holding[]): readonly Gift[] {
  const groups = new Map<string, { readonly to: string; readonly length: number; readonly prefixes: Prefix[] }>()
  for (const { prefix, owner } of holdings) {
    const key = `${prefix.length} ${owner}`
    const group = groups.get(key) ?? { to: owner, length: prefix.length, prefixes: [] }
    groups.set(key, group)
    group.prefixes.push(prefix)
  }
  return [...groups.values()].sort((a, b) => b.length - a.length)
}

function thoseWithMany(owners: readonly string[]): readonly string[] {
  const counts = new Map<string, number>()
  for (const owner of owners) counts.set(owner, (counts.get(owner) ?? 0) + 1)
  return [...counts].filter(([, count]) => count > LEFTOVERS_MAX).map(([owner]) => owner)
}
