/** Which of this node's addresses its peers use: found in what the kernel says, unless it was given. */
import { type Cidr, cidrContains, formatIpv4, type Ipv4 } from '../../mesh/base/address.ts'
import { isIpv4 } from '../../mesh/base/ip.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import type { Address } from '../kernel/codec/addr.ts'
import type { Link } from '../kernel/codec/link.ts'
import { POD_LINK_PREFIX, VXLAN_LINK } from './names.ts'

export interface Underlay {
  readonly address: Ipv4
  /** The index of the link that has it. */
  readonly link: number
  readonly mtuBytes: number
}

export interface UnderlayInput {
  readonly links: readonly Link[]
  readonly addresses: readonly Address[]
  /** The source address towards the default route, where there is one. */
  readonly towardsDefault: Ipv4 | undefined
  readonly advertise: Ipv4 | undefined
  /** Given; undefined = the link's. */
  readonly mtuBytes: number | undefined
  /** Addresses of pods are never the underlay. */
  readonly universe: Cidr
}

/** The error is for people: what was looked for and what there is. */
export function chooseUnderlay(input: UnderlayInput): Result<Underlay, string> {
  const links = new Map(input.links.filter(isUsable).map((link) => [link.index, link]))
  const candidates = input.addresses.flatMap(({ link, scope, address }) => {
    const isOne = isIpv4(address) && links.has(link) && scope === 'global' && !cidrContains(input.universe, address)
    return isOne ? [{ link, address }] : []
  })
  const wanted = input.advertise ?? input.towardsDefault
  const chosen = candidates.find(({ address }) => address === wanted) ?? (input.advertise === undefined ? candidates[0] : undefined)
  const link = chosen === undefined ? undefined : links.get(chosen.link)
  if (chosen === undefined || link === undefined) return err(nothingFound(input.advertise, candidates))
  return ok({ address: chosen.address, link: link.index, mtuBytes: input.mtuBytes ?? link.mtuBytes })
}

function isUsable({ name, up }: Link): boolean {
  return up && name !== 'lo' && name !== VXLAN_LINK && !name.startsWith(POD_LINK_PREFIX)
}

function nothingFound(advertise: Ipv4 | undefined, candidates: readonly { readonly address: Ipv4 }[]): string {
  if (advertise === undefined) return 'no interface that is up has an IPv4 address for peers to use'
  const have = candidates.map(({ address }) => formatIpv4(address))
  return `no interface that is up has the address ${formatIpv4(advertise)} (there ${have.length === 0 ? 'is none' : `is ${have.join(', ')}`})`
}
