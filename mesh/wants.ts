/**
 * What neighbours have offered and we lack: each piece is asked of one of them at a time, of the next one when that does
 * not answer or has answered with something older than the next one's, and given up when nobody is left. Comparing
 * digests brings what is still missing then.
 */
import { type Millis, millis, type PeerName } from './base/brand.ts'

/** A neighbour that has no processor answers nobody: others have the same to give. */
const PATIENCE: Millis = millis(1_000)
/** More than this are not waited for: they would be invented. */
export const WANTS_MAX = 8_192

interface Want {
  readonly channel: string
  readonly key: string
  /** Undefined when that is gone. */
  askedOf: PeerName | undefined
  askedAt: Millis
  /** What others have offered, oldest first: no more than there are neighbours. Copies: each offer is a view of a whole message. */
  readonly others: Map<PeerName, Uint8Array>
}

/** A key to be asked of one neighbour. */
export interface Request {
  readonly to: PeerName
  readonly channel: string
  readonly key: string
}

export class Wants {
  readonly #wants = new Map<string, Want>()

  get isEmpty(): boolean {
    return this.#wants.size === 0
  }

  /** `from` offers something that we lack. Whether it is to be asked for it now. */
  offered(
    channel: string,
    key: string,
    { from, offer, now }: { readonly from: PeerName; readonly offer: Uint8Array; readonly now: Millis },
  ): boolean {
    const want = this.#wants.get(idOf(channel, key))
    if (want !== undefined) {
      if (want.askedOf !== from) want.others.set(from, new Uint8Array(offer))
      return false
    }
    if (this.#wants.size >= WANTS_MAX) return false
    this.#wants.set(idOf(channel, key), { channel, key, askedOf: from, askedAt: now, others: new Map() })
    return true
  }

  /** It has come, from whomever. What to ask for next, when somebody has offered what we lack even now. */
  got(channel: string, key: string, isLacking: (offer: Uint8Array) => boolean, now: Millis): Request | undefined {
    const id = idOf(channel, key)
    const want = this.#wants.get(id)
    if (want === undefined) return undefined
    for (const [name, offer] of want.others) if (!isLacking(offer)) want.others.delete(name)
    return this.#askNext(id, want, now)
  }

  /** What was asked of this neighbour will not come. */
  down(name: PeerName): void {
    for (const want of this.#wants.values()) {
      if (want.askedOf === name) want.askedOf = undefined
      want.others.delete(name)
    }
  }

  /** What to ask of others, as the first ones have not answered in time. */
  overdue(now: Millis): readonly Request[] {
    const requests: Request[] = []
    for (const [id, want] of this.#wants) {
      if (want.askedOf !== undefined && now < want.askedAt + PATIENCE) continue
      const request = this.#askNext(id, want, now)
      if (request !== undefined) requests.push(request)
    }
    return requests
  }

  #askNext(id: string, want: Want, now: Millis): Request | undefined {
    const [next] = want.others.keys()
    if (next === undefined) {
      this.#wants.delete(id)
      return undefined
    }
    want.others.delete(next)
    want.askedOf = next
    want.askedAt = now
    return { to: next, channel: want.channel, key: want.key }
  }
}

function idOf(channel: string, key: string): string {
  return `${channel} ${key}`
}
