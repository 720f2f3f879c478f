/** The network of a lab between bare hosts, without routers and pods, and what can be tried over it. */
import { mkdir } from 'node:fs/promises'
import { formatIpv4, type Ipv4, parseIpv4 } from '../../mesh/base/address.ts'
import { parsePeerName } from '../../mesh/base/brand.ts'
import { systemClock } from '../../mesh/base/clock.ts'
import type { Result } from '../../mesh/base/result.ts'
import { type Fd, native } from '../../router/kernel/native.ts'
import { openNetns } from '../../router/kernel/netns.ts'
import { type HostName, hostAddress, hostName, namespaceOf, type UnderlayKind } from '../../router/lab/names.ts'
import { publicAddress } from '../../router/lab/nat.ts'
import { hostPaths, namespacePath } from '../../router/lab/paths.ts'
import { IcmpProbe } from '../../router/lab/probe/icmp-probe.ts'
import type { LabState } from '../../router/lab/state.ts'
import { makeUnderlay } from '../../router/lab/underlay.ts'
import { connects, datagramArrives } from './flows.ts'
import { type TestLab, testLab } from './lab.ts'

/** How long something may take that is expected not to come. */
const SILENCE_MS = 300

export interface Scene extends AsyncDisposable {
  readonly lab: LabState
  readonly test: TestLab
  address(host: HostName): Ipv4
  netns(host: HostName): Fd
  pings(from: HostName, to: HostName, packetBytes?: number): Promise<boolean>
  /** The biggest packet that arrives in one piece. @param packetBytes what is tried first. */
  largest(from: HostName, to: HostName, packetBytes: number): Promise<Result<number, string>>
  /** One UDP datagram in one direction, with no answer. */
  arrives(from: HostName, to: HostName, port?: number): Promise<boolean>
  connects(from: HostName, to: HostName, port?: number): Promise<boolean>
}

/** @param mtus one for each host. @param nat which of them are behind address translation. */
export async function makeScene(underlay: UnderlayKind, mtus: readonly number[], nat: readonly HostName[] = []): Promise<Scene> {
  await using stack = new AsyncDisposableStack()
  const made = stack.use(await testLab())
  const hosts = mtus.map((mtuBytes, index) => ({
    name: hostName(index),
    address: formatIpv4(hostAddress(index, underlay)),
    peer: parsePeerName(`000000000000000${index}`),
    zone: 'lab',
    mtuBytes,
    farMtuBytes: mtuBytes,
    publicAddress: nat.includes(hostName(index)) ? publicAddress(index) : undefined,
  }))
  const lab: LabState = { version: 2, name: made.name, phase: 'ready', underlay, hosts, cuts: [], impairments: [] }
  // The parts that a whole lab has by then.
  for (const { name } of hosts) await mkdir(hostPaths(lab.name, name).directory, { recursive: true })
  await makeUnderlay(lab, systemClock)
  const namespaces = new Map(
    hosts.map(({ name }) => [name, stack.adopt(openNetns(namespacePath(namespaceOf(lab.name, name))), (fd) => native().close(fd))]),
  )
  const address = (host: HostName): Ipv4 => parseIpv4(hosts.find(({ name }) => name === host)?.address ?? '')
  const netns = (host: HostName): Fd => {
    const fd = namespaces.get(host)
    if (fd === undefined) throw new Error(`there is no host ${host}`)
    return fd
  }
  const probe = (from: HostName): IcmpProbe =>
    new IcmpProbe(netns(from), { native: native(), clock: systemClock, own: address(from), identifier: 77 })
  const running = stack.move()
  return {
    lab,
    test: made,
    address,
    netns,
    async pings(from, to, packetBytes = 84) {
      using sender = probe(from)
      return (await sender.ping(address(to), packetBytes)).ok
    },
    async largest(from, to, packetBytes) {
      using sender = probe(from)
      return await sender.largest(address(to), packetBytes)
    },
    arrives: (from, to, port = 0) => datagramArrives(netns(from), { netns: netns(to), address: address(to), port }, SILENCE_MS),
    connects: (from, to, port = 0) => connects(netns(from), { netns: netns(to), address: address(to), port }, SILENCE_MS),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}
