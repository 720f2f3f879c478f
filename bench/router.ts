/** What a router costs: how soon it is ready, and how much memory it holds at rest. */
import { readFile } from 'node:fs/promises'
import { millis, seconds } from '../mesh/base/brand.ts'
import { sleep, systemClock } from '../mesh/base/clock.ts'
import { WeftError } from '../mesh/base/errors.ts'
import { systemRandom } from '../mesh/base/random.ts'
import { openLab } from '../router/lab/lab.ts'
import { parseLabName } from '../router/lab/names.ts'
import type { LabPorts } from '../router/lab/ports.ts'
import { killRouter, routerOf, startRouters } from '../router/lab/routers.ts'
import type { LabHost, LabState } from '../router/lab/state.ts'
import { type Bench, type BenchContext, compare, type Row } from './form.ts'
import { startLab } from './lab.ts'

/** What we hold ourselves to. */
const READY_SECONDS_GOAL = 2
const RSS_MEGABYTES_GOAL = 100

const KIB = 1_024

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
    memory.push(await residentMegabytes(lab, host))
  }
  const common = { case: 'router of 3 hosts', better: 'lower', peer: 'goal' } as const
  return [
    compare({ ...common, metric: 'start to ready', unit: 's', ours: ready, theirs: READY_SECONDS_GOAL }),
    compare({ ...common, metric: 'RSS at rest', unit: 'MB', ours: memory, theirs: RSS_MEGABYTES_GOAL }),
  ]
}

/** VmRSS (proc(5)): what the kernel counts as held, shared pages of the Node binary included. */
async function residentMegabytes(lab: LabState, host: LabHost): Promise<number> {
  const identity = await routerOf(lab, host)
  if (identity === undefined) throw new WeftError('UNREACHABLE', `the router of ${host.name} does not run`)
  const status = await readFile(`/proc/${identity.pid}/status`, 'utf8')
  return (Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * KIB) / 1e6
}

function labPorts({ node, searchPath, signal }: BenchContext): LabPorts {
  return { clock: systemClock, random: systemRandom, node, searchPath, signal, step: () => undefined }
}

export const router: Bench = {
  name: 'router',
  about: 'what a router costs: time from its start until it is ready, memory at rest',
  rounds: 5,
  run,
}
