/**
 * News that waits for one neighbour. A later piece takes the place of an earlier one with the same key. Few pieces are
 * told as they are; of many, each that has an offer is only offered, and the neighbour asks for what it lacks: where a
 * mesh starts or heals, most of what a neighbour could tell is on its way from another one.
 */
import type { News } from './gossip.ts'
import { type ChannelMessage, DELTAS_MAX } from './messages.ts'

/** The records of all peers that there may be. */
export const QUEUE_BYTES_MAX: number = 2 * 1024 * 1024
/** Of what waits at a time: as much is told without asking. More is slower by a round trip, and many times shorter. */
export const TOLD_MAX = 16
/** About 80 records: checking their signatures holds up nothing else for long. */
const MESSAGE_BYTES_MAX = 32 * 1024
/** News is taken in portions of this size, so that other things can be said in between. */
const PORTION_BYTES_MAX = 256 * 1024

interface Waiting {
  readonly news: News
  /** The neighbour has asked for it. */
  readonly isWanted: boolean
}

interface Taken extends Waiting {
  readonly channel: string
}

export class Outbox {
  /** By channel and key, oldest first. */
  readonly #queues = new Map<string, Map<string, Waiting>>()
  #bytes = 0
  #pieces = 0
  /** Names news that has no key of its own. */
  #unnamed = 0
  /** It was full: something was dropped. */
  isBehind = false

  get isEmpty(): boolean {
    return this.#pieces === 0
  }

  /** Adds what is to be told, or offered. What finds no room is dropped, and `isBehind` says so. */
  add(channel: string, news: readonly News[], isWanted = false): void {
    const queue = this.#queue(channel)
    for (const piece of news) {
      const key = piece.key ?? `#${this.#unnamed++}`
      const old = queue.get(key)
      const bytes = this.#bytes + piece.delta.length - (old?.news.delta.length ?? 0)
      if (bytes > QUEUE_BYTES_MAX) {
        this.isBehind = true
        continue
      }
      this.#bytes = bytes
      this.#pieces += old === undefined ? 1 : 0
      queue.set(key, { news: piece, isWanted: isWanted || old?.isWanted === true })
    }
  }

  /** The neighbour knows it already. */
  drop(channel: string, key: string): void {
    const queue = this.#queues.get(channel)
    const waiting = queue?.get(key)
    if (queue === undefined || waiting === undefined) return
    queue.delete(key)
    this.#pieces -= 1
    this.#bytes -= waiting.news.delta.length
  }

  /** The next portion; it counts as sent. */
  take(): readonly ChannelMessage[] {
    const portion = this.#takePortion()
    const canOffer = portion.filter(isOfferable).length > TOLD_MAX
    const told = portion.filter((taken) => !(canOffer && isOfferable(taken)))
    const offered = canOffer ? portion.filter(isOfferable) : []
    return [
      ...packed(told, ({ delta }) => delta).map(({ channel, items }) => ({ kind: 'deltas', channel, deltas: items }) as const),
      ...packed(offered, ({ offer, delta }) => offer ?? delta).map(
        ({ channel, items }) => ({ kind: 'offers', channel, offers: items }) as const,
      ),
    ]
  }

  #queue(channel: string): Map<string, Waiting> {
    const known = this.#queues.get(channel)
    if (known !== undefined) return known
    const queue = new Map<string, Waiting>()
    this.#queues.set(channel, queue)
    return queue
  }

  #takePortion(): readonly Taken[] {
    const portion: Taken[] = []
    let bytes = 0
    for (const [channel, queue] of this.#queues) {
      for (const [key, { news, isWanted }] of queue) {
        if (bytes > PORTION_BYTES_MAX) break
        bytes += news.delta.length
        portion.push({ channel, news, isWanted })
        queue.delete(key)
      }
    }
    this.#pieces -= portion.length
    this.#bytes -= bytes
    return portion
  }
}

function isOfferable({ news, isWanted }: Waiting): boolean {
  return news.offer !== undefined && !isWanted
}

interface Batch {
  readonly channel: string
  readonly items: Uint8Array[]
  bytes: number
}

/** As few messages as hold them, none much longer than `MESSAGE_BYTES_MAX` unless a single item is. */
function packed(portion: readonly Taken[], itemOf: (news: News) => Uint8Array): readonly Batch[] {
  const batches: Batch[] = []
  let batch: Batch | undefined
  for (const { channel, news } of portion) {
    const item = itemOf(news)
    const isFull = batch === undefined || batch.bytes + item.length > MESSAGE_BYTES_MAX || batch.items.length >= DELTAS_MAX
    if (batch?.channel !== channel || isFull) {
      batch = { channel, items: [], bytes: 0 }
      batches.push(batch)
    }
    batch.items.push(item)
    batch.bytes += item.length
  }
  return batches
}
