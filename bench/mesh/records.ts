/** The state of a large mesh in one process: its bytes, and what it takes to hand it out and to take it in. */
import { ipv4, parseIpv4 } from '../../mesh/base/address.ts'
import { systemClock } from '../../mesh/base/clock.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { type CryptoSuite, loadCrypto, SEED_BYTES } from '../../mesh/crypto.ts'
import { MESH_PORT } from '../../mesh/endpoint.ts'
import { type Identity, identityFromSeed } from '../../mesh/identity.ts'
import { clusterKey, SECRET_BYTES } from '../../mesh/keyring.ts'
import { DEGREE_TARGET } from '../../mesh/overlay.ts'
import { Peers } from '../../mesh/peers.ts'
import type { RecordFacts } from '../../mesh/record.ts'
import { type BenchContext, compare, median, type Row } from '../form.ts'

const PEERS = 300
/** Passes of a round, of which the median counts. */
const PASSES = 5
const INCARNATION = 1_700_000_000_000
const FIRST_ADDRESS = parseIpv4('198.18.0.1')

/**
 * Weave Net's whole topology of as many peers, at the 200 connections a peer that weave-kube allows: the shape of its
 * message, encoded anew with Go's gob. Derived, not taken from a running network. Most of the difference is the
 * number of connections.
 */
const WEAVE_FORMAT_MEGABYTES = 1.98
/** A process that does one thing for longer looks late to its own heartbeats (mesh/heartbeat.ts). */
const MILLISECONDS_GOAL = 300

/** Milliseconds, but for the bytes. */
interface Costs {
  readonly megabytes: number
  readonly encode: number
  readonly apply: number
  readonly applyAgain: number
  readonly digest: number
}

export async function measureRecords(context: BenchContext): Promise<readonly Row[]> {
  const crypto = await loadCrypto()
  context.progress(`${PEERS} records, signed`)
  const identities = Array.from({ length: PEERS }, (_, index) => identityFromSeed(seedOf(index), crypto))
  const deltas = identities.map((identity, index) => deltaOf(identity, factsOf(index, identities, crypto), crypto))
  const measure = (): Costs => pass(deltas, crypto)
  measure()
  const rounds = Array.from({ length: context.rounds }, () => Array.from({ length: PASSES }, measure))
  const samples = (cost: keyof Costs): number[] => rounds.map((passes) => median(passes.map((one) => one[cost])))
  const common = { case: `${PEERS} records of degree ${DEGREE_TARGET}`, better: 'lower' } as const
  const timed = (metric: string, cost: keyof Costs): Row =>
    compare({ ...common, metric, unit: 'ms', ours: samples(cost), peer: 'goal', theirs: MILLISECONDS_GOAL })
  const bytes = { metric: 'full state', unit: 'MB', ours: samples('megabytes'), peer: 'Weave Net’s format', theirs: WEAVE_FORMAT_MEGABYTES }
  return [
    compare({ ...common, ...bytes }),
    timed('encode', 'encode'),
    timed('verify and apply', 'apply'),
    timed('apply, all known', 'applyAgain'),
    timed('digest and summary', 'digest'),
  ]
}

/** Nothing is signed here: what is sent is what its owner has signed. */
function pass(deltas: readonly Uint8Array[], crypto: CryptoSuite): Costs {
  // Somebody whose own record is in nobody's state.
  const peers = new Peers({ identity: identityFromSeed(seedOf(PEERS), crypto), crypto, incarnation: INCARNATION })
  const from = peersName(crypto)
  const mergeAll = (): void => {
    for (const delta of deltas) if (!peers.merge(delta, from).ok) throw new WeftError('INPUT', 'a record that was not taken')
  }
  const apply = timeOf(mergeAll)
  if (peers.list().length !== PEERS) throw new WeftError('INPUT', `${peers.list().length} records of ${PEERS} were taken`)
  // The first of a state computes every hash in it.
  const digest = timeOf(() => void [peers.digest(), peers.summary()])
  const applyAgain = timeOf(mergeAll)
  let bytes = 0
  const encode = timeOf(() => {
    const missing = peers.missing(new Uint8Array(0))
    if (missing.ok) for (const { delta } of missing.value) bytes += delta.length
  })
  return { megabytes: bytes / 1e6, encode, apply, applyAgain, digest }
}

function timeOf(work: () => void): number {
  const start = systemClock.now()
  work()
  return systemClock.now() - start
}

function peersName(crypto: CryptoSuite): Identity['name'] {
  return identityFromSeed(seedOf(0), crypto).name
}

/** As its owner hands it out. */
function deltaOf(identity: Identity, facts: Omit<RecordFacts, 'incarnation' | 'version'>, crypto: CryptoSuite): Uint8Array {
  const news = new Peers({ identity, crypto, incarnation: INCARNATION }).publish(facts)
  if (news === undefined) throw new WeftError('INPUT', 'a first record that says nothing new')
  return news.delta
}

/** Connected with those next to it in a circle: the size of a record depends on how many there are, not on which. */
function factsOf(index: number, identities: readonly Identity[], crypto: CryptoSuite): Omit<RecordFacts, 'incarnation' | 'version'> {
  const reach = DEGREE_TARGET / 2
  const others = Array.from({ length: reach }, (_, step) => step + 1).flatMap((step) => [step, -step])
  const neighbours = others.flatMap((step) => {
    const other = (index + step + PEERS) % PEERS
    const identity = identities[other]
    return identity === undefined ? [] : [{ name: identity.name, address: addressOf(other), port: MESH_PORT, outbound: step > 0 }]
  })
  return {
    nickname: `node-${index}.example.internal`,
    addresses: [addressOf(index)],
    port: MESH_PORT,
    mtuBytes: 1_500,
    zone: 'zone-1',
    keyIds: [clusterKey(new Uint8Array(SECRET_BYTES).fill(1), crypto).id],
    neighbours: neighbours.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    hasLeft: false,
  }
}

function addressOf(index: number): ReturnType<typeof ipv4> {
  return ipv4(FIRST_ADDRESS + index)
}

function seedOf(index: number): Uint8Array {
  const seed = new Uint8Array(SEED_BYTES)
  new DataView(seed.buffer).setUint32(0, index + 1)
  return seed
}
