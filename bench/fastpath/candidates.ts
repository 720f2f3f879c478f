/**
 * The networks that are compared. The peers are built by hand with `ip`, as a person would: most of them between the very
 * namespaces of the lab, beside Weft, so that nothing differs but the overlay; one on hosts of its own, which have no router,
 * no filter and no address translation at all.
 */

import type { Lab } from '../lab.ts'
import { command, inside, ipBatch, makeNamespaces } from '../shell.ts'

/** Two places that talk, and the addresses by which they do. */
export interface Candidate {
  readonly name: string
  readonly client: string
  readonly server: string
  readonly from: string
  readonly to: string
}

/** One side of a hand-made overlay. */
interface Side {
  /** The host's namespace. */
  readonly host: string
  readonly pod: string
  /** The host's end of the pod's link. */
  readonly link: string
  readonly underlay: string
  /** The pod's address in this overlay. */
  readonly address: string
  /** Of the overlay's device. */
  readonly mac: string
}

const POD_MTU = 1450
const GATEWAY = '169.254.1.1'
const BARE = { prefix: 'wb', gatewayMac: '02:00:00:00:00:fe', podMac: '02:00:00:00:00:01' }

/** Weft's own path and all its peers; what was added goes with the stack. */
export async function addCandidates(lab: Lab, stack: AsyncDisposableStack): Promise<readonly [Candidate, ...Candidate[]]> {
  const [a, b] = [await labSide(lab, 'a', 1), await labSide(lab, 'b', 2)] as const
  const weft = { name: 'Weft', client: a.pod, server: b.pod, from: lab.pod('a1').address, to: lab.pod('b1').address }
  const byHand = await addOverlay([inNetwork(a, 1), inNetwork(b, 1)], addPointToPoint)
  const flannel = await addOverlay([inNetwork(a, 2), inNetwork(b, 2)], addFlannelLayout)
  const bare = await addBareHosts(lab, stack)
  return [
    weft,
    { name: 'kernel VXLAN by hand', ...byHand },
    { name: "flannel's layout", ...flannel },
    { name: 'VXLAN on bare hosts', ...bare },
    { name: 'plain underlay', client: a.host, server: b.host, from: a.underlay, to: b.underlay },
  ]
}

/** A host of the lab and its pod. */
async function labSide(lab: Lab, name: string, number: number): Promise<Side> {
  const host = `weft-${lab.name}-${name}`
  const pod = lab.pod(`${name}1`)
  const route = await command(inside(host, ['ip', '-4', 'route', 'show', pod.address]))
  return { host, pod: pod.namespace, link: /dev (\S+)/.exec(route)?.[1] ?? '', underlay: `198.18.0.${number}`, address: '', mac: '' }
}

/** The same side with an address of its own in another overlay: of this network, on this host. */
function inNetwork(side: Side, network: number): Side {
  const number = side.underlay.split('.').at(-1) ?? ''
  return { ...side, address: `10.99.${network}.${number}`, mac: `02:00:00:00:0${network}:0${number}` }
}

type AddDevice = (self: Side, peer: Side) => Promise<void>

async function addOverlay([one, other]: readonly [Side, Side], addDevice: AddDevice): Promise<Omit<Candidate, 'name'>> {
  for (const { host, pod, link, address } of [one, other]) {
    await ipBatch(pod, [`address add ${address}/32 dev eth0`])
    await ipBatch(host, [`route add ${address}/32 dev ${link}`])
  }
  await addDevice(one, other)
  await addDevice(other, one)
  return { client: one.pod, server: other.pod, from: one.address, to: other.address }
}

/** The least there can be: one device for the one peer, one route. */
async function addPointToPoint({ host, underlay, mac }: Side, peer: Side): Promise<void> {
  await ipBatch(host, [
    `link add vx0 mtu ${POD_MTU} address ${mac} type vxlan id 100 local ${underlay} remote ${peer.underlay} dstport 4789 dev eth0`,
    'link set vx0 up',
    `neighbour replace ${peer.underlay} lladdr ${peer.mac} dev vx0 nud permanent`,
    `route add ${peer.address}/32 via ${peer.underlay} dev vx0 onlink`,
  ])
}

/** A route, a neighbour and a forwarding entry for each peer, on a device that does not learn. */
async function addFlannelLayout({ host, underlay, mac }: Side, peer: Side): Promise<void> {
  await ipBatch(host, [
    `link add flannel.1 mtu ${POD_MTU} address ${mac} type vxlan id 1 local ${underlay} dstport 8472 nolearning dev eth0`,
    'link set flannel.1 up',
    `neighbour replace ${peer.underlay} lladdr ${peer.mac} dev flannel.1 nud permanent`,
    `route add ${peer.address}/32 via ${peer.underlay} dev flannel.1 onlink`,
  ])
  await command(inside(host, ['bridge', ...`fdb append ${peer.mac} dev flannel.1 dst ${peer.underlay}`.split(' ')]))
}

/** Two more hosts on the lab's switch, with one pod each and nothing but a point-to-point VXLAN. */
async function addBareHosts(lab: Lab, stack: AsyncDisposableStack): Promise<Omit<Candidate, 'name'>> {
  const sides = [10, 11].map((number): Side => {
    const host = `${BARE.prefix}-${lab.name}-${number}`
    return { host, pod: `${host}p`, link: 'pod0', underlay: `198.18.0.${number}`, address: '', mac: '' }
  })
  stack.use(await makeNamespaces(sides.flatMap(({ host, pod }) => [host, pod])))
  for (const side of sides) await addBareHost(side, `weft-${lab.name}-net`)
  const [one, other] = sides.map((side) => ({ ...inNetwork(side, 3), mac: `02:00:00:00:03:${side.underlay.split('.').at(-1)}` }))
  if (one === undefined || other === undefined) throw new RangeError('two sides')
  return await addOverlay([one, other], addPointToPoint)
}

async function addBareHost({ host, pod, underlay, link }: Side, switchNamespace: string): Promise<void> {
  const port = `b${underlay.split('.').at(-1)}`
  const text = await command(inside(switchNamespace, ['ip', '-o', 'link', 'show', 'type', 'bridge']))
  const bridge = /^\d+: ([^:@]+)/.exec(text)?.[1] ?? ''
  await ipBatch(switchNamespace, [`link add ${port} type veth peer name eth0 netns ${host}`, `link set ${port} master ${bridge} up`])
  await ipBatch(host, [
    'link set eth0 up',
    `address add ${underlay}/16 dev eth0`,
    `link add ${link} mtu ${POD_MTU} address ${BARE.gatewayMac} type veth peer name eth0 mtu ${POD_MTU} address ${BARE.podMac} netns ${pod}`,
    `link set ${link} up`,
  ])
  await ipBatch(pod, [
    'link set eth0 up',
    `route add ${GATEWAY} dev eth0`,
    `route add default via ${GATEWAY} dev eth0`,
    `neighbour replace ${GATEWAY} lladdr ${BARE.gatewayMac} dev eth0 nud permanent`,
  ])
  await command(inside(host, ['sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward']))
}
