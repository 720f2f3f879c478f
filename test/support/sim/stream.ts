/** One side of a stream between two simulated hosts. */
import type { Ipv4 } from '../../../mesh/base/address.ts'
import { millis } from '../../../mesh/base/brand.ts'
import type { Endpoint } from '../../../mesh/endpoint.ts'
import type { Stream, StreamHandler } from '../../../mesh/transport.ts'
import type { SimHost } from './host.ts'
import type { SimNetwork } from './network.ts'
import { TcpCost } from './tcp-cost.ts'

/** More than this on its way means that the other side is stuck: the stream is closed, as the TCP transport does. */
const OUTBOX_BYTES_MAX = 8 * 1024 * 1024

export class SimStream implements Stream {
  readonly remote: Endpoint
  readonly local: Ipv4
  /** This side dialled. */
  readonly isDialler: boolean
  readonly #network: SimNetwork
  readonly #host: SimHost
  /** What the other side has sent and we have not seen yet, in order; a string is why the stream ended. */
  readonly #inbox: (Uint8Array | string)[] = []
  readonly #cost = new TcpCost()
  #other: SimStream | undefined
  #handler: StreamHandler | undefined
  #isEnded = false
  #backlogBytes = 0
  /** How many items of the inbox have arrived but were not delivered. */
  #due = 0

  constructor(network: SimNetwork, host: SimHost, remote: Endpoint, isDialler: boolean) {
    this.#network = network
    this.#host = host
    this.local = host.address
    this.remote = remote
    this.isDialler = isDialler
  }

  static pair(
    network: SimNetwork,
    dialler: SimHost,
    acceptor: SimHost,
    ends: { readonly from: Endpoint; readonly to: Endpoint },
  ): [SimStream, SimStream] {
    const near = new SimStream(network, dialler, ends.to, true)
    const far = new SimStream(network, acceptor, ends.from, false)
    near.#other = far
    far.#other = near
    network.opened(near, far)
    return [near, far]
  }

  get backlogBytes(): number {
    return this.#backlogBytes
  }

  start(handler: StreamHandler): void {
    this.#handler = handler
    // Never from inside this call, as the contract says.
    if (this.#due > 0) this.#network.clock.after(millis(0), () => this.#host.run(() => this.#deliver()))
  }

  write(bytes: Uint8Array): void {
    if (this.#isEnded) return
    this.#sent(this.#cost.write(bytes.length, this.#network.clock.now()))
    this.#host.writes += 1
    this.#backlogBytes += bytes.length
    this.#send(bytes)
    if (this.#backlogBytes > OUTBOX_BYTES_MAX) this.#host.run(() => this.#fail('the other side does not read'))
  }

  close(): void {
    if (this.#isEnded) return
    this.#end()
    this.#send('closed by the other side')
  }

  /** Both sides hear of it at once. */
  reset(): void {
    if (this.#other !== undefined) this.#other.#fail('connection reset')
    this.#fail('connection reset')
  }

  /** The process of this side is gone; the other side hears of it. */
  abandon(): void {
    this.#end()
    this.#send('connection reset')
  }

  /** Items overtake each other on the way, but each arrival takes the oldest: order holds. */
  #send(item: Uint8Array | string): void {
    const other = this.#other
    if (other === undefined) return
    other.#inbox.push(item)
    this.#network.carry(this.local, this.remote.address, () => other.#arrive())
  }

  #arrive(): void {
    // As after a crash that nobody saw: the kernel of this side knows of no such stream, and says so to whoever writes to it.
    if (this.#isEnded && this.#inbox.shift() instanceof Uint8Array) this.#send('connection reset')
    this.#due += 1
    this.#host.run(() => this.#deliver())
  }

  #deliver(): void {
    while (this.#due > 0 && this.#handler !== undefined && !this.#isEnded) {
      this.#due -= 1
      const item = this.#inbox.shift()
      if (typeof item === 'string') this.#fail(item)
      else if (item !== undefined) this.#receive(item, this.#handler)
    }
  }

  #receive(bytes: Uint8Array, handler: StreamHandler): void {
    this.#sent(this.#cost.receive(this.#network.clock.now()))
    if (this.#other !== undefined) this.#other.#backlogBytes -= bytes.length
    for (const piece of this.#network.pieces(bytes)) {
      if (!this.#isOver()) handler.received(piece)
    }
  }

  /** So much goes to the other side, on the wire. */
  #sent(bytes: number): void {
    this.#host.bytesOut += bytes
    if (this.#other !== undefined) this.#other.#host.bytesIn += bytes
  }

  #isOver(): boolean {
    return this.#isEnded
  }

  #fail(reason: string): void {
    if (this.#isEnded) return
    this.#end()
    this.#handler?.closed(reason)
  }

  #end(): void {
    this.#isEnded = true
    this.#network.ended(this)
  }
}
