/** The answer of `lab check` as people read it: who reaches whom, and what fails where. */
import { CHECKS, type CheckReport, FAMILIES, type PairReport } from './probe/report.ts'

/** Each check as one letter in a cell, a capital one for IPv6. */
const LETTERS: Readonly<Record<(typeof CHECKS)[number], string>> = { ping: 'p', tcp: 't', udp64k: 'u', fullMtu: 'm' }
const LEGEND = 'p = ping, t = TCP, u = UDP of 64 KB, m = full MTU'
const LEGEND6 = `${LEGEND}; capital letters: over IPv6`

/** Enough to see the pattern; --json has them all. */
const FAILURES_SHOWN_MAX = 12

/** More columns do not fit on any screen. */
const COLUMNS_MAX = 40

/** Rows are senders, columns receivers. A cell is `ok`, or the letters of the checks that failed. Of a large lab only the summary is given. */
export function renderMatrix(report: CheckReport): string {
  if (report.pods.length > COLUMNS_MAX) return summary(report)
  const cells = new Map(report.pairs.map((pair) => [key(pair.from, pair.to), cell(pair)]))
  const width = Math.max(...report.pods.map((pod) => pod.length), ...[...cells.values()].map((text) => text.length), CHECKS.length)
  const rows = report.pods.map((from) =>
    line(
      from,
      report.pods.map((to) => cells.get(key(from, to)) ?? '·'),
      width,
    ),
  )
  return `${[line('', report.pods, width), ...rows].join('\n')}\n\n${summary(report)}`
}

function line(label: string, columns: readonly string[], width: number): string {
  return [label, ...columns]
    .map((column) => column.padEnd(width))
    .join(' ')
    .trimEnd()
}

function cell(pair: PairReport): string {
  const failed = FAMILIES.flatMap((family) => {
    const letters = CHECKS.filter((check) => pair.families[family]?.[check] === false).map((check) => LETTERS[check])
    return family === 'ipv6' ? letters.map((letter) => letter.toUpperCase()) : letters
  })
  return failed.length === 0 ? 'ok' : failed.join('')
}

function summary({ pairs, tookMs }: CheckReport): string {
  const failed = pairs.filter((pair) => CHECKS.some((check) => !pair[check]))
  const hasIpv6 = pairs.some(({ families }) => families.ipv6 !== undefined)
  const over = hasIpv6 ? ', each over IPv4 and IPv6' : ''
  const seconds = (tookMs / 1_000).toFixed(1)
  const count = `${pairs.length - failed.length} of ${pairs.length} pairs ok (ping, TCP, UDP of 64 KB, full MTU${over}) in ${seconds} s\n${sizes(pairs)}`
  if (failed.length === 0) return count
  const details = failed.map(
    (pair) =>
      `  ${pair.from} → ${pair.to}  ${CHECKS.flatMap((check) => (pair[check] ? [] : [`${check}: ${pair.errors[check] ?? 'failed'}`])).join('; ')}`,
  )
  const more = details.length - FAILURES_SHOWN_MAX
  const shown = [...details.slice(0, FAILURES_SHOWN_MAX), ...(more > 0 ? [`  … and ${more} more (see --json)`] : [])]
  return `${count}failed: ${hasIpv6 ? LEGEND6 : LEGEND}\n${shown.join('\n')}\n`
}

/** `biggest packets in one piece: 1450 bytes (24 pairs), 1350 bytes (6 pairs)`. */
function sizes(pairs: readonly PairReport[]): string {
  const counts = new Map<number, number>()
  for (const { provenBytes } of pairs) if (provenBytes > 0) counts.set(provenBytes, (counts.get(provenBytes) ?? 0) + 1)
  if (counts.size === 0) return ''
  const words = [...counts].toSorted(([one], [other]) => other - one).map(([bytes, count]) => `${bytes} bytes (${count} pairs)`)
  return `biggest packets in one piece: ${words.join(', ')}\n`
}

function key(from: string, to: string): string {
  return `${from} ${to}`
}
