/** One call of the relay: reads its request, has it handled, answers, and closes every descriptor on every path. */
import { millis, seconds } from '../../mesh/base/brand.ts'
import { concatBytes } from '../../mesh/base/bytes.ts'
import type { Clock } from '../../mesh/base/clock.ts'
import { describeError, WeftError } from '../../mesh/base/errors.ts'
import type { Logger } from '../../mesh/base/log.ts'
import { err, type Result } from '../../mesh/base/result.ts'
import { CniCode, type CniReply, errorReply } from '../../plugin/errors.ts'
import { type CniRequest, encodeRelayReply, parseRelayRequest, REQUEST_BYTES_MAX } from '../../plugin/relay.ts'
import { CNI_VERSION_LATEST } from '../../plugin/versions.ts'
import type { Fd, Native } from '../kernel/native.ts'

export type CniHandler = (request: CniRequest, signal: AbortSignal) => Promise<CniReply>

export interface ConnectionPorts {
  readonly native: Native
  readonly clock: Clock
  readonly log: Logger
  readonly handler: CniHandler
}

/** The relay has its request ready before it connects. */
const READING_TIME_MAX = seconds(5)

/** Less than the relay waits (60 s), so that the runtime hears what took so long. */
const HANDLING_TIME_MAX = seconds(50)

/** An answer that does not fit into the socket's buffer: how often to look for room, and for how long. The relay reads at once. */
const SEND_RETRY_DELAY = millis(5)
const SENDING_TIME_MAX = seconds(5)

/** The pod's namespace and a netlink socket inside it. */
const DESCRIPTORS_MAX = 2

/**
 * One for all connections, as what comes is copied out of it at once: with one for each, a router that has served
 * some thousand requests holds 10 MB more.
 */
const READ_BUFFER = new Uint8Array(64 * 1024)
const LINE_FEED = 0x0a
const NOWHERE = new Uint8Array(0)

/** `abandoned`: nobody reads the answer any longer, but what was asked for is still being finished or undone. */
type State =
  | { readonly kind: 'reading'; readonly chunks: Uint8Array[]; readonly bytes: number }
  | { readonly kind: 'handling'; readonly cancel: AbortController }
  | { readonly kind: 'abandoned' }
  | { readonly kind: 'closed' }

/** Owns the socket and whatever descriptors come over it. */
export class RelayConnection {
  /** Resolves when everything is closed. */
  readonly closed: Promise<void>
  readonly #fd: Fd
  readonly #ports: ConnectionPorts
  readonly #watch: number
  readonly #passed: Fd[] = []
  readonly #resolveClosed: () => void
  #timer: Disposable
  #state: State = { kind: 'reading', chunks: [], bytes: 0 }

  constructor(fd: Fd, ports: ConnectionPorts) {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.closed = promise
    this.#resolveClosed = resolve
    this.#fd = fd
    this.#ports = ports
    this.#timer = ports.clock.after(READING_TIME_MAX, () => this.#refuse(`no whole request within ${READING_TIME_MAX} ms`))
    this.#watch = ports.native.watch(fd, true, (hangup) => this.#ready(hangup))
  }

  /** Closes now when no whole request has come; one under way is left to finish. */
  stop(): void {
    if (this.#state.kind === 'reading') this.#close()
  }

  #ready(hangup: boolean): void {
    const chunk = hangup ? undefined : this.#receive()
    if (chunk?.length === 0) return
    if (this.#state.kind === 'handling') this.#abandon(this.#state.cancel)
    else if (this.#state.kind === 'reading' && chunk !== undefined) this.#collect(chunk, this.#state)
    else this.#close()
  }

  /** The other side has hung up, or goes on talking, which is as good as that. */
  #abandon(cancel: AbortController): void {
    this.#state = { kind: 'abandoned' }
    this.#ports.native.unwatch(this.#watch)
    cancel.abort(new WeftError('CANCELLED', 'the plugin hung up'))
  }

  /** What came; empty when nothing did, undefined when the other side has closed. */
  #receive(): Uint8Array | undefined {
    try {
      const received = this.#ports.native.receive(this.#fd, READ_BUFFER)
      if (received === undefined) return NOWHERE
      this.#passed.push(...received.descriptors)
      return received.bytes === 0 ? undefined : READ_BUFFER.slice(0, received.bytes)
    } catch {
      return undefined
    }
  }

  #collect(chunk: Uint8Array, before: Extract<State, { kind: 'reading' }>): void {
    const { chunks } = before
    chunks.push(chunk)
    const bytes = before.bytes + chunk.length
    const end = chunk.indexOf(LINE_FEED)
    if (this.#passed.length > DESCRIPTORS_MAX) this.#refuse(`${this.#passed.length} descriptors came with it`)
    else if (bytes > REQUEST_BYTES_MAX) this.#refuse(`it is longer than ${REQUEST_BYTES_MAX} bytes`)
    else if (end === -1) this.#state = { kind: 'reading', chunks, bytes }
    else if (end !== chunk.length - 1) this.#refuse('it is longer than a line')
    else this.#handle(Buffer.from(concatBytes(chunks)).toString('utf8', 0, bytes - 1))
  }

  /** Answers what is no request of our relay. */
  #refuse(reason: string): void {
    this.#ports.log.warn({ reason }, 'refused a CNI connection')
    const msg = `the router cannot read the plugin's request: ${reason}`
    const fault = { code: CniCode.internal, msg, details: 'are router and plugin of the same version?' }
    void this.#answer(() => Promise.resolve(errorReply(fault, CNI_VERSION_LATEST)))
  }

  #handle(line: string): void {
    const request = this.#parse(line)
    if (request.ok) void this.#answer((signal) => this.#ports.handler(request.value, signal))
    else this.#refuse(request.error)
  }

  #parse(line: string): Result<CniRequest, string> {
    const [namespace, routeSocket] = this.#passed
    if (namespace === undefined) return parseRelayRequest(line, undefined)
    return routeSocket === undefined ? err('only one descriptor came with it') : parseRelayRequest(line, { namespace, routeSocket })
  }

  async #answer(reply: (signal: AbortSignal) => Promise<CniReply>): Promise<void> {
    const { clock, log } = this.#ports
    const cancel = new AbortController()
    this.#state = { kind: 'handling', cancel }
    this.#timer[Symbol.dispose]()
    this.#timer = clock.after(HANDLING_TIME_MAX, () =>
      cancel.abort(new WeftError('CANCELLED', `it took longer than ${HANDLING_TIME_MAX} ms`)),
    )
    try {
      await this.#send(encodeRelayReply(await reply(cancel.signal)))
    } catch (error) {
      log.warn({ reason: describeError(error) }, 'cannot answer a CNI request')
    } finally {
      this.#close()
    }
  }

  /** Sends nothing, or not all, when nobody reads. */
  async #send(bytes: Uint8Array): Promise<void> {
    const { native, clock } = this.#ports
    const until = clock.now() + SENDING_TIME_MAX
    let sent = 0
    while (sent < bytes.length && this.#state.kind === 'handling' && clock.now() <= until) {
      const took = native.send(this.#fd, bytes.subarray(sent), NOWHERE, [])
      sent += took ?? 0
      if (took === undefined) await new Promise<void>((resolve) => clock.after(SEND_RETRY_DELAY, resolve))
    }
  }

  #close(): void {
    if (this.#state.kind === 'closed') return
    const { native } = this.#ports
    this.#state = { kind: 'closed' }
    this.#timer[Symbol.dispose]()
    native.unwatch(this.#watch)
    for (const fd of [...this.#passed, this.#fd]) native.close(fd)
    this.#resolveClosed()
  }
}
