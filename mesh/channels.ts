/**
 * Which gossip goes to which neighbour: news soon to all others, and what was lost by comparing digests. One
 * exchange, begun by A's digests, when B finds that its own differ:
 *
 *   A → B  digests
 *   B → A  summary of B (asks for A's)
 *   A → B  deltas that B lacks, summary of A
 *   B → A  deltas that A lacks
 *
 * Where there is much to tell, offers go instead of deltas, and are answered by wants, and these by deltas: each peer is
 * told a thing by one neighbour, not by all of them.
 *
 * News waits in an outbox per neighbour until somebody takes it: what is overtaken meanwhile by later news, or turns out
 * to be known to the neighbour, is never sent. A neighbour that is further behind than an outbox holds gets our digests
 * after that, and by them, in as many exchanges as it takes, all that it lacks.
 */
import { Allowance } from './allowance.ts'
import type { Millis, PeerName } from './base/brand.ts'
import { millis, seconds } from './base/brand.ts'
import { bytesEqual } from './base/bytes.ts'
import { assert, err, unreachable } from './base/result.ts'
import type { FaultCode } from './faults.ts'
import type { GossipFault, GossipPart, News } from './gossip.ts'
import { type ChannelDigest, type ChannelMessage, DELTAS_MAX, isChannel } from './messages.ts'
import { Outbox } from './outbox.ts'
import { type Request, Wants } from './wants.ts'

/** What is answered at once. */
export interface Outgoing {
  readonly to: PeerName
  readonly message: ChannelMessage
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
  readonly outbox: Outbox
  /** What it may make us do, by channel. */
  readonly allowances: Map<string, Allowance>
}

type ReportFault = (from: PeerName, code: FaultCode, detail: string) => void

/** Holds the parts, and who our neighbours are. Sends nothing itself: `receive` returns answers, `take` news. */
export class Channels {
  readonly #parts = new Map<string, GossipPart>()
  readonly #neighbours = new Map<PeerName, Neighbour>()
  readonly #reportFault: ReportFault
  readonly #wants = new Wants()

  constructor(reportFault: ReportFault) {
    this.#reportFault = reportFault
  }

  register(part: GossipPart): void {
    assert(isChannel(part.channel), `${part.channel} is a proper name of a channel`)
    assert(!this.#parts.has(part.channel), `the channel ${part.channel} is registered once`)
    this.#parts.set(part.channel, part)
  }

  part(channel: string): GossipPart | undefined {
    return this.#parts.get(channel)
  }

  up(name: PeerName): void {
    this.#neighbours.set(name, { askedAt: new Map(), summaries: new Map(), outbox: new Outbox(), allowances: new Map() })
  }

  down(name: PeerName): void {
    this.#neighbours.delete(name)
    this.#wants.down(name)
  }

  /** Something was asked of a neighbour and has not come yet: see `chase`. */
  get isWaiting(): boolean {
    return !this.#wants.isEmpty
  }

  /** Asks others for what did not come in time. */
  chase(now: Millis): readonly Outgoing[] {
    return requestMessages(this.#wants.overdue(now))
  }

  digests(): readonly ChannelDigest[] {
    return [...this.#parts.values()].map((part) => ({ channel: part.channel, digest: part.digest() }))
  }

  /** News of our own, or what one neighbour told, for all others. */
  spread(channel: string, news: readonly News[], except?: PeerName): void {
    for (const [name, { outbox }] of this.#neighbours) {
      if (name !== except) outbox.add(channel, news)
    }
  }

  /** News for one neighbour. */
  tell(name: PeerName, channel: string, news: readonly News[]): void {
    this.#neighbours.get(name)?.outbox.add(channel, news)
  }

  /** Those for whom there is something to take. */
  waiting(): readonly PeerName[] {
    return [...this.#neighbours].filter(([, { outbox }]) => !outbox.isEmpty || outbox.isBehind).map(([name]) => name)
  }

  /** The next portion of what a neighbour is to be told; it counts as sent. */
  take(name: PeerName): readonly ChannelMessage[] {
    const outbox = this.#neighbours.get(name)?.outbox
    if (outbox === undefined) return []
    const messages = outbox.take()
    if (!outbox.isBehind || !outbox.isEmpty) return messages
    outbox.isBehind = false
    return [...messages, { kind: 'digests', digests: this.digests() }]
  }

  receive(from: PeerName, message: ChannelMessage, now: Millis): readonly Outgoing[] {
    if (message.kind === 'digests') return message.digests.flatMap((digest) => this.#onDigest(from, digest, now))
    const part = this.#parts.get(message.channel)
    if (part === undefined) {
      this.#reportFault(from, 'channel', `gossip on the unknown channel ${message.channel}`)
      return []
    }
    switch (message.kind) {
      case 'deltas':
        return this.#onDeltas(part, message.deltas, from, now)
      case 'offers':
        return this.#onOffers(part, message.offers, from, now)
      case 'wants':
        this.#onWants(part, message.keys, from, now)
        return []
      case 'summary':
        return this.#onSummary(part, message, from, now)
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

  #onDeltas(part: GossipPart, deltas: readonly Uint8Array[], from: PeerName, now: Millis): readonly Outgoing[] {
    const requests: Request[] = []
    const allowance = this.#allowance(from, part)
    for (const [index, delta] of deltas.entries()) {
      const excess = allowance?.excessOf(delta.length, now)
      if (excess !== undefined) {
        this.#reportFlood(from, part, `${excess}: ${deltas.length - index} deltas were dropped`)
        break
      }
      requests.push(...this.#onDelta(part, delta, from, now))
    }
    return requestMessages(requests)
  }

  /** Returns what is to be asked for next. */
  #onDelta(part: GossipPart, bytes: Uint8Array, from: PeerName, now: Millis): readonly Request[] {
    const merged = part.merge(bytes, from)
    this.#allowance(from, part)?.merged(merged, bytes.length, now)
    if (!merged.ok) {
      this.#reportGossip(from, part, merged.error)
      return []
    }
    const { news, held, faults } = merged.value
    for (const fault of faults) this.#reportGossip(from, part, fault)
    for (const key of held) this.#neighbours.get(from)?.outbox.drop(part.channel, key)
    if (news.length > 0) this.spread(part.channel, news, from)
    if (this.#wants.isEmpty) return []
    const requests = held.map((key) => this.#wants.got(part.channel, key, (offer) => isLacking(part, offer), now))
    return requests.filter((request) => request !== undefined)
  }

  /** Asks for what we lack, unless somebody was asked for it already. */
  #onOffers(part: GossipPart, offers: readonly Uint8Array[], from: PeerName, now: Millis): readonly Outgoing[] {
    const { channel } = part
    const requests: Request[] = []
    const allowance = this.#allowance(from, part)
    for (const [index, offer] of offers.entries()) {
      const weighed = part.weigh?.(offer) ?? err({ code: 'malformed', detail: 'an offer, of which this channel has none' } as const)
      if (!weighed.ok) {
        this.#reportGossip(from, part, weighed.error)
        continue
      }
      const { key, verdict } = weighed.value
      // Who has as much, or more, need not be told of ours.
      if (verdict !== 'older') this.#neighbours.get(from)?.outbox.drop(channel, key)
      if (verdict !== 'lacking') continue
      const excess = allowance?.spend('offers', 1, now)
      if (excess !== undefined) {
        this.#reportFlood(from, part, `${excess}: ${offers.length - index} offers were dropped`)
        break
      }
      if (this.#wants.offered(channel, key, { from, offer, now })) requests.push({ to: from, channel, key })
    }
    return requestMessages(requests)
  }

  #onWants(part: GossipPart, keys: readonly string[], from: PeerName, now: Millis): void {
    const excess = this.#allowance(from, part)?.spend('wants', keys.length, now)
    if (excess !== undefined) {
      this.#reportFlood(from, part, `${excess}: ${keys.length} wants were dropped`)
      return
    }
    const news = keys.map((key) => part.tell?.(key))
    this.#neighbours.get(from)?.outbox.add(
      part.channel,
      news.filter((piece) => piece !== undefined),
      true,
    )
  }

  #onSummary(part: GossipPart, message: ChannelMessage & { kind: 'summary' }, from: PeerName, now: Millis): readonly Outgoing[] {
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
    this.tell(from, channel, missing.value)
    return wantsOurs ? [{ to: from, message: { kind: 'summary', channel, bytes: part.summary(), wantsOurs: false } }] : []
  }

  #mayAsk(from: PeerName, channel: string, now: Millis): boolean {
    const summaries = this.#neighbours.get(from)?.summaries
    const last = summaries?.get(channel)
    const current = last !== undefined && now - last.since < 1_000 ? last : { since: millis(now), count: 0 }
    if (current.count >= SUMMARIES_PER_SECOND_MAX) return false
    summaries?.set(channel, { since: current.since, count: current.count + 1 })
    return true
  }

  #allowance(from: PeerName, { channel }: GossipPart): Allowance | undefined {
    const allowances = this.#neighbours.get(from)?.allowances
    const known = allowances?.get(channel)
    if (known !== undefined || allowances === undefined) return known
    const allowance = new Allowance()
    allowances.set(channel, allowance)
    return allowance
  }

  #reportFlood(from: PeerName, { channel }: GossipPart, detail: string): void {
    this.#reportFault(from, 'flood', `${channel}: ${detail}`)
  }

  #reportGossip(from: PeerName, part: GossipPart, { code, detail }: GossipFault): void {
    this.#reportFault(from, code, `${part.channel}: ${detail}`)
  }
}

function isLacking(part: GossipPart, offer: Uint8Array): boolean {
  const weighed = part.weigh?.(offer)
  return weighed?.ok === true && weighed.value.verdict === 'lacking'
}

/** As few messages as hold them. */
function requestMessages(requests: readonly Request[]): readonly Outgoing[] {
  const batches = new Map<string, string[]>()
  const messages: Outgoing[] = []
  for (const { to, channel, key } of requests) {
    const id = `${to} ${channel}`
    let batch = batches.get(id)
    if (batch === undefined || batch.length >= DELTAS_MAX) {
      batch = []
      batches.set(id, batch)
      messages.push({ to, message: { kind: 'wants', channel, keys: batch } })
    }
    batch.push(key)
  }
  return messages
}
