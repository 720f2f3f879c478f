/**
 * Paxos on the wire and on the disk. Everything is MessagePack, as arrays:
 *
 *   message:   [kind, voters, universe, round, proposer, …]
 *     1 prepare, 4 accepted, 6 abstention: nothing more
 *     2 promise:  round, proposer, [seed, …] of what was accepted; or nothing more
 *     3 accept:   [seed, …]
 *     5 refusal:  round, proposer of what was promised
 *     7 settled:  the sender has a ring
 *   the file:  CRC-32 of the rest 4, big endian | [format 1, peer, universe, promised round, proposer, accepted round, proposer, [seed, …]]
 *
 * An array's first byte is 0x90 or more; what else is said about space begins with a smaller one.
 */
import { crc32 } from 'node:zlib'
import { isPeerName, type PeerName } from '../mesh/base/brand.ts'
import { concatBytes } from '../mesh/base/bytes.ts'
import { err, ok, type Result, unreachable } from '../mesh/base/result.ts'
import { decodeWire, describeWire, encodeWire, type WireValue } from '../mesh/base/wire.ts'
import type { GossipFault } from '../mesh/gossip.ts'
import { type Ballot, type PaxosMessage, type Proposal, ROUND_MAX, type Seeds, type Vote } from './paxos.ts'
import { SEEDS_MAX } from './seed.ts'
import { formatUniverse, type Universe } from './universe.ts'

/** Who votes about what: only votes about the same count together. */
export interface Poll {
  readonly voters: number
  readonly universe: Universe
}

export type BootstrapMessage =
  | PaxosMessage
  /** The sender has a ring already, and does not vote any more. */
  | { readonly kind: 'settled'; readonly ballot: Ballot }

const Kind = { prepare: 1, promise: 2, accept: 3, accepted: 4, refusal: 5, abstention: 6, settled: 7 } as const
const ARRAY = 0x90
const FORMAT = 1
const CRC_BYTES = 4

export function isBootstrapMessage(bytes: Uint8Array): boolean {
  return (bytes[0] ?? 0) >= ARRAY
}

export function encodeBootstrap({ voters, universe }: Poll, message: BootstrapMessage): Uint8Array {
  const ballot = message.kind === 'accept' ? message.proposal.ballot : message.ballot
  return encodeWire([Kind[message.kind], voters, formatUniverse(universe), ballot.round, ballot.proposer, ...rest(message)])
}

function rest(message: BootstrapMessage): readonly WireValue[] {
  switch (message.kind) {
    case 'promise':
      return message.accepted === undefined ? [] : [message.accepted.ballot.round, message.accepted.ballot.proposer, message.accepted.seeds]
    case 'accept':
      return [message.proposal.seeds]
    case 'refusal':
      return [message.promised.round, message.promised.proposer]
    case 'prepare':
    case 'accepted':
    case 'abstention':
    case 'settled':
      return []
    default:
      return unreachable(message)
  }
}

export interface DecodedBootstrap {
  readonly voters: number
  /** As text, and not checked: it is ours or not. */
  readonly universe: string
  readonly message: BootstrapMessage
}

export function decodeBootstrap(bytes: Uint8Array): Result<DecodedBootstrap, GossipFault> {
  const decoded = decodeWire(bytes)
  if (!decoded.ok) return malformed(decoded.error)
  if (!Array.isArray(decoded.value)) return malformed(describeWire(decoded.value))
  const [kind, voters, universe, round, proposer, ...more] = decoded.value as readonly WireValue[]
  const ballot = readBallot(round, proposer)
  if (!isWhole(voters, SEEDS_MAX) || typeof universe !== 'string' || ballot === undefined) return malformed('a head that makes no sense')
  const message = readMessage(kind, ballot, more)
  if (message === undefined) return malformed(`kind ${describeWire(kind)}`)
  return ok({ voters, universe, message })
}

function readMessage(kind: WireValue, ballot: Ballot, more: readonly WireValue[]): BootstrapMessage | undefined {
  const [first, second, third] = more
  switch (kind) {
    case Kind.prepare:
      return { kind: 'prepare', ballot }
    case Kind.accepted:
      return { kind: 'accepted', ballot }
    case Kind.abstention:
      return { kind: 'abstention', ballot }
    case Kind.settled:
      return { kind: 'settled', ballot }
    case Kind.accept: {
      const seeds = readSeeds(first)
      return seeds === undefined ? undefined : { kind: 'accept', proposal: { ballot, seeds } }
    }
    case Kind.refusal: {
      const promised = readBallot(first, second)
      return promised === undefined ? undefined : { kind: 'refusal', ballot, promised }
    }
    case Kind.promise: {
      if (more.length === 0) return { kind: 'promise', ballot, accepted: undefined }
      const accepted = readProposal(first, second, third)
      return accepted === undefined ? undefined : { kind: 'promise', ballot, accepted }
    }
    default:
      return undefined
  }
}

/** The file of an acceptor. */
export function encodeVote(self: PeerName, universe: Universe, { promised, accepted }: Vote): Uint8Array {
  const body = encodeWire([
    FORMAT,
    self,
    formatUniverse(universe),
    promised?.round,
    promised?.proposer,
    accepted?.ballot.round,
    accepted?.ballot.proposer,
    accepted?.seeds,
  ])
  const head = new Uint8Array(CRC_BYTES)
  new DataView(head.buffer).setUint32(0, crc32(body))
  return concatBytes([head, body])
}

/** The error says what is wrong with the file, in a few words. */
export function decodeVote(self: PeerName, universe: Universe, bytes: Uint8Array): Result<Vote, string> {
  if (bytes.length < CRC_BYTES) return err('is cut short')
  const body = bytes.subarray(CRC_BYTES)
  if (crc32(body) !== new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)) return err('is damaged')
  const decoded = decodeWire(body)
  if (!(decoded.ok && Array.isArray(decoded.value))) return err('is damaged')
  const [format, peer, range, round, proposer, acceptedRound, acceptedProposer, seeds] = decoded.value as readonly WireValue[]
  if (format !== FORMAT) return err(`is of format ${describeWire(format)}; this version knows ${FORMAT}`)
  if (peer !== self || range !== formatUniverse(universe)) return err('is of another peer or range')
  const promised = readBallot(round, proposer)
  const accepted = readProposal(acceptedRound, acceptedProposer, seeds)
  if ((promised === undefined) !== (round === undefined) || (accepted === undefined) !== (seeds === undefined)) return err('is damaged')
  return ok({ promised, accepted })
}

function readProposal(round: WireValue, proposer: WireValue, seeds: WireValue): Proposal | undefined {
  const ballot = readBallot(round, proposer)
  const read = readSeeds(seeds)
  return ballot === undefined || read === undefined ? undefined : { ballot, seeds: read }
}

function readBallot(round: WireValue, proposer: WireValue): Ballot | undefined {
  return isWhole(round, ROUND_MAX) && typeof proposer === 'string' && isPeerName(proposer) ? { round, proposer } : undefined
}

/** Sorted, each once: whoever counts them must count the same everywhere. */
function readSeeds(value: WireValue): Seeds | undefined {
  if (!Array.isArray(value) || value.length === 0 || value.length > SEEDS_MAX) return undefined
  const seeds: PeerName[] = []
  for (const item of value as readonly WireValue[]) {
    if (typeof item !== 'string' || !isPeerName(item) || item <= (seeds.at(-1) ?? '')) return undefined
    seeds.push(item)
  }
  return seeds
}

function isWhole(value: WireValue, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max
}

function malformed(detail: string): { readonly ok: false; readonly error: GossipFault } {
  return err({ code: 'malformed', detail: `a message about the bootstrap: ${detail}` })
}
