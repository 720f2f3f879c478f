/** Pods started on real routers: what the routers say to each other meanwhile. */
import { type Millis, seconds } from '../../mesh/base/brand.ts'
import { sleep, systemClock } from '../../mesh/base/clock.ts'
import { podName } from '../../router/lab/names.ts'
import { addPod, deletePod } from '../../router/lab/runtime.ts'
import type { LabState, PodRecord } from '../../router/lab/state.ts'
import { type BenchContext, compare, median, type Row } from '../form.ts'
import { labPorts } from '../lab.ts'
import { procFileOf } from '../mesh/watch.ts'
import { deviceBytes } from '../procfs.ts'
import { WEAVE_GOSSIP_SECONDS, WEAVE_RING_OF_3_BYTES, WHOLE_RING } from './weave.ts'

const PODS = 50
const PODS_QUICK = 6
/** Of either kind: with pods and without. Longer than starting all takes, as news is held back for a moment. */
const WINDOW: Millis = seconds(10)
const UNDERLAY_DEVICE = 'eth0'
/** Of labs' own pods the names are a1, a2, …. */
const FIRST_POD_NUMBER = 100

export async function measurePods(context: BenchContext, lab: LabState): Promise<readonly Row[]> {
  const count = context.quick ? PODS_QUICK : PODS
  const rest: number[] = []
  const starting: number[] = []
  for (let round = 0; round < context.rounds; round++) {
    context.progress(`pods, round ${round + 1} of ${context.rounds}: at rest, then ${count} starts`)
    rest.push(await saidDuring(lab, () => sleep(WINDOW, context.signal)))
    const made: PodRecord[] = []
    starting.push(await saidDuring(lab, () => startPods(context, lab, { count, made })))
    for (const pod of made) await deletePod(lab.name, pod, labPorts(context))
  }
  const atRest = median(rest) / count
  return [
    compare({
      case: `${lab.hosts.length} routers, ${count} pods started`,
      metric: `said by all routers, ${WINDOW / 1_000} s ÷ pods`,
      unit: 'B',
      better: 'lower',
      ours: starting.map((bytes) => bytes / count),
      peer: WHOLE_RING,
      theirs: WEAVE_RING_OF_3_BYTES,
      note: `all that crosses the wire, headers and beats too: as long at rest it is ${atRest.toFixed(0)}. Weave Net tells of a start by its whole ring, every ${WEAVE_GOSSIP_SECONDS} s to each neighbour; the figure is without headers`,
    }),
  ]
}

/** Headers of all layers are in it. Each byte once, though both ends count it. */
async function saidDuring(lab: LabState, work: () => Promise<void>): Promise<number> {
  const before = await bytesOf(lab)
  await work()
  return ((await bytesOf(lab)) - before) / 2
}

async function bytesOf(lab: LabState): Promise<number> {
  const each = await Promise.all(lab.hosts.map(async (host) => deviceBytes(await procFileOf(lab, host, 'net/dev'), UNDERLAY_DEVICE)))
  return each.reduce((sum, bytes) => sum + bytes, 0)
}

interface Batch {
  readonly count: number
  readonly made: PodRecord[]
}

/** On each host in turn; takes `WINDOW`, or as long as the starts take. */
async function startPods(context: BenchContext, lab: LabState, { count, made }: Batch): Promise<void> {
  const until = systemClock.now() + WINDOW
  for (let index = 0; index < count; index++) {
    const host = lab.hosts[index % lab.hosts.length]
    if (host === undefined) continue
    const pod = { lab: lab.name, host: host.name, name: podName(host.name, FIRST_POD_NUMBER + index) }
    made.push(await addPod(pod, labPorts(context)))
  }
  await sleep(seconds(Math.max(0, until - systemClock.now()) / 1_000), context.signal)
}
