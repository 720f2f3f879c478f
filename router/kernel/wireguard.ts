/** WireGuard devices, in the words of `ip link` and `wg`. That a kernel has no WireGuard is an answer, not an error. */
import { err, ok, type Result } from '../../mesh/base/result.ts'
import type { NewLink } from './codec/link.ts'
import {
  type DeviceChanges,
  decodeDevicePart,
  encodeDeviceChanges,
  encodeDeviceDump,
  joinDeviceParts,
  WIREGUARD_FAMILY,
  type WireguardDevice,
} from './codec/wireguard.ts'
import { findFamily } from './generic.ts'
import { describeKernelError, type KernelError, kernelError } from './kernel-error.ts'
import { addWireguard, getLink, setLink } from './link.ts'
import type { Netlink } from './netlink.ts'
import { words } from './words.ts'

export interface WireguardSockets {
  /** Of the protocol `route`. */
  readonly route: Netlink
  /** Of the protocol `generic`, in the same namespace. */
  readonly generic: Netlink
}

/** What devices are read and set through. */
interface WireguardFamily {
  /** Of the protocol `generic`, in the namespace of the device. */
  readonly generic: Netlink
  readonly family: number
}

/** There is such a device; or why this kernel can have none. */
export type Wireguard =
  | { readonly kind: 'present'; readonly index: number; readonly family: number }
  | { readonly kind: 'absent'; readonly reason: string }

const EEXIST = 17
const ENODEV = 19

/**
 * Equivalent to: `ip link add NAME mtu MTU type wireguard`, and `ip link set dev NAME mtu MTU up` when it is there already. EEXIST
 * when something else has the name.
 */
export async function ensureWireguard({ route, generic }: WireguardSockets, wanted: NewLink): Promise<Result<Wireguard, KernelError>> {
  const added = await addWireguard(route, wanted)
  if (!added.ok && added.error.code === 'EOPNOTSUPP') return ok(absent(describeKernelError(added.error)))
  if (!added.ok && added.error.code !== 'EEXIST') return added
  const index = await adopt(route, wanted)
  if (!index.ok) return index
  const family = await findFamily(generic, WIREGUARD_FAMILY)
  if (!family.ok) return family
  if (family.value === undefined) return ok(absent('there is such a link, but nothing that sets it up'))
  return ok({ kind: 'present', index: index.value, family: family.value })
}

/** Equivalent to: `wg show NAME dump`. Undefined when there is no such device. */
export async function readWireguard(
  { generic, family }: WireguardFamily,
  name: string,
): Promise<Result<WireguardDevice | undefined, KernelError>> {
  const request = { type: family, payload: encodeDeviceDump(name), operation: words('wg show', name) }
  const found = await generic.dump(request, decodeDevicePart)
  if (!found.ok) return found.error.code === 'ENODEV' ? ok(undefined) : found
  return ok(joinDeviceParts(found.value))
}

/** Equivalent to: `wg set NAME …`. After an error what stands before it in `changes` may be done. ENODEV when there is no such device. */
export async function setWireguard(
  { generic, family }: WireguardFamily,
  name: string,
  changes: DeviceChanges,
): Promise<Result<void, KernelError>> {
  for (const payload of encodeDeviceChanges(name, changes)) {
    const result = await generic.request({ type: family, payload, operation: describeChanges(name, changes) })
    if (!result.ok) return result
  }
  return ok(undefined)
}

async function adopt(route: Netlink, { name, mtuBytes, up }: NewLink): Promise<Result<number, KernelError>> {
  const found = await getLink(route, name)
  if (!found.ok) return found
  const link = found.value
  const operation = words('ip link add', name, 'type wireguard')
  if (link === undefined) return err(kernelError(operation, ENODEV, 'somebody removed it again'))
  if (link.details.kind !== 'wireguard') return err(kernelError(operation, EEXIST, 'there is a link of this name that is something else'))
  const isAsWanted = (mtuBytes === undefined || mtuBytes === link.mtuBytes) && (up === undefined || up === link.up)
  if (isAsWanted) return ok(link.index)
  const changes = { ...(mtuBytes === undefined ? {} : { mtuBytes }), ...(up === undefined ? {} : { up }) }
  const changed = await setLink(route, link.index, changes)
  return changed.ok ? ok(link.index) : changed
}

function absent(detail: string): Wireguard {
  return { kind: 'absent', reason: `this kernel has no WireGuard (${detail})` }
}

/** No key but a public one: this ends up in logs. */
function describeChanges(name: string, { privateKey, listenPort, mark, peers = [] }: DeviceChanges): string {
  const [first, ...more] = peers
  return words(
    'wg set',
    name,
    ['private-key', privateKey === undefined ? undefined : '…'],
    ['listen-port', listenPort],
    ['fwmark', mark],
    ['peer', first === undefined ? undefined : Buffer.from(first.publicKey).toString('base64')],
    more.length === 0 ? '' : `… (and ${more.length} more)`,
  )
}
