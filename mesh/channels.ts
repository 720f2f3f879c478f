/**
 * Which gossip goes to which neighbour: news at once to all others, and what was lost by comparing digests. One
 * exchange, begun by A's digests, when B finds that its own differ:
 *
 *   A → B  digests
 *   B → A  summary of B (asks for A's)
 *   A → B  deltas that B lacks, summary of A
 *   B → A  deltas that A lacks
 */
import type { Millis, PeerName } from './base/brand.ts'
import { millis, seconds } from './base/brand.ts'
import { bytesEqual } from './base/bytes.ts'
import { assert, unreachable } from './base/result.ts'
import type { FaultCode } from './faults.ts'
import type { GossipFault, GossipPart } from './gossip.ts'
import { type ChannelDigest, type GossipMessage, isChannel } from './messages.ts'

export interface Outgoing {
  readonly to: PeerName
  readonly message: GossipMessage
}

/** Digests differ while news is still on its way: asking more often would only move the same deltas twice. */
const EXCHANGE_INTERVAL_MIN: Millis = seconds(1)
/** An exchange brings one summary, two when both sides begin at once; more is a neighbour that wants to keep us busy. */
export const SUMMARIES_PER_SECOND_MAX = 8

interface Neighbour {
  /** When we last asked for its summary, by channel. */
  readonly askedAt: Map<string, Millis>
  /** The second in which it sent its last summaries, and how many, by channel. */
  readonly summaries: Map<string, { readonly since: Millis; readonly count: number }>
}

type ReportFault = (from: PeerName, code: FaultCode, detail: string) => void

/** Holds the parts, and who our neighbours are. Sends nothing itself: every call returns what is to be sent. */
export class Channels {
  readonly #parts = new Map<string, GossipPart>()
  readonly #neighbours = new Map<PeerName, Neighbour>()
  readonly #reportFault: ReportFault

  constructor(reportFault: ReportFault) {
    this.#reportFault = reportFault
  }

  register(part: GossipPart): void {
    assert(isChannel(part.channel), `${part.channel} is a proper name of a channel`)
    assert(!this.#parts.has(part.channel), `the channel ${part.channel} is registered once`)
    this.#parts.set(part.channel, part)
  }

  up(name: PeerName): void {
    this.#neighbours.set(name, { askedAt: new Map(), summaries: new Map() })
  }

  down(name: PeerName): void {
    this.#neighbours.delete(name)
  }

  digests(): readonly ChannelDigest[] {
    return [...this.#parts.values()].map((part) => ({ channel: part.channel, digest: part.digest() }))
  }

  /** News of our own, or what one neighbour told, for all others. */
  spread(channel: string, bytes: Uint8Array, except?: PeerName): readonly Outgoing[] {
    const others = [...this.#neighbours.keys()].filter((name) => name !== except)
    return others.map((to) => ({ to, message: { kind: 'delta', channel, bytes } }))
  }

  receive(from: PeerName, message: GossipMessage, now: Millis): readonly Outgoing[] {
    if (message.kind === 'digests') return message.digests.flatMap((digest) => this.#onDigest(from, digest, now))
    const part = this.#parts.get(message.channel)
    if (part === undefined) {
      this.#reportFault(from, 'channel', `gossip on the unknown channel ${message.channel}`)
      return []
    }
    switch (message.kind) {
      case 'delta':
        return this.#onDelta(part, message.bytes, from)
      case 'summary':
        return this.#onSummary(part, message, from, now)
      case 'unicast':
        part.receive(message.bytes, from)
        return []
      default:
        return unreachable(message)
    }
  }

  /** An unknown channel here is no fault: a peer of another version may have one more. */
  #onDigest(from: PeerName, { channel, digest }: ChannelDigest, now: Millis): readonly Outgoing[] {
    const part = this.#parts.get(channel)
    const neighbour = this.#neighbours.get(from)
    if (part === undefined || neighbour === undefined || bytesEqual(part.digest(), digest)) return []
    const askedAt = neighbour.askedAt.get(channel)
    if (askedAt !== undefined && now - askedAt < EXCHANGE_INTERVAL_MIN) return []
    neighbour.askedAt.set(channel, now)
    return [{ to: from, message: { kind: 'summary', channel, bytes: part.summary(), wantsOurs: true } }]
  }

  #onDelta(part: GossipPart, bytes: Uint8Array, from: PeerName): readonly Outgoing[] {
    const merged = part.merge(bytes, from)
    if (!merged.ok) {
      this.#reportGossip(from, part, merged.error)
      return []
    }
    for (const fault of merged.value.faults) this.#reportGossip(from, part, fault)
    const { news } = merged.value
    return news === undefined ? [] : this.spread(part.channel, news, from)
  }

  #onSummary(part: GossipPart, message: GossipMessage & { kind: 'summary' }, from: PeerName, now: Millis): readonly Outgoing[] {
    const { channel, bytes, wantsOurs } = message
    if (!this.#mayAsk(from, channel, now)) {
      this.#reportFault(from, 'flood', `more than ${SUMMARIES_PER_SECOND_MAX} summaries of ${channel} in a second`)
      return []
    }
    const missing = part.missing(bytes)
    if (!missing.ok) {
      this.#reportGossip(from, part, missing.error)
      return []
    }
    const deltas = missing.value.map((delta): Outgoing => ({ to: from, message: { kind: 'delta', channel, bytes: delta } }))
    if (!wantsOurs) return deltas
    return [...deltas, { to: from, message: { kind: 'summary', channel, bytes: part.summary(), wantsOurs: false } }]
  }

  #mayAsk(from: PeerName, channel: string, now: Millis): boolean {
    const summaries = this.#neighbours.get(from)?.summaries
    const last = summaries?.get(channel)
    const current = last !== undefined && now - last.since < 1_000 ? last : { since: millis(now), count: 0 }
    if (current.count >= SUMMARIES_PER_SECOND_MAX) return false
    summaries?.set(channel, { since: current.since, count: current.count + 1 })
    return true
  }

  #reportGossip(from: PeerName, part: GossipPart, { code, detail }: GossipFault): void {
    this.#reportFault(from, code, `${part.channel}: ${detail}`)
  }
}
