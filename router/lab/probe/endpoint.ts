/** One pod over one family, as the check sees it: sockets inside its network namespace, all held by this one process. */
import { closeSync } from 'node:fs'
import type { Ipv4 } from '../../../mesh/base/address.ts'
import type { Clock } from '../../../mesh/base/clock.ts'
import { describeError } from '../../../mesh/base/errors.ts'
import type { Ip, Ipv6 } from '../../../mesh/base/ip.ts'
import { err, ok, type Result } from '../../../mesh/base/result.ts'
import type { Fd, Native } from '../../kernel/native.ts'
import { openNetns } from '../../kernel/netns.ts'
import { probeFamily } from './family.ts'
import { IcmpProbe } from './icmp-probe.ts'
import type { Outcome } from './pending.ts'
import type { CheckName } from './report.ts'
import { SOCK_DGRAM, sockaddr } from './sockaddr.ts'
import { TcpProbe } from './tcp-probe.ts'
import { UdpProbe } from './udp-probe.ts'

/** What `ping` sends over IPv4 unless told otherwise: 56 bytes and the headers. */
const SMALL_PACKET_BYTES = 84

/** Who is to be checked. */
export interface ProbeTarget {
  readonly name: string
  readonly address: Ipv4
  /** Undefined when it has IPv4 alone. */
  readonly address6?: Ipv6 | undefined
  /** Of its network namespace. */
  readonly namespacePath: string
}

export interface ProbePorts {
  readonly native: Native
  readonly clock: Clock
  /** 32 bits that no other check uses. */
  readonly run: number
}

/** A `fullMtu` that passes tells the size that did. */
export type SizedOutcome = Result<number | undefined, string>

/** Owns the sockets of one pod. */
export class ProbeEndpoint implements AsyncDisposable {
  readonly address: Ip
  /** What the pod's default route carries: the biggest packet that the pod may think of. */
  readonly mtuBytes: number
  readonly #icmp: IcmpProbe
  readonly #udp: UdpProbe
  readonly #tcp: TcpProbe
  readonly #resources: AsyncDisposableStack

  private constructor(address: Ip, parts: Parts) {
    this.address = address
    this.mtuBytes = parts.mtuBytes
    this.#icmp = parts.icmp
    this.#udp = parts.udp
    this.#tcp = parts.tcp
    this.#resources = parts.resources
  }

  /** @throws {Error} when the namespace is not there, has no default route, or sockets cannot be made in it. */
  static async open(address: Ip, namespacePath: string, { native, clock, run }: ProbePorts): Promise<ProbeEndpoint> {
    await using stack = new AsyncDisposableStack()
    const netns = stack.adopt(openNetns(namespacePath), closeSync)
    const parts = {
      mtuBytes: routeMtu(native, netns, address),
      icmp: stack.use(new IcmpProbe(netns, { native, clock, own: address, identifier: run & 0xffff })),
      udp: stack.use(await UdpProbe.open(netns, { native, clock, own: address, run })),
      tcp: stack.use(await TcpProbe.open(netns, { native, clock, own: address })),
    }
    return new ProbeEndpoint(address, { ...parts, resources: stack.move() })
  }

  /** Never throws: whatever goes wrong is the outcome. */
  async check(name: CheckName, to: ProbeEndpoint): Promise<SizedOutcome> {
    try {
      return name === 'fullMtu' ? await this.#icmp.largest(to.address, this.mtuBytes) : await this.#run(name, to)
    } catch (error) {
      return err(describeError(error))
    }
  }

  async #run(name: Exclude<CheckName, 'fullMtu'>, to: ProbeEndpoint): Promise<Result<undefined, string>> {
    const outcome = await this.#outcome(name, to)
    return outcome.ok ? ok(undefined) : outcome
  }

  #outcome(name: Exclude<CheckName, 'fullMtu'>, to: ProbeEndpoint): Promise<Outcome> {
    switch (name) {
      case 'ping':
        return this.#icmp.ping(to.address, SMALL_PACKET_BYTES)
      case 'udp64k':
        return this.#udp.send(to.address, to.#udp.port)
      case 'tcp':
        return this.#tcp.echo(to.address, to.#tcp.port)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync()
  }
}

interface Parts {
  readonly mtuBytes: number
  readonly icmp: IcmpProbe
  readonly udp: UdpProbe
  readonly tcp: TcpProbe
  readonly resources: AsyncDisposableStack
}

/** Sends nothing: connecting a UDP socket only looks up the route. */
function routeMtu(native: Native, netns: Fd, own: Ip): number {
  const { domain, nowhere, mtu } = probeFamily(own)
  const socket = native.socket(netns, domain, SOCK_DGRAM, 0)
  try {
    native.connect(socket, sockaddr(nowhere, 9))
    const value = native.getsockopt(socket, mtu.level, mtu.option, 4)
    return new DataView(value.buffer, value.byteOffset, value.byteLength).getUint32(0, true)
  } finally {
    native.close(socket)
  }
}
