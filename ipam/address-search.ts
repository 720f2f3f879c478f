/**
 * The search for exactly one address: its owner is asked for it with a claim, as in `claims.ts`. Whoever has it in use
 * says so, and that is the end of it; who is away, or silent, is asked again until the callers give up.
 */
import { formatIpv4 } from '../mesh/base/address.ts'
import { type Millis, millis, type PeerName, seconds } from '../mesh/base/brand.ts'
import { type ClaimMessage, encodeClaim } from './claims.ts'
import type { Prospects } from './donation.ts'
import { entryOver, type Ring } from './ring.ts'
import type { Search, SearchError, SearchPorts, SearchStep } from './search.ts'
import { hostAddress } from './universe.ts'
import type { Wish } from './wish.ts'

/** An owner answers within one round trip and one fsync. */
const ANSWER_TIMEOUT: Millis = seconds(2)
/** What kept an owner from giving it may be over by then. */
const ASK_AGAIN: Millis = seconds(1)

type Answer = 'awaited' | 'silent' | 'withheld' | 'used'

/** The claim that was sent last. */
interface Claim {
  readonly owner: PeerName
  readonly at: Millis
  readonly answer: Answer
}

export class AddressSearch implements Search {
  readonly wish: Wish
  readonly waiting: Map<number, Millis> = new Map()
  readonly #ports: SearchPorts
  #claim: Claim | undefined

  constructor(wish: Wish, ports: SearchPorts) {
    this.wish = wish
    this.#ports = ports
  }

  step(ring: Ring | undefined, now: Millis): SearchStep {
    this.#look(now)
    const inVain = this.#waitInVain()
    const owner = this.#owner()
    if (ring === undefined || owner === undefined || inVain.length === this.waiting.size) return { inVain, send: undefined }
    const isNear = owner !== this.#ports.ledger.self && !ring.retired.has(owner) && this.#ports.reachable().includes(owner)
    if (!isNear || !this.#isDue(now)) return { inVain, send: undefined }
    this.#claim = { owner, at: now, answer: 'awaited' }
    const hosts = [this.wish.within.start]
    return { inVain, send: { to: owner, message: encodeClaim({ kind: 'claim', seedId: ring.seedId, hosts }) } }
  }

  wakeAt(): Millis | undefined {
    return this.#claim?.answer === 'awaited' ? millis(this.#claim.at + ANSWER_TIMEOUT) : undefined
  }

  unsent(to: PeerName, now: Millis): void {
    if (this.#claim?.owner === to && this.#claim.answer === 'awaited') this.#claim = { owner: to, at: now, answer: 'silent' }
  }

  /** `from` has answered a claim, of which it may be that this address was none, and what it gave is merged. */
  answered(from: PeerName, { used, delta }: ClaimMessage & { kind: 'answer' }, now: Millis): void {
    const claim = this.#claim
    const host = this.wish.within.start
    if (claim?.owner !== from || claim.answer === 'used') return
    if (used.includes(host)) this.#claim = { ...claim, answer: 'used' }
    else if (delta.items.some(({ token, end }) => token <= host && host < end)) this.#claim = { owner: from, at: now, answer: 'withheld' }
  }

  prospects(): Prospects {
    const found = { denied: [], withheld: [], silent: [], unreachable: [], open: [] }
    const owner = this.#owner()
    if (owner === undefined || owner === this.#ports.ledger.self) return found
    if (!this.#ports.reachable().includes(owner)) return { ...found, unreachable: [owner] }
    const answer = this.#claim?.owner === owner ? this.#claim.answer : 'awaited'
    return { ...found, [{ used: 'denied', withheld: 'withheld', silent: 'silent', awaited: 'open' }[answer]]: [owner] }
  }

  reason(): SearchError {
    const { ledger } = this.#ports
    const address = formatIpv4(hostAddress(ledger.universe, this.wish.within.start))
    const claim = this.#claim
    const owner = this.#owner()
    if (owner !== undefined && claim?.owner === owner && claim.answer === 'used')
      return { code: 'taken', text: `${address} is in use on ${owner}` }
    const why = this.#why(owner)
    return { code: 'unreachable', text: `${address} is in a range ${why}` }
  }

  #why(owner: PeerName | undefined): string {
    const { ledger, reachable } = this.#ports
    if (owner === undefined) return 'whose owner is not known yet'
    if (owner === ledger.self) return 'of this node, which may not give it now'
    if (ledger.ring?.retired.has(owner) === true) return `of ${owner}, which is gone, and nobody has taken it over yet`
    if (!reachable().includes(owner)) return `of ${owner}, which cannot be reached`
    return this.#claim?.answer === 'withheld' ? `of ${owner}, which may not give it now` : `of ${owner}, which did not answer`
  }

  #owner(): PeerName | undefined {
    const { ring } = this.#ports.ledger
    return ring === undefined ? undefined : entryOver(ring, this.wish.within.start)?.owner
  }

  /** What another owner said does not count any more; nor that there was nothing to be heard, once it is too late. */
  #look(now: Millis): void {
    if (this.#claim?.owner !== this.#owner()) this.#claim = undefined
    else if (this.#claim?.answer === 'awaited' && now >= this.#claim.at + ANSWER_TIMEOUT) this.#claim = { ...this.#claim, answer: 'silent' }
  }

  /** Who came after it was asked may have better luck. */
  #waitInVain(): SearchStep['inVain'] {
    const claim = this.#claim
    if (claim?.answer !== 'used') return []
    const error = this.reason()
    return [...this.waiting].filter(([, since]) => since <= claim.at).map(([request]) => ({ request, error }))
  }

  #isDue(now: Millis): boolean {
    if (this.#claim === undefined) return true
    const { answer, at } = this.#claim
    return answer === 'used' || (answer !== 'awaited' && now >= at + ASK_AGAIN)
  }
}
