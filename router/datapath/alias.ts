/**
 * What we write on the host's end of a pod's link (its alias, `ip link show`): the attachment that it belongs to.
 * The kernel keeps it exactly as long as the link, so that any later router knows whose link it is.
 */

import type { AttachmentKey } from '../../ipam/attachment.ts'
import { parseAttachmentKey } from '../../ipam/attachment.ts'
import { type Ipv4, parseIpv4 } from '../../mesh/base/address.ts'
import { formatIp, type Ipv6, parseIpv6 } from '../../mesh/base/ip.ts'
import { type Mac, parseMac } from '../kernel/mac.ts'

export interface LinkNote {
  /** The network's name in the CNI configuration. */
  readonly network: string
  readonly key: AttachmentKey
  /** Of the pod's end. */
  readonly mac: Mac
  /** The pod's. Whoever has lost what it was given takes it up again from here. Undefined in notes of earlier versions. */
  readonly address: Ipv4 | undefined
  /** Undefined when the pod has IPv4 alone. */
  readonly address6: Ipv6 | undefined
}

/** IFALIASZ (linux/if.h) less the closing zero. */
export const ALIAS_BYTES_MAX = 255

const ALIAS = /^weft network=(\S+) attachment=(\S+) mac=(\S+?)(?: address=(\S+))?$/

export function renderNote({ network, key, mac, address, address6 }: LinkNote): string {
  const addresses = [address, address6].flatMap((each) => (each === undefined ? [] : [formatIp(each)]))
  const suffix = addresses.length === 0 ? '' : ` address=${addresses.join(',')}`
  return `weft network=${network} attachment=${key} mac=${mac}${suffix}`
}

/** Undefined when somebody else wrote it. */
export function parseNote(alias: string): LinkNote | undefined {
  const [, network, key, mac, addresses] = ALIAS.exec(alias) ?? []
  if (network === undefined || key === undefined || mac === undefined) return undefined
  try {
    const [address, address6] = addresses?.split(',') ?? []
    return {
      network,
      key: parseAttachmentKey(key),
      mac: parseMac(mac),
      address: address === undefined ? undefined : parseIpv4(address),
      address6: address6 === undefined ? undefined : parseIpv6(address6),
    }
  } catch {
    return undefined
  }
}
