/** Addresses asked of a real router through its socket, by one client and by many; and what it holds of memory with many given. */
import { type Millis, seconds } from '../../mesh/base/brand.ts'
import { sleep } from '../../mesh/base/clock.ts'
import { hostPaths } from '../../router/lab/paths.ts'
import type { LabHost, LabState } from '../../router/lab/state.ts'
import { type BenchContext, compare, type Row } from '../form.ts'
import { procFileOf } from '../mesh/watch.ts'
import { processorSeconds, residentMegabytes } from '../procfs.ts'
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

/** On a machine that is busy with other things this says more than the rates. */
const PROCESSOR_MILLISECONDS_GOAL = 1
/** What the requests themselves took is given back by then. */
const REST: Millis = seconds(15)
const REST_QUICK: Millis = seconds(1)

interface Round {
  readonly alone: Timing
  readonly pairs: Timing
  readonly together: Timing
  /** Of the router, for one address given and freed. */
  readonly processorMilliseconds: number
}

/** A router that is asked. */
interface Subject {
  readonly lab: LabState
  readonly host: LabHost
  readonly cniSocket: string
}

export async function measureRequests(context: BenchContext, lab: LabState, host: LabHost): Promise<readonly Row[]> {
  const subject = { lab, host, cniSocket: hostPaths(lab.name, host.name).cniSocket }
  const before = await megabytesOf(subject)
  await timed({ clients: 1, calls: CALLS_QUICK }, (number) => pair(subject, number))
  const rounds: Round[] = []
  for (let round = 0; round < context.rounds; round++) {
    context.progress(`requests, round ${round + 1} of ${context.rounds}`)
    rounds.push(await measureRound(context, subject))
  }
  return [...sequentialRows(rounds), ...concurrentRows(rounds), ...(await heldRows(context, subject, before))]
}

async function pair({ cniSocket }: Subject, number: number): Promise<void> {
  await allocate(cniSocket, containerId(number))
  await free(cniSocket, containerId(number))
}

async function measureRound({ quick }: BenchContext, subject: Subject): Promise<Round> {
  const { cniSocket } = subject
  const calls = quick ? CALLS_QUICK : CALLS
  const alone = await timed({ clients: 1, calls }, (number) => allocate(cniSocket, containerId(number)))
  await timed({ clients: 1, calls }, (number) => free(cniSocket, containerId(number)))
  const before = await processorOf(subject)
  const pairs = await timed({ clients: 1, calls }, (number) => pair(subject, number))
  const processorMilliseconds = (((await processorOf(subject)) - before) * 1_000) / calls
  const together = await timed({ clients: CLIENTS, calls: quick ? CALLS_OF_EACH_QUICK : CALLS_OF_EACH }, (number) => pair(subject, number))
  return { alone, pairs, together, processorMilliseconds }
}

async function processorOf({ lab, host }: Subject): Promise<number> {
  return processorSeconds(await procFileOf(lab, host, 'stat'))
}

async function megabytesOf({ lab, host }: Subject): Promise<number> {
  return residentMegabytes(await procFileOf(lab, host, 'status'))
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
    compare({
      ...common,
      metric: 'allocate and free, as one, the router’s processor',
      unit: 'ms',
      better: 'lower',
      ours: rounds.map(({ processorMilliseconds }) => processorMilliseconds),
      peer: 'goal',
      theirs: PROCESSOR_MILLISECONDS_GOAL,
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
async function heldRows(context: BenchContext, subject: Subject, before: number): Promise<readonly Row[]> {
  const { cniSocket } = subject
  const held = context.quick ? HELD_QUICK : HELD
  context.progress(`${held} addresses, all kept`)
  const filling = await timed({ clients: CLIENTS, calls: held / CLIENTS }, (number) => allocate(cniSocket, containerId(number)))
  const after = await timed({ clients: 1, calls: CALLS_QUICK }, (number) => allocate(cniSocket, containerId(held + number)))
  await sleep(context.quick ? REST_QUICK : REST, context.signal)
  const memory = await megabytesOf(subject)
  const common = { case: `router, ${held} addresses given`, unit: '1/s', better: 'higher' } as const
  const weave = { peer: WEAVE_NAME, theirs: WEAVE_ALLOCATION.perSecond } as const
  return [
    compare({ ...common, metric: `allocate, until there are so many, ${CLIENTS} clients`, ours: [rateOf(filling)], ...weave }),
    compare({ ...common, metric: 'allocate, one more, 1 client', ours: [rateOf(after)], ...weave }),
    compare({
      ...common,
      metric: 'RSS at rest',
      unit: 'MB',
      better: 'lower',
      ours: [memory],
      peer: 'goal',
      theirs: RSS_MEGABYTES_GOAL,
      note: `${(memory - before).toFixed(0)} MB more than before the first request`,
    }),
  ]
}
