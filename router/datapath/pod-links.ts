/** The pods of this node, as the kernel knows them: links that carry our note, and the addresses that IPAM holds for them. */

import type { AttachmentKey } from '../../ipam/attachment.ts'
import { address6 as derive, type Universe } from '../../ipam/universe.ts'
import type { Ipv4 } from '../../mesh/base/address.ts'
import type { Link } from '../kernel/codec/link.ts'
import { type LinkNote, parseNote } from './alias.ts'
import { POD_LINK_PREFIX } from './names.ts'
import type { LocalPod } from './wants.ts'

export interface PodLink extends LinkNote {
  readonly link: Link
}

export function podLinks(links: readonly Link[]): readonly PodLink[] {
  return links.flatMap((link) => {
    if (link.details.kind !== 'veth' || !link.name.startsWith(POD_LINK_PREFIX) || link.alias === undefined) return []
    const note = parseNote(link.alias)
    return note === undefined ? [] : [{ ...note, link }]
  })
}

/**
 * Those that have an address; a link without one is being made or taken down. Their IPv6 address follows from it, unless
 * they were made without, or with one of another range.
 */
export function localPods(pods: readonly PodLink[], universe: Universe, addresses: ReadonlyMap<AttachmentKey, Ipv4>): readonly LocalPod[] {
  return pods.flatMap(({ key, mac, link, address6 }) => {
    const address = addresses.get(key)
    if (address === undefined || !link.up) return []
    return [{ address, address6: address6 === derive(universe, address) ? address6 : undefined, mac, link: link.index }]
  })
}
