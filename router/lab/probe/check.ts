/** Checks every pod against every other one, inside this one process. */

import type { Clock } from '../../../mesh/base/clock.ts'
import { describeError } from '../../../mesh/base/errors.ts'
import { type Random, randomBelow } from '../../../mesh/base/random.ts'
import { err, ok, type Result } from '../../../mesh/base/result.ts'
import type { Native } from '../../kernel/native.ts'
import { mapBounded } from '../bounded.ts'
import { ProbeEndpoint, type ProbePorts, type ProbeTarget } from './endpoint.ts'
import { CHECKS, type CheckName, type CheckReport, type PairReport } from './report.ts'

/** Enough to keep two cores busy; so few that the datagrams under way fit into every buffer between the pods. */
const PAIRS_AT_ONCE = 64

export interface CheckPorts {
  readonly native: Native
  readonly clock: Clock
  readonly random: Random
}

/** Each pair is tried once; a pod whose sockets cannot be opened fails with all its pairs, and the others are checked all the same. */
export async function checkAll(lab: string, targets: readonly ProbeTarget[], { native, clock, random }: CheckPorts): Promise<CheckReport> {
  const started = clock.now()
  const run = randomBelow(random, 0x1_0000_0000)
  await using stack = new AsyncDisposableStack()
  const subjects: Subject[] = []
  for (const target of targets) subjects.push({ target, endpoint: await tryOpen(target, { native, clock, run }, stack) })
  const pairs = await mapBounded(spread(subjects), PAIRS_AT_ONCE, ([from, to]) => checkPair(from, to))
  const order = new Map(targets.map(({ name }, index) => [name, index]))
  const rank = ({ from, to }: PairReport): number => (order.get(from) ?? 0) * targets.length + (order.get(to) ?? 0)
  return {
    lab,
    pods: targets.map(({ name }) => name),
    ok: pairs.every((pair) => CHECKS.every((check) => pair[check])),
    pairs: pairs.toSorted((a, b) => rank(a) - rank(b)),
    tookMs: Math.round(clock.now() - started),
  }
}

interface Subject {
  readonly target: ProbeTarget
  readonly endpoint: Result<ProbeEndpoint, string>
}

async function tryOpen(target: ProbeTarget, ports: ProbePorts, stack: AsyncDisposableStack): Promise<Result<ProbeEndpoint, string>> {
  try {
    return ok(stack.use(await ProbeEndpoint.open(target, ports)))
  } catch (error) {
    return err(`cannot open sockets in ${target.name}: ${describeError(error)}`)
  }
}

/** All ordered pairs, by distance round the circle, so that the pairs under way at one time have different receivers. */
export function spread<T>(items: readonly T[]): readonly (readonly [T, T])[] {
  const pairs: (readonly [T, T])[] = []
  for (let distance = 1; distance < items.length; distance++) {
    items.forEach((from, index) => {
      const to = items[(index + distance) % items.length]
      if (to !== undefined) pairs.push([from, to])
    })
  }
  return pairs
}

async function checkPair(from: Subject, to: Subject): Promise<PairReport> {
  const outcomes = await Promise.all(CHECKS.map((check) => outcomeOf(check, from.endpoint, to.endpoint)))
  const passed = Object.fromEntries(CHECKS.map((check, index) => [check, outcomes[index]?.ok === true])) as Record<CheckName, boolean>
  const errors = CHECKS.flatMap((check, index) => {
    const outcome = outcomes[index]
    return outcome?.ok === false ? [[check, outcome.error] as const] : []
  })
  const full = outcomes[CHECKS.indexOf('fullMtu')]
  const provenBytes = full?.ok === true ? (full.value ?? 0) : 0
  return { from: from.target.name, to: to.target.name, ...passed, provenBytes, errors: Object.fromEntries(errors) }
}

function outcomeOf(
  check: CheckName,
  from: Subject['endpoint'],
  to: Subject['endpoint'],
): Promise<Result<number | undefined, string>> | Result<number | undefined, string> {
  if (!from.ok) return from
  if (!to.ok) return to
  return from.value.check(check, to.value)
}
