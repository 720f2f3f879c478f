/**
 * The search for any address of a range, be it all of the universe: one owner of a part of it after the other is asked
 * for space there, until somebody has some, or all had none.
 */
import type { Range } from '../mesh/base/address.ts'
import { type Millis, millis, type PeerName } from '../mesh/base/brand.ts'
import type { Random } from '../mesh/base/random.ts'
import { Asking, type Left, type Prospects } from './donation.ts'
import { encodeSpaceMessage } from './messages.ts'
import { namesOf } from './names.ts'
import { entriesWithin, gapsOf, type Ring } from './ring.ts'
import { sizeOf } from './runs.ts'
import type { Search, SearchError, SearchPorts, SearchStep } from './search.ts'
import { type Wish, wishText } from './wish.ts'

/**
 * Space that moves between two others while we ask one after the other is with neither of them. Once those who wait
 * there have been served it rests: all are asked once more this much later, before we say that there is none.
 */
const SPACE_RESTS_AFTER: Millis = millis(250)

export class SpaceSearch implements Search {
  readonly wish: Wish
  readonly waiting: Map<number, Millis> = new Map()
  readonly #ports: SearchPorts
  readonly #asking: Asking
  /** How many of the host numbers we owned when we asked last. */
  #sizeAtAsk = 0
  /** When it was last seen to whom to ask; a moment that has come since then has not been heeded yet. */
  #lookedAt: Millis = millis(0)

  constructor(wish: Wish, random: Random, ports: SearchPorts) {
    this.wish = wish
    this.#asking = new Asking(random)
    this.#ports = ports
  }

  step(ring: Ring | undefined, now: Millis): SearchStep {
    this.#asking.tick(now)
    this.#lookedAt = now
    if (ring === undefined || this.waiting.size === 0) return { inVain: [], send: undefined }
    const owners = this.#otherOwners(ring)
    const inVain = this.#isAllOwned(ring) ? this.#waitInVain(this.#asking.emptySince(owners.keys())) : []
    const others = [...this.waiting].filter(([request]) => inVain.every((one) => one.request !== request))
    if (others.length === 0) return { inVain, send: undefined }
    const since = others.map(([, came]) => (isRested(came, now) ? restedAt(came) : came))
    const ask = this.#asking.next(owners, this.#ports.reachable(), { now, since: millis(Math.max(...since)) })
    if (ask === undefined) return { inVain, send: undefined }
    this.#sizeAtAsk = this.#size()
    const within = this.wish.kind === 'any' ? undefined : this.wish.within
    return { inVain, send: { to: ask.peer, message: encodeSpaceMessage({ kind: 'ask', id: ask.id, seedId: ring.seedId, within }) } }
  }

  wakeAt(): Millis | undefined {
    const unheeded = [...this.waiting.values()].filter((since) => !isRested(since, this.#lookedAt)).map(restedAt)
    const due = [...unheeded, this.#asking.wakeAt()].filter((at) => at !== undefined)
    return due.length === 0 ? undefined : millis(Math.min(...due))
  }

  unsent(to: PeerName, now: Millis): void {
    this.#asking.unsent(to, now)
  }

  /** `from` has answered, and what it gave is merged. @param free how many more it could give. */
  answered(
    from: PeerName,
    { id, free, isGrant }: { readonly id: number; readonly free: number; readonly isGrant: boolean },
    now: Millis,
  ): void {
    // The broadcast of the same grant may have been here before it.
    const hasGained = isGrant && this.#size() > this.#sizeAtAsk
    const left: Left = free === 0 ? 'none' : hasGained ? 'more' : 'withheld'
    this.#asking.answered(from, id, left, now)
  }

  prospects(): Prospects {
    const { ring } = this.#ports.ledger
    return this.#asking.prospects(ring === undefined ? new Map() : this.#otherOwners(ring), this.#ports.reachable())
  }

  reason(): SearchError {
    const { denied, withheld, silent, unreachable: gone, open } = this.prospects()
    const parts = [
      { peers: denied, what: 'have none free' },
      { peers: [...silent, ...open], what: 'did not answer' },
      { peers: withheld, what: 'may have some and cannot give it now' },
      { peers: gone, what: 'own more of the range and cannot be reached' },
    ].filter(({ peers }) => peers.length > 0)
    const { ledger } = this.#ports
    const range = this.wish.kind === 'any' ? 'range' : `subnet ${wishText(ledger.universe, this.wish)}`
    const isExhausted = parts.every(({ peers }) => peers === denied) && ledger.ring !== undefined && this.#isAllOwned(ledger.ring)
    const none = this.wish.kind === 'any' ? 'no address is free here' : `no address of the ${range} is free here`
    const here = isExhausted ? `${range} exhausted: no address is free here` : none
    const words = [here, ...parts.map(({ peers, what }) => `${namesOf(peers)} ${what}`)]
    if (!isExhausted && parts.length === 0) words.push('nobody knows yet whose the rest of it is')
    return { code: isExhausted ? 'exhausted' : 'unreachable', text: words.join('; ') }
  }

  /** Who has waited for long enough when nobody had an address, if that was since `emptySince`. */
  #waitInVain(emptySince: number | undefined): SearchStep['inVain'] {
    if (emptySince === undefined) return []
    const error = this.reason()
    return [...this.waiting].filter(([, since]) => restedAt(since) <= emptySince).map(([request]) => ({ request, error }))
  }

  /** How many host numbers each other peer owns. */
  #otherOwners(ring: Ring): ReadonlyMap<PeerName, number> {
    const owners = new Map<PeerName, number>()
    for (const { owner, token, end } of entriesWithin(ring, this.wish.within)) {
      const size = sizeOf([this.#clipped({ start: token, end })])
      if (owner !== this.#ports.ledger.self && !ring.retired.has(owner)) owners.set(owner, (owners.get(owner) ?? 0) + size)
    }
    return owners
  }

  /** How many of the host numbers we own. */
  #size(): number {
    const { ring, self } = this.#ports.ledger
    const own = ring === undefined ? [] : entriesWithin(ring, this.wish.within).filter(({ owner }) => owner === self)
    return sizeOf(own.map(({ token, end }) => this.#clipped({ start: token, end })))
  }

  /** What is of nobody yet, or of a peer that is gone, may be somebody's soon. */
  #isAllOwned(ring: Ring): boolean {
    const { start, end } = this.wish.within
    if (gapsOf(ring).some((gap) => gap.start < end && gap.end > start)) return false
    return entriesWithin(ring, this.wish.within).every(({ owner }) => !ring.retired.has(owner))
  }

  #clipped({ start, end }: Range): Range {
    return { start: Math.max(start, this.wish.within.start), end: Math.min(end, this.wish.within.end) }
  }
}

function restedAt(since: Millis): Millis {
  return millis(since + SPACE_RESTS_AFTER)
}

function isRested(since: Millis, now: Millis): boolean {
  return restedAt(since) <= now
}
