/** Hears all that routers say, and looks whether it is true: what is told of one's own doing is on the disk before. */
import { decodeClaim, isClaimMessage } from '../../../ipam/claims.ts'
import { decodeSpaceMessage } from '../../../ipam/messages.ts'
import type { Vote } from '../../../ipam/paxos.ts'
import type { Ring } from '../../../ipam/ring.ts'
import { encodeDelta } from '../../../ipam/ring-codec.ts'
import { isVerdict } from '../../../ipam/verdicts.ts'
import { decodeBootstrap, decodeVote, isBootstrapMessage } from '../../../ipam/vote.ts'
import type { Cidr } from '../../../mesh/base/address.ts'
import type { PeerName } from '../../../mesh/base/brand.ts'
import * as must from './ipam-invariants.ts'
import { JOURNAL_PATH, type SimRouter, VOTE_PATH } from './ipam-router.ts'
import { ringIn } from './journal-view.ts'

interface WitnessPorts {
  readonly universe: Cidr
  note(what: string): void
  violate(...texts: readonly string[]): void
}

export class Witness {
  readonly #ports: WitnessPorts
  /** The highest round that each has promised to take part in. */
  readonly #rounds = new Map<PeerName, number>()

  constructor(ports: WitnessPorts) {
    this.#ports = ports
  }

  /** A message that is about to be sent; to all when `to` is undefined. */
  said(router: SimRouter, message: Uint8Array, to: PeerName | undefined): void {
    // Where the disk fails, what others have told is known without being on it.
    if (router.life?.ipam.status().journalFault !== undefined) return
    if (to === undefined) this.#toldAll(router, message)
    else if (isBootstrapMessage(message)) this.#voted(router, message)
    else this.#toldOne(router, message)
  }

  #toldAll(router: SimRouter, message: Uint8Array): void {
    if (isVerdict(message)) return
    const hosts = [...router.held.values()].map((address) => address - this.#ports.universe.base)
    this.#ports.violate(...must.told(router.name, message, this.#durable(router)), ...must.keepsItsPods(router.name, message, hosts))
  }

  #toldOne(router: SimRouter, message: Uint8Array): void {
    const claim = isClaimMessage(message) ? decodeClaim(message) : undefined
    if (claim?.ok === true && claim.value.kind === 'answer' && claim.value.used.length > 0)
      this.#ports.note('a claimed address was refused')
    const space = decodeSpaceMessage(message)
    if (!space.ok || space.value.kind !== 'grant') return
    this.#ports.note('a range was given')
    this.#ports.violate(...must.told(router.name, encodeDelta(space.value.delta), this.#durable(router)))
  }

  /** What a voter says is on its disk, and it never goes back behind what it has said. */
  #voted(router: SimRouter, bytes: Uint8Array): void {
    const decoded = decodeBootstrap(bytes)
    if (!decoded.ok) return
    const { message } = decoded.value
    if (message.kind === 'accepted' && voteOf(router, this.#ports.universe)?.accepted === undefined)
      this.#ports.violate(`I10: ${router.name} says that it has accepted what is not on its disk`)
    if (message.kind !== 'promise' && message.kind !== 'accepted') return
    const before = this.#rounds.get(router.name) ?? 0
    const { round } = message.ballot
    this.#rounds.set(router.name, Math.max(before, round))
    if (round < before) this.#ports.violate(`I6: ${router.name} votes in round ${round} after one in round ${before}`)
  }

  #durable(router: SimRouter): Ring | undefined {
    const bytes = router.files.durable(JOURNAL_PATH)
    return bytes === undefined ? undefined : ringIn(bytes, this.#ports.universe)
  }
}

/** What is on its disk. */
export function voteOf(router: SimRouter, universe: Cidr): Vote | undefined {
  const bytes = router.files.durable(VOTE_PATH)
  const vote = bytes === undefined ? undefined : decodeVote(router.name, universe, bytes)
  return vote?.ok === true ? vote.value : undefined
}
