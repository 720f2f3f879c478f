/**
 * What is known of one link of one kind to one peer, from probes alone. A reply proves both ways at once.
 *
 *                 reply                    4 replies in 3 s
 *     untested ──────────▶ up ◀────────────────────────────── proving
 *        │                 │                                   ▲   │
 *        │ 4 missed        │ 4 missed in a row           reply │   │ 1 missed
 *        └────────▶ down ◀─┘                                   │   │
 *                    ▲└────────────────────────────────────────┘   │
 *                    └─────────────────────────────────────────────┘
 *
 * A link is used at its first reply, but one that has failed must prove itself for a while: most that come back at once
 * go again. One lost probe is no death, nor are many while packets of pods go both ways. Sizes are those of the whole
 * packet of a pod that a probe stands for.
 */
import { type Millis, millis, seconds } from '../../mesh/base/brand.ts'
import { PROBE_BYTES_MIN } from './probe-codec.ts'

export type Standing =
  | { readonly kind: 'untested'; readonly misses: number }
  /** It was down, and answers again. */
  | { readonly kind: 'proving'; readonly since: Millis; readonly replies: number }
  | { readonly kind: 'up'; readonly since: Millis; readonly misses: number; readonly provedAt: Millis }
  | { readonly kind: 'down'; readonly since: Millis; readonly error: string }

/** A probe that is neither answered nor lost yet. */
export interface Waiting {
  readonly id: number
  readonly sizeBytes: number
  readonly sentAt: Millis
}

export interface LinkState {
  readonly standing: Standing
  readonly waiting: readonly Waiting[]
  readonly mtu: Mtu
  /** When we last sent a probe of any size; undefined: never. */
  readonly probedAt: Millis | undefined
  /** When the peer's last probe or reply came by this link. */
  readonly heardAt: Millis | undefined
  /** When packets of pods were last seen to go both ways. */
  readonly carriedAt: Millis | undefined
  /** The last thing that went wrong, for people. */
  readonly error: string | undefined
}

/** How large packets may be, and how far the search for it has come. */
export interface Mtu {
  /** What both underlays carry, if nothing between them carries less. */
  readonly fullBytes: number
  /** What is told to others: full until it is refused. */
  readonly usedBytes: number
  /** The largest that has come back in this search, 0: none yet. */
  readonly provenBytes: number
  /** The smallest that was lost, again and again, while small ones came back; undefined: none. */
  readonly refusedBytes: number | undefined
  /** When that was found out. */
  readonly refusedAt: Millis | undefined
  /** How often the size that is tried was lost already. */
  readonly losses: number
  /** When the largest that comes back did so last. */
  readonly provedAt: Millis | undefined
}

/** A reply takes less between any two places, and 4 of them with this at the end are less than 2 s. */
export const PROBE_TIMEOUT: Millis = seconds(1)
/** A link that loses one packet in five loses so many in a row once in 600 times. */
const MISSES_MAX = 4
const PROOFS = 4
const PROOF_TIME: Millis = seconds(3)
/** With two of three full-size packets lost, a smaller size is the better one. */
const SIZE_LOSSES_MAX = 2
/** Packets are counted once a second. */
const CARRIED_FRESH: Millis = seconds(2)
const FAILURE_MEMORY: Millis = seconds(30)
/** A whole search costs 17 KB. */
const REFUSAL_MEMORY: Millis = seconds(3_600)
/** Replies are as large as probes: no more of them are on their way than fit in `PROBE_TIMEOUT` at the fastest pace, twice over. */
const WAITING_MAX = 16

/** Of a probe that only asks whether the link works. */
export const SMALL_BYTES: number = PROBE_BYTES_MIN
/**
 * What underlays are known to carry less their overheads, largest first: with jumbo frames, of cloud networks, Ethernet,
 * behind other tunnels; 1280 of IPv6; 576 of IPv4.
 */
const SIZES: readonly number[] = [8_951, 8_901, 1_450, 1_410, 1_380, 1_350, 1_330, 1_280, 1_230, 1_000, 576]
/** What is used when nothing larger than small comes back. */
const SIZE_MIN = 576

export function untested(fullBytes: number): LinkState {
  const mtu = {
    fullBytes,
    usedBytes: fullBytes,
    provenBytes: 0,
    refusedBytes: undefined,
    refusedAt: undefined,
    losses: 0,
    provedAt: undefined,
  }
  return {
    standing: { kind: 'untested', misses: 0 },
    waiting: [],
    mtu,
    probedAt: undefined,
    heardAt: undefined,
    carriedAt: undefined,
    error: undefined,
  }
}

/** A link that was in use in an earlier life of ours, and counts as up until it shows that it is not. */
export function inherited(fullBytes: number, now: Millis): LinkState {
  return { ...untested(fullBytes), standing: { kind: 'up', since: now, misses: 0, provedAt: millis(0) } }
}

export function sent(link: LinkState, { id, sizeBytes }: { readonly id: number; readonly sizeBytes: number }, now: Millis): LinkState {
  const waiting = [...link.waiting, { id, sizeBytes, sentAt: now }].slice(-WAITING_MAX)
  return { ...link, waiting, probedAt: now }
}

/** A reply of this id came by this link. One that nobody waits for, as it is late or forged, changes nothing. */
export function replied(link: LinkState, id: number, now: Millis): LinkState {
  const probe = link.waiting.find((one) => one.id === id)
  if (probe === undefined || now >= probe.sentAt + PROBE_TIMEOUT) return link
  const waiting = link.waiting.filter((one) => one !== probe)
  const standing = afterProof(link.standing, now)
  return sizeProved({ ...link, standing, waiting, heardAt: now }, probe.sizeBytes, now)
}

/** Something of the peer came by this link; whether anything gets to it is not said. */
export function heard(link: LinkState, now: Millis): LinkState {
  return { ...link, heardAt: now }
}

/** Gives up what was not answered in time. */
export function expire(link: LinkState, now: Millis): LinkState {
  const lost = link.waiting.filter(({ sentAt }) => now >= sentAt + PROBE_TIMEOUT)
  if (lost.length === 0) return link
  const waiting = link.waiting.filter((probe) => !lost.includes(probe))
  return lost.reduce<LinkState>((state, probe) => missed(state, probe, now), { ...link, waiting })
}

function missed(link: LinkState, probe: Waiting, now: Millis): LinkState {
  if (probe.sizeBytes > SMALL_BYTES) return sizeMissed(link, probe, now)
  if (link.carriedAt !== undefined && now < link.carriedAt + CARRIED_FRESH) return link
  const standing = afterMiss(link.standing, now)
  return { ...link, standing, error: standing.kind === 'down' ? standing.error : link.error }
}

function afterProof(standing: Standing, now: Millis): Standing {
  switch (standing.kind) {
    case 'untested':
      return { kind: 'up', since: now, misses: 0, provedAt: now }
    case 'up':
      return { ...standing, misses: 0, provedAt: now }
    case 'down':
      return { kind: 'proving', since: now, replies: 1 }
    case 'proving': {
      const replies = standing.replies + 1
      const isProven = replies >= PROOFS && now >= standing.since + PROOF_TIME
      return isProven ? { kind: 'up', since: now, misses: 0, provedAt: now } : { ...standing, replies }
    }
  }
}

function afterMiss(standing: Standing, now: Millis): Standing {
  switch (standing.kind) {
    case 'untested':
    case 'up': {
      const misses = standing.misses + 1
      return misses < MISSES_MAX ? { ...standing, misses } : { kind: 'down', since: now, error: `no answer to ${misses} probes in a row` }
    }
    case 'proving':
      return { kind: 'down', since: now, error: `came back, and failed again after ${standing.replies} replies` }
    case 'down':
      return standing
  }
}

export function isUp({ standing }: LinkState): boolean {
  return standing.kind === 'up'
}

/**
 * Packets of pods went both ways just now: that the peer's router does not answer is no reason then to leave a link that works.
 * @param at undefined: what came from the peer tells nothing of what went there, as it does not hear us.
 */
export function carried(link: LinkState, at: Millis | undefined): LinkState {
  return { ...link, carriedAt: at }
}

/** Small probes that have not come back since the last one that did: mostly none, and one for a moment. */
export function unanswered({ standing, waiting }: LinkState): number {
  const misses = standing.kind === 'up' || standing.kind === 'untested' ? standing.misses : 0
  return misses + waiting.filter(({ sizeBytes }) => sizeBytes === SMALL_BYTES).length
}

/** When `expire` has something to do. */
export function expiresAt({ waiting }: LinkState): Millis | undefined {
  const [first] = waiting
  return first === undefined ? undefined : millis(first.sentAt + PROBE_TIMEOUT)
}

/** Of a link that nobody tries, what is known of a failure is soon too old to tell whether it could stand in for another one. */
export function withoutFailure(link: LinkState, now: Millis): LinkState {
  const { standing } = link
  const isOld = (standing.kind === 'down' || standing.kind === 'proving') && now >= standing.since + FAILURE_MEMORY
  return isOld ? { ...link, standing: { kind: 'untested', misses: 0 } } : link
}

/** The size that a probe has to find out about; undefined when the search is over. */
export function sizeToTry({ mtu }: LinkState): number | undefined {
  const { fullBytes, usedBytes, provenBytes, refusedBytes } = mtu
  if (provenBytes >= fullBytes) return undefined
  if (refusedBytes === undefined) return fullBytes
  // What is used is the best guess.
  return provenBytes === 0 && usedBytes < refusedBytes ? usedBytes : sizeBetween(mtu)
}

/** What is used is the largest that gets through, as far as anybody can tell. */
export function isSizeKnown(link: LinkState): boolean {
  return link.mtu.provenBytes > 0 && sizeToTry(link) === undefined
}

/** Half-way between what was proven and what was refused. */
function sizeBetween({ provenBytes, refusedBytes = 0 }: Mtu): number | undefined {
  const open = SIZES.filter((size) => size < refusedBytes && size > provenBytes)
  return open[Math.floor((open.length - 1) / 2)]
}

/** To be verified, as paths change. The size in use stays until it is refused; after a long time larger ones are tried again. */
export function sizeDoubted(link: LinkState, now: Millis): LinkState {
  const { refusedAt } = link.mtu
  if (refusedAt !== undefined && now >= refusedAt + REFUSAL_MEMORY) return sizeForgotten(link)
  return { ...link, mtu: { ...link.mtu, provenBytes: 0, losses: 0 } }
}

/** As the path may carry more than it did. The size in use stays until another one is proven. */
export function sizeForgotten(link: LinkState): LinkState {
  return { ...link, mtu: { ...link.mtu, provenBytes: 0, refusedBytes: undefined, refusedAt: undefined, losses: 0 } }
}

/** A packet of this size has come back: by a probe of ours, or as the peer says, of its own. */
export function sizeProved(link: LinkState, sizeBytes: number, now: Millis): LinkState {
  const { mtu } = link
  const size = Math.min(sizeBytes, mtu.fullBytes)
  if (size <= SMALL_BYTES || size < mtu.provenBytes) return link
  const refusedBytes = mtu.refusedBytes !== undefined && mtu.refusedBytes > size ? mtu.refusedBytes : undefined
  const usedBytes = Math.max(size, mtu.usedBytes)
  return { ...link, mtu: settled({ ...mtu, usedBytes, provenBytes: size, refusedBytes, losses: 0, provedAt: now }) }
}

/** A lost probe says something of its size only when small ones have come back since it was sent. */
function sizeMissed(link: LinkState, { sizeBytes, sentAt }: Waiting, now: Millis): LinkState {
  const { standing, mtu } = link
  const isFine = standing.kind === 'up' && standing.provedAt >= sentAt
  if (!isFine || sizeBytes !== sizeToTry(link)) return link
  const losses = mtu.losses + 1
  return {
    ...link,
    mtu: losses < SIZE_LOSSES_MAX ? { ...mtu, losses } : settled({ ...mtu, refusedBytes: sizeBytes, refusedAt: now, losses: 0 }),
  }
}

/** What was refused is not used any more: packets that are too big for a guess are lost only until that is refused as well. */
function settled(mtu: Mtu): Mtu {
  const { usedBytes, provenBytes, refusedBytes } = mtu
  if (refusedBytes === undefined || usedBytes < refusedBytes) return mtu
  return { ...mtu, usedBytes: provenBytes > 0 ? provenBytes : (sizeBetween(mtu) ?? Math.min(mtu.fullBytes, SIZE_MIN)) }
}
