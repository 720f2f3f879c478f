/** Addresses asked of a real router through its socket, by one client and by many; and what it holds of memory with many given. */
import { hostPaths } from '../../router/lab/paths.ts'
import type { LabHost, LabState } from '../../router/lab/state.ts'
import { type BenchContext, compare, type Row } from '../form.ts'
import { procFileOf } from '../mesh/watch.ts'
import { residentMegabytes } from '../procfs.ts'
import { allocate, containerId, free } from './client.ts'
import { quantile, type Timing, timed } from './load.ts'
import { WEAVE_ALLOCATION, WEAVE_NAME } from './weave.ts'

const CALLS = 1_000
const CALLS_QUICK = 100
const CLIENTS = 20
const CALLS_OF_EACH = 100
const CALLS_OF_EACH_QUICK = 10
const HELD = 10_000
const HELD_QUICK = 1_000

/** What we hold ourselves to. */
const TIMES_WEAVE_GOAL = 10
const RSS_MEGABYTES_GOAL = 100
/** Nobody who starts 20 pods at once is to see it. */
const P99_MILLISECONDS_GOAL = 50

interface Round {
  readonly alone: Timing
  readonly pairs: Timing
  readonly together: Timing
}

export async function measureRequests(context: BenchContext, lab: LabState, host: LabHost): Promise<readonly Row[]> {
  const { cniSocket } = hostPaths(lab.name, host.name)
  const pair = async (number: number): Promise<void> => {
    await allocate(cniSocket, containerId(number))
    await free(cniSocket, containerId(number))
  }
  await timed({ clients: 1, calls: CALLS_QUICK }, pair)
  const rounds: Round[] = []
  for (let round = 0; round < context.rounds; round++) {
    context.progress(`requests, round ${round + 1} of ${context.rounds}`)
    rounds.push(await measureRound(context, cniSocket, pair))
  }
  return [...sequentialRows(rounds), ...concurrentRows(rounds), ...(await heldRows(context, lab, host))]
}

async function measureRound({ quick }: BenchContext, cniSocket: string, pair: (number: number) => Promise<void>): Promise<Round> {
  const calls = quick ? CALLS_QUICK : CALLS
  const alone = await timed({ clients: 1, calls }, (number) => allocate(cniSocket, containerId(number)))
  await timed({ clients: 1, calls }, (number) => free(cniSocket, containerId(number)))
  const pairs = await timed({ clients: 1, calls }, pair)
  const together = await timed({ clients: CLIENTS, calls: quick ? CALLS_OF_EACH_QUICK : CALLS_OF_EACH }, pair)
  return { alone, pairs, together }
}

function rateOf({ seconds, milliseconds }: Timing): number {
  return milliseconds.length / seconds
}

function sequentialRows(rounds: readonly Round[]): readonly Row[] {
  const common = { case: 'router, 1 client', unit: '1/s', better: 'higher' } as const
  const rates = rounds.map(({ alone }) => rateOf(alone))
  const { perSecond, p50Milliseconds } = WEAVE_ALLOCATION
  const p50 = rounds.map(({ alone }) => quantile(alone.milliseconds, 0.5))
  const goal = `goal: ${TIMES_WEAVE_GOAL} × ${WEAVE_NAME}`
  return [
    compare({ ...common, metric: 'allocate', ours: rates, peer: WEAVE_NAME, theirs: perSecond, note: ALLOCATE_NOTE }),
    compare({ ...common, metric: 'allocate, against the goal', ours: rates, peer: goal, theirs: TIMES_WEAVE_GOAL * perSecond }),
    compare({
      ...common,
      metric: 'allocate and free, as one',
      ours: rounds.map(({ pairs }) => rateOf(pairs)),
      peer: goal,
      theirs: TIMES_WEAVE_GOAL * perSecond,
      note: 'the figure of Weave Net is of allocating alone',
    }),
    compare({ ...common, metric: 'allocate, p50', unit: 'ms', better: 'lower', ours: p50, peer: WEAVE_NAME, theirs: p50Milliseconds }),
  ]
}

const ALLOCATE_NOTE =
  'both without a plugin’s process and without an interface; a connection for each request; the figure of Weave Net is of another machine of this class'

function concurrentRows(rounds: readonly Round[]): readonly Row[] {
  const common = { case: `router, ${CLIENTS} clients` } as const
  return [
    compare({
      ...common,
      metric: 'allocate and free, as one, all together',
      unit: '1/s',
      better: 'higher',
      ours: rounds.map(({ together }) => rateOf(together)),
      peer: `goal: ${TIMES_WEAVE_GOAL} × ${WEAVE_NAME}, 1 client`,
      theirs: TIMES_WEAVE_GOAL * WEAVE_ALLOCATION.perSecond,
    }),
    compare({
      ...common,
      metric: 'allocate and free, as one, p99',
      unit: 'ms',
      better: 'lower',
      ours: rounds.map(({ together }) => quantile(together.milliseconds, 0.99)),
      peer: 'goal',
      theirs: P99_MILLISECONDS_GOAL,
    }),
  ]
}

/** Once: they stay, and the lab is torn down after. */
async function heldRows(context: BenchContext, lab: LabState, host: LabHost): Promise<readonly Row[]> {
  const { cniSocket } = hostPaths(lab.name, host.name)
  const held = context.quick ? HELD_QUICK : HELD
  context.progress(`${held} addresses, all kept`)
  const filling = await timed({ clients: CLIENTS, calls: held / CLIENTS }, (number) => allocate(cniSocket, containerId(number)))
  const memory = residentMegabytes(await procFileOf(lab, host, 'status'))
  const after = await timed({ clients: 1, calls: CALLS_QUICK }, (number) => allocate(cniSocket, containerId(held + number)))
  const goal = { peer: 'goal', theirs: RSS_MEGABYTES_GOAL } as const
  const common = { case: `router, ${held} addresses given`, unit: '1/s', better: 'higher' } as const
  const weave = { peer: WEAVE_NAME, theirs: WEAVE_ALLOCATION.perSecond } as const
  return [
    compare({ ...common, metric: `allocate, until there are so many, ${CLIENTS} clients`, ours: [rateOf(filling)], ...weave }),
    compare({ ...common, metric: 'allocate, one more, 1 client', ours: [rateOf(after)], ...weave }),
    compare({ ...common, metric: 'RSS', unit: 'MB', better: 'lower', ours: [memory], ...goal }),
  ]
}
