/**
 * Who belongs to the ring by a person's word, and whether we do: binds taking over from peers that are gone, leaving, and
 * finding out whether one still belongs. It decides nothing, and owns no timer: whoever owns it performs the effects.
 */
import type { Ipv4 } from '../mesh/base/address.ts'
import { type Millis, millis, type PeerName } from '../mesh/base/brand.ts'
import type { Clock } from '../mesh/base/clock.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import type { AttachmentKey } from './attachment.ts'
import { Awaited } from './awaited.ts'
import { type LeaveError, type LeaveOptions, Leaving, type Left } from './leaving.ts'
import { Returning } from './returning.ts'
import { retirementText } from './takeover.ts'
import type { TakeoverError } from './takeover-errors.ts'
import { decodeTakeoverMessage } from './takeover-messages.ts'
import { type TakeoverEffect, type TakeoverOptions, type TakeoverPorts, Takeovers } from './takeovers.ts'
import { hostAddress } from './universe.ts'

/** Our own name was retired: we allocate nothing any more, and must join under another name. */
export interface OwnRetirement {
  readonly by: PeerName
  /** What pods of this node have, and others may be given now; empty when we left in good order. */
  readonly lost: ReadonlyMap<AttachmentKey, Ipv4>
}

export interface MembersPorts extends TakeoverPorts {
  readonly clock: Clock
  trouble(text: string): void
  /** Something was asked for: there may be effects, free addresses, or none any more. */
  serve(): void
}

export type MembersEffect = Exclude<TakeoverEffect, { readonly kind: 'taken' }>

const CLOSING = 'the router is shutting down'

export class Members {
  readonly #ports: MembersPorts
  readonly #takeovers: Takeovers
  readonly #leaving: Leaving
  readonly #returning: Returning
  readonly #taken = new Awaited<Result<number, TakeoverError>>()
  readonly #left = new Awaited<Result<Left, LeaveError>>()
  #onRetired: ((retirement: OwnRetirement) => void) | undefined
  #isRetirementTold = false
  #requests = 0
  #isClosed = false

  constructor(ports: MembersPorts) {
    this.#ports = ports
    this.#takeovers = new Takeovers(ports)
    this.#leaving = new Leaving(ports)
    this.#returning = new Returning(ports)
  }

  /**
   * Takes over all ranges of `peer`, which a person says is gone, and retires its name: how many addresses are
   * ours now. Never waits longer than 8 s. `takeovers.ts` says what is promised.
   */
  takeOver(peer: PeerName, options: TakeoverOptions): Promise<Result<number, TakeoverError>> {
    if (this.#isClosed) return Promise.resolve(err({ code: 'silent', text: CLOSING, peers: [] }))
    const request = this.#requests++
    const settled = this.#taken.wait(request)
    this.#takeovers.start(request, peer, options, this.#now())
    this.#ports.serve()
    return settled
  }

  /** Hands over all that no pod uses, and retires our own name. Never waits longer than 8 s. */
  leave(options: LeaveOptions): Promise<Result<Left, LeaveError>> {
    if (this.#isClosed) return Promise.resolve(err({ code: 'silent', text: CLOSING }))
    const request = this.#requests++
    const settled = this.#left.wait(request)
    this.#leaving.leave(request, options, this.#now())
    this.#ports.serve()
    return settled
  }

  /** Our own name. */
  get self(): PeerName {
    return this.#ports.ledger.self
  }

  /** By whom our own name was retired. */
  get retiredBy(): PeerName | undefined {
    return this.#ports.ledger.retiredBy
  }

  /** Calls `listener` once when our own name is found to be retired; at once if it is already. */
  onRetired(listener: (retirement: OwnRetirement) => void): void {
    this.#onRetired = listener
    this.#isRetirementTold = false
    this.#tellRetirement()
  }

  /** Nothing new may be given out or asked for now. */
  get isHeld(): boolean {
    return this.#leaving.isUnderWay || this.#returning.isUnsure
  }

  /** Our ring is one in which something may have become of us without our hearing of it. */
  comeBack(known: readonly PeerName[]): void {
    this.#returning.begin(known, this.#now())
  }

  receive(bytes: Uint8Array, from: PeerName): Result<void, GossipFault> {
    const message = decodeTakeoverMessage(bytes)
    if (!message.ok) return message
    for (const part of [this.#takeovers, this.#leaving, this.#returning]) {
      const received = part.receive(from, message.value, this.#now())
      if (!received.ok) return received
    }
    return ok(undefined)
  }

  /** What is to be done since the last call, in order. Whoever waited for an answer of ours has it now. */
  drain(): readonly MembersEffect[] {
    const effects: MembersEffect[] = []
    for (const effect of [...this.#takeovers.drain(), ...this.#leaving.drain(), ...this.#returning.drain()]) {
      if (effect.kind === 'taken') this.#taken.settle(effect)
      else if (effect.kind === 'left') this.#left.settle(effect)
      else effects.push(effect)
    }
    this.#tellRetirement()
    return effects
  }

  /** When to call `tick`, at the latest; undefined when nothing is under way. */
  wakeAt(): Millis | undefined {
    const moments = [this.#takeovers, this.#leaving, this.#returning].map((part) => part.wakeAt()).filter((at) => at !== undefined)
    return moments.length === 0 ? undefined : millis(Math.min(...moments))
  }

  tick(): void {
    for (const part of [this.#takeovers, this.#leaving, this.#returning]) part.tick(this.#now())
  }

  /** Whoever waits is told that we are closing. */
  close(): void {
    this.#isClosed = true
    this.#taken.settleAll(err({ code: 'silent', text: CLOSING, peers: [] }))
    this.#left.settleAll(err({ code: 'silent', text: CLOSING }))
  }

  #tellRetirement(): void {
    const { self, universe, allocations } = this.#ports.ledger
    const by = this.retiredBy
    if (by === undefined || this.#isRetirementTold || this.#onRetired === undefined) return
    this.#isRetirementTold = true
    const lost = by === self ? new Map() : new Map([...allocations].map(([key, host]) => [key, hostAddress(universe, host)]))
    this.#ports.trouble(retirementText(self, by))
    this.#onRetired({ by, lost })
  }

  #now(): Millis {
    return this.#ports.clock.now()
  }
}
