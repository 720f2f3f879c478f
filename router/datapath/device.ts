/** The one VXLAN device of a node: there, up, and as it must be. */
import type { Ipv4 } from '../../mesh/base/address.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import type { Link } from '../kernel/codec/link.ts'
import { type KernelError, kernelError } from '../kernel/kernel-error.ts'
import { addVxlan, deleteLink, getLink, setLink } from '../kernel/link.ts'
import type { Mac } from '../kernel/mac.ts'
import type { Netlink } from '../kernel/netlink.ts'
import { VXLAN_ID, VXLAN_LINK, VXLAN_PORT } from './names.ts'

export interface DeviceWants {
  /** The underlay address that it sends from. */
  readonly local: Ipv4
  readonly mac: Mac
  readonly mtuBytes: number
  /** The kernel has IPv6, and is to have nothing of it on the device but what we put there. */
  readonly hasIpv6: boolean
}

const ENODEV = 19

/** Its index. A device of our name that is something else, or sends from another address, gives way; one that is ours keeps its routes. */
export async function ensureVxlan(netlink: Netlink, wants: DeviceWants): Promise<Result<number, KernelError>> {
  const found = await getLink(netlink, VXLAN_LINK)
  if (!found.ok) return found
  const existing = found.value
  if (existing !== undefined && !isOurs(existing, wants.local)) {
    const removed = await deleteLink(netlink, existing.index)
    if (!removed.ok) return removed
  }
  if (existing === undefined || !isOurs(existing, wants.local)) return create(netlink, wants)
  if (existing.mac === wants.mac && existing.mtuBytes === wants.mtuBytes && existing.up) return ok(existing.index)
  const changed = await setLink(netlink, existing.index, { mac: wants.mac, mtuBytes: wants.mtuBytes, up: true })
  return changed.ok ? ok(existing.index) : changed
}

function isOurs({ details }: Link, local: Ipv4): boolean {
  return details.kind === 'vxlan' && details.id === VXLAN_ID && details.port === VXLAN_PORT && details.local === local && !details.learning
}

async function create(netlink: Netlink, { local, hasIpv6, ...wants }: DeviceWants): Promise<Result<number, KernelError>> {
  const added = await addVxlan(netlink, { name: VXLAN_LINK, port: VXLAN_PORT, network: { id: VXLAN_ID, local }, up: !hasIpv6, ...wants })
  if (!added.ok) return added
  const found = await getLink(netlink, VXLAN_LINK)
  if (!found.ok) return found
  if (found.value === undefined) return err(kernelError(`ip link show dev ${VXLAN_LINK}`, ENODEV))
  const { index } = found.value
  for (const change of hasIpv6 ? [{ linkLocal: false }, { up: true }] : []) {
    const changed = await setLink(netlink, index, change)
    if (!changed.ok) return changed
  }
  return ok(index)
}
