/** What people and programs can see of IPAM: plain data, with Weave Net's wording where it has one. */
import { formatCidr, formatIpv4 } from '../mesh/base/address.ts'
import type { PeerName } from '../mesh/base/brand.ts'
import type { Allocator } from './allocator.ts'
import type { AttachmentKey } from './attachment.ts'
import type { Bootstrap, BootstrapStatus } from './bootstrap.ts'
import type { Ledger } from './ledger.ts'
import { gapsOf, type Ring, type RingItem, type SeedId } from './ring.ts'
import type { Rival, Rivalry } from './rivalry.ts'
import { retirementText } from './takeover.ts'
import { hostAddress, usableSize } from './universe.ts'

export interface IpamStatus {
  /** `ready`, or what is being waited for. */
  readonly status: string
  readonly bootstrap: BootstrapStatus
  /** Why there is no ring; undefined when there is one. */
  readonly waiting: string | undefined
  /** Which ring ours is; undefined when there is none. */
  readonly seedId: SeedId | undefined
  /** Other rings that have met ours. */
  readonly rivals: readonly Rival[]
  /** What a person has to decide. */
  readonly notices: readonly string[]
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
  /** Why nothing can be written to the journal now; undefined when it can. */
  readonly journalFault: string | undefined
  /** Why no address is given out: some of our past is lost. */
  readonly doubt: string | undefined
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

interface Parts {
  readonly ledger: Ledger
  readonly allocator: Allocator
  readonly bootstrap: Bootstrap
  readonly rivalry: Rivalry
  readonly conflicts: ReadonlyMap<AttachmentKey, PeerName>
  readonly doubt: string | undefined
  readonly faults: readonly string[]
}

export function ipamStatus({ ledger, allocator, bootstrap, rivalry, conflicts, doubt, faults }: Parts): IpamStatus {
  const { universe } = ledger
  const items = ledger.ring === undefined ? [] : withGaps(ledger.ring)
  const strays = ledger
    .strays()
    .map((host) => `${formatIpv4(hostAddress(universe, host))} is allocated here, but the ring gives it to another peer`)
  return {
    status: statusText(ledger, allocator, bootstrap),
    bootstrap: bootstrap.status(),
    waiting: ledger.ring === undefined ? bootstrap.waiting() : undefined,
    seedId: ledger.ring?.seedId,
    rivals: rivalry.rivals(),
    notices: [...rivalry.words(), ...conflictWords(ledger, conflicts)],
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
    journalFault: ledger.fault?.text,
    doubt,
    faults: [...faults, ...strays],
    retiredBy: ledger.retiredBy,
  }
}

/** The whole universe: what nobody has told us of has no owner. */
function withGaps(ring: Ring): readonly (Omit<RingItem, 'owner'> & { readonly owner: PeerName | undefined })[] {
  const gaps = gapsOf(ring).map(({ start, end }) => ({ token: start, end, owner: undefined, version: 0, epoch: 0 }))
  return [...ring.entries, ...gaps].toSorted((a, b) => a.token - b.token)
}

function conflictWords({ allocations, universe }: Ledger, conflicts: ReadonlyMap<AttachmentKey, PeerName>): readonly string[] {
  return [...conflicts].map(([key, peer]) => {
    const address = formatIpv4(hostAddress(universe, allocations.get(key) ?? 0))
    return `${address} of ${key} is in use at ${peer} too: delete one of the two pods`
  })
}

function statusText(ledger: Ledger, allocator: Allocator, bootstrap: Bootstrap): string {
  if (ledger.retiredBy !== undefined) return retirementText(ledger.self, ledger.retiredBy)
  if (ledger.inDoubt) return 'waiting to hear from other peers what became of our IP ranges'
  if (ledger.ring === undefined) return bootstrap.headline()
  if (allocator.pending().length === 0) return 'ready'
  const { denied, withheld, silent, unreachable, open } = allocator.prospects()
  const onlyUnreachable = unreachable.length > 0 && [denied, withheld, silent, open].every((peers) => peers.length === 0)
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
