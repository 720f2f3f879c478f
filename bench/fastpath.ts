/** Pod to pod over Weft's VXLAN path, against the kernel's by hand (the limit), flannel's layout, and no overlay at all. */
import { addCandidates, type Candidate } from './fastpath/candidates.ts'
import { requestRate, startServers, throughput } from './fastpath/measures.ts'
import { type Bench, type BenchContext, compare, type Row } from './form.ts'
import { startLab } from './lab.ts'

interface Case {
  readonly name: string
  readonly metrics: readonly { readonly metric: string; readonly unit: string; readonly better: 'higher' | 'lower' }[]
  /** One figure for each metric. */
  measure(on: Candidate, context: BenchContext): Promise<readonly number[]>
}

const THROUGHPUT_METRICS = [
  { metric: 'throughput', unit: 'Gbit/s', better: 'higher' },
  { metric: 'CPU', unit: 's/GB', better: 'lower' },
] as const

/** About half a second. */
const TRANSFER_BYTES = 800_000_000
const QUICK_BYTES = 100_000_000

const CASES: readonly Case[] = [tcp(1), tcp(4), requests()]

function tcp(streams: number): Case {
  return {
    name: streams === 1 ? 'TCP, 1 stream' : `TCP, ${streams} streams`,
    metrics: THROUGHPUT_METRICS,
    async measure(on, { quick, signal }) {
      const { gigabitsPerSecond, cpuSecondsPerGigabyte } = await throughput(on, streams, quick ? QUICK_BYTES : TRANSFER_BYTES, signal)
      return [gigabitsPerSecond, cpuSecondsPerGigabyte]
    },
  }
}

function requests(): Case {
  return {
    name: 'request/response',
    metrics: [{ metric: 'rate', unit: '1/s', better: 'higher' }],
    measure: async (on, { signal }) => [await requestRate(on, 1, signal)],
  }
}

async function run(context: BenchContext): Promise<readonly Row[]> {
  await using stack = new AsyncDisposableStack()
  context.progress('building a lab of two hosts, and its peers')
  const lab = stack.use(await startLab(context, { hosts: 2, pods: 1 }))
  const [ours, ...peers] = await addCandidates(lab, stack)
  for (const candidate of [ours, ...peers]) await startServers(candidate, stack)
  const rows: Row[] = []
  for (const one of CASES) rows.push(...(await compareCase(one, ours, peers, context)))
  return rows
}

/** All candidates take turns, and each round begins with another one, so that a drifting machine hurts all alike. */
async function compareCase(one: Case, ours: Candidate, peers: readonly Candidate[], context: BenchContext): Promise<readonly Row[]> {
  const candidates = [ours, ...peers]
  const samples = new Map(candidates.map((candidate) => [candidate, [] as (readonly number[])[]]))
  for (let round = 0; round < context.rounds; round++) {
    if (round % 5 === 0) context.progress(`${one.name}, round ${round + 1} of ${context.rounds}`)
    for (let turn = 0; turn < candidates.length; turn++) {
      const candidate = candidates[(round + turn) % candidates.length] ?? ours
      samples.get(candidate)?.push(await one.measure(candidate, context))
    }
  }
  const figures = (candidate: Candidate, metric: number): readonly number[] =>
    (samples.get(candidate) ?? []).map((sample) => sample[metric] ?? Number.NaN)
  return one.metrics.flatMap(({ metric, unit, better }, index) =>
    peers.map((peer) =>
      compare({ case: one.name, metric, unit, better, ours: figures(ours, index), peer: peer.name, theirs: figures(peer, index) }),
    ),
  )
}

export const fastpath: Bench = {
  name: 'fastpath',
  about: 'pod to pod on trusted ground: Weft, kernel VXLAN by hand, flannel’s layout, no overlay',
  rounds: 25,
  run,
}
