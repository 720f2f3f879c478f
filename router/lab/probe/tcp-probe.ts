/** TCP from inside one network namespace: a server that echoes, and clients that want their bytes back. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, Socket } from 'node:net'
import type { Clock } from '../../../mesh/base/clock.ts'
import { formatIp, type Ip } from '../../../mesh/base/ip.ts'
import { err } from '../../../mesh/base/result.ts'
import type { Fd, Native } from '../../kernel/native.ts'
import { probeFamily } from './family.ts'
import { ANSWER_WITHIN, type Outcome, Pending, SUCCESS } from './pending.ts'
import { SOCK_STREAM, sockaddrAny } from './sockaddr.ts'

/** Several segments at any usual MTU. */
const MESSAGE: Buffer = Buffer.from(Uint8Array.from({ length: 8 * 1024 }, (_, at) => (at * 13 + (at >> 8)) & 0xff))

export interface TcpProbeOptions {
  readonly native: Native
  readonly clock: Clock
  /** The address of the namespace; says which family to use. */
  readonly own: Ip
}

/** Owns one listening socket on a port that the kernel chose, and the connections of both roles. */
export class TcpProbe implements AsyncDisposable {
  readonly #server: Server
  readonly #netns: Fd
  readonly #native: Native
  readonly #pending: Pending
  readonly #accepted = new Set<Socket>()
  #connections = 0

  private constructor(server: Server, netns: Fd, { native, clock }: TcpProbeOptions) {
    this.#server = server
    this.#netns = netns
    this.#native = native
    this.#pending = new Pending(clock)
    server.on('connection', (socket) => this.#echo(socket))
  }

  /** @param netns stays open as long as the probe is used. */
  static async open(netns: Fd, options: TcpProbeOptions): Promise<TcpProbe> {
    const { native, own } = options
    const fd = native.socket(netns, probeFamily(own).domain, SOCK_STREAM, 0)
    const server = createServer()
    try {
      native.bind(fd, sockaddrAny(own))
      server.listen({ fd })
      await once(server, 'listening')
    } catch (error) {
      native.close(fd)
      throw error
    }
    return new TcpProbe(server, netns, options)
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Connects, sends 8 KB, and wants exactly these back. TCP itself may send a lost segment again meanwhile. */
  async echo(to: Ip, port: number): Promise<Outcome> {
    const key = this.#connections++
    const answer = this.#pending.ask(key, `no connection or echo in ${ANSWER_WITHIN / 1_000} s`)
    const socket = new Socket({
      fd: this.#native.socket(this.#netns, probeFamily(to).domain, SOCK_STREAM, 0),
      readable: true,
      writable: true,
    })
    const echoed: Buffer[] = []
    socket
      .on('error', (error) => this.#pending.answer(key, err(error.message)))
      .on('data', (chunk: Buffer) => echoed.push(chunk))
      .once('end', () => this.#pending.answer(key, Buffer.concat(echoed).equals(MESSAGE) ? SUCCESS : err('the echo has other bytes')))
    socket.connect({ host: formatIp(to), port }, () => socket.end(MESSAGE))
    try {
      return await answer
    } finally {
      socket.destroy()
    }
  }

  #echo(socket: Socket): void {
    this.#accepted.add(socket)
    // A client that gives up is its own affair: it reports what it missed.
    socket.on('error', () => socket.destroy()).once('close', () => this.#accepted.delete(socket))
    socket.pipe(socket)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#accepted) socket.destroy()
    await closed
  }
}
