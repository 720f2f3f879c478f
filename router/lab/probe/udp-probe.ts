/** Sends and acknowledges the largest datagrams from inside one network namespace. */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { Clock } from '../../../mesh/base/clock.ts'
import { formatIp, type Ip, parseIp } from '../../../mesh/base/ip.ts'
import { err } from '../../../mesh/base/result.ts'
import type { Fd, Native } from '../../kernel/native.ts'
import { decodeProbeMessage, encodeAcknowledgement, encodeProbe, type ProbeMessage } from './datagram.ts'
import { probeFamily } from './family.ts'
import { ANSWER_WITHIN, type Outcome, Pending, SUCCESS } from './pending.ts'
import { int32, SO_RCVBUFFORCE, SO_SNDBUFFORCE, SOCK_DGRAM, SOL_SOCKET, sockaddrAny } from './sockaddr.ts'

/** All the datagrams that may be under way at once, in the kernel's accounting of twice their size. */
const BUFFER_BYTES = 16 * 1024 * 1024
const SEQUENCES = 0x1_0000_0000

export interface UdpProbeOptions {
  readonly native: Native
  readonly clock: Clock
  /** The address that others must see as the sender's; says which family to use. */
  readonly own: Ip
  /** 32 bits, the same for all probes of one check. */
  readonly run: number
}

/** Owns one UDP socket on a port that the kernel chose. */
export class UdpProbe implements AsyncDisposable {
  readonly #socket: Socket
  readonly #own: Ip
  readonly #run: number
  readonly #pending: Pending
  #sequence = 0

  private constructor(socket: Socket, { clock, own, run }: UdpProbeOptions) {
    this.#socket = socket
    this.#own = own
    this.#run = run
    this.#pending = new Pending(clock)
    socket.on('message', (bytes, { address, port }) => this.#receive(decodeProbeMessage(bytes), address, port))
    // Errors of single datagrams come to the one who sent them.
    socket.on('error', () => undefined)
  }

  static async open(netns: Fd, options: UdpProbeOptions): Promise<UdpProbe> {
    const { native, own } = options
    const { domain, datagrams } = probeFamily(own)
    const fd = native.socket(netns, domain, SOCK_DGRAM, 0)
    const socket = createSocket(datagrams)
    try {
      native.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, int32(BUFFER_BYTES))
      native.setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, int32(BUFFER_BYTES))
      native.bind(fd, sockaddrAny(own))
      // A socket that is given a descriptor is listening before `bind` returns.
      const listening = once(socket, 'listening')
      socket.bind({ fd })
      await listening
    } catch (error) {
      native.close(fd)
      throw error
    }
    return new UdpProbe(socket, options)
  }

  get port(): number {
    return this.#socket.address().port
  }

  /** One datagram of 65507 bytes to another probe, and its acknowledgement. */
  send(to: Ip, port: number): Promise<Outcome> {
    const sequence = this.#sequence
    this.#sequence = (this.#sequence + 1) % SEQUENCES
    const answer = this.#pending.ask(sequence, `no acknowledgement in ${ANSWER_WITHIN / 1_000} s`)
    this.#socket.send(encodeProbe({ run: this.#run, sequence }), port, formatIp(to), (error) => {
      if (error !== null) this.#pending.answer(sequence, err(error.message))
    })
    return answer
  }

  #receive(message: ProbeMessage | undefined, address: string, port: number): void {
    if (message === undefined || message.run !== this.#run) return
    if (message.kind === 'probe') {
      // Should it not go out, the sender misses it and says so.
      this.#socket.send(encodeAcknowledgement(message, parseIp(address)), port, address, () => undefined)
    } else {
      const rewritten = message.observed !== this.#own
      this.#pending.answer(message.sequence, rewritten ? err(`seen as coming from ${formatIp(message.observed)}`) : SUCCESS)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#socket, 'close')
    this.#socket.close()
    await closed
  }
}
