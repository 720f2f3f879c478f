/** Whether the addresses add up: each has one owner, and each that is allocated belongs to something that exists. */
import { formatIpv4, type Ipv4, type Range } from '../mesh/base/address.ts'
import type { AttachmentKey } from './attachment.ts'
import type { NodeProof } from './census.ts'
import type { Ledger } from './ledger.ts'
import { checkInvariants, entryOver, gapsOf, ownedRanges } from './ring.ts'
import { hostAddress } from './universe.ts'

/** What the kernel knows of attachments. */
export interface Living {
  /** With the address that the kernel has for each, as far as that can be told. */
  readonly attachments: ReadonlyMap<AttachmentKey, Ipv4 | undefined>
  /** Being made or taken down meanwhile: nothing can be said of them. */
  readonly busy: ReadonlySet<AttachmentKey>
}

/** Why the ring as we know it does not give every address exactly one owner. */
export function ringFindings({ ring, universe }: Ledger): readonly string[] {
  if (ring === undefined) return ['no ring of address ranges is known']
  const unsound = checkInvariants(ring)
  if (unsound !== undefined) return [`the ring is unsound: ${unsound}`]
  const span = ({ start, end }: Range): string =>
    `${formatIpv4(hostAddress(universe, start))} to ${formatIpv4(hostAddress(universe, end - 1))}`
  const gaps = gapsOf(ring).map((gap) => `nobody is known to own ${span(gap)}`)
  const left = ownedRanges(ring).filter(({ owner }) => ring.retired.has(owner))
  return [...gaps, ...left.map(({ owner, range }) => `${span(range)} are of ${owner}, which was removed: run \`weft rmpeer ${owner}\``)]
}

export function proveNode(ledger: Ledger, living: Living): NodeProof {
  const findings = [...allocationFindings(ledger, living), ...attachmentFindings(ledger, living)]
  return { allocated: ledger.allocations.size, living: living.attachments.size, findings }
}

function allocationFindings({ ring, universe, self, allocations }: Ledger, { attachments, busy }: Living): readonly string[] {
  const findings: string[] = []
  const users = new Map<number, AttachmentKey>()
  for (const [key, host] of allocations) {
    const address = formatIpv4(hostAddress(universe, host))
    const other = users.get(host)
    users.set(host, key)
    if (other !== undefined) findings.push(`${address} is allocated to both ${other} and ${key}`)
    if (ring === undefined || entryOver(ring, host)?.owner !== self) findings.push(`${address} of ${key} is in no range of this node`)
    if (!(attachments.has(key) || busy.has(key))) findings.push(`${address} is allocated to ${key}, which does not exist`)
  }
  return findings
}

function attachmentFindings({ universe, allocations }: Ledger, { attachments, busy }: Living): readonly string[] {
  return [...attachments].flatMap(([key, address]) => {
    const host = allocations.get(key)
    const allocated = host === undefined ? undefined : hostAddress(universe, host)
    if (busy.has(key) || (allocated !== undefined && (address === undefined || address === allocated))) return []
    const has = address === undefined ? 'an address' : formatIpv4(address)
    const is = allocated === undefined ? 'none' : formatIpv4(allocated)
    return [`${key} exists with ${has}, and ${is} is allocated to it`]
  })
}

/** What is allocated to nothing that exists. */
export function leaks(ledger: Ledger, { attachments, busy }: Living): ReadonlyMap<AttachmentKey, Ipv4> {
  const gone = [...ledger.allocations].filter(([key]) => !(attachments.has(key) || busy.has(key)))
  return new Map(gone.map(([key, host]) => [key, hostAddress(ledger.universe, host)]))
}
