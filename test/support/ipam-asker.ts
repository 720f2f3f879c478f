/** Somebody who asks IPAM for an address, and may give up; what became of it can be seen at any time. */
import type { AllocateError } from '../../ipam/allocator.ts'
import type { AttachmentKey } from '../../ipam/attachment.ts'
import type { Ipam } from '../../ipam/ipam.ts'
import { formatIpv4, parseCidr, parseIpv4 } from '../../mesh/base/address.ts'
import { key } from './ipam.ts'

export interface Asker {
  /** The address, or the error's code; undefined while it waits. */
  told(): string | undefined
  /** The error's text; empty when there is none. */
  why(): string
  giveUp(): void
}

/** @param wanted an address, a subnet with its length, or nothing. */
export function ask(ipam: Ipam, who: number | AttachmentKey, wanted: string = ''): Asker {
  const caller = new AbortController()
  let outcome: { readonly address: string } | AllocateError | undefined
  const wish = wanted === '' ? {} : wanted.includes('/') ? { subnet: parseCidr(wanted) } : { address: parseIpv4(wanted) }
  void ipam.allocate(typeof who === 'number' ? key(who) : who, caller.signal, wish).then((result) => {
    outcome = result.ok ? { address: formatIpv4(result.value) } : result.error
  })
  return {
    told: () => (outcome === undefined || 'address' in outcome ? outcome?.address : outcome.code),
    why: () => (outcome === undefined || 'address' in outcome ? '' : outcome.text),
    giveUp: () => caller.abort(),
  }
}
