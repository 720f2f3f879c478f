/** What a router costs: how soon it is ready, and how much memory it holds at rest. */
import { millis, seconds } from '../mesh/base/brand.ts'
import { sleep, systemClock } from '../mesh/base/clock.ts'
import { WeftError } from '../mesh/base/errors.ts'
import { openLab } from '../router/lab/lab.ts'
import { parseLabName } from '../router/lab/names.ts'
import { killRouter, startRouters } from '../router/lab/routers.ts'
import { type Bench, type BenchContext, compare, type Row } from './form.ts'
import { labPorts, startLab } from './lab.ts'
import { procFileOf } from './mesh/watch.ts'
import { residentMegabytes } from './procfs.ts'

/** What we hold ourselves to. */
const READY_SECONDS_GOAL = 2
const RSS_MEGABYTES_GOAL = 100

async function run(context: BenchContext): Promise<readonly Row[]> {
  context.progress('building a lab of three hosts')
  await using built = await startLab(context, { hosts: 3, pods: 2 })
  const lab = await openLab(parseLabName(built.name))
  const host = lab.hosts.find(({ name }) => name === 'b')
  if (host === undefined) throw new WeftError('MISSING', 'the lab has no host b')
  const ready: number[] = []
  const memory: number[] = []
  for (let round = 0; round < context.rounds; round++) {
    context.progress(`round ${round + 1} of ${context.rounds}: kill -9 of b's router, and a new one`)
    await killRouter(lab, host)
    const start = systemClock.now()
    await startRouters(lab, [host], labPorts(context))
    ready.push((systemClock.now() - start) / 1_000)
    await sleep(context.quick ? millis(500) : seconds(5), context.signal)
    memory.push(residentMegabytes(await procFileOf(lab, host, 'status')))
  }
  const common = { case: 'router of 3 hosts', better: 'lower', peer: 'goal' } as const
  return [
    compare({ ...common, metric: 'start to ready', unit: 's', ours: ready, theirs: READY_SECONDS_GOAL }),
    compare({ ...common, metric: 'RSS at rest', unit: 'MB', ours: memory, theirs: RSS_MEGABYTES_GOAL }),
  ]
}

export const router: Bench = {
  name: 'router',
  about: 'what a router costs: time from its start until it is ready, memory at rest',
  rounds: 5,
  run,
}
