/** A host for tests of the data path: a namespace with an underlay, IPAM in a directory of its own, and what a pass wants. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ipam } from '../../ipam/ipam.ts'
import { parseIpamInit } from '../../ipam/seed.ts'
import type { Universe } from '../../ipam/universe.ts'
import { formatIpv4, type Ipv4, parseCidr, parseIpv4 } from '../../mesh/base/address.ts'
import { type PeerName, parsePeerName } from '../../mesh/base/brand.ts'
import { systemClock } from '../../mesh/base/clock.ts'
import { silentLog } from '../../mesh/base/log.ts'
import { seededRandom } from '../../mesh/base/random.ts'
import { type AttachmentKey, parseAttachmentKey } from '../../plugin/environment.ts'
import type { AttachRequest } from '../../plugin/port.ts'
import type { Destination } from '../../router/datapath/fib.ts'
import type { PassInput } from '../../router/datapath/pass.ts'
import { Pods } from '../../router/datapath/pods.ts'
import { native } from '../../router/kernel/native.ts'
import type { Netlink } from '../../router/kernel/netlink.ts'
import { makeKernelNetns } from './kernel.ts'
import type { Netns } from './netns.ts'
import { must } from './result.ts'

const SELF: PeerName = parsePeerName('aa'.repeat(8))
export const PEER: PeerName = parsePeerName('bb'.repeat(8))
export const HOST_ADDRESS: Ipv4 = parseIpv4('10.32.0.1')

const AF_NETLINK = 16
const SOCK_RAW = 3

export interface TestHost extends AsyncDisposable {
  readonly ns: Netns
  readonly netlink: Netlink
  readonly ipam: Ipam
  readonly pods: Pods
  /** With the pods of now. */
  wants(): PassInput
}

/** On 192.0.2.1/24, alone with a peer at 192.0.2.2 that exists in the ring only. */
export async function makeHost(universe: Universe = parseCidr('10.32.0.0/12')): Promise<TestHost> {
  await using stack = new AsyncDisposableStack()
  const { ns, netlink } = stack.use(await makeKernelNetns())
  await ns.exec(
    'sh',
    '-c',
    'ip link add eth0 type veth peer name wire && ip link set eth0 up && ip link set wire up && ip address add 192.0.2.1/24 dev eth0',
  )
  await ns.exec('sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding')
  const directory = await mkdtemp(join(tmpdir(), 'weft-host-'))
  stack.defer(() => rm(directory, { recursive: true }))
  const init = parseIpamInit(`seed=${SELF},${PEER}`, SELF)
  const ipam = stack.use(
    await Ipam.open({ self: SELF, universe, init, directory, clock: systemClock, random: seededRandom(1), log: silentLog }),
  )
  const pods = new Pods({
    netlink,
    ipam,
    clock: systemClock,
    mtuBytes: () => 1_450,
    hostAddress: () => undefined,
    universe: () => universe,
    unavailable: () => undefined,
  })
  const destinations = new Map<PeerName, Destination>([[PEER, { peer: PEER, underlay: parseIpv4('192.0.2.2'), mtuBytes: 1_500 }]])
  const wants = (): PassInput => ({
    self: SELF,
    universe,
    advertise: undefined,
    mtuBytes: undefined,
    ranges: ipam.ranges(),
    destinations,
    allocations: () => ipam.allocations(),
    hostAddress: undefined,
  })
  const made = stack.move()
  return { ns, netlink, ipam, pods, wants, [Symbol.asyncDispose]: () => made.disposeAsync() }
}

export function keyOf(containerId: string, ifname = 'eth0'): AttachmentKey {
  return must(parseAttachmentKey(containerId, ifname))
}

/** What the plugin would ask for this pod; the descriptor of the socket is closed with the returned object. */
export function attachRequest(pod: Netns, containerId: string, changes: Partial<AttachRequest> = {}): AttachRequest & Disposable {
  const routeSocket = native().socket(pod.fd, AF_NETLINK, SOCK_RAW, 0)
  return {
    key: keyOf(containerId),
    network: 'weft',
    netns: { namespace: pod.fd, routeSocket },
    pod: undefined,
    addresses: [],
    mac: undefined,
    ...changes,
    [Symbol.dispose]: () => native().close(routeSocket),
  }
}

/** The addresses that IPAM holds, as text. */
export function held(ipam: Ipam): readonly string[] {
  return [...ipam.allocations().values()].map(formatIpv4)
}
