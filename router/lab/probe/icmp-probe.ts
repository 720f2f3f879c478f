/** Pings from inside one network namespace, through a raw socket. */
import { bytesEqual } from '../../../mesh/base/bytes.ts'
import type { Clock } from '../../../mesh/base/clock.ts'
import { describeError, errnoCode } from '../../../mesh/base/errors.ts'
import { formatIp, type Ip } from '../../../mesh/base/ip.ts'
import { err, ok, type Result } from '../../../mesh/base/result.ts'
import type { Fd, Native } from '../../kernel/native.ts'
import { type ProbeFamily, probeFamily } from './family.ts'
import { ICMP_HEADER_BYTES } from './icmp.ts'
import { ANSWER_WITHIN, type Outcome, Pending, SUCCESS } from './pending.ts'
import { IP_PMTUDISC_PROBE, int32, SO_RCVBUFFORCE, SOCK_RAW, SOL_SOCKET, sockaddr } from './sockaddr.ts'

const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
const PACKET_BYTES_MAX = 65_535
const SEQUENCES = 0x1_0000

/** Links narrower than the one before, on one path. */
const NARROWINGS_MAX = 4

interface Sent {
  readonly to: Ip
  readonly payload: Uint8Array
  /** Somebody refused it, and said so. */
  fitsBytes: number | undefined
}

export interface IcmpProbeOptions {
  readonly native: Native
  readonly clock: Clock
  /** The address of the namespace; says which family to ping over. */
  readonly own: Ip
  /** 16 bits; tells our echo requests from those of other programs in the namespace. */
  readonly identifier: number
}

/** Owns one raw socket. */
export class IcmpProbe implements Disposable {
  readonly #native: Native
  readonly #family: ProbeFamily
  readonly #fd: Fd
  readonly #watch: number
  readonly #identifier: number
  readonly #pending: Pending
  readonly #sent = new Map<number, Sent>()
  readonly #buffer: Uint8Array = new Uint8Array(PACKET_BYTES_MAX)
  #sequence = 0

  constructor(netns: Fd, { native, clock, own, identifier }: IcmpProbeOptions) {
    const { domain, icmp } = probeFamily(own)
    this.#family = probeFamily(own)
    this.#native = native
    this.#identifier = identifier
    this.#pending = new Pending(clock)
    this.#fd = native.socket(netns, domain, SOCK_RAW, icmp.protocol)
    native.setsockopt(this.#fd, icmp.filter.level, icmp.filter.option, icmp.filter.value)
    native.setsockopt(this.#fd, icmp.discover.level, icmp.discover.option, int32(IP_PMTUDISC_PROBE))
    native.setsockopt(this.#fd, SOL_SOCKET, SO_RCVBUFFORCE, int32(RECEIVE_BUFFER_BYTES))
    this.#watch = native.watch(this.#fd, true, () => this.#receive())
  }

  /** One echo request that may not be fragmented. @param packetBytes with the IP header. */
  async ping(to: Ip, packetBytes: number): Promise<Outcome> {
    return (await this.#echo(to, packetBytes)).outcome
  }

  /**
   * The biggest packet that arrives in one piece, as a host finds it: it sends what its own device takes, and less where
   * somebody on the way says that it does not fit. The answer to a packet of that very size is the proof.
   */
  async largest(to: Ip, packetBytes: number): Promise<Result<number, string>> {
    let bytes = packetBytes
    for (let narrowing = 0; ; narrowing++) {
      const { outcome, fitsBytes } = await this.#echo(to, bytes)
      if (outcome.ok) return ok(bytes)
      if (fitsBytes === undefined || fitsBytes >= bytes || fitsBytes < this.#family.packetBytesMin || narrowing === NARROWINGS_MAX)
        return outcome
      bytes = fitsBytes
    }
  }

  async #echo(to: Ip, packetBytes: number): Promise<{ readonly outcome: Outcome; readonly fitsBytes: number | undefined }> {
    const sequence = this.#sequence
    this.#sequence = (this.#sequence + 1) % SEQUENCES
    const payload = patternOf(packetBytes - this.#family.headerBytes - ICMP_HEADER_BYTES, sequence)
    const answer = this.#pending.ask(sequence, `no reply in ${ANSWER_WITHIN / 1_000} s`)
    const sent: Sent = { to, payload, fitsBytes: undefined }
    this.#sent.set(sequence, sent)
    const refused = this.#send(this.#family.icmp.encode({ identifier: this.#identifier, sequence }, payload), to)
    if (refused !== undefined) this.#pending.answer(sequence, err(refused))
    try {
      const outcome = await answer
      return { outcome, fitsBytes: sent.fitsBytes }
    } finally {
      this.#sent.delete(sequence)
    }
  }

  /** Why it could not be sent. */
  #send(packet: Uint8Array, to: Ip): string | undefined {
    try {
      const accepted = this.#native.send(this.#fd, packet, sockaddr(to), [])
      return accepted === undefined ? 'the send buffer is full' : undefined
    } catch (error) {
      if (errnoCode(error) === 'EMSGSIZE')
        return `a packet of ${packet.length + this.#family.headerBytes} bytes is too big for the first device`
      return describeError(error)
    }
  }

  #receive(): void {
    for (;;) {
      const received = this.#native.receive(this.#fd, this.#buffer)
      if (received === undefined) return
      this.#take(this.#buffer.subarray(0, received.bytes), received.from)
    }
  }

  #take(packet: Uint8Array, from: Uint8Array): void {
    const message = this.#family.icmp.decode(packet, from)
    if (message === undefined || message.identifier !== this.#identifier) return
    const sent = this.#sent.get(message.sequence)
    if (sent === undefined) return
    if (message.kind === 'refused') {
      sent.fitsBytes = message.fitsBytes
      this.#pending.answer(message.sequence, err(`${formatIp(message.from)} says: ${message.reason}`))
    } else if (message.from !== sent.to) {
      this.#pending.answer(message.sequence, err(`${formatIp(message.from)} answered instead`))
    } else {
      this.#pending.answer(message.sequence, bytesEqual(message.payload, sent.payload) ? SUCCESS : err('the reply has other bytes'))
    }
  }

  [Symbol.dispose](): void {
    this.#native.unwatch(this.#watch)
    this.#native.close(this.#fd)
  }
}

/** Different for each request, so that a late reply to another one does not pass for this one's. */
function patternOf(bytes: number, sequence: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, at) => (at + sequence * 7) & 0xff)
}
