/** The state of a large mesh in one process: its bytes, and what it takes to hand it out and to take it in; all of it, and one change. */
import { systemClock } from '../../mesh/base/clock.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { type CryptoSuite, loadCrypto } from '../../mesh/crypto.ts'
import { encodeFrame } from '../../mesh/framing.ts'
import { encodeMessage } from '../../mesh/messages.ts'
import { DEGREE_TARGET } from '../../mesh/overlay.ts'
import type { Peers } from '../../mesh/peers.ts'
import { encodeRecord, NEIGHBOURS_MAX } from '../../mesh/record.ts'
import { type BenchContext, compare, median, type Row, type Samples } from '../form.ts'
import { type Peer, population, stranger, twoRecords } from './population.ts'

const PEERS = 300
/** Passes of a round, of which the median counts. */
const PASSES = 5

/** Weave Net, topology message of 300 peers, as measured for this project: with Go's gob and the structures of weaveworks/mesh. */
const WEAVE = { peers: 300, megabytes: 2.84, encodeMilliseconds: 650, applyMilliseconds: 165 } as const
const WEAVE_WHOLE = 'Weave Net, topology of 300 peers'
/** It has no published figure for one peer: what its whole costs, divided. */
const WEAVE_SHARE = 'Weave Net, that ÷ 300'

/** What one pass measures: milliseconds, bytes and megabytes. */
interface Costs {
  readonly encode: number
  readonly encodeAndSign: number
  readonly handOut: number
  readonly megabytes: number
  readonly apply: number
  readonly applyAgain: number
  readonly digestsBytes: number
  readonly changeBytes: number
  readonly changeMake: number
  readonly changeApply: number
}

export async function measureRecords(context: BenchContext): Promise<readonly Row[]> {
  const crypto = await loadCrypto()
  context.progress(`${PEERS} records, signed`)
  const peers = population(PEERS, DEGREE_TARGET, crypto)
  const records = peers.map((peer) => twoRecords(peer, crypto))
  const measure = (): Costs => pass(peers, records, crypto)
  measure()
  const rounds = Array.from({ length: context.rounds }, () => Array.from({ length: PASSES }, measure))
  const samples = (cost: keyof Costs): number[] => rounds.map((passes) => median(passes.map((one) => one[cost])))
  return [...wholeRows(samples), largestRow(samples('megabytes'), crypto), ...changeRows(samples)]
}

type SamplesOf = (cost: keyof Costs) => number[]

function wholeRows(samples: SamplesOf): readonly Row[] {
  const common = { case: `all ${PEERS} records, degree ${DEGREE_TARGET}`, better: 'lower', peer: WEAVE_WHOLE } as const
  const row = (metric: string, unit: string, cost: keyof Costs, theirs: number, note: string): Row =>
    compare({ ...common, metric, unit, ours: samples(cost), theirs, note })
  return [
    row('full state', 'MB', 'megabytes', WEAVE.megabytes, FULL_STATE_NOTE),
    row('encode anew', 'ms', 'encode', WEAVE.encodeMilliseconds, 'the figures of Weave Net are of another machine, here and below'),
    row('encode anew and sign', 'ms', 'encodeAndSign', WEAVE.encodeMilliseconds, ENCODE_AND_SIGN_NOTE),
    row('hand out as kept', 'ms', 'handOut', WEAVE.encodeMilliseconds, 'what Weft does in place of encoding the whole state'),
    row(
      'verify and apply',
      'ms',
      'apply',
      WEAVE.applyMilliseconds,
      'Weft checks the signature of every record; Weave Net has none to check',
    ),
    row('apply, all known', 'ms', 'applyAgain', WEAVE.applyMilliseconds, 'a record that is held already is not verified again'),
  ]
}

const FULL_STATE_NOTE =
  'a record of Weft names its 8 neighbours, however large the mesh; one of Weave Net all its connections, here nearly all others'
const ENCODE_AND_SIGN_NOTE = 'more than any router does, as each signs only its own; Weave Net signs nothing, so its figure is without'

/** How much of the difference is the format, and how much the number of connections. */
function largestRow(small: readonly number[], crypto: CryptoSuite): Row {
  const records = population(PEERS, NEIGHBOURS_MAX, crypto).map((peer) => twoRecords(peer, crypto)[0])
  const megabytes = records.reduce((sum, { length }) => sum + length, 0) / 1e6
  const bytesEach = ((megabytes - median(small)) * 1e6) / PEERS / (NEIGHBOURS_MAX - DEGREE_TARGET)
  return compare({
    case: `all ${PEERS} records, degree ${NEIGHBOURS_MAX}`,
    metric: 'full state of the most neighbours a record can name',
    unit: 'MB',
    better: 'lower',
    ours: small.map(() => megabytes),
    peer: WEAVE_WHOLE,
    theirs: WEAVE.megabytes,
    note: `${bytesEach.toFixed(0)} bytes a connection: more of what is gained above comes of their number than of the format`,
  })
}

function changeRows(samples: SamplesOf): readonly Row[] {
  const common = { case: 'one peer has changed', better: 'lower', peer: WEAVE_SHARE } as const
  const share = (whole: number): number => whole / WEAVE.peers
  const weaveBytes = WEAVE.megabytes * 1e6
  const rows: readonly Omit<Samples, 'better'>[] = [
    {
      ...common,
      metric: 'sent to each neighbour',
      unit: 'B',
      ours: samples('changeBytes'),
      theirs: share(weaveBytes),
      note: 'one frame, before the 16 bytes of encryption; Weave Net too sends a change as the record of the one peer',
    },
    {
      ...common,
      metric: 'encode and sign',
      unit: 'ms',
      ours: samples('changeMake'),
      theirs: share(WEAVE.encodeMilliseconds),
      note: 'once, by the peer that has changed; others relay what it signed',
    },
    {
      ...common,
      metric: 'verify, apply, new digest',
      unit: 'ms',
      ours: samples('changeApply'),
      theirs: share(WEAVE.applyMilliseconds),
      note: 'one signature to check; Weave Net has none',
    },
    {
      case: 'nothing has changed',
      metric: 'said at regular times to a neighbour',
      unit: 'B',
      ours: samples('digestsBytes'),
      peer: WEAVE_WHOLE,
      theirs: weaveBytes,
      note: 'Weft sends the digest of its records, Weave Net every 30 s its whole state to up to 2·log2(peers) neighbours',
    },
  ]
  return rows.map((row) => compare({ ...row, better: 'lower' }))
}

function pass(peers: readonly Peer[], records: readonly (readonly [Uint8Array, Uint8Array])[], crypto: CryptoSuite): Costs {
  const incarnation = 1
  const encode = timeOf(() => {
    for (const { facts, identity } of peers) encodeRecord({ ...facts, incarnation, version: 1 }, identity)
  })
  const encodeAndSign = timeOf(() => {
    for (const peer of peers) twoRecords(peer, crypto)
  })
  const state = stranger(PEERS, crypto)
  const from = peers[0]?.identity.name
  if (from === undefined) throw new WeftError('INPUT', 'a mesh without peers')
  const mergeAll = (version: 0 | 1): void => {
    for (const pair of records) if (!state.merge(pair[version], from).ok) throw new WeftError('INPUT', 'a record that was not taken')
  }
  const apply = timeOf(() => mergeAll(0))
  expectPeers(state)
  const applyAgain = timeOf(() => mergeAll(0))
  let bytes = 0
  const handOut = timeOf(() => {
    const missing = state.missing(new Uint8Array(0))
    if (missing.ok) for (const { delta } of missing.value) bytes += delta.length
  })
  const digests = [{ channel: state.channel, digest: state.digest() }]
  const changes = timeOf(() => {
    for (const pair of records) {
      state.merge(pair[1], from)
      state.digest()
    }
  })
  return {
    encode,
    // Two records each.
    encodeAndSign: encodeAndSign / 2,
    handOut,
    megabytes: bytes / 1e6,
    apply,
    applyAgain,
    digestsBytes: encodeFrame(encodeMessage({ kind: 'digests', digests })).length,
    changeBytes: median(records.map(([, delta]) => deltaFrame(state.channel, delta).length)),
    changeMake: encodeAndSign / 2 / PEERS,
    changeApply: changes / PEERS,
  }
}

function deltaFrame(channel: string, delta: Uint8Array): Uint8Array {
  return encodeFrame(encodeMessage({ kind: 'deltas', channel, deltas: [delta] }))
}

function expectPeers(state: Peers): void {
  const { length } = state.list()
  if (length !== PEERS) throw new WeftError('INPUT', `${length} records of ${PEERS} were taken`)
}

function timeOf(work: () => void): number {
  const start = systemClock.now()
  work()
  return systemClock.now() - start
}
