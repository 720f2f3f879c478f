/** Makes one pod's link: both ends, its address, its way out, and the way to it. The caller undoes it by deleting the host's end. */
import type { Ipv4 } from '../../mesh/base/address.ts'
import type { Clock } from '../../mesh/base/clock.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import type { AttachFailure, PodNamespace } from '../../plugin/port.ts'
import { addAddress } from '../kernel/addr.ts'
import type { Route } from '../kernel/codec/route.ts'
import { describeKernelError, type KernelError } from '../kernel/kernel-error.ts'
import { addVeth, getLink, setLink } from '../kernel/link.ts'
import type { Mac } from '../kernel/mac.ts'
import { replaceNeighbour } from '../kernel/neigh.ts'
import { Netlink } from '../kernel/netlink.ts'
import { untilOperational } from '../kernel/operational.ts'
import { replaceRoute } from '../kernel/route.ts'
import { POD_GATEWAY, POD_GATEWAY_MAC, ROUTE_PROTOCOL } from './names.ts'

export interface PodWiring {
  readonly hostLink: string
  readonly podLink: string
  readonly address: Ipv4
  /** Of the pod's end. */
  readonly mac: Mac
  /** The note on the host's end. */
  readonly alias: string
  readonly mtuBytes: number
  readonly hostAddress: Ipv4 | undefined
  readonly netns: PodNamespace
}

export interface WiringPorts {
  readonly netlink: Netlink
  readonly clock: Clock
}

/** One thing to do; each is tried only when all before it were done. */
type Step = () => Promise<Result<void, KernelError>>

export async function wirePod(
  { netlink, clock }: WiringPorts,
  wiring: PodWiring,
  signal: AbortSignal,
): Promise<Result<void, AttachFailure>> {
  const { hostLink, podLink, mac, mtuBytes, netns } = wiring
  const peer = { name: podLink, mac, mtuBytes, netns: netns.namespace }
  const added = await addVeth(netlink, { name: hostLink, mac: POD_GATEWAY_MAC, mtuBytes, peer })
  if (!added.ok) return err(vethFailure(added.error))
  using pod = Netlink.open({ clock, fd: netns.routeSocket, lent: true })
  const [inside, outside] = [await getLink(pod, podLink), await getLink(netlink, hostLink)]
  if (!inside.ok) return err(refusal(inside.error))
  if (!outside.ok) return err(refusal(outside.error))
  if (inside.value === undefined || outside.value === undefined) return err({ code: 'namespace-gone' })
  const { index } = inside.value
  // The pod's end was set up while the host's had no carrier to offer: it drops what the pod sends until the kernel has taken the carrier in.
  const ready: Step = () => untilOperational(() => getLink(pod, index), clock)
  for (const step of [...podSteps(pod, index, wiring), ...hostSteps(netlink, outside.value.index, wiring), ready]) {
    if (signal.aborted) return err({ code: 'cancelled' })
    const done = await step()
    if (!done.ok) return err(refusal(done.error))
  }
  return ok(undefined)
}

function podSteps(pod: Netlink, link: number, { address }: PodWiring): readonly Step[] {
  const gateway: Route = { destination: { base: POD_GATEWAY, length: 32 }, link, scope: 'link' }
  const rest: Route = { destination: { base: 0 as Ipv4, length: 0 }, gateway: POD_GATEWAY, link, source: address }
  return [
    () => setLink(pod, link, { up: true }),
    () => addAddress(pod, { link, address, prefixLength: 32 }),
    () => replaceNeighbour(pod, { link, address: POD_GATEWAY, mac: POD_GATEWAY_MAC }),
    () => replaceRoute(pod, gateway),
    () => replaceRoute(pod, rest),
  ]
}

/** The same objects as `computeWants` has for the pod: a pass finds nothing to do. */
function hostSteps(netlink: Netlink, link: number, { address, mac, alias, hostAddress }: PodWiring): readonly Step[] {
  const route: Route = { destination: { base: address, length: 32 }, link, scope: 'link', source: hostAddress, protocol: ROUTE_PROTOCOL }
  return [
    () => setLink(netlink, link, { up: true, alias }),
    () => replaceNeighbour(netlink, { link, address, mac }),
    () => replaceRoute(netlink, route),
  ]
}

/** Our own end's name was free a moment ago and nobody else uses such names: so it is the pod's that exists. */
function vethFailure(error: KernelError): AttachFailure {
  if (error.code === 'EEXIST') return { code: 'interface-exists' }
  return error.code === 'EINVAL' && /net ?ns|namespace/i.test(error.detail ?? '') ? { code: 'namespace-gone' } : refusal(error)
}

function refusal(error: KernelError): AttachFailure {
  return { code: 'kernel-refused', reason: describeKernelError(error) }
}
