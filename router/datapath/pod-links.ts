/** The pods of this node, as the kernel knows them: links that carry our note, and the addresses that IPAM holds for them. */

import type { AttachmentKey } from '../../ipam/attachment.ts'
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

/** Those that have an address; a link without one is being made or taken down. */
export function localPods(pods: readonly PodLink[], addresses: ReadonlyMap<AttachmentKey, Ipv4>): readonly LocalPod[] {
  return pods.flatMap(({ key, mac, link }) => {
    const address = addresses.get(key)
    return address === undefined || !link.up ? [] : [{ address, mac, link: link.index }]
  })
}
