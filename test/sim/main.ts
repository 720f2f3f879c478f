/**
 * Simulates meshes and prints what they did, as a table against the goals: `npm run sim -- [--nodes N[,N…]] [--seeds N] [--json]`.
 * A mesh of 10 takes a second of real time, one of 100 half a minute, one of 1,000 the better part of an hour.
 */
import { parseArgs } from 'node:util'
import { type Measured, measure } from '../support/sim/scenarios.ts'
import { judge, type Row } from '../support/sim/table.ts'

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '10,100' },
    seeds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) {
  process.stdout.write(
    'npm run sim -- [--nodes 10,100] [--seeds 3] [--json]\n\nSimulates whole meshes in virtual time. Each seed is another run.\n',
  )
} else {
  process.exitCode = await main(values.nodes.split(',').map(count), count(values.seeds))
}

async function main(sizes: readonly number[], seeds: number): Promise<number> {
  const rows: Row[] = []
  for (const size of sizes) {
    const runs: Measured[] = []
    for (let seed = 1; seed <= seeds; seed += 1) {
      runs.push(await measure(size, seed, (what) => process.stderr.write(`sim: ${size} peers, seed ${seed} of ${seeds}: ${what}\n`)))
    }
    rows.push(...judge(size, runs))
  }
  process.stdout.write(`${values.json ? JSON.stringify({ sizes, seeds, rows }, undefined, 2) : text(rows)}\n`)
  return rows.every(({ isMet }) => isMet) ? 0 : 1
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
