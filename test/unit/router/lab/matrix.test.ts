/** The matrix that `lab check` prints. */
import { expect, test } from 'vitest'
import { renderMatrix } from '../../../../router/lab/matrix.ts'
import type { CheckReport, PairReport } from '../../../../router/lab/probe/report.ts'

const passed = { ping: true, tcp: true, udp64k: true, fullMtu: true, provenBytes: 1_450 }
const whole = { ...passed, families: { ipv4: passed }, errors: {} }

function pair(from: string, to: string, changes: Partial<PairReport> = {}): PairReport {
  return { from, to, ...whole, ...changes }
}

test('all is well', () => {
  const report: CheckReport = { lab: 'lab', pods: ['a1', 'b1'], ok: true, pairs: [pair('a1', 'b1'), pair('b1', 'a1')], tookMs: 120 }
  expect(renderMatrix(report)).toBe(`     a1   b1
a1   ·    ok
b1   ok   ·

2 of 2 pairs ok (ping, TCP, UDP of 64 KB, full MTU) in 0.1 s
biggest packets in one piece: 1450 bytes (2 pairs)
`)
})

test('sizes that differ are counted, the biggest first', () => {
  const pairs = [pair('a1', 'b1', { provenBytes: 1_350 }), pair('b1', 'a1'), pair('a1', 'c1', { provenBytes: 0, fullMtu: false })]
  expect(renderMatrix({ lab: 'lab', pods: ['a1', 'b1', 'c1'], ok: false, pairs, tookMs: 1 })).toContain(
    'biggest packets in one piece: 1450 bytes (1 pairs), 1350 bytes (1 pairs)\n',
  )
})

test('a cell names the checks that failed, and the reasons follow', () => {
  const failed = { udp64k: false, fullMtu: false, provenBytes: 0 }
  const errors = { udp64k: 'no acknowledgement in 2 s', fullMtu: '10.9.1.1 says: filtered' }
  const pairs = [pair('a1', 'longname'), pair('longname', 'a1', { ...failed, families: { ipv4: { ...passed, ...failed } }, errors })]
  expect(renderMatrix({ lab: 'lab', pods: ['a1', 'longname'], ok: false, pairs, tookMs: 2_050 })).toBe(`         a1       longname
a1       ·        ok
longname um       ·

1 of 2 pairs ok (ping, TCP, UDP of 64 KB, full MTU) in 2.0 s
biggest packets in one piece: 1450 bytes (1 pairs)
failed: p = ping, t = TCP, u = UDP of 64 KB, m = full MTU
  longname → a1  udp64k: no acknowledgement in 2 s; fullMtu: 10.9.1.1 says: filtered
`)
})

test('what fails over IPv6 alone is told in capital letters', () => {
  const both = { ipv4: passed, ipv6: passed }
  const families = { ipv4: { ...passed, udp64k: false }, ipv6: { ...passed, ping: false, udp64k: false } }
  const errors = { ping: 'IPv6: no reply in 2 s', udp64k: 'lost; IPv6: lost' }
  const pairs = [pair('a1', 'b1', { families: both }), pair('b1', 'a1', { ping: false, udp64k: false, families, errors })]
  expect(renderMatrix({ lab: 'lab', pods: ['a1', 'b1'], ok: false, pairs, tookMs: 2_050 })).toBe(`     a1   b1
a1   ·    ok
b1   uPU  ·

1 of 2 pairs ok (ping, TCP, UDP of 64 KB, full MTU, each over IPv4 and IPv6) in 2.0 s
biggest packets in one piece: 1450 bytes (2 pairs)
failed: p = ping, t = TCP, u = UDP of 64 KB, m = full MTU; capital letters: over IPv6
  b1 → a1  ping: IPv6: no reply in 2 s; udp64k: lost; IPv6: lost
`)
})

test('of many failures the first are shown, and how many more there are', () => {
  const pods = Array.from({ length: 5 }, (_, index) => `a${index + 1}`)
  const pairs = pods.flatMap((from) =>
    pods.filter((to) => to !== from).map((to) => pair(from, to, { ping: false, errors: { ping: 'lost' } })),
  )
  const lines = renderMatrix({ lab: 'lab', pods, ok: false, pairs, tookMs: 1 }).trimEnd().split('\n')
  expect(lines.filter((line) => line.includes('ping: lost'))).toHaveLength(12)
  expect(lines.at(-1)).toBe('  … and 8 more (see --json)')
})

test('of more pods than fit on a screen there is the summary alone', () => {
  const pods = Array.from({ length: 41 }, (_, index) => `a${index + 1}`)
  const pairs = pods.flatMap((from) => pods.filter((to) => to !== from).map((to) => pair(from, to)))
  expect(renderMatrix({ lab: 'lab', pods, ok: true, pairs, tookMs: 1_000 })).toBe(
    '1640 of 1640 pairs ok (ping, TCP, UDP of 64 KB, full MTU) in 1.0 s\nbiggest packets in one piece: 1450 bytes (1640 pairs)\n',
  )
})

test('a lab with no pods has nothing to show, and no error', () => {
  expect(renderMatrix({ lab: 'lab', pods: [], ok: true, pairs: [], tookMs: 0 })).toContain('0 of 0 pairs ok')
})
