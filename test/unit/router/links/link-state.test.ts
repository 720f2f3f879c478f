/** What probes show of a link: every arrow of the picture, and the search for the largest packet. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { millis } from '../../../../mesh/base/brand.ts'
import {
  expire,
  expiresAt,
  isSizeKnown,
  isUp,
  type LinkState,
  PROBE_TIMEOUT,
  replied,
  SMALL_BYTES,
  sent,
  sizeDoubted,
  sizeForgotten,
  sizeProved,
  sizeToTry,
  unanswered,
  untested,
  withoutFailure,
} from '../../../../router/links/link-state.ts'

const FULL = 1_450
let ids = 0

/** A probe that is sent at `at`, and answered 5 ms later, or lost. */
function probe(link: LinkState, at: number, isAnswered: boolean, sizeBytes = SMALL_BYTES): LinkState {
  ids += 1
  const out = sent(link, { id: ids, sizeBytes }, millis(at))
  return isAnswered ? replied(out, ids, millis(at + 5)) : expire(out, millis(at + PROBE_TIMEOUT))
}

/** Probes as `+` (answered) and `-` (lost), one every so many milliseconds. */
function probes(text: string, pace = 1_000, link: LinkState = untested(FULL)): LinkState {
  return [...text].reduce((state, sign, index) => probe(state, 10_000 + index * pace, sign === '+'), link)
}

describe('a link', () => {
  test.each([
    { after: '', is: 'untested' },
    { after: '+', is: 'up' },
    { after: '---', is: 'untested' },
    { after: '---+', is: 'up' },
    { after: '----', is: 'down' },
    { after: '+---', is: 'up' },
    { after: '+----', is: 'down' },
    { after: '+---+---', is: 'up' },
    { after: '-----', is: 'down' },
    { after: '----+', is: 'proving' },
    { after: '----+++', is: 'proving' },
    { after: '----++++', is: 'up' },
    { after: '----+-', is: 'down' },
    { after: '----+-+++', is: 'proving' },
    { after: '----++++---', is: 'up' },
  ])('after "$after" is $is', ({ after, is }) => {
    expect(probes(after).standing.kind).toBe(is)
  })
  test('that was down proves itself for three seconds, however fast it is asked', () => {
    const down = probes('----')
    expect(probes('+++++++++++', 250, down).standing.kind).toBe('proving')
    expect(probes('+++++++++++++', 250, down).standing.kind).toBe('up')
  })
  test('says since when it is what it is, and what went wrong', () => {
    expect(probes('+++').standing).toMatchObject({ kind: 'up', since: 10_005, provedAt: 12_005 })
    expect(probes('++----')).toMatchObject({ standing: { kind: 'down', since: 16_000 }, error: 'no answer to 4 probes in a row' })
    expect(probes('----++-').error).toBe('came back, and failed again after 2 replies')
    expect(probes('----++++').error).toBe('no answer to 4 probes in a row')
  })
})

describe('an answer', () => {
  const out = sent(untested(FULL), { id: 7, sizeBytes: SMALL_BYTES }, millis(0))
  test('to nothing that was asked changes nothing', () => {
    expect(replied(out, 8, millis(1))).toBe(out)
  })
  test('that is late changes nothing', () => {
    expect(replied(out, 7, PROBE_TIMEOUT)).toBe(out)
  })
  test('counts once', () => {
    const once = replied(out, 7, millis(1))
    expect(replied(once, 7, millis(2))).toBe(once)
  })
  test('is awaited for a second', () => {
    expect(expiresAt(out)).toBe(PROBE_TIMEOUT)
    expect(expire(out, millis(PROBE_TIMEOUT - 1))).toBe(out)
    expect(unanswered(out)).toBe(1)
    expect(unanswered(expire(out, PROBE_TIMEOUT))).toBe(1)
    expect(expiresAt(untested(FULL))).toBeUndefined()
  })
  test('is awaited to 16 probes at most', () => {
    const many = Array.from({ length: 40 }).reduce<LinkState>(
      (state, _, id) => sent(state, { id, sizeBytes: 1_000 }, millis(id)),
      untested(FULL),
    )
    expect(many.waiting.length).toBe(16)
  })
})

test('old failures are forgotten, new ones are not, and those that are up are not touched', () => {
  const down = probes('----')
  expect(withoutFailure(down, millis(43_999)).standing.kind).toBe('down')
  expect(withoutFailure(down, millis(44_000)).standing).toEqual({ kind: 'untested', misses: 0 })
  expect(withoutFailure(probes('+'), millis(1e9)).standing.kind).toBe('up')
  expect(withoutFailure(probes('----+'), millis(1e9)).standing.kind).toBe('untested')
})

/** Looks for the size of a path until the search is over; each probe together with a small one, as they are sent. */
function search(link: LinkState, carries: number, from = 100_000): { readonly link: LinkState; readonly probes: number } {
  let state = link
  for (let count = 0; ; count += 1) {
    const size = sizeToTry(state)
    if (size === undefined || count > 60) return { link: state, probes: count }
    const at = from + 2_000 * count
    ids += 1
    const id = ids
    const small = probe(sent(state, { id, sizeBytes: size }, millis(at)), at, true)
    state = size <= carries ? replied(small, id, millis(at + 6)) : expire(small, millis(at + PROBE_TIMEOUT))
  }
}

describe('the largest packet', () => {
  test('is taken for the full one until that is refused', () => {
    expect(probes('+').mtu.usedBytes).toBe(FULL)
    expect(sizeToTry(probes('+'))).toBe(FULL)
  })
  test.each([
    { carries: 1_500, used: 1_450, probes: 1 },
    { carries: 1_449, used: 1_410, probes: 5 },
    { carries: 1_330, used: 1_330, probes: 7 },
    { carries: 1_000, used: 1_000, probes: 8 },
    { carries: 576, used: 576, probes: 10 },
  ])('of a path that carries $carries is $used, after $probes probes at most', ({ carries, used, probes: count }) => {
    const found = search(probes('+'), carries)
    expect(found.link.mtu.usedBytes).toBe(used)
    expect(found.probes).toBeLessThanOrEqual(count)
    expect(isSizeKnown(found.link)).toBe(true)
  })
  test('of a path that carries only small ones is not known', () => {
    const { link } = search(probes('+'), 200)
    expect([link.mtu.usedBytes, isSizeKnown(link)]).toEqual([576, false])
  })
  test('is not refused by one loss', () => {
    const once = probe(probe(probes('+'), 20_000, false, FULL), 20_001, true)
    expect([sizeToTry(once), once.mtu.usedBytes]).toEqual([FULL, FULL])
  })
  test('is not refused while small ones are lost as well', () => {
    let link = probes('+')
    for (let at = 20_000; at < 30_000; at += 1_000) link = probe(link, at, false, FULL)
    expect(link.mtu).toEqual(probes('+').mtu)
  })
  test('stays in use while it is doubted, and shrinks at once when it is refused', () => {
    const known = search(probes('+'), FULL).link
    const doubted = sizeDoubted(known, millis(150_000))
    expect([doubted.mtu.usedBytes, sizeToTry(doubted)]).toEqual([FULL, FULL])
    expect(search(doubted, 1_300, 200_000).link.mtu.usedBytes).toBe(1_280)
  })
  test('that is doubted when it is smaller is asked for itself, and is found again with one probe', () => {
    const known = search(probes('+'), 1_300).link
    const again = search(sizeDoubted(known, millis(150_000)), 1_300, 200_000)
    expect([again.link.mtu.usedBytes, again.probes]).toEqual([1_280, 1])
  })
  test('grows when all is forgotten and the path carries more', () => {
    const known = search(probes('+'), 1_300).link
    const again = search(sizeForgotten(known), 1_500, 200_000)
    expect(again.link.mtu.usedBytes).toBe(FULL)
  })
  test('is asked for anew an hour after larger ones were refused', () => {
    const known = search(probes('+'), 1_300).link
    expect([3_600_000, 3_800_000].map((at) => sizeToTry(sizeDoubted(known, millis(at))))).toEqual([1_280, FULL])
  })
  test('may be told by the peer', () => {
    expect(sizeProved(probes('+'), 1_400, millis(5)).mtu).toMatchObject({ provenBytes: 1_400, usedBytes: FULL })
    expect(sizeProved(probes('+'), 9_000, millis(5)).mtu).toMatchObject({ provenBytes: FULL, usedBytes: FULL })
  })
  test('is within what the path carries, whatever that is and was', () => {
    const path = fc.integer({ min: 576, max: 9_100 })
    fc.assert(
      fc.property(path, path, path, (full, first, second) => {
        const before = search(probe(untested(full), 0, true), first).link
        expect(before.mtu.usedBytes).toBeLessThanOrEqual(Math.min(full, first))
        const after = search(sizeForgotten(before), second, 500_000).link
        expect(after.mtu.usedBytes).toBeLessThanOrEqual(Math.min(full, second))
        if (second >= full) expect(after.mtu.usedBytes).toBe(full)
      }),
      { seed: 1, numRuns: 300 },
    )
  })
})

/** Answers in a row up to the moment that a link which had failed was up again, and the time they took; for each time. */
function recoveries(steps: readonly { readonly wait: number; readonly isAnswered: boolean }[]): readonly (readonly [number, number])[] {
  const found: (readonly [number, number])[] = []
  let [link, at, hasFailed] = [untested(FULL), 0, false]
  let moments: number[] = []
  for (const { wait, isAnswered } of steps) {
    at += PROBE_TIMEOUT + wait
    const wasUp = isUp(link)
    link = probe(link, at, isAnswered)
    moments = isAnswered ? [...moments, at] : []
    if (hasFailed && !wasUp && isUp(link)) found.push([moments.length, at - (moments[0] ?? at)])
    hasFailed ||= link.standing.kind === 'down'
  }
  return found
}

test('no link that has failed is up again with less than four answers in a row, in three seconds', () => {
  const step = fc.record({ wait: fc.integer({ min: -900, max: 2_000 }), isAnswered: fc.boolean() })
  let seen = 0
  fc.assert(
    fc.property(fc.array(step, { minLength: 30, maxLength: 90 }), (steps) => {
      const found = recoveries(steps)
      seen += found.length
      expect(found.filter(([answers, time]) => answers < 4 || time < 3_000)).toEqual([])
    }),
    { seed: 1, numRuns: 500 },
  )
  expect(seen).toBeGreaterThan(100)
})
