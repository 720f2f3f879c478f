/** Callers who ask for addresses: each is a promise and a signal outside, and a number in the allocator. */
import type { Ipv4 } from '../mesh/base/address.ts'
import type { Millis } from '../mesh/base/brand.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import type { AllocateError, Allocator, AllocatorEffect } from './allocator.ts'
import type { AttachmentKey } from './attachment.ts'
import { Awaited } from './awaited.ts'
import type { Ledger } from './ledger.ts'
import { hostAddress } from './universe.ts'
import { type Wanted, wishFor } from './wish.ts'

interface RequestPorts {
  readonly ledger: Ledger
  readonly allocator: Allocator
  now(): Millis
  /** The allocator has effects. */
  perform(): void
  /** In the words of whoever knows what is waited for. */
  explained(error: AllocateError): AllocateError
}

export class Requests {
  readonly #ports: RequestPorts
  readonly #allocated = new Awaited<Result<number, AllocateError>>()
  #count = 0
  #isClosed = false

  constructor(ports: RequestPorts) {
    this.#ports = ports
  }

  async allocate(key: AttachmentKey, signal: AbortSignal, wanted: Wanted): Promise<Result<Ipv4, AllocateError>> {
    const { ledger, allocator, now, perform } = this.#ports
    if (signal.aborted || this.#isClosed)
      return err({ code: 'cancelled', text: this.#isClosed ? 'the router is shutting down' : 'the caller went away' })
    const wish = wishFor(ledger.universe, wanted)
    if (!wish.ok) return err({ code: 'impossible', text: wish.error })
    const request = this.#count++
    const cancel = (): void => {
      allocator.cancel(request)
      perform()
    }
    signal.addEventListener('abort', cancel, { once: true })
    const settled = this.#allocated.wait(request)
    allocator.allocate(request, key, now(), wish.value)
    perform()
    const result = await settled
    signal.removeEventListener('abort', cancel)
    return result.ok ? ok(hostAddress(ledger.universe, result.value)) : err(this.#ports.explained(result.error))
  }

  settle(effect: AllocatorEffect & { kind: 'settle' }): void {
    this.#allocated.settle(effect)
  }

  /** Whoever waits is told that we are closing. */
  close(): void {
    this.#isClosed = true
    this.#ports.allocator.close()
    this.#ports.perform()
  }
}
