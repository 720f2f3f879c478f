/** A simulated host: its process gets a processor or does not, its clock may jump, and it can crash. */
import { type Ipv4, parseIpv4 } from '../../../mesh/base/address.ts'
import { type Millis, millis } from '../../../mesh/base/brand.ts'
import type { Clock } from '../../../mesh/base/clock.ts'
import { err, ok, type Result } from '../../../mesh/base/result.ts'
import type { Target } from '../../../mesh/endpoint.ts'
import type { Stream, Transport } from '../../../mesh/transport.ts'
import type { SimNetwork } from './network.ts'
import { SimStream } from './stream.ts'

/** The first port given to the dialling side of a stream. */
const EPHEMERAL_PORT = 32_768

export class SimHost {
  readonly address: Ipv4
  /** On the wire: what streams carry, with the headers and acknowledgements of TCP. */
  bytesIn = 0
  bytesOut = 0
  writes = 0
  /** Nothing of it answers any more. */
  isDown = false
  readonly #network: SimNetwork
  readonly #listeners = new Map<number, (stream: Stream) => void>()
  /** Grows with every process; what an earlier one has left to do is not done. */
  #process = 1
  #pausedUntil = 0
  #wallOffset = 0
  #dials = 0

  constructor(network: SimNetwork, address: Ipv4) {
    this.#network = network
    this.address = address
    network.add(this)
  }

  /** For its present process: timers of an earlier one never fire. */
  clock(): Clock {
    const { clock } = this.#network
    const process = this.#process
    return {
      now: () => clock.now(),
      wallTime: () => millis(Math.max(0, clock.wallTime() + this.#wallOffset)),
      after: (delay, fire) => {
        let isOver = false
        const timer = clock.after(delay, () =>
          this.#whenRunning(0, () => {
            if (!isOver && process === this.#process) fire()
          }),
        )
        return {
          [Symbol.dispose]: () => {
            isOver = true
            timer[Symbol.dispose]()
          },
        }
      },
    }
  }

  transport(): Transport {
    return {
      listen: (at, accept) => {
        if (this.#listeners.has(at.port)) return Promise.reject(new Error(`port ${at.port} is taken`))
        this.#listeners.set(at.port, accept)
        const close = () => Promise.resolve(void this.#listeners.delete(at.port))
        return Promise.resolve({ port: at.port, [Symbol.asyncDispose]: close })
      },
      dial: (to, done) => this.#dial(to, done),
    }
  }

  /** The process gets no processor for this long. */
  pause(duration: Millis): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#network.clock.now() + duration)
  }

  jumpClock(by: number): void {
    this.#wallOffset += by
  }

  /** kill -9 of the process: the kernel stays, and resets its streams. */
  kill(): void {
    this.#process += 1
    this.#pausedUntil = 0
    this.#listeners.clear()
    this.#network.resetAllOf(this.address)
  }

  /** The host loses power: nobody is told anything. */
  crash(): void {
    this.kill()
    this.isDown = true
  }

  boot(): void {
    this.isDown = false
  }

  /** Runs `task` of the present process when it has a processor: after its timers, as Node does. */
  run(task: () => void): void {
    this.#whenRunning(0.01, task)
  }

  #whenRunning(patience: number, task: () => void): void {
    const { clock } = this.#network
    const process = this.#process
    const attempt = (): void => {
      if (process !== this.#process) return
      const wait = this.#pausedUntil - clock.now()
      if (wait <= 0) task()
      else clock.after(millis(wait + patience), attempt)
    }
    attempt()
  }

  #dial(to: Target, done: (outcome: Result<Stream, string>) => void): Disposable {
    let isGivenUp = false
    const process = this.#process
    const report = (outcome: Result<Stream, string>): void => {
      if (process !== this.#process) {
        if (outcome.ok) outcome.value.close()
        return
      }
      this.run(() => {
        if (!isGivenUp) done(outcome)
        else if (outcome.ok) outcome.value.close()
      })
    }
    const address = this.#network.resolve(to.host) ?? parseAddress(to.host)
    if (address === undefined) this.#network.clock.after(millis(1), () => report(err(`${to.host}: no such host`)))
    else this.#connect({ address, port: to.port }, report)
    return {
      [Symbol.dispose]: () => {
        isGivenUp = true
      },
    }
  }

  #connect(to: { readonly address: Ipv4; readonly port: number }, report: (outcome: Result<Stream, string>) => void): void {
    this.#dials += 1
    const from = { address: this.address, port: EPHEMERAL_PORT + (this.#dials % EPHEMERAL_PORT) }
    this.#network.carry(this.address, to.address, () => {
      const other = this.#network.host(to.address)
      const accept = other?.accepting(to.port)
      if (other === undefined) return
      if (accept === undefined) {
        this.#network.carry(to.address, this.address, () => report(err('connection refused')))
        return
      }
      const [near, far] = SimStream.pair(this.#network, this, other, { from, to })
      other.run(() => accept(far))
      this.#network.carry(to.address, this.address, () => report(ok(near)))
    })
  }

  /** For hosts that dial this one. */
  accepting(port: number): ((stream: Stream) => void) | undefined {
    return this.#listeners.get(port)
  }
}

function parseAddress(host: string): Ipv4 | undefined {
  try {
    return parseIpv4(host)
  } catch {
    return undefined
  }
}
