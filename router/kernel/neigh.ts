/** Neighbours, in the words of `ip neighbour`, and the forwarding table of VXLAN devices, in those of `bridge fdb`. */
import { formatIpv4 } from '../../mesh/base/address.ts'
import { formatIp } from '../../mesh/base/ip.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import { MessageFlag } from './codec/message.ts'
import {
  decodeFdbEntry,
  decodeNeighbour,
  encodeFdbDump,
  encodeFdbEntry,
  encodeNeighbour,
  encodeNeighbourDump,
  encodeNeighbourReference,
  type FdbEntry,
  type Neighbour,
} from './codec/neigh.ts'
import { Family, familyOf, type IpFamily, RtmType } from './codec/numbers.ts'
import type { KernelError } from './kernel-error.ts'
import type { Netlink } from './netlink.ts'
import { words } from './words.ts'

/** Equivalent to: `ip -4|-6 neighbour show nud all [dev LINK]`, without those whose hardware address is not known. */
export async function listNeighbours(
  netlink: Netlink,
  link?: number,
  family: IpFamily = 'inet',
): Promise<Result<readonly Neighbour[], KernelError>> {
  const operation = words(`ip -f ${family} neighbour show`, ['dev', link === undefined ? undefined : `if${link}`])
  const found = await netlink.dump({ type: RtmType.getNeighbour, payload: encodeNeighbourDump(link, family), operation }, decodeNeighbour)
  if (!found.ok) return found.error.code === 'ENODEV' ? ok([]) : found
  return ok(
    found.value.filter(
      ({ address, ...neighbour }) => familyOf(address) === Family[family] && (link === undefined || neighbour.link === link),
    ),
  )
}

/** Equivalent to: `ip neighbour replace ADDRESS lladdr MAC nud permanent dev LINK`. */
export function replaceNeighbour(netlink: Netlink, neighbour: Omit<Neighbour, 'permanent'>): Promise<Result<void, KernelError>> {
  const { link, address, mac } = neighbour
  const operation = `ip neighbour replace ${formatIp(address)} lladdr ${mac} nud permanent dev if${link}`
  const flags = MessageFlag.create | MessageFlag.replace
  return netlink.request({ type: RtmType.newNeighbour, flags, payload: encodeNeighbour(neighbour), operation })
}

/** Equivalent to: `ip neighbour delete ADDRESS dev LINK`. Not there (or no such link) is success. */
export async function deleteNeighbour(
  netlink: Netlink,
  neighbour: Pick<Neighbour, 'link' | 'address'>,
): Promise<Result<void, KernelError>> {
  const operation = `ip neighbour delete ${formatIp(neighbour.address)} dev if${neighbour.link}`
  const payload = encodeNeighbourReference(neighbour)
  return absentIsFine(await netlink.request({ type: RtmType.deleteNeighbour, payload, operation }))
}

/** All that matters of a neighbour, for `diff`. */
export function neighbourKey({ link, address, mac, permanent = true }: Neighbour): string {
  return [link, address, mac, permanent].join()
}

/** Equivalent to: `bridge fdb show dev LINK`, only entries with an IPv4 destination. */
export async function listFdb(netlink: Netlink, link: number): Promise<Result<readonly FdbEntry[], KernelError>> {
  const request = { type: RtmType.getNeighbour, payload: encodeFdbDump(link), operation: `bridge fdb show dev if${link}` }
  const found = await netlink.dump(request, decodeFdbEntry)
  if (!found.ok) return found.error.code === 'ENODEV' ? ok([]) : found
  return ok(found.value.filter((entry) => entry.link === link))
}

/** Equivalent to: `bridge fdb append MAC dev LINK dst DESTINATION`. Already there is success. */
export function appendFdb(netlink: Netlink, entry: FdbEntry): Promise<Result<void, KernelError>> {
  const flags = MessageFlag.create | MessageFlag.append
  const operation = `bridge fdb append ${describeFdb(entry)}`
  return netlink.request({ type: RtmType.newNeighbour, flags, payload: encodeFdbEntry(entry), operation })
}

/** Equivalent to: `bridge fdb delete MAC dev LINK dst DESTINATION`. Not there (or no such link) is success. */
export async function deleteFdb(netlink: Netlink, entry: FdbEntry): Promise<Result<void, KernelError>> {
  const operation = `bridge fdb delete ${describeFdb(entry)}`
  return absentIsFine(await netlink.request({ type: RtmType.deleteNeighbour, payload: encodeFdbEntry(entry), operation }))
}

/** All that matters of a forwarding entry, for `diff`. */
export function fdbKey({ link, mac, destination }: FdbEntry): string {
  return [link, mac, destination].join()
}

function absentIsFine(result: Result<void, KernelError>): Result<void, KernelError> {
  return !result.ok && result.error.code !== 'ENOENT' && result.error.code !== 'ENODEV' ? err(result.error) : ok(undefined)
}

function describeFdb({ link, mac, destination }: FdbEntry): string {
  return `${mac} dev if${link} dst ${formatIpv4(destination)}`
}
