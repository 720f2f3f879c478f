/** What people and programs can see of IPAM: plain data, with Weave Net's wording where it has one. */
import { formatCidr, formatIpv4 } from '../mesh/base/address.ts'
import type { PeerName } from '../mesh/base/brand.ts'
import type { Allocator } from './allocator.ts'
import type { Ledger } from './ledger.ts'
import { gapsOf, type Ring, type RingItem } from './ring.ts'
import { retirementText } from './takeover.ts'
import { hostAddress, usableSize } from './universe.ts'

export interface IpamStatus {
  /** `ready`, or what is being waited for. */
  readonly status: string
  /** The universe. */
  readonly range: string
  /** How many addresses pods can get in all. */
  readonly rangeAddresses: number
  /** How many are allocated here, and how many more can be at once. */
  readonly activeAddresses: number
  readonly freeAddresses: number
  readonly entries: readonly IpamEntryStatus[]
  /** In order of name. */
  readonly owners: readonly IpamOwnerStatus[]
  /** `containerId/ifname` of those that wait for an address. */
  readonly pending: readonly string[]
  /** What went wrong lately, the latest last. */
  readonly faults: readonly string[]
  /** By whom our own name was retired. */
  readonly retiredBy: PeerName | undefined
}

interface IpamEntryStatus {
  readonly token: string
  readonly size: number
  /** Undefined for a range whose owner we have not heard of yet. */
  readonly peer: PeerName | undefined
  readonly version: number
  readonly epoch: number
}

interface IpamOwnerStatus {
  readonly peer: PeerName
  readonly addresses: number
  /** Known of ourselves only. */
  readonly active: number | undefined
  /** Its name is retired, and nobody has taken over these yet. */
  readonly isRetired: boolean
}

export function ipamStatus(ledger: Ledger, allocator: Allocator, faults: readonly string[]): IpamStatus {
  const { universe } = ledger
  const items = ledger.ring === undefined ? [] : withGaps(ledger.ring)
  const strays = ledger
    .strays()
    .map((host) => `${formatIpv4(hostAddress(universe, host))} is allocated here, but the ring gives it to another peer`)
  return {
    status: statusText(ledger, allocator),
    range: formatCidr(universe),
    rangeAddresses: usableSize(universe),
    activeAddresses: ledger.allocations.size,
    freeAddresses: ledger.free,
    entries: items.map(({ token, end, owner, version, epoch }) => ({
      token: formatIpv4(hostAddress(universe, token)),
      size: end - token,
      peer: owner,
      version,
      epoch,
    })),
    owners: owners(ledger),
    pending: allocator.pending(),
    faults: [...faults, ...strays],
    retiredBy: ledger.retiredBy,
  }
}

/** The whole universe: what nobody has told us of has no owner. */
function withGaps(ring: Ring): readonly (Omit<RingItem, 'owner'> & { readonly owner: PeerName | undefined })[] {
  const gaps = gapsOf(ring).map(({ start, end }) => ({ token: start, end, owner: undefined, version: 0, epoch: 0 }))
  return [...ring.entries, ...gaps].toSorted((a, b) => a.token - b.token)
}

function statusText(ledger: Ledger, allocator: Allocator): string {
  if (ledger.ring === undefined) return 'awaiting a ring from another peer'
  if (ledger.retiredBy !== undefined) return retirementText(ledger.self, ledger.retiredBy)
  if (allocator.pending().length === 0) return 'ready'
  const { denied, silent, unreachable, open } = allocator.prospects()
  const onlyUnreachable = unreachable.length > 0 && denied.length + silent.length + open.length === 0
  return onlyUnreachable
    ? "all IP ranges owned by unreachable peers - use 'rmpeer' if they are dead"
    : 'waiting for IP(s) to become available'
}

function owners({ ring, self, allocations }: Ledger): readonly IpamOwnerStatus[] {
  const addresses = new Map<PeerName, number>()
  for (const { owner, token, end } of ring?.entries ?? []) addresses.set(owner, (addresses.get(owner) ?? 0) + end - token)
  return [...addresses]
    .map(([peer, count]) => ({
      peer,
      addresses: count,
      active: peer === self ? allocations.size : undefined,
      isRetired: ring?.retired.has(peer) ?? false,
    }))
    .sort((a, b) => (a.peer < b.peer ? -1 : 1))
}
