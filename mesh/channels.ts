/**
 * Which gossip goes to which neighbour: news soon to all others, and what was lost by comparing digests. One
 * exchange, begun by A's digests, when B finds that its own differ:
 *
 *   A → B  digests
 *   B → A  summary of B (asks for A's)
 *   A → B  deltas that B lacks, summary of A
 *   B → A  deltas that A lacks
 *
 * News waits in a queue per neighbour until somebody takes it: what is overtaken meanwhile by later news, or turns out
 * to be known to the neighbour, is never sent. A queue holds no more than `QUEUE_BYTES_MAX`: a neighbour that is so far
 * behind gets our digests after that, and by them, in as many exchanges as it takes, all that it lacks.
 */
import type { Millis, PeerName } from './base/brand.ts'
import { millis, seconds } from './base/brand.ts'
import { bytesEqual } from './base/bytes.ts'
import { assert, unreachable } from './base/result.ts'
import type { FaultCode } from './faults.ts'
import type { GossipFault, GossipPart, News } from './gossip.ts'
import { type ChannelDigest, DELTAS_MAX, type GossipMessage, isChannel } from './messages.ts'

/** What is answered at once. */
export interface Outgoing {
  readonly to: PeerName
  readonly message: ChannelMessage
}

/** The messages that are about the state of channels. */
export type ChannelMessage = Exclude<GossipMessage, { kind: 'parcel' }>

/** Digests differ while news is still on its way: asking more often would only move the same deltas twice. */
const EXCHANGE_INTERVAL_MIN: Millis = seconds(1)
/** An exchange brings one summary, two when both sides begin at once; more is a neighbour that wants to keep us busy. */
export const SUMMARIES_PER_SECOND_MAX = 8
/** The records of all peers that there may be. */
export const QUEUE_BYTES_MAX: number = 2 * 1024 * 1024
/** About 80 records: checking their signatures holds up nothing else for long. */
const MESSAGE_BYTES_MAX = 32 * 1024
/** News is taken in portions of this size, so that other things can be said in between. */
const PORTION_BYTES_MAX = 256 * 1024

interface Waiting {
  readonly channel: string
  readonly delta: Uint8Array
}

interface Neighbour {
  /** When we last asked for its summary, by channel. */
  readonly askedAt: Map<string, Millis>
  /** The second in which it sent its last summaries, and how many, by channel. */
  readonly summaries: Map<string, { readonly since: Millis; readonly count: number }>
  /** News for it, oldest first, by channel and key. */
  readonly queue: Map<string, Waiting>
  queueBytes: number
  /** The queue was full: something was dropped. */
  isBehind: boolean
}

type ReportFault = (from: PeerName, code: FaultCode, detail: string) => void

/** Holds the parts, and who our neighbours are. Sends nothing itself: `receive` returns answers, `take` news. */
export class Channels {
  readonly #parts = new Map<string, GossipPart>()
  readonly #neighbours = new Map<PeerName, Neighbour>()
  readonly #reportFault: ReportFault
  /** Names news that has no key of its own. */
  #unnamed = 0

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
    this.#neighbours.set(name, { askedAt: new Map(), summaries: new Map(), queue: new Map(), queueBytes: 0, isBehind: false })
  }

  down(name: PeerName): void {
    this.#neighbours.delete(name)
  }

  digests(): readonly ChannelDigest[] {
    return [...this.#parts.values()].map((part) => ({ channel: part.channel, digest: part.digest() }))
  }

  /** News of our own, or what one neighbour told, for all others. */
  spread(channel: string, news: readonly News[], except?: PeerName): void {
    for (const [name, neighbour] of this.#neighbours) {
      if (name !== except) this.#queue(neighbour, channel, news)
    }
  }

  /** News for one neighbour. */
  tell(name: PeerName, channel: string, news: readonly News[]): void {
    const neighbour = this.#neighbours.get(name)
    if (neighbour !== undefined) this.#queue(neighbour, channel, news)
  }

  /** Those for whom there is something to take. */
  waiting(): readonly PeerName[] {
    return [...this.#neighbours].filter(([, { queue, isBehind }]) => queue.size > 0 || isBehind).map(([name]) => name)
  }

  /** The next portion of what a neighbour is to be told; it counts as sent. */
  take(name: PeerName): readonly ChannelMessage[] {
    const neighbour = this.#neighbours.get(name)
    if (neighbour === undefined) return []
    const messages = packed(takePortion(neighbour))
    if (!neighbour.isBehind || neighbour.queue.size > 0) return messages
    neighbour.isBehind = false
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
        for (const delta of message.deltas) this.#onDelta(part, delta, from)
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

  #onDelta(part: GossipPart, bytes: Uint8Array, from: PeerName): void {
    const merged = part.merge(bytes, from)
    if (!merged.ok) {
      this.#reportGossip(from, part, merged.error)
      return
    }
    const { news, held, faults } = merged.value
    for (const fault of faults) this.#reportGossip(from, part, fault)
    for (const key of held) this.#drop(from, part.channel, key)
    if (news.length > 0) this.spread(part.channel, news, from)
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

  #queue(neighbour: Neighbour, channel: string, news: readonly News[]): void {
    for (const { key, delta } of news) {
      const name = key === undefined ? `${channel} #${this.#unnamed++}` : `${channel} ${key}`
      const queueBytes = neighbour.queueBytes + delta.length - (neighbour.queue.get(name)?.delta.length ?? 0)
      if (queueBytes > QUEUE_BYTES_MAX) {
        neighbour.isBehind = true
        continue
      }
      neighbour.queueBytes = queueBytes
      neighbour.queue.set(name, { channel, delta })
    }
  }

  #drop(name: PeerName, channel: string, key: string): void {
    const neighbour = this.#neighbours.get(name)
    const waiting = neighbour?.queue.get(`${channel} ${key}`)
    if (neighbour === undefined || waiting === undefined) return
    neighbour.queue.delete(`${channel} ${key}`)
    neighbour.queueBytes -= waiting.delta.length
  }

  #reportGossip(from: PeerName, part: GossipPart, { code, detail }: GossipFault): void {
    this.#reportFault(from, code, `${part.channel}: ${detail}`)
  }
}

function takePortion(neighbour: Neighbour): readonly Waiting[] {
  const portion: Waiting[] = []
  let bytes = 0
  for (const [name, waiting] of neighbour.queue) {
    if (bytes > PORTION_BYTES_MAX) break
    bytes += waiting.delta.length
    portion.push(waiting)
    neighbour.queue.delete(name)
  }
  neighbour.queueBytes -= bytes
  return portion
}

/** As few messages as hold them, none much longer than `MESSAGE_BYTES_MAX` unless a single delta is. */
function packed(portion: readonly Waiting[]): readonly ChannelMessage[] {
  const messages: ChannelMessage[] = []
  let batch: { readonly channel: string; readonly deltas: Uint8Array[]; bytes: number } | undefined
  for (const { channel, delta } of portion) {
    const fits =
      batch?.channel === channel && batch.bytes + delta.length <= MESSAGE_BYTES_MAX && batch.deltas.length < DELTAS_MAX ? batch : undefined
    batch = fits ?? { channel, deltas: [], bytes: 0 }
    if (fits === undefined) messages.push({ kind: 'deltas', channel, deltas: batch.deltas })
    batch.deltas.push(delta)
    batch.bytes += delta.length
  }
  return messages
}
