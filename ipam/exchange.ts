/**
 * What IPAM says to other peers and hears from them: its part of the mesh's gossip. It decodes what comes and
 * hands it to whom it concerns; what is wrong with it is noted as the fault of whoever sent it.
 */
import type { Millis, PeerName } from '../mesh/base/brand.ts'
import { err, ok, type Result } from '../mesh/base/result.ts'
import type { GossipFault, GossipPart, Merged, News } from '../mesh/gossip.ts'
import type { Allocator } from './allocator.ts'
import type { Bootstrap } from './bootstrap.ts'
import { isCensusMessage } from './census.ts'
import { type Claims, isClaimMessage } from './claims.ts'
import type { Faults } from './faults.ts'
import type { Ledger } from './ledger.ts'
import type { Members } from './members.ts'
import { decodeSpaceMessage } from './messages.ts'
import type { Ring } from './ring.ts'
import { decodeDelta } from './ring-codec.ts'
import { decodeSummary, missingDeltas, ringDigest, ringSummary } from './ring-digest.ts'
import type { Rivalry } from './rivalry.ts'
import { isTakeoverMessage } from './takeover-messages.ts'
import type { Upkeep } from './upkeep.ts'
import { isVerdict } from './verdicts.ts'
import { isBootstrapMessage } from './vote.ts'

interface ExchangeParts {
  readonly ledger: Ledger
  readonly allocator: Allocator
  readonly bootstrap: Bootstrap
  readonly rivalry: Rivalry
  readonly claims: Claims
  readonly upkeep: Upkeep
  readonly members: Members
  readonly faults: Faults
  now(): Millis
  /** Something has come, and may have effects that are to be performed, or bring addresses to those who wait. */
  serve(): void
}

export class Exchange implements GossipPart {
  readonly channel = 'ipam'
  readonly #parts: ExchangeParts
  #digest: { readonly ring: Ring | undefined; readonly bytes: Uint8Array } | undefined

  constructor(parts: ExchangeParts) {
    this.#parts = parts
  }

  digest(): Uint8Array {
    const { ring, universe } = this.#parts.ledger
    if (this.#digest === undefined || this.#digest.ring !== ring) this.#digest = { ring, bytes: ringDigest(universe, ring) }
    return this.#digest.bytes
  }

  /** Whoever is to take another ring asks for the whole of it. */
  summary(): Uint8Array {
    const { ledger, rivalry } = this.#parts
    return ringSummary(ledger.universe, rivalry.awaited === undefined ? ledger.ring : undefined)
  }

  missing(bytes: Uint8Array): Result<readonly News[], GossipFault> {
    const { ledger, rivalry, faults } = this.#parts
    const summary = decodeSummary(bytes)
    if (!summary.ok) return summary
    const foreign = ledger.foreign(summary.value)
    if (foreign !== undefined) {
      faults.add(foreign.detail)
      return rivalry.isRival(summary.value) ? ok(rivalry.met(summary.value.seedId, undefined)) : err(foreign)
    }
    const { ring, universe } = ledger
    const deltas = ring === undefined ? [] : missingDeltas(universe, ring, summary.value)
    return ok(deltas.map((delta) => ({ key: undefined, delta })))
  }

  merge(bytes: Uint8Array, from: PeerName): Result<Merged, GossipFault> {
    const { allocator, rivalry, faults, now, serve } = this.#parts
    if (isVerdict(bytes)) return rivalry.receive(bytes)
    const delta = decodeDelta(bytes)
    if (delta.ok && rivalry.gather(delta.value, from)) {
      serve()
      return ok({ news: [], held: [], faults: [] })
    }
    const merged = delta.ok ? allocator.merge(delta.value, now()) : delta
    const found = merged.ok ? merged.value.faults : [merged.error]
    const isRival = delta.ok && rivalry.isRival(delta.value)
    for (const { detail } of found) faults.add(isRival ? detail : `from ${from}: ${detail}`)
    serve()
    return merged
  }

  receive(bytes: Uint8Array, from: PeerName): void {
    const received = this.#dispatch(bytes, from)
    if (!received.ok) this.#parts.faults.add(`from ${from}: ${received.error.detail}`)
    this.#parts.serve()
  }

  #dispatch(bytes: Uint8Array, from: PeerName): Result<void, GossipFault> {
    const { allocator, bootstrap, claims, upkeep, members, now } = this.#parts
    if (isBootstrapMessage(bytes)) return bootstrap.receive(bytes, from)
    if (isClaimMessage(bytes)) return claims.receive(bytes, from)
    if (isCensusMessage(bytes)) return upkeep.receive(bytes, from)
    if (isTakeoverMessage(bytes)) return members.receive(bytes, from)
    const message = decodeSpaceMessage(bytes)
    return message.ok ? allocator.receive(from, message.value, now()) : message
  }
}
