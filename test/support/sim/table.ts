/** The figures of simulated meshes against the goals that the mesh was built for. */
import type { Measured } from './scenarios.ts'

export interface Row {
  readonly peers: number
  readonly what: string
  readonly value: number
  readonly goal: number
  readonly isMet: boolean
}

interface Goals {
  readonly what: string
  readonly of: (runs: readonly Measured[]) => number
  /** For 10, 100, 500 and 1,000 peers. */
  readonly goals: readonly [number, number, number, number]
}

const SIZES = [10, 100, 500, 1_000]

/** The average degree is 8 but for the few that everybody turned to first: they keep what neither end can spare. */
const DEGREE_AVERAGE = 8.5

const GOALS: readonly Goals[] = [
  {
    what: 'control connections, average',
    of: max(({ degreeAverage }) => [degreeAverage]),
    goals: [9, DEGREE_AVERAGE, DEGREE_AVERAGE, DEGREE_AVERAGE],
  },
  { what: 'control connections, most', of: max(({ degreeMax }) => [degreeMax]), goals: [9, 12, 12, 12] },
  { what: 'change seen by all, LAN, p99 (s)', of: p99(({ changeLan }) => changeLan), goals: [0.3, 0.5, 0.8, 1] },
  { what: 'change seen by all, 80 ms RTT and 1 % loss, p99 (s)', of: p99(({ changeWan }) => changeWan), goals: [0.8, 1.2, 1.8, 2] },
  { what: 'crash known to all, worst (s)', of: max(({ crash }) => crash), goals: [6, 8, 10, 10] },
  { what: 'false deaths, 25 % starved for 30 s', of: max(({ falseDeaths }) => [falseDeaths]), goals: [0, 0, 0, 0] },
  {
    what: 'sent and received at rest (B/s per peer)',
    of: max(({ restBytesPerSecond }) => [restBytesPerSecond]),
    goals: [500, 1_000, 1_500, 2_000],
  },
  { what: 'cold start of all at once, worst (s)', of: max(({ coldStart }) => [coldStart]), goals: [5, 15, 40, 60] },
  { what: 'healed after a partition of 10 min, worst (s)', of: max(({ healed }) => [healed]), goals: [2, 3, 5, 5] },
]

/** A size between those that have goals has those of the next larger one. */
export function judge(peers: number, runs: readonly Measured[]): readonly Row[] {
  const at = SIZES.findIndex((size) => size >= Math.min(peers, 1_000))
  return GOALS.map(({ what, of, goals }) => {
    const [value, goal] = [of(runs), goals[at] ?? 0]
    return { peers, what, value, goal, isMet: value <= goal }
  })
}

function max(figures: (run: Measured) => readonly number[]): (runs: readonly Measured[]) => number {
  return (runs) => Math.max(...runs.flatMap(figures))
}

/** The figure that 99 of 100 do not exceed; with fewer, the worst. */
function p99(figures: (run: Measured) => readonly number[]): (runs: readonly Measured[]) => number {
  return (runs) => {
    const sorted = runs.flatMap(figures).sort((a, b) => a - b)
    return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * 0.99) - 1)] ?? 0
  }
}
