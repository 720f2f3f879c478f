/** Which link is used, and when better ones are tried. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { millis } from '../../../../mesh/base/brand.ts'
import { seededRandom } from '../../../../mesh/base/random.ts'
import {
  afterSwitch,
  betterThan,
  type Choice,
  choose,
  firstTrial,
  hastened,
  type Links,
  reasonOf,
  stepTrials,
  type Trials,
  trialsDueAt,
} from '../../../../router/links/choice.ts'
import { isSealed, LINK_KINDS, type LinkKind } from '../../../../router/links/kind.ts'
import { type LinkState, type Standing, untested } from '../../../../router/links/link-state.ts'
import { candidates } from '../../../../router/links/policy.ts'
import { factsOf } from '../../../support/links.ts'

const NOW = millis(1_000_000)
const MINUTE = 60_000
const half = (): number => 0.5

/** up: just answered; stale: answered once; ?: untested. */
const STANDINGS: Readonly<Record<string, Standing>> = {
  up: { kind: 'up', since: NOW, misses: 0, provedAt: NOW },
  stale: { kind: 'up', since: NOW, misses: 0, provedAt: millis(0) },
  failing: { kind: 'up', since: NOW, misses: 3, provedAt: millis(0) },
  down: { kind: 'down', since: NOW, error: 'no answer to 4 probes in a row' },
  proving: { kind: 'proving', since: NOW, replies: 3 },
  '?': { kind: 'untested', misses: 0 },
}

function linkOf(word: string, isSizeProven = true): LinkState {
  const link = untested(1_450)
  const standing = STANDINGS[word] ?? { kind: 'untested', misses: 0 }
  const error = standing.kind === 'down' ? standing.error : undefined
  return { ...link, standing, error, mtu: { ...link.mtu, provenBytes: isSizeProven ? 1_450 : 0 } }
}

/** As `vxlan:up sleeve:?`; a star: without a proven size. */
function linksOf(text: string): Links {
  const words = text.split(' ').map((word) => word.split(':'))
  return new Map(words.map(([kind, word = '']) => [kind as LinkKind, linkOf(word.replace('*', ''), !word.endsWith('*'))]))
}

const running: Trials = { ...firstTrial(NOW), phase: { kind: 'running', since: NOW } }
const waiting: Trials = firstTrial(millis(NOW + MINUTE))

describe('the choice', () => {
  test.each<{ name: string; kind: LinkKind | undefined; links: string; trials?: Trials; size?: boolean; to: LinkKind | undefined }>([
    { name: 'is the best that answers', kind: undefined, links: 'direct:down vxlan:up sleeve:up', to: 'vxlan' },
    {
      name: 'is a worse one that answers before a better one that did so once',
      kind: undefined,
      links: 'vxlan:stale sleeve:up',
      to: 'sleeve',
    },
    {
      name: 'is one that did so once before one of which nothing is known',
      kind: undefined,
      links: 'wireguard:? sleeve:stale',
      to: 'sleeve',
    },
    { name: 'is one that is failing rather than none', kind: undefined, links: 'vxlan:failing', to: 'vxlan' },
    {
      name: 'is a sealed one of which nothing is known before none',
      kind: undefined,
      links: 'vxlan:? wireguard:? sleeve:?',
      to: 'wireguard',
    },
    { name: 'is none before a plain one of which nothing is known', kind: undefined, links: 'direct:? vxlan:?', to: undefined },
    { name: 'is none before one that has yet to prove itself', kind: undefined, links: 'vxlan:proving sleeve:down', to: undefined },
    { name: 'stays while it works', kind: 'sleeve', links: 'vxlan:up sleeve:stale', to: 'sleeve' },
    { name: 'stays while nothing is known of it', kind: 'wireguard', links: 'wireguard:? sleeve:up', trials: running, to: 'wireguard' },
    { name: 'changes at once when it is down', kind: 'vxlan', links: 'vxlan:down sleeve:up', to: 'sleeve' },
    { name: 'changes at once when it is not allowed any more', kind: 'vxlan', links: 'wireguard:? sleeve:?', to: 'wireguard' },
    { name: 'is lost when all are down', kind: 'vxlan', links: 'vxlan:down sleeve:down', to: undefined },
    { name: 'is a better one that answers in a trial', kind: 'sleeve', links: 'vxlan:up sleeve:up', trials: running, to: 'vxlan' },
    {
      name: 'is not a better one that is not asked any more',
      kind: 'sleeve',
      links: 'vxlan:stale sleeve:up',
      trials: running,
      to: 'sleeve',
    },
    {
      name: 'is not a better one that has yet to prove itself',
      kind: 'sleeve',
      links: 'vxlan:proving sleeve:up',
      trials: running,
      to: 'sleeve',
    },
    {
      name: 'with traffic is a better one when its size is known',
      kind: 'sleeve',
      links: 'vxlan:up sleeve:up',
      trials: running,
      size: true,
      to: 'vxlan',
    },
    {
      name: 'with traffic is not a better one before',
      kind: 'sleeve',
      links: 'vxlan:up* sleeve:up',
      trials: running,
      size: true,
      to: 'sleeve',
    },
    {
      name: 'with traffic is any that answers when nothing is known of it',
      kind: 'sleeve',
      links: 'vxlan:up* sleeve:?',
      trials: running,
      size: true,
      to: 'vxlan',
    },
  ])('$name', ({ kind, links, trials = waiting, size = false, to }) => {
    expect(choose({ kind, since: millis(1) }, linksOf(links), trials, size, NOW)).toEqual({ kind: to, since: to === kind ? 1 : NOW })
  })

  test('is allowed, and plain only when it was proved; and nothing only where nothing works', () => {
    const word = fc.constantFrom('up', 'stale', 'failing', 'down', 'proving', '?')
    const links = fc
      .subarray([...LINK_KINDS])
      .chain((kinds) =>
        fc
          .array(word, { minLength: 5, maxLength: 5 })
          .map((words): Links => new Map(kinds.map((kind, index) => [kind, linkOf(words[index] ?? '?')]))),
      )
    fc.assert(
      fc.property(links, fc.option(fc.constantFrom(...LINK_KINDS), { nil: undefined }), fc.boolean(), (all, kind, isTrial) => {
        const { kind: to } = choose({ kind, since: millis(0) }, all, isTrial ? running : waiting, false, NOW)
        const isUp = (one: LinkKind): boolean => all.get(one)?.standing.kind === 'up'
        const mayBe = [...all.keys()].filter((one) => isUp(one) || (isSealed(one) && all.get(one)?.standing.kind === 'untested'))
        expect(mayBe.length === 0 ? [undefined] : mayBe).toContain(to)
        if (to !== undefined && kind !== undefined && isUp(kind))
          expect(LINK_KINDS.indexOf(to)).toBeLessThanOrEqual(LINK_KINDS.indexOf(kind))
      }),
      { seed: 1, numRuns: 2_000 },
    )
  })
})

test('better than a link are those before it', () => {
  expect(betterThan('wireguard', ['vxlan', 'wireguard', 'sleeve'])).toEqual(['vxlan'])
  expect(betterThan(undefined, ['vxlan', 'sleeve'])).toEqual(['vxlan', 'sleeve'])
})

describe('trials', () => {
  const down = { ...linkOf('down'), probedAt: NOW }
  const hopeless = { targets: [down], hasLink: true, isActive: false }

  /** Moments between trials that all fail, in minutes. */
  function waits(trials: Trials, count: number, random = half, hasLink = true): readonly number[] {
    const found: number[] = []
    let [now, state] = [NOW as number, trials]
    while (found.length < count) {
      const next = stepTrials(state, { ...hopeless, targets: [{ ...down, probedAt: millis(now) }], hasLink }, random, millis(now))
      if (next.phase.kind === 'waiting' && state.phase.kind === 'running') found.push((next.phase.until - now) / MINUTE)
      state = next
      now = state.phase.kind === 'waiting' ? state.phase.until : now
    }
    return found
  }

  test('come after 1, 2, 4 and 8 minutes, then 10, between half and all of it', () => {
    expect(waits(running, 6, () => 0)).toEqual([0.5, 1, 2, 4, 5, 5])
    expect(waits(running, 6)).toEqual([0.75, 1.5, 3, 6, 7.5, 7.5])
  })
  test('come after seconds when nothing is in use, then a minute', () => {
    expect(waits(running, 8, () => 0, false).map((wait) => Math.round(wait * 60 * 10) / 10)).toEqual([0.5, 1, 2, 4, 8, 16, 30, 30])
  })
  test('begin anew when another link is used, and later when links fail again and again', () => {
    const fall = (trials: Trials, since: number): Trials =>
      afterSwitch({ ...trials, phase: { kind: 'none' } }, { kind: 'vxlan', since: millis(since) }, { kind: 'sleeve', since: NOW }, half)
    const until = ({ phase }: Trials): number => (phase.kind === 'waiting' ? (phase.until - NOW) / MINUTE : 0)
    const first = fall({ ...running, failures: 5 }, NOW - 1_000)
    expect(until(first)).toBe(0.75)
    const second = fall(first, NOW - 1_000)
    expect(until(second)).toBe(1.5)
    expect(until(fall(second, NOW - 10 * MINUTE))).toBe(0.75)
  })
  test('come in a second when nothing is left', () => {
    const to: Choice = { kind: undefined, since: NOW }
    expect(afterSwitch(running, { kind: 'vxlan', since: millis(0) }, to, half).phase).toEqual({ kind: 'waiting', until: NOW + 750 })
  })
  test('go on when something was found, as there may be better', () => {
    expect(afterSwitch(running, { kind: undefined, since: millis(0) }, { kind: 'sleeve', since: NOW }, half).phase.kind).toBe('running')
  })
  test('are over when there is nothing better', () => {
    expect(stepTrials(running, { ...hopeless, targets: [] }, half, NOW).phase.kind).toBe('none')
  })
  test.each([
    { name: 'while nothing is known of one', targets: [down, linkOf('?')], at: 0, is: 'running' },
    { name: 'while one proves itself', targets: [down, linkOf('proving')], at: 29_999, is: 'running' },
    { name: 'for half a minute', targets: [linkOf('proving')], at: 30_000, is: 'waiting' },
    { name: 'while a probe is out', targets: [{ ...down, waiting: [{ id: 1, sizeBytes: 76, sentAt: NOW }] }], at: 5, is: 'running' },
    { name: 'before all were asked', targets: [linkOf('down')], at: 5, is: 'running' },
    { name: 'until all have failed', targets: [down, down], at: 5, is: 'waiting' },
  ])('run $name', ({ targets, at, is }) => {
    expect(stepTrials(running, { ...hopeless, targets }, half, millis(NOW + at)).phase.kind).toBe(is)
  })
  test('with traffic have time for two probes', () => {
    const busy = { ...hopeless, isActive: true }
    expect(stepTrials(running, busy, half, millis(NOW + 1_999)).phase.kind).toBe('running')
    expect(stepTrials(running, busy, half, millis(NOW + 2_000)).phase.kind).toBe('waiting')
  })
  test('can be hastened, never put off', () => {
    expect(hastened(waiting, NOW).phase).toEqual({ kind: 'waiting', until: NOW })
    expect(hastened(waiting, millis(NOW + 2 * MINUTE))).toBe(waiting)
    expect(hastened(running, NOW)).toBe(running)
  })
  test('say when to look at them', () => {
    expect(trialsDueAt(waiting, NOW)).toBe(NOW + MINUTE)
    expect(trialsDueAt(running, NOW)).toBe(NOW + 2_000)
    expect(trialsDueAt(running, millis(NOW + 2_000))).toBe(NOW + 30_000)
    expect(trialsDueAt({ ...running, phase: { kind: 'none' } }, NOW)).toBeUndefined()
  })
  test('of many that fail at once do not come at once', () => {
    const random = seededRandom(1)
    const moments = Array.from({ length: 100 }, () => waits(running, 1, random)[0] ?? 0)
    expect(Math.max(...moments) - Math.min(...moments)).toBeGreaterThan(0.4)
  })
})

test('the reason names what is better and why it is not used, or why this is the best', () => {
  const found = candidates(factsOf(1), factsOf(2))
  const reason = (kind: LinkKind | undefined, links: string): string => reasonOf({ kind, since: NOW }, linksOf(links), found)
  expect(reason('direct', 'direct:up')).toBe('best of what is allowed: one zone: z')
  expect(reason('sleeve', 'vxlan:down sleeve:up')).toBe('vxlan: no answer to 4 probes in a row')
  expect(reason('wireguard', 'wireguard:? sleeve:up')).toBe('not tested yet; best of what is allowed: one zone: z')
  expect(reason(undefined, 'vxlan:?')).toBe('no link works: vxlan: not proven yet')
})
