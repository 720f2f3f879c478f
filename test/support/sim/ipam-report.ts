/** Simulates the addresses of many clusters, and prints what they went through and what did not hold. */
import { COVERAGE } from './ipam-coverage.ts'
import { runJobs } from './jobs.ts'

/** What is kept of the run of one seed. */
export interface IpamSeed {
  readonly seed: number
  readonly plan: string
  readonly hash: string
  readonly violations: readonly string[]
  readonly happened: readonly (readonly [what: string, count: number])[]
  readonly operations: number
}

interface IpamOptions {
  readonly first: number
  readonly seeds: number
  readonly width: number
  readonly isJson: boolean
  readonly signal: AbortSignal
}

interface Job {
  readonly seeds: readonly number[]
}

/** So few seeds to a worker that those of the last ones do not keep all waiting. */
const JOB_SEEDS = 10

/** The exit code: 1 when something did not hold, or not all was done. */
export async function simulateIpam({ first, seeds, width, isJson, signal }: IpamOptions): Promise<number> {
  const all = Array.from({ length: seeds }, (_, index) => first + index)
  const jobs = Array.from({ length: Math.ceil(seeds / JOB_SEEDS) }, (_, at) => ({ seeds: all.slice(at * JOB_SEEDS, (at + 1) * JOB_SEEDS) }))
  const progress = (_: Job, doing: string): void => void process.stderr.write(`sim: ${doing}\n`)
  const script = new URL('../../sim/run-ipam.ts', import.meta.url)
  const runs = [...(await runJobs<Job, readonly IpamSeed[]>(jobs, { script, width, progress, signal })).values()].flat()
  const happened = totals(runs)
  const bad = runs.filter(({ violations }) => violations.length > 0)
  const never = COVERAGE.filter((what) => !happened.has(what))
  process.stdout.write(
    isJson
      ? `${JSON.stringify({ first, seeds, runs: runs.length, happened: Object.fromEntries(happened), never, bad }, undefined, 2)}\n`
      : text(runs, happened),
  )
  if (runs.length < seeds) process.stderr.write(`sim: ${runs.length} of ${seeds} seeds were done\n`)
  return bad.length === 0 && runs.length === seeds ? 0 : 1
}

function totals(runs: readonly IpamSeed[]): ReadonlyMap<string, number> {
  const sums = new Map<string, number>()
  for (const [what, count] of runs.flatMap(({ happened }) => happened)) sums.set(what, (sums.get(what) ?? 0) + count)
  return new Map([...sums].sort(([a], [b]) => (a < b ? -1 : 1)))
}

function text(runs: readonly IpamSeed[], happened: ReadonlyMap<string, number>): string {
  const operations = runs.reduce((sum, run) => sum + run.operations, 0)
  const lines = [...happened].map(([what, count]) => `${String(count).padStart(9)}  ${what}`)
  const never = COVERAGE.filter((what) => !happened.has(what)).map((what) => `    never  ${what}`)
  const bad = runs.flatMap(({ seed, plan, violations }) =>
    violations[0] === undefined ? [] : [`seed ${seed} (${plan}): ${violations[0]}`],
  )
  const verdict = `${runs.length} seeds, ${operations} operations, ${bad.length} seeds with something that must not be`
  return `${[...lines, ...never, verdict, ...bad].join('\n')}\n`
}
