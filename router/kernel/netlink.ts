/**
 * A netlink socket: requests to the kernel and their answers, matched by sequence number. Of the kernel's subsystems it speaks with
 * one: `route`, or `generic`, which carries all that are younger.
 *
 * The kernel acts on a request while it is being sent and queues the answer on our socket; so many
 * requests may be in flight, and none of their answers is lost but by an overrun of the receive buffer
 * (ENOBUFS). Of dumps only one runs at a time, as the kernel refuses a second one (EBUSY); it is read as
 * soon as it is asked for, so that no change of our own interrupts it.
 */
import type { Millis } from '../../mesh/base/brand.ts'
import { seconds } from '../../mesh/base/brand.ts'
import type { Clock } from '../../mesh/base/clock.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import { type Ending, encodeMessage, type Message, MessageFlag, readEnding, readMessages } from './codec/message.ts'
import { type KernelError, kernelError, systemKernelError } from './kernel-error.ts'
import { type Fd, native } from './native.ts'

export type NetlinkProtocol = 'route' | 'generic'

export interface NetlinkOptions {
  readonly clock: Clock
  /** `route` when absent. */
  readonly protocol?: NetlinkProtocol
  /** The namespace to open the socket in; ours when absent. */
  readonly netns?: Fd
  /** A netlink socket that somebody else opened, instead of one of our own. It is ours from then on, unless `open` throws or it is only lent. */
  readonly fd?: Fd
  /** `fd` stays the caller's: disposing leaves it open. */
  readonly lent?: boolean
}

/** What to ask; the flags that ask for an answer are added. */
export interface Request {
  readonly type: number
  readonly flags?: number
  readonly payload: Uint8Array
  /** In iproute2's words, for the error. */
  readonly operation: string
}

/** What arrived on the socket: a datagram, nothing more for now, or that something was lost. */
export type Arrival =
  | { readonly kind: 'datagram'; readonly bytes: Uint8Array }
  | { readonly kind: 'empty' }
  | { readonly kind: 'failed'; readonly error: KernelError }

interface Flight {
  readonly request: Request
  readonly isDump: boolean
  readonly onMessage: (payload: Uint8Array) => void
  readonly done: (result: Result<{ readonly interrupted: boolean }, KernelError>) => void
  interrupted: boolean
  timer: Disposable | undefined
}

const AF_NETLINK = 16
const SOCK_RAW = 3
const PROTOCOLS = { route: 0, generic: 16 } as const

const SOL_SOCKET = 1
const SO_RCVBUF = 8
const SO_RCVBUFFORCE = 33
const SO_PROTOCOL = 38
const SO_DOMAIN = 39

const SOL_NETLINK = 270
const NETLINK_ADD_MEMBERSHIP = 1
const NETLINK_CAP_ACK = 10
const NETLINK_EXT_ACK = 11
const NETLINK_GET_STRICT_CHK = 12

/** Answers to all that is in flight take a fraction of it; notifications may come in bursts of thousands. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024

/** The kernel builds dumps in pieces of at most 32 KiB. */
const DATAGRAM_BYTES_MAX = 64 * 1024

/** Beyond this the throughput no longer grows. */
const IN_FLIGHT_MAX = 64

/** A full resync of the largest cluster is some ten thousand requests; more waiting than this is a bug. */
const WAITING_MAX = 100_000

/** The kernel answers at once; this long means that our socket is broken. */
const ANSWER_WITHIN: Millis = seconds(10)

/** Datagrams handled before other events of the process get their turn. */
const DATAGRAMS_PER_TURN_MAX = 64

/** A table that changes during each of so many dumps will not hold still for one more. */
const DUMP_TRIES_MAX = 8

const ECANCELED = 125
const EINTR = 4
const ETIMEDOUT = 110
const EAGAIN = 11
const EMSGSIZE = 90

const NOTHING: Uint8Array = new Uint8Array(0)

export class Netlink implements Disposable {
  readonly #fd: Fd
  readonly #lent: boolean
  readonly #clock: Clock
  readonly #watch: number
  readonly #buffer = new Uint8Array(DATAGRAM_BYTES_MAX)
  readonly #flights = new Map<number, Flight>()
  readonly #waiting: Flight[] = []
  readonly #waitingDumps: Flight[] = []
  #sequence = 0
  /** The dump that the kernel is working on, even if nobody waits for it any longer. */
  #dumping: number | undefined
  #lost: KernelError | undefined
  #isReading = false
  #closed = false

  private constructor(fd: Fd, lent: boolean, clock: Clock) {
    this.#fd = fd
    this.#lent = lent
    this.#clock = clock
    this.#watch = native().watch(fd, true, () => this.#onReadable())
  }

  /**
   * Keeps the process alive until disposed.
   * @throws {WeftError} KERNEL when the socket cannot be made, INPUT when the passed `fd` is not a netlink socket of `protocol`.
   */
  static open({ clock, netns, fd, lent = false, protocol = 'route' }: NetlinkOptions): Netlink {
    const opened = fd === undefined ? openNetlinkSocket({ protocol, ...(netns === undefined ? {} : { netns }) }) : adopt(fd, protocol)
    return new Netlink(opened, lent, clock)
  }

  /** Asks for a change; resolves when the kernel has made or refused it. */
  async request(request: Request): Promise<Result<void, KernelError>> {
    const result = await this.#submit(request, false, () => undefined)
    return result.ok ? ok(undefined) : result
  }

  /** Asks for one object; the answers that `decode` understands, which is one or none. */
  async query<T>(request: Request, decode: (payload: Uint8Array) => T | undefined): Promise<Result<readonly T[], KernelError>> {
    const items: T[] = []
    const result = await this.#submit(request, false, collect(items, decode))
    return result.ok ? ok(items) : result
  }

  /**
   * Asks for all objects; those that `decode` understands. Asked again when the table changed meanwhile,
   * until EINTR after some tries.
   */
  async dump<T>(request: Request, decode: (payload: Uint8Array) => T | undefined): Promise<Result<readonly T[], KernelError>> {
    for (let tries = 0; tries < DUMP_TRIES_MAX; tries++) {
      const items: T[] = []
      const result = await this.#submit(request, true, collect(items, decode))
      if (!result.ok) return result
      if (!result.value.interrupted) return ok(items)
    }
    return err(kernelError(request.operation, EINTR, `the table changed during each of ${DUMP_TRIES_MAX} dumps`))
  }

  /** What is in flight or waits ends with ECANCELED. */
  [Symbol.dispose](): void {
    if (this.#closed) return
    this.#closed = true
    native().unwatch(this.#watch)
    if (!this.#lent) native().close(this.#fd)
    this.#failAll(({ operation }) => kernelError(operation, ECANCELED, 'the netlink socket was closed'))
  }

  #submit(
    request: Request,
    isDump: boolean,
    onMessage: (payload: Uint8Array) => void,
  ): Promise<Result<{ readonly interrupted: boolean }, KernelError>> {
    return new Promise((done) => {
      const queue = isDump ? this.#waitingDumps : this.#waiting
      if (this.#closed) done(err(kernelError(request.operation, ECANCELED, 'the netlink socket was closed')))
      else if (queue.length >= WAITING_MAX) done(err(kernelError(request.operation, EAGAIN, `${WAITING_MAX} requests wait already`)))
      else {
        queue.push({ request, isDump, onMessage, done, interrupted: false, timer: undefined })
        this.#pump()
      }
    })
  }

  /** Not while answers are being lost: those to new requests would be, too. */
  #pump(): void {
    while (this.#lost === undefined && this.#flights.size < IN_FLIGHT_MAX) {
      const flight = (this.#dumping === undefined ? this.#waitingDumps.shift() : undefined) ?? this.#waiting.shift()
      if (flight === undefined) return
      this.#launch(flight)
    }
  }

  #launch(flight: Flight): void {
    this.#sequence = (this.#sequence + 1) >>> 0 || 1
    const sequence = this.#sequence
    const { operation } = flight.request
    const refused = this.#send(flight, sequence)
    if (refused !== undefined) {
      flight.done(err(refused))
      return
    }
    const late = kernelError(operation, ETIMEDOUT, 'the kernel did not answer')
    flight.timer = this.#clock.after(ANSWER_WITHIN, () => this.#land(sequence, err(late)))
    this.#flights.set(sequence, flight)
    if (!flight.isDump) return
    this.#dumping = sequence
    if (!this.#isReading) this.#onReadable()
  }

  #send({ request, isDump }: Flight, sequence: number): KernelError | undefined {
    const { type, flags = 0, payload, operation } = request
    const asking = MessageFlag.request | (isDump ? MessageFlag.dump : MessageFlag.ack)
    const bytes = encodeMessage({ type, flags: flags | asking, sequence, payload })
    try {
      const sent = native().send(this.#fd, bytes, NOTHING, [])
      return sent === undefined ? kernelError(operation, EAGAIN, 'the netlink socket takes no more') : undefined
    } catch (error) {
      return systemKernelError(operation, error)
    }
  }

  #land(sequence: number, result: Result<void, KernelError>): void {
    const flight = this.#flights.get(sequence)
    if (flight === undefined) return
    this.#flights.delete(sequence)
    flight.timer?.[Symbol.dispose]()
    flight.done(result.ok ? ok({ interrupted: flight.interrupted }) : result)
    this.#pump()
  }

  #onReadable(): void {
    this.#isReading = true
    try {
      this.#read()
    } finally {
      this.#isReading = false
    }
  }

  #read(): void {
    for (let count = 0; count < DATAGRAMS_PER_TURN_MAX && !this.#closed; count++) {
      const arrival = receiveDatagram(this.#fd, this.#buffer)
      if (arrival.kind === 'empty') {
        this.#onDrained()
        return
      }
      if (arrival.kind === 'failed') this.#lost ??= arrival.error
      if (arrival.kind === 'datagram') for (const message of readMessages(arrival.bytes)) this.#onMessage(message)
    }
  }

  /**
   * Every answer to what was sent so far has arrived by now. When some were lost, they are those still
   * open: whether the kernel did what was asked is unknown, and whoever asked has to look.
   */
  #onDrained(): void {
    const lost = this.#lost
    if (lost === undefined) return
    this.#lost = undefined
    this.#dumping = undefined
    for (const [sequence, { request }] of [...this.#flights]) {
      this.#land(sequence, err({ ...lost, operation: request.operation }))
    }
    this.#pump()
  }

  #onMessage(message: Message): void {
    const { sequence, flags, payload } = message
    const ending = readEnding(message)
    const flight = this.#flights.get(sequence)
    if (flight !== undefined && (flags & MessageFlag.dumpInterrupted) !== 0) flight.interrupted = true
    if (ending === undefined) {
      flight?.onMessage(payload)
      return
    }
    if (sequence === this.#dumping) this.#dumping = undefined
    if (flight === undefined) this.#pump()
    else this.#land(sequence, resultOf(ending, flight.request.operation))
  }

  #failAll(error: (request: Request) => KernelError): void {
    const open = [...this.#flights.values(), ...this.#waitingDumps.splice(0), ...this.#waiting.splice(0)]
    this.#flights.clear()
    for (const { timer, done, request } of open) {
      timer?.[Symbol.dispose]()
      done(err(error(request)))
    }
  }
}

interface SocketOptions {
  readonly netns?: Fd
  readonly groups?: readonly number[]
  readonly protocol?: NetlinkProtocol
}

/**
 * A bound socket, member of multicast `groups`, with a large receive buffer.
 * @throws {WeftError} KERNEL
 */
export function openNetlinkSocket({ netns, groups = [], protocol = 'route' }: SocketOptions): Fd {
  let fd: Fd | undefined
  try {
    fd = native().socket(netns ?? -1, AF_NETLINK, SOCK_RAW, PROTOCOLS[protocol])
    native().bind(fd, netlinkAddress())
    configure(fd)
    for (const group of groups) native().setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, int(group))
    return fd
  } catch (cause) {
    if (fd !== undefined) native().close(fd)
    throw new WeftError('KERNEL', 'cannot open a netlink socket', { cause })
  }
}

/** The datagram is a view into `buffer`. */
export function receiveDatagram(fd: Fd, buffer: Uint8Array): Arrival {
  const operation = 'netlink receive'
  try {
    const received = native().receive(fd, buffer)
    if (received === undefined) return { kind: 'empty' }
    if (received.truncated) return { kind: 'failed', error: kernelError(operation, EMSGSIZE, `a message exceeds ${buffer.length} bytes`) }
    return { kind: 'datagram', bytes: buffer.subarray(0, received.bytes) }
  } catch (error) {
    return { kind: 'failed', error: systemKernelError(operation, error) }
  }
}

function adopt(fd: Fd, protocol: NetlinkProtocol): Fd {
  try {
    const read = (option: number): number => Buffer.from(native().getsockopt(fd, SOL_SOCKET, option, 4)).readInt32LE()
    if (read(SO_DOMAIN) !== AF_NETLINK || read(SO_PROTOCOL) !== PROTOCOLS[protocol]) {
      throw new WeftError('INPUT', `descriptor ${fd} is not a netlink socket of the ${protocol} family`)
    }
    configure(fd)
    return fd
  } catch (cause) {
    if (cause instanceof WeftError) throw cause
    throw new WeftError('INPUT', `descriptor ${fd} is not a usable netlink socket`, { cause })
  }
}

/** Errors with words, without our request repeated; filters of dumps checked and applied by the kernel. */
function configure(fd: Fd): void {
  for (const option of [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK]) native().setsockopt(fd, SOL_NETLINK, option, int(1))
  try {
    native().setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, int(RECEIVE_BUFFER_BYTES))
  } catch {
    // Without CAP_NET_ADMIN on the host: as much as net.core.rmem_max allows.
    native().setsockopt(fd, SOL_SOCKET, SO_RCVBUF, int(RECEIVE_BUFFER_BYTES))
  }
}

/** `struct sockaddr_nl`: the family, padding, a port and groups; the kernel chooses the port. */
function netlinkAddress(): Uint8Array {
  return Uint8Array.of(AF_NETLINK, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}

function int(number: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setInt32(0, number, true)
  return bytes
}

function collect<T>(items: T[], decode: (payload: Uint8Array) => T | undefined): (payload: Uint8Array) => void {
  return (payload) => {
    const item = decode(payload)
    if (item !== undefined) items.push(item)
  }
}

function resultOf({ errno, detail }: Ending, operation: string): Result<void, KernelError> {
  return errno === 0 ? ok(undefined) : err(kernelError(operation, errno, detail))
}
