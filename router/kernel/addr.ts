/** Addresses of links, in the words of `ip address`. */
import { formatIp } from '../../mesh/base/ip.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import { type Address, decodeAddress, encodeAddress, encodeAddressDump } from './codec/addr.ts'
import { MessageFlag } from './codec/message.ts'
import { Family, familyOf, type IpFamily, RtmType } from './codec/numbers.ts'
import type { KernelError } from './kernel-error.ts'
import type { Netlink } from './netlink.ts'
import { words } from './words.ts'

/** Equivalent to: `ip -4|-6 address show [dev LINK]`. */
export async function listAddresses(
  netlink: Netlink,
  link?: number,
  family: IpFamily = 'inet',
): Promise<Result<readonly Address[], KernelError>> {
  const operation = words(`ip -f ${family} address show`, ['dev', link === undefined ? undefined : `if${link}`])
  const found = await netlink.dump({ type: RtmType.getAddress, payload: encodeAddressDump(link, family), operation }, decodeAddress)
  if (!found.ok) return isAbsent(found.error) ? ok([]) : found
  return ok(found.value.filter((address) => familyOf(address.address) === Family[family] && (link === undefined || address.link === link)))
}

/**
 * Equivalent to: `ip address add ADDRESS/LENGTH [peer PEER] [scope SCOPE] [noprefixroute] [nodad] dev LINK`.
 * Already there is success, and changes nothing: not its scope, nor its flags.
 */
export async function addAddress(netlink: Netlink, address: Address): Promise<Result<void, KernelError>> {
  const operation = words('ip address add', describe(address))
  const flags = MessageFlag.create | MessageFlag.exclusive
  const result = await netlink.request({ type: RtmType.newAddress, flags, payload: encodeAddress(address), operation })
  return !result.ok && result.error.code !== 'EEXIST' ? err(result.error) : ok(undefined)
}

/** Equivalent to: `ip address delete ADDRESS/LENGTH dev LINK`. Not there (or no such link) is success. */
export async function deleteAddress(netlink: Netlink, address: Address): Promise<Result<void, KernelError>> {
  const operation = words('ip address delete', describe(address))
  const result = await netlink.request({ type: RtmType.deleteAddress, payload: encodeAddress(address), operation })
  return !result.ok && !isAbsent(result.error) ? err(result.error) : ok(undefined)
}

/** All that matters of an address, for `diff`. */
export function addressKey({ link, address, prefixLength, scope = 'global', peer, noPrefixRoute = false }: Address): string {
  return [link, address, prefixLength, scope, peer, noPrefixRoute].join()
}

function isAbsent({ code }: KernelError): boolean {
  return code === 'EADDRNOTAVAIL' || code === 'ENODEV'
}

function describe({ link, address, prefixLength, scope, peer, noPrefixRoute, noDad }: Address): string {
  const prefix = peer === undefined ? `${formatIp(address)}/${prefixLength}` : formatIp(address)
  return words(
    prefix,
    ['peer', peer === undefined ? undefined : `${formatIp(peer)}/${prefixLength}`],
    ['scope', scope],
    noPrefixRoute ? 'noprefixroute' : '',
    noDad ? 'nodad' : '',
    `dev if${link}`,
  )
}
