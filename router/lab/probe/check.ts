/** Checks every pod against every other one, over every family that both have, inside this one process. */

import type { Clock } from '../../../mesh/base/clock.ts'
import { describeError } from '../../../mesh/base/errors.ts'
import type { Ip } from '../../../mesh/base/ip.ts'
import { type Random, randomBelow } from '../../../mesh/base/random.ts'
import { err, ok, type Result } from '../../../mesh/base/result.ts'
import type { Native } from '../../kernel/native.ts'
import { mapBounded } from '../bounded.ts'
import { ProbeEndpoint, type ProbePorts, type ProbeTarget, type SizedOutcome } from './endpoint.ts'
import { CHECKS, type CheckName, type CheckReport, FAMILIES, type FamilyName, type FamilyReport, type PairReport } from './report.ts'

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
  for (const target of targets) subjects.push(await openAll(target, { native, clock, run }, stack))
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
  readonly endpoints: Readonly<Partial<Record<FamilyName, Endpoint>>>
}

type Endpoint = Result<ProbeEndpoint, string>

async function openAll(target: ProbeTarget, ports: ProbePorts, stack: AsyncDisposableStack): Promise<Subject> {
  const ipv4 = await tryOpen(target, target.address, ports, stack)
  const { address6 } = target
  return { target, endpoints: address6 === undefined ? { ipv4 } : { ipv4, ipv6: await tryOpen(target, address6, ports, stack) } }
}

async function tryOpen(
  { name, namespacePath }: ProbeTarget,
  address: Ip,
  ports: ProbePorts,
  stack: AsyncDisposableStack,
): Promise<Endpoint> {
  try {
    return ok(stack.use(await ProbeEndpoint.open(address, namespacePath, ports)))
  } catch (error) {
    return err(`cannot open sockets in ${name}: ${describeError(error)}`)
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
  const families = FAMILIES.flatMap((family) => {
    const [ours, theirs] = [from.endpoints[family], to.endpoints[family]]
    return ours === undefined || theirs === undefined ? [] : [{ family, ours, theirs }]
  })
  const checked = await Promise.all(families.map(async ({ family, ours, theirs }) => ({ family, ...(await checkFamily(ours, theirs)) })))
  const errors = CHECKS.flatMap((check) => {
    const failed = checked.flatMap(({ family, outcomes }) => {
      const outcome = outcomes[check]
      return outcome.ok ? [] : [family === 'ipv6' ? `IPv6: ${outcome.error}` : outcome.error]
    })
    return failed.length === 0 ? [] : [[check, failed.join('; ')] as const]
  })
  return {
    from: from.target.name,
    to: to.target.name,
    ...everyCheck((check) => checked.every(({ report }) => report[check])),
    provenBytes: Math.min(...checked.map(({ report }) => report.provenBytes)),
    families: Object.fromEntries(checked.map(({ family, report }) => [family, report])),
    errors: Object.fromEntries(errors),
  }
}

type Outcomes = Readonly<Record<CheckName, SizedOutcome>>

/** All at once. */
async function checkFamily(from: Endpoint, to: Endpoint): Promise<{ readonly report: FamilyReport; readonly outcomes: Outcomes }> {
  const all = await Promise.all(CHECKS.map((check) => outcomeOf(check, from, to)))
  const outcomes = Object.fromEntries(CHECKS.map((check, index) => [check, all[index]])) as Outcomes
  const { fullMtu } = outcomes
  const provenBytes = fullMtu.ok ? (fullMtu.value ?? 0) : 0
  return { report: { ...everyCheck((check) => outcomes[check].ok), provenBytes }, outcomes }
}

function everyCheck(passed: (check: CheckName) => boolean): Record<CheckName, boolean> {
  return Object.fromEntries(CHECKS.map((check) => [check, passed(check)])) as Record<CheckName, boolean>
}

function outcomeOf(check: CheckName, from: Endpoint, to: Endpoint): Promise<SizedOutcome> | SizedOutcome {
  if (!from.ok) return from
  if (!to.ok) return to
  return from.value.check(check, to.value)
}
