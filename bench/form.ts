/** The one form of every bench: what it takes, what it gives, and how samples become a row. */

import type { NodeCommand } from '../router/cli/io.ts'

export interface BenchContext {
  /** How often every candidate is measured; they take turns within a round. */
  readonly rounds: number
  /** Shorter and rougher: to see that it runs. */
  readonly quick: boolean
  /** One line of progress, for people. */
  progress(text: string): void
  readonly node: NodeCommand
  /** PATH, for what the bench starts. */
  readonly searchPath: string
  readonly signal: AbortSignal
}

export interface Bench {
  readonly name: string
  /** One line: what it compares. */
  readonly about: string
  /** How many rounds, unless told otherwise. */
  readonly rounds: number
  run(context: BenchContext): Promise<readonly Row[]>
}

export interface Row {
  readonly case: string
  readonly metric: string
  readonly unit: string
  /** Medians. */
  readonly ours: number
  readonly peer: string
  readonly theirs: number
  /** The median of the rounds' ratios; above 1 always means that we are better. */
  readonly ratio: number
  /** The least and the greatest ratio of a round. */
  readonly spread: readonly [number, number]
  readonly rounds: number
  /** What to know before the two figures are compared: for people, shown below the table. */
  readonly note?: string
}

export interface Samples {
  readonly case: string
  readonly metric: string
  readonly unit: string
  readonly better: 'higher' | 'lower'
  /** One figure a round. */
  readonly ours: readonly number[]
  readonly peer: string
  /** One figure a round, taken in the same round as ours; or one goal for all. */
  readonly theirs: readonly number[] | number
  readonly note?: string
}

/** @throws {RangeError} when there are no samples, or theirs are not as many as ours. */
export function compare(samples: Samples): Row {
  const { ours, better } = samples
  const theirs = typeof samples.theirs === 'number' ? ours.map(() => samples.theirs as number) : samples.theirs
  if (ours.length === 0 || ours.length !== theirs.length) {
    throw new RangeError(`${samples.case}: ${ours.length} samples of ours, ${theirs.length} of ${samples.peer}`)
  }
  const ratios = ours.map((own, round) => (better === 'higher' ? own / (theirs[round] ?? Number.NaN) : (theirs[round] ?? Number.NaN) / own))
  return {
    case: samples.case,
    metric: samples.metric,
    unit: samples.unit,
    ours: median(ours),
    peer: samples.peer,
    theirs: median(theirs),
    ratio: median(ratios),
    spread: [Math.min(...ratios), Math.max(...ratios)],
    rounds: ours.length,
    ...(samples.note !== undefined && { note: samples.note }),
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

const COLUMNS = ['case', 'metric', 'ours', 'peer', 'theirs', 'ratio', 'spread', 'rounds'] as const

/** The table that people read, and its notes below; ratios above 1 mean that we are better. */
export function renderTable(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.case,
    `${row.metric} (${row.unit})`,
    figure(row.ours),
    row.peer,
    figure(row.theirs),
    row.ratio.toFixed(2),
    `${row.spread[0].toFixed(2)}–${row.spread[1].toFixed(2)}`,
    String(row.rounds),
  ])
  const widths = COLUMNS.map((title, column) => Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  const notes = rows.flatMap(({ metric, note }) => (note === undefined ? [] : [`${metric}: ${note}`]))
  const table = [line(COLUMNS), line(widths.map((width) => '─'.repeat(width))), ...cells.map(line)]
  return `${[...table, ...(notes.length > 0 ? ['', ...notes] : [])].join('\n')}\n`
}

/** Three significant digits are what a noisy machine can tell. */
function figure(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3)
}
