/** A lab of real routers: what they cost at rest, and how soon all hear of a death and of a start. */
import { type Millis, seconds } from '../../mesh/base/brand.ts'
import { sleep, systemClock } from '../../mesh/base/clock.ts'
import { WeftError } from '../../mesh/base/errors.ts'
import { DEGREE_MAX, DEGREE_TARGET } from '../../mesh/overlay.ts'
import { addCuts, type Cut } from '../../router/lab/cuts.ts'
import { openLab } from '../../router/lab/lab.ts'
import { parseLabName } from '../../router/lab/names.ts'
import { killRouter, startRouters } from '../../router/lab/routers.ts'
import type { LabHost, LabState } from '../../router/lab/state.ts'
import { applyCuts } from '../../router/lab/underlay.ts'
import { type BenchContext, compare, median, type Row } from '../form.ts'
import { labPorts, startLab } from '../lab.ts'
import { deviceBytes, residentMegabytes } from '../procfs.ts'
import { type MeshReport, procFileOf, reportOf, reportsOf, untilAll } from './watch.ts'

const HOSTS = 30
const HOSTS_QUICK = 10

/** What we hold ourselves to. A small mesh has fewer to talk to. */
const BYTES_PER_SECOND_GOAL = 1_000
const BYTES_PER_SECOND_GOAL_SMALL = 500
const RSS_MEGABYTES_GOAL = 100
const DEATH_SECONDS_GOAL = 8
/** A router is to be ready in two seconds, and then all are to know within one. */
const START_SECONDS_GOAL = 2 + 1

/** Of counting bytes: several rounds of everything that a router does at regular times. */
const WINDOW: Millis = seconds(20)
/** Nobody has published anything for so long: they are at rest. */
const QUIET: Millis = seconds(10)
const QUIET_CHECKS_MAX = 18
const HEARD_WITHIN: Millis = seconds(60)

const UNDERLAY_DEVICE = 'eth0'

/** One figure a round. */
interface Round {
  readonly bytesPerSecond: number
  readonly megabytes: number
  readonly connections: number
  readonly connectionsMost: number
  readonly deathSeconds: number
  readonly startSeconds: number
}

export async function measureRouters(context: BenchContext): Promise<readonly Row[]> {
  const hosts = context.quick ? HOSTS_QUICK : HOSTS
  context.progress(`building a lab of ${hosts} hosts`)
  await using built = await startLab(context, { name: 'benchmesh', hosts, pods: 0 })
  const lab = await openLab(parseLabName(built.name))
  const rounds: Round[] = []
  for (let round = 0; round < context.rounds; round++) {
    context.progress(`round ${round + 1} of ${context.rounds}: waiting until nothing changes`)
    await untilQuiet(lab, context.signal)
    context.progress(`counting bytes for ${WINDOW / 1_000} s`)
    const rest = await atRest(lab, context.signal)
    // Another victim every round; never the first, which all others were told to dial.
    const victim = lab.hosts[1 + (round % (lab.hosts.length - 1))]
    if (victim === undefined) throw new WeftError('MISSING', 'the lab has one host only')
    context.progress(`${victim.name} is cut off and killed, then started anew`)
    rounds.push({ ...rest, ...(await deathAndStart(lab, victim, context)) })
  }
  return rowsOf(hosts, rounds)
}

function rowsOf(hosts: number, rounds: readonly Round[]): readonly Row[] {
  const common = { case: `${hosts} routers`, better: 'lower', peer: 'goal' } as const
  const row = (metric: string, unit: string, figure: keyof Round, theirs: number): Row =>
    compare({ ...common, metric, unit, ours: rounds.map((round) => round[figure]), theirs })
  const bytesGoal = hosts >= HOSTS ? BYTES_PER_SECOND_GOAL : BYTES_PER_SECOND_GOAL_SMALL
  return [
    row('at rest, in and out, median router', 'B/s', 'bytesPerSecond', bytesGoal),
    row('RSS at rest, median router', 'MB', 'megabytes', RSS_MEGABYTES_GOAL),
    row('connections, average', '1', 'connections', DEGREE_TARGET),
    row('connections, most', '1', 'connectionsMost', DEGREE_MAX),
    row('host lost to dead for all', 's', 'deathSeconds', DEATH_SECONDS_GOAL),
    row('start to alive for all', 's', 'startSeconds', START_SECONDS_GOAL),
  ]
}

/** @throws {WeftError} UNREACHABLE when records keep changing. */
async function untilQuiet(lab: LabState, signal: AbortSignal): Promise<void> {
  const [first] = lab.hosts
  if (first === undefined) throw new WeftError('MISSING', 'the lab has no hosts')
  const records = async (): Promise<string> => versions(await reportOf(lab, first))
  let before = await records()
  for (let check = 0; check < QUIET_CHECKS_MAX; check++) {
    await sleep(QUIET, signal)
    const now = await records()
    if (now === before) return
    before = now
  }
  throw new WeftError('UNREACHABLE', `records still change after ${(QUIET * QUIET_CHECKS_MAX) / 1_000} s`)
}

function versions({ peers }: MeshReport): string {
  return JSON.stringify(peers.map(({ name, incarnation, version }) => [name, incarnation, version]).toSorted())
}

/** Nobody is asked anything meanwhile. The counters are the kernel's: headers of all layers are in them, ARP too. */
async function atRest(
  lab: LabState,
  signal: AbortSignal,
): Promise<Pick<Round, 'bytesPerSecond' | 'megabytes' | 'connections' | 'connectionsMost'>> {
  const before = await countersOf(lab)
  await sleep(WINDOW, signal)
  const after = await countersOf(lab)
  const rates = after.map(({ bytes, at }, index) => {
    const then = before[index]
    return then === undefined ? Number.NaN : (bytes - then.bytes) / ((at - then.at) / 1_000)
  })
  const statuses = await Promise.all(lab.hosts.map((host) => procFileOf(lab, host, 'status')))
  const connections = (await reportsOf(lab, lab.hosts)).map(establishedOf)
  return {
    bytesPerSecond: median(rates),
    megabytes: median(statuses.map(residentMegabytes)),
    connections: connections.reduce((sum, count) => sum + count, 0) / connections.length,
    connectionsMost: Math.max(...connections),
  }
}

function establishedOf({ connections }: MeshReport): number {
  return connections.filter(({ state }) => state === 'established').length
}

function countersOf(lab: LabState): Promise<readonly { readonly bytes: number; readonly at: Millis }[]> {
  return Promise.all(
    lab.hosts.map(async (host) => ({
      bytes: deviceBytes(await procFileOf(lab, host, 'net/dev'), UNDERLAY_DEVICE),
      at: systemClock.now(),
    })),
  )
}

/**
 * The switch drops every frame from and to the victim, so that its end sends no RST: it is as a machine that lost its
 * power. The clock of a death runs from the cut until the last other router lists it as dead; the clock of a start
 * from the start of the process (so that Node's own start is in it) until the last other router lists it as alive
 * with the incarnation of its new life. Asking the routers takes turns, which adds up to a few tenths of a second.
 */
async function deathAndStart(lab: LabState, victim: LabHost, context: BenchContext): Promise<Pick<Round, 'deathSeconds' | 'startSeconds'>> {
  const { signal } = context
  const others = lab.hosts.filter((host) => host !== victim)
  const cutAt = systemClock.now()
  await applyCuts(lab, addCuts(lab.cuts, cutsAround(victim, others)))
  await killRouter(lab, victim)
  const isDead = (report: MeshReport): boolean => peerOf(report, victim)?.state === 'dead'
  const deadAt = await untilAll(lab, others, isDead, { within: HEARD_WITHIN, signal, what: `${victim.name} is dead` })
  const [witness = victim] = others
  const old = peerOf(await reportOf(lab, witness), victim)?.incarnation ?? 0
  await applyCuts(lab, lab.cuts)
  const isBack = (report: MeshReport): boolean => {
    const peer = peerOf(report, victim)
    return peer?.state === 'alive' && peer.incarnation > old
  }
  const startAt = systemClock.now()
  const [, aliveAt] = await Promise.all([
    startRouters(lab, [victim], labPorts(context)),
    untilAll(lab, others, isBack, { within: HEARD_WITHIN, signal, what: `${victim.name} is back` }),
  ])
  return { deathSeconds: (deadAt - cutAt) / 1_000, startSeconds: (aliveAt - startAt) / 1_000 }
}

function peerOf({ peers }: MeshReport, { peer }: LabHost): MeshReport['peers'][number] | undefined {
  return peers.find(({ name }) => name === peer)
}

function cutsAround({ name }: LabHost, others: readonly LabHost[]): readonly Cut[] {
  return others.flatMap((other): readonly Cut[] => [
    { from: name, to: other.name, what: 'all' },
    { from: other.name, to: name, what: 'all' },
  ])
}
