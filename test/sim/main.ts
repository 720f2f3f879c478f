/**
 * Simulates meshes and prints what they did, as a table against the goals:
 * `npm run sim -- [--nodes N[,N…]] [--seeds N] [--jobs N] [--json]`. Or the addresses of clusters in a hostile world:
 * `npm run sim -- ipam [--seeds N] [--first-seed N] [--jobs N] [--json]`.
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { simulateIpam } from '../support/sim/ipam-report.ts'
import { runJobs } from '../support/sim/jobs.ts'
import type { Measured } from '../support/sim/scenarios.ts'
import { judge, type Row } from '../support/sim/table.ts'

interface Job {
  readonly size: number
  readonly seed: number
}

const USAGE = `npm run sim -- [--nodes 10,100] [--seeds 3] [--jobs ${availableParallelism()}] [--json]
npm run sim -- ipam [--seeds 100] [--first-seed 1] [--jobs ${availableParallelism()}] [--json]

Simulates whole meshes in virtual time. Each seed is another run, as many at a time as --jobs says.
A mesh of 10 takes a second of a core, one of 100 half a minute, one of 1,000 about half an hour and 3 GB.
Ctrl-C ends it with the table of the runs that are done. Exit code 1 when a goal was missed.

With \`ipam\`: routers' IPAM and mesh while they are cut off, die at any effect, lose power and bits of their disks, leave, and
are removed. A seed takes about half a second of a core. Exit code 1 when something did not hold that must.
`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    nodes: { type: 'string', default: '10,100' },
    seeds: { type: 'string' },
    'first-seed': { type: 'string', default: '1' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const stop = new AbortController()
process.once('SIGINT', () => stop.abort())
const width = count(values.jobs)
const { json: isJson, 'first-seed': first } = values

if (values.help) process.stdout.write(USAGE)
else if (positionals.length === 0) process.exitCode = await main(values.nodes.split(',').map(count), count(values.seeds ?? '3'))
else if (positionals.join() === 'ipam')
  process.exitCode = await simulateIpam({ first: count(first), seeds: count(values.seeds ?? '100'), width, isJson, signal: stop.signal })
else throw new Error(`not something to simulate: ${positionals.join(' ')}`)

async function main(sizes: readonly number[], seeds: number): Promise<number> {
  const jobs = sizes.flatMap((size) => Array.from({ length: seeds }, (_, index): Job => ({ size, seed: index + 1 })))
  const progress = ({ size, seed }: Job, doing: string): void =>
    void process.stderr.write(`sim: ${size} peers, seed ${seed} of ${seeds}: ${doing}\n`)
  const script = new URL('./run.ts', import.meta.url)
  const measured = [...(await runJobs<Job, Measured>(jobs, { script, width, progress, signal: stop.signal }))]
  const rows = sizes.flatMap((size) => {
    const runs = measured.filter(([job]) => job.size === size).map(([, run]) => run)
    return runs.length > 0 ? judge(size, runs) : []
  })
  process.stdout.write(`${isJson ? JSON.stringify({ sizes, seeds, runs: measured.length, rows }, undefined, 2) : text(rows)}\n`)
  if (measured.length < jobs.length) process.stderr.write(`sim: ${measured.length} of ${jobs.length} runs were done\n`)
  return measured.length === jobs.length && rows.every(({ isMet }) => isMet) ? 0 : 1
}

function text(rows: readonly Row[]): string {
  const cells = rows.map(({ peers, what, value, goal, isMet }) => [String(peers), what, show(value), `≤ ${goal}`, isMet ? 'yes' : 'NO'])
  const table = [['peers', 'what', 'measured', 'goal', 'met'], ...cells]
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)))
  return table
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function show(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(2)
}

function count(text: string): number {
  const value = Number(text)
  if (!(Number.isInteger(value) && value >= 1 && value <= 4_000)) throw new Error(`not a whole number from 1 to 4000: ${text}`)
  return value
}
