/** Makes one pod's link: both ends, its address, its way out, and the way to it. The caller undoes it by deleting the host's end. */
import type { AttachmentKey } from '../../ipam/attachment.ts'
import { type Ipv4, parseCidr } from '../../mesh/base/address.ts'
import { type Millis, seconds } from '../../mesh/base/brand.ts'
import type { Clock } from '../../mesh/base/clock.ts'
import type { Ip, Ipv6 } from '../../mesh/base/ip.ts'
import { hostPrefix, parseCidr6 } from '../../mesh/base/prefix.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import type { AttachFailure, PodNamespace } from '../../plugin/port.ts'
import { addAddress } from '../kernel/addr.ts'
import { describeKernelError, type KernelError } from '../kernel/kernel-error.ts'
import { addVeth, getLink, setLink } from '../kernel/link.ts'
import { lookUntil, type Patience } from '../kernel/look.ts'
import type { Mac } from '../kernel/mac.ts'
import { replaceNeighbour } from '../kernel/neigh.ts'
import { Netlink } from '../kernel/netlink.ts'
import { untilOperational } from '../kernel/operational.ts'
import { getRoute, replaceRoute } from '../kernel/route.ts'
import { renderNote } from './alias.ts'
import { POD_GATEWAY, POD_GATEWAY_MAC, POD_GATEWAY6 } from './names.ts'
import { hostAddressOn, podRoute } from './wants.ts'

export interface PodWiring {
  readonly hostLink: string
  readonly podLink: string
  readonly address: Ipv4
  /** Undefined when the pod gets IPv4 alone. */
  readonly address6: Ipv6 | undefined
  /** Of the pod's end. */
  readonly mac: Mac
  /** Of the note on the host's end. */
  readonly network: string
  readonly key: AttachmentKey
  readonly mtuBytes: number
  readonly hostAddress: Ipv4 | undefined
  readonly hostAddress6: Ipv6 | undefined
  readonly netns: PodNamespace
}

export interface WiringPorts {
  readonly netlink: Netlink
  readonly clock: Clock
}

/** It takes the kernel a fraction of a millisecond, and longer when processors are scarce. */
const LOCAL_WITHIN: Millis = seconds(1)

/** What the kernel says to a new address where net.ipv6.conf.LINK.disable_ipv6 is 1. */
const IPV6_IS_OFF = 'EACCES'

/** One thing to do; each is tried only when all before it were done. */
type Step = () => Promise<Result<void, KernelError>>

/** The value is what was made: without IPv6 where the pod has it switched off. */
export async function wirePod(
  { netlink, clock }: WiringPorts,
  wanted: PodWiring,
  signal: AbortSignal,
): Promise<Result<PodWiring, AttachFailure>> {
  const { hostLink, podLink, mac, mtuBytes, netns } = wanted
  const peer = { name: podLink, mac, mtuBytes, netns: netns.namespace }
  const added = await addVeth(netlink, { name: hostLink, mac: POD_GATEWAY_MAC, mtuBytes, peer })
  if (!added.ok) return err(vethFailure(added.error))
  using pod = Netlink.open({ clock, fd: netns.routeSocket, lent: true })
  const [inside, outside] = [await getLink(pod, podLink), await getLink(netlink, hostLink)]
  if (!inside.ok) return err(refusal(inside.error))
  if (!outside.ok) return err(refusal(outside.error))
  if (inside.value === undefined || outside.value === undefined) return err({ code: 'namespace-gone' })
  const [podIndex, hostIndex] = [inside.value.index, outside.value.index]
  const inPod = await runSteps(podSteps(pod, podIndex, wanted), signal)
  if (!inPod.ok) return inPod
  const address6 = await giveAddress6(pod, podIndex, wanted.address6)
  if (!address6.ok) return err(refusal(address6.error))
  const wiring = { ...wanted, address6: address6.value }
  const steps = [
    ...podSteps6(pod, podIndex, wiring),
    ...hostSteps(netlink, hostIndex, wiring),
    // The pod's end was set up while the host's had no carrier to offer: it drops what the pod sends until the kernel has taken the carrier in.
    () => untilOperational(() => getLink(pod, podIndex), clock, signal),
    () => untilLocal(pod, wiring, { clock, signal }),
  ]
  const done = await runSteps(steps, signal)
  return done.ok ? ok(wiring) : done
}

/** The value is undefined where the pod takes none. */
async function giveAddress6(pod: Netlink, link: number, address: Ipv6 | undefined): Promise<Result<Ipv6 | undefined, KernelError>> {
  if (address === undefined) return ok(undefined)
  const added = await addAddress(pod, hostAddressOn(link, address))
  if (added.ok) return ok(address)
  return added.error.code === IPV6_IS_OFF ? ok(undefined) : added
}

/**
 * Until the pod takes what is sent to it: an IPv6 address is listed at once, and is the pod's a moment later, even where nobody is
 * asked about it. When that takes long we do not wait for ever, and do not fail: IPv4 works.
 */
async function untilLocal(pod: Netlink, { address6 }: PodWiring, patience: Omit<Patience, 'within'>): Promise<Result<void, KernelError>> {
  if (address6 === undefined) return ok(undefined)
  const isLocal = async (): Promise<Result<boolean, KernelError>> => {
    const found = await getRoute(pod, address6)
    return ok(found.ok && found.value?.type === 'local')
  }
  const seen = await lookUntil(isLocal, { ...patience, within: LOCAL_WITHIN })
  return seen.ok ? ok(undefined) : seen
}

async function runSteps(steps: readonly Step[], signal: AbortSignal): Promise<Result<void, AttachFailure>> {
  for (const step of steps) {
    const done = await step()
    if (signal.aborted) return err({ code: 'cancelled' })
    if (!done.ok) return err(refusal(done.error))
  }
  return ok(undefined)
}

const DEFAULT_ROUTE = parseCidr('0.0.0.0/0')
const DEFAULT_ROUTE6 = parseCidr6('::/0')

function podSteps(pod: Netlink, link: number, { address, address6 }: PodWiring): readonly Step[] {
  return [
    ...(address6 === undefined ? [] : [() => setLink(pod, link, { linkLocal: false })]),
    () => setLink(pod, link, { up: true }),
    () => addAddress(pod, hostAddressOn(link, address)),
    () => replaceNeighbour(pod, { link, address: POD_GATEWAY, mac: POD_GATEWAY_MAC }),
    () => replaceRoute(pod, { destination: hostPrefix(POD_GATEWAY), link, scope: 'link' }),
    () => replaceRoute(pod, { destination: DEFAULT_ROUTE, gateway: POD_GATEWAY, link, source: address }),
  ]
}

/** After the address. A link-local gateway needs no route to it. */
function podSteps6(pod: Netlink, link: number, { address6 }: PodWiring): readonly Step[] {
  if (address6 === undefined) return []
  return [
    () => replaceNeighbour(pod, { link, address: POD_GATEWAY6, mac: POD_GATEWAY_MAC }),
    () => replaceRoute(pod, { destination: DEFAULT_ROUTE6, gateway: POD_GATEWAY6, link, source: address6 }),
  ]
}

/** The same objects as `computeWants` has for the pod: a pass finds nothing to do. */
function hostSteps(netlink: Netlink, link: number, wiring: PodWiring): readonly Step[] {
  const { address, address6, mac, hostAddress, hostAddress6 } = wiring
  const towards = (each: Ip, source: Ip | undefined): readonly Step[] => [
    () => replaceNeighbour(netlink, { link, address: each, mac }),
    () => replaceRoute(netlink, podRoute(each, link, source)),
  ]
  return [
    ...(address6 === undefined ? [] : [() => setLink(netlink, link, { linkLocal: false })]),
    () => setLink(netlink, link, { up: true, alias: renderNote(wiring) }),
    ...towards(address, hostAddress),
    ...(address6 === undefined ? [] : towards(address6, hostAddress6)),
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
