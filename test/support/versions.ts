/** A gossip part for tests, whose news can be offered. */
import { createHash } from 'node:crypto'
import { err, ok } from '../../mesh/base/result.ts'
import type { GossipPart, News } from '../../mesh/gossip.ts'

/** As long as a record. */
export const DELTA_BYTES = 400
export const OFFER_BYTES = 8

/** The version of each of many things: a delta is one of them, and the higher version wins. */
export class Versions implements GossipPart {
  readonly channel: string = 'versions'
  readonly held: Map<number, number> = new Map()
  /** How often each delta came, as `key version`. */
  readonly came: Map<string, number> = new Map()
  /** Unknown after a change, until somebody asks. */
  #digest: Uint8Array | undefined

  constructor(...held: readonly (readonly [number, number])[]) {
    for (const [key, version] of held) this.held.set(key, version)
  }

  /** Makes the next version of something. */
  make(key: number): News {
    this.#hold(key, (this.held.get(key) ?? 0) + 1)
    return this.#newsOf(key)
  }

  digest(): Uint8Array {
    this.#digest ??= createHash('md5').update(this.summary()).digest()
    return this.#digest
  }

  summary(): Uint8Array {
    return Uint8Array.from([...this.held].sort(([one], [other]) => one - other).flatMap(([key, version]) => [...entry(key, version, 8)]))
  }

  missing(summary: Uint8Array): ReturnType<GossipPart['missing']> {
    const theirs = new Map<number, number>()
    for (let at = 0; at < summary.length; at += 8) theirs.set(...read(summary.subarray(at)))
    return ok([...this.held].filter(([key, version]) => version > (theirs.get(key) ?? 0)).map(([key]) => this.#newsOf(key)))
  }

  merge(delta: Uint8Array): ReturnType<GossipPart['merge']> {
    const [key, version] = read(delta)
    this.came.set(`${key} ${version}`, (this.came.get(`${key} ${version}`) ?? 0) + 1)
    const ours = this.held.get(key) ?? 0
    if (version > ours) this.#hold(key, version)
    return ok({ news: version > ours ? [this.#newsOf(key)] : [], held: version >= ours ? [String(key)] : [], faults: [] })
  }

  weigh(offer: Uint8Array): ReturnType<NonNullable<GossipPart['weigh']>> {
    if (offer.length !== OFFER_BYTES) return err({ code: 'malformed', detail: 'no offer' })
    const [key, version] = read(offer)
    const ours = this.held.get(key) ?? 0
    return ok({ key: String(key), verdict: version > ours ? 'lacking' : version === ours ? 'held' : 'older' })
  }

  tell(key: string): News | undefined {
    return this.held.has(Number(key)) ? this.#newsOf(Number(key)) : undefined
  }

  receive(): void {}

  #hold(key: number, version: number): void {
    this.held.set(key, version)
    this.#digest = undefined
  }

  #newsOf(key: number): News {
    const version = this.held.get(key) ?? 0
    return { key: String(key), delta: entry(key, version, DELTA_BYTES), offer: entry(key, version, OFFER_BYTES) }
  }
}

export function entry(key: number, version: number, bytes: number): Uint8Array {
  const made = new Uint8Array(bytes)
  const fields = new DataView(made.buffer)
  fields.setUint32(0, key)
  fields.setUint32(4, version)
  return made
}

function read(bytes: Uint8Array): [number, number] {
  const fields = new DataView(bytes.buffer, bytes.byteOffset)
  return [fields.getUint32(0), fields.getUint32(4)]
}
