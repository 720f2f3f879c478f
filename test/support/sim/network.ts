/**
 * A network in virtual time between simulated hosts. It carries the mesh's streams as TCP does: in order, nothing lost
 * while a stream lives; what a link loses or holds back comes later, after the pauses that TCP makes between its tries;
 * bytes arrive in pieces other than those that were written. A host that has crashed answers nothing; one whose process
 * was killed refuses and resets; one whose process gets no processor accepts streams all the same, as kernels do. The
 * same seed gives the same run.
 */
import type { Ipv4 } from '../../../mesh/base/address.ts'
import { type Millis, millis } from '../../../mesh/base/brand.ts'
import type { Clock } from '../../../mesh/base/clock.ts'
import type { Ip } from '../../../mesh/base/ip.ts'
import { type Random, randomBelow } from '../../../mesh/base/random.ts'
import type { Stream } from '../../../mesh/transport.ts'
import type { SimHost } from './host.ts'
import type { SimStream } from './stream.ts'

export interface LinkQuality {
  /** One way, in milliseconds: each piece takes a time between these. */
  readonly latencyMs: readonly [min: number, max: number]
  /** Share of pieces that have to be sent again. */
  readonly loss: number
}

export interface SimNetworkOptions {
  readonly clock: Clock
  readonly random: Random
  readonly quality: LinkQuality
}

/** What TCP waits before it sends again, at first. */
const RETRANSMIT_AFTER_MS = 250
/** And at most. */
const RETRANSMIT_MS_MAX = 60_000

export class SimNetwork {
  readonly clock: Clock
  readonly random: Random
  quality: LinkQuality
  readonly #hosts = new Map<Ip, SimHost>()
  readonly #names = new Map<string, Ipv4>()
  readonly #streams = new Set<SimStream>()
  /** Directions in which nothing passes. */
  readonly #cuts = new Set<string>()
  /** Pieces that wait for a cut to be healed. */
  readonly #held: { readonly from: Ip; readonly to: Ip; readonly since: Millis; readonly deliver: () => void }[] = []

  constructor({ clock, random, quality }: SimNetworkOptions) {
    this.clock = clock
    this.random = random
    this.quality = quality
  }

  add(host: SimHost): void {
    this.#hosts.set(host.address, host)
  }

  host(address: Ip): SimHost | undefined {
    return this.#hosts.get(address)
  }

  /** Makes a DNS name; a second time changes it. */
  name(name: string, address: Ipv4): void {
    this.#names.set(name, address)
  }

  resolve(name: string): Ipv4 | undefined {
    return this.#names.get(name)
  }

  /** From now on nothing passes from one host to the other. */
  cutOneWay(from: Ipv4, to: Ipv4): void {
    this.#cuts.add(direction(from, to))
  }

  cut(a: Ipv4, b: Ipv4): void {
    this.cutOneWay(a, b)
    this.cutOneWay(b, a)
  }

  /** Cuts every host of one group from every host of the other. */
  partition(left: readonly Ipv4[], right: readonly Ipv4[]): void {
    for (const a of left) for (const b of right) this.cut(a, b)
  }

  heal(a: Ipv4, b: Ipv4): void {
    this.#cuts.delete(direction(a, b))
    this.#cuts.delete(direction(b, a))
    this.#release()
  }

  healAll(): void {
    this.#cuts.clear()
    this.#release()
  }

  /** Ends each stream with probability `share`, at both sides at once. Returns how many. */
  resetSome(share: number): number {
    const doomed = [...this.#streams].filter((stream) => stream.isDialler && this.random() < share)
    for (const stream of doomed) stream.reset()
    return doomed.length
  }

  /** The process at `address` is gone: its kernel says so to all that have streams with it. */
  resetAllOf(address: Ipv4): void {
    for (const stream of [...this.#streams]) {
      if (stream.local === address) stream.abandon()
    }
  }

  /** For the streams. */
  opened(...streams: readonly SimStream[]): void {
    for (const stream of streams) this.#streams.add(stream)
  }

  /** For the streams. */
  ended(stream: Stream): void {
    this.#streams.delete(stream as SimStream)
  }

  /** Runs `deliver` when what is sent now from one host reaches the other; never if one of them is down by then. */
  carry(from: Ip, to: Ip, deliver: () => void): void {
    this.clock.after(this.#transit(), () => {
      if (this.#hosts.get(from)?.isDown === true || this.#hosts.get(to)?.isDown === true) return
      if (this.#cuts.has(direction(from, to))) this.#held.push({ from, to, since: this.clock.now(), deliver })
      else deliver()
    })
  }

  #transit(): Millis {
    const [min, max] = this.quality.latencyMs
    let time = min + this.random() * (max - min)
    for (let wait = RETRANSMIT_AFTER_MS; this.random() < this.quality.loss; wait *= 2) time += wait
    return millis(time)
  }

  /** TCP doubles its pause with every try: what was held for long is not sent again at once. */
  #release(): void {
    const isHeld = ({ from, to }: { readonly from: Ip; readonly to: Ip }): boolean => this.#cuts.has(direction(from, to))
    const released = this.#held.filter((item) => !isHeld(item))
    this.#held.splice(0, this.#held.length, ...this.#held.filter(isHeld))
    for (const { from, to, since, deliver } of released) {
      const pause = Math.min(this.clock.now() - since, RETRANSMIT_MS_MAX) * this.random()
      this.clock.after(millis(pause), () => this.carry(from, to, deliver))
    }
  }

  /** Cuts bytes into other pieces than they were written in. For the streams. */
  pieces(bytes: Uint8Array): readonly Uint8Array[] {
    const at = randomBelow(this.random, 4 * bytes.length)
    return at > 0 && at < bytes.length ? [bytes.subarray(0, at), bytes.subarray(at)] : [bytes]
  }
}

function direction(from: Ip, to: Ip): string {
  return `${from}>${to}`
}
