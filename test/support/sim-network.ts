/**
 * A network in virtual time that carries the mesh's streams between simulated hosts. As TCP, it delivers in order
 * and loses nothing while a stream lives: a cut holds bytes back until it is healed, and only a reset ends a stream
 * from outside. Bytes arrive in pieces other than those that were written. The same seed gives the same run.
 */
import { type Ipv4, parseIpv4 } from '../../mesh/base/address.ts'
import { millis } from '../../mesh/base/brand.ts'
import type { Ip } from '../../mesh/base/ip.ts'
import { type Random, randomBelow } from '../../mesh/base/random.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import { type Endpoint, formatEndpoint } from '../../mesh/endpoint.ts'
import type { Stream, StreamHandler, Transport } from '../../mesh/transport.ts'
import type { TestClock } from './test-clock.ts'

export interface SimNetworkOptions {
  readonly clock: TestClock
  readonly random: Random
  /** One way, in milliseconds: each piece takes a time between these. */
  readonly latencyMs: readonly [min: number, max: number]
}

/** More than this on its way means that the other side is stuck: the stream is closed, as the TCP transport does. */
const OUTBOX_BYTES_MAX = 8 * 1024 * 1024
/** The first port given to the dialling side of a stream. */
const EPHEMERAL_PORT = 32_768

export class SimNetwork {
  readonly #options: SimNetworkOptions
  readonly #listeners = new Map<string, (stream: Stream) => void>()
  readonly #names = new Map<string, Ipv4>()
  readonly #streams = new Set<SimStream>()
  readonly #cuts = new Set<string>()
  /** What waits for the cut between two hosts to be healed. */
  readonly #held: { readonly link: string; readonly deliver: () => void }[] = []
  #dials = 0
  #bytesCarried = 0

  constructor(options: SimNetworkOptions) {
    this.#options = options
  }

  /** Bytes that arrived so far, on all streams. */
  get bytesCarried(): number {
    return this.#bytesCarried
  }

  /** What the host at `address` uses to listen and to dial. */
  host(address: Ipv4): Transport {
    return {
      listen: (at, accept) => {
        const endpoint = { address, port: at.port }
        const key = formatEndpoint(endpoint)
        if (this.#listeners.has(key)) return Promise.reject(new Error(`${key} is taken`))
        this.#listeners.set(key, accept)
        const close = () => Promise.resolve(void this.#listeners.delete(key))
        return Promise.resolve({ port: at.port, [Symbol.asyncDispose]: close })
      },
      dial: (to, done) => {
        let isGivenUp = false
        this.#dials += 1
        const from = { address, port: EPHEMERAL_PORT + (this.#dials % EPHEMERAL_PORT) }
        const found = this.#names.get(to.host) ?? parseAddress(to.host)
        const report = (outcome: Result<Stream, string>) => {
          if (!isGivenUp) done(outcome)
          else if (outcome.ok) outcome.value.close()
        }
        if (found === undefined) this.later(() => report(err(`${to.host}: no such host`)))
        else this.#connect(from, { address: found, port: to.port }, report)
        return {
          [Symbol.dispose]: () => {
            isGivenUp = true
          },
        }
      },
    }
  }

  /** Makes a DNS name; a second time changes it. */
  name(host: string, address: Ipv4): void {
    this.#names.set(host, address)
  }

  /** From now on nothing passes between the two hosts, in either direction. */
  cut(a: Ipv4, b: Ipv4): void {
    this.#cuts.add(linkOf(a, b))
  }

  /** Cuts every host of one group from every host of the other. */
  partition(left: readonly Ipv4[], right: readonly Ipv4[]): void {
    for (const a of left) for (const b of right) this.cut(a, b)
  }

  /** Heals the cut between two hosts; what was held back arrives. */
  heal(a: Ipv4, b: Ipv4): void {
    this.#cuts.delete(linkOf(a, b))
    this.#release()
  }

  healAll(): void {
    this.#cuts.clear()
    this.#release()
  }

  /** Ends each stream with probability `share`, at both sides at once. Returns how many. */
  resetSome(share: number): number {
    const doomed = [...this.#streams].filter((stream) => stream.isDialler && this.#options.random() < share)
    for (const stream of doomed) stream.reset()
    return doomed.length
  }

  #connect(from: Endpoint, to: Endpoint, done: (outcome: Result<Stream, string>) => void): void {
    this.carry(from.address, to.address, () => {
      const accept = this.#listeners.get(formatEndpoint(to))
      if (accept === undefined) {
        this.carry(to.address, from.address, () => done(err(`${formatEndpoint(to)}: connection refused`)))
        return
      }
      const near = new SimStream(this, from, to, true)
      const far = new SimStream(this, to, from, false)
      near.join(far)
      far.join(near)
      this.#streams.add(near).add(far)
      accept(far)
      this.carry(to.address, from.address, () => done(ok(near)))
    })
  }

  /** Runs `deliver` when something sent now from one host reaches the other. For the streams. */
  carry(from: Ip, to: Ip, deliver: () => void): void {
    const link = linkOf(from, to)
    this.later(() => {
      if (this.#cuts.has(link)) this.#held.push({ link, deliver })
      else deliver()
    })
  }

  /** Counts what arrived, and cuts it into other pieces than it was written in. For the streams. */
  pieces(bytes: Uint8Array): readonly Uint8Array[] {
    this.#bytesCarried += bytes.length
    const at = randomBelow(this.#options.random, 4 * bytes.length)
    return at > 0 && at < bytes.length ? [bytes.slice(0, at), bytes.slice(at)] : [bytes]
  }

  /** For the streams. */
  ended(stream: SimStream): void {
    this.#streams.delete(stream)
  }

  #release(): void {
    const released = this.#held.filter(({ link }) => !this.#cuts.has(link))
    const kept = this.#held.filter(({ link }) => this.#cuts.has(link))
    this.#held.splice(0, this.#held.length, ...kept)
    for (const { deliver } of released) this.later(deliver)
  }

  /** Runs `fire` after one latency. For the streams. */
  later(fire: () => void): void {
    const { clock, random, latencyMs } = this.#options
    const [min, max] = latencyMs
    clock.after(millis(min + random() * (max - min)), fire)
  }
}

/** One side of a stream between two simulated hosts. */
class SimStream implements Stream {
  readonly remote: Endpoint
  /** This side dialled. */
  readonly isDialler: boolean
  readonly #network: SimNetwork
  readonly #local: Endpoint
  /** What the other side has sent and we have not seen yet, in order; a string is why the stream ended. */
  readonly #inbox: (Uint8Array | string)[] = []
  #other: SimStream | undefined
  #handler: StreamHandler | undefined
  #state: 'open' | 'ended' = 'open'
  #backlogBytes = 0
  /** How many items of the inbox have arrived but wait for a handler. */
  #due = 0

  constructor(network: SimNetwork, local: Endpoint, remote: Endpoint, isDialler: boolean) {
    this.#network = network
    this.#local = local
    this.remote = remote
    this.isDialler = isDialler
  }

  get backlogBytes(): number {
    return this.#backlogBytes
  }

  join(other: SimStream): void {
    this.#other = other
  }

  start(handler: StreamHandler): void {
    this.#handler = handler
    if (this.#due > 0) this.#network.later(() => this.#deliver())
  }

  write(bytes: Uint8Array): void {
    if (this.#state === 'ended') return
    this.#backlogBytes += bytes.length
    this.#send(bytes)
    if (this.#backlogBytes > OUTBOX_BYTES_MAX) this.#network.later(() => this.#fail('the other side does not read'))
  }

  close(): void {
    if (this.#state === 'ended') return
    this.#end()
    this.#send('closed by the other side')
  }

  /** Both sides hear of it at once. */
  reset(): void {
    if (this.#other !== undefined) this.#other.#fail('connection reset')
    this.#fail('connection reset')
  }

  /** Items overtake each other on the way, but each arrival takes the oldest: order holds. */
  #send(item: Uint8Array | string): void {
    const other = this.#other
    if (other === undefined) return
    other.#inbox.push(item)
    this.#network.carry(this.#local.address, this.remote.address, () => other.#arrive())
  }

  #arrive(): void {
    this.#due += 1
    this.#deliver()
  }

  #deliver(): void {
    while (this.#due > 0 && this.#handler !== undefined && this.#isOpen()) {
      this.#due -= 1
      const item = this.#inbox.shift()
      if (typeof item === 'string') this.#fail(item)
      else if (item !== undefined) this.#receive(item, this.#handler)
    }
  }

  #receive(bytes: Uint8Array, handler: StreamHandler): void {
    if (this.#other !== undefined) this.#other.#backlogBytes -= bytes.length
    for (const piece of this.#network.pieces(bytes)) {
      if (this.#isOpen()) handler.received(piece)
    }
  }

  #isOpen(): boolean {
    return this.#state === 'open'
  }

  #fail(reason: string): void {
    if (this.#state === 'ended') return
    this.#end()
    this.#handler?.closed(reason)
  }

  #end(): void {
    this.#state = 'ended'
    this.#network.ended(this)
  }
}

function linkOf(a: Ip, b: Ip): string {
  return a < b ? `${a}-${b}` : `${b}-${a}`
}

function parseAddress(host: string): Ipv4 | undefined {
  try {
    return parseIpv4(host)
  } catch {
    return undefined
  }
}
