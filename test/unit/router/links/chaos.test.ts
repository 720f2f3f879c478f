/**
 * Link engines of small clusters in worlds at random: links break, lose, shrink and come back, for one direction or both,
 * while pods talk. The world itself fails when anybody talks in the clear who must not. When it has been quiet for a
 * while, what works is used; when a link is cut then, others take over in five seconds; and the best one comes back.
 */
import { expect, test } from 'vitest'
import type { PeerName } from '../../../../mesh/base/brand.ts'
import { pick, type Random, randomBelow, seededRandom } from '../../../../mesh/base/random.ts'
import { LINK_KINDS, type LinkKind } from '../../../../router/links/kind.ts'
import { candidates, ENCRYPT_MODES } from '../../../../router/links/policy.ts'
import { factsOf } from '../../../support/links.ts'
import { CUT_WAY, GOOD_WAY, LinksWorld, type Way, type WorldNode } from '../../../support/links-world.ts'

const SEEDS = 200
const SECOND = 1_000
const MINUTE = 60 * SECOND

interface Pair {
  readonly a: WorldNode
  readonly b: WorldNode
  readonly allowed: readonly LinkKind[]
}

function anyWay(random: Random): Way {
  const mtuBytes = pick(random, [1_500, 1_500, 1_500, 1_400]) ?? 1_500
  return pick(random, [GOOD_WAY, { ...GOOD_WAY, mtuBytes, loss: random() / 20, delay: 1 + random() * 200 }, CUT_WAY]) ?? GOOD_WAY
}

function makeCluster(world: LinksWorld, seed: number, random: Random): readonly Pair[] {
  const nodes = Array.from({ length: 2 + randomBelow(random, 3) }, (_, index) => {
    const can = LINK_KINDS.filter(() => random() < 0.8)
    return world.add(
      factsOf(index + 1, { can, mode: pick(random, ENCRYPT_MODES) ?? 'always', zone: pick(random, ['x', 'x', 'y', undefined]) }),
      seed + index,
    )
  })
  const pairs = nodes.flatMap((a, index) => nodes.slice(index + 1).map((b) => ({ a, b, allowed: candidates(a.facts, b.facts).allowed })))
  for (const { a, b } of pairs) {
    for (const kind of LINK_KINDS) world.set(a.facts.name, b.facts.name, kind, anyWay(random))
    world.introduce(a, b)
  }
  return pairs
}

function names({ a, b }: Pair): readonly [PeerName, PeerName] {
  return [a.facts.name, b.facts.name]
}

/** A minute in which something changes every few seconds. */
function chaos(world: LinksWorld, pairs: readonly Pair[], random: Random): void {
  for (const until = world.now() + MINUTE; world.now() < until; world.run(random() * 6 * SECOND)) {
    const pair = pick(random, pairs)
    if (pair !== undefined) disturb(world, pair, random)
    if (pair !== undefined && random() < 0.1) changeMind(world, pair.a, pairs, random)
  }
}

function disturb(world: LinksWorld, pair: Pair, random: Random): void {
  const [a, b] = names(pair)
  const kind = pick(random, LINK_KINDS) ?? 'sleeve'
  if (random() < 0.5) world.set(a, b, kind, anyWay(random), random() < 0.5)
  else world.set(b, a, kind, anyWay(random), random() < 0.5)
  if (random() < 0.2) world.hint(pair.a, b)
}

function changeMind(world: LinksWorld, node: WorldNode, pairs: readonly Pair[], random: Random): void {
  Object.assign(node.facts, { mode: pick(random, ENCRYPT_MODES) })
  for (const { a, b } of pairs) if (a === node || b === node) world.introduce(a, b)
}

/** What is wrong with a pair, in words; nothing, when both ends use this kind. */
function wrongKinds(world: LinksWorld, pair: Pair, expected: (kind: LinkKind | undefined) => boolean, when: string): readonly string[] {
  const [a, b] = names(pair)
  const used = [world.kindOf(a, b), world.kindOf(b, a)]
  return used.every(expected)
    ? []
    : [`${when}: ${pair.a.facts.nickname} and ${pair.b.facts.nickname} use ${used.join(' and ')} of ${pair.allowed.join()}`]
}

/** Quiet, with these kinds working between all. */
function heal(world: LinksWorld, pairs: readonly Pair[], works: ReadonlyMap<Pair, readonly LinkKind[]>): void {
  for (const pair of pairs)
    for (const kind of LINK_KINDS) world.set(...names(pair), kind, works.get(pair)?.includes(kind) ? GOOD_WAY : CUT_WAY)
}

function runSeed(seed: number): readonly string[] {
  const random = seededRandom(seed)
  const world = new LinksWorld(seed)
  const cluster = makeCluster(world, seed, random)
  const talking = cluster.filter(() => random() < 0.7)
  const flows = new Map(talking.map((pair) => [pair, world.talk(...names(pair), { isAnswered: random() < 0.8 })]))
  chaos(world, cluster, random)
  const pairs = cluster.map(({ a, b }): Pair => ({ a, b, allowed: candidates(a.facts, b.facts).allowed }))
  const flowOf = ({ a, b }: Pair) => [...flows].find(([pair]) => pair.a === a && pair.b === b)?.[1]

  const works = new Map(pairs.map((pair) => [pair, pair.allowed.filter(() => random() < 0.7)]))
  heal(world, pairs, works)
  world.run(75 * SECOND)
  const busy = pairs.filter((pair) => flowOf(pair) !== undefined)
  const wrong = busy.flatMap((pair) => {
    const working = works.get(pair) ?? []
    // Where nothing works, the end that has nothing to say need not know.
    if (working.length === 0) return world.kindOf(...names(pair)) === undefined ? [] : [`${pair.a.facts.nickname} believes in a link`]
    return wrongKinds(world, pair, (kind) => kind !== undefined && working.includes(kind), 'in quiet')
  })

  // Each trial comes at most ten minutes after the one before.
  for (const flow of world.flows.splice(0)) flow.gap = 0
  world.run(21 * MINUTE)
  const joined = pairs.filter((pair) => (works.get(pair) ?? []).length > 0)
  wrong.push(...joined.flatMap((pair) => wrongKinds(world, pair, (kind) => kind === works.get(pair)?.[0], 'in the end')))

  const cut = pairs.filter((pair) => (works.get(pair) ?? []).length > 1)
  const again = cut.map((pair) => [pair, world.talk(...names(pair), { isAnswered: random() < 0.7 })] as const)
  world.run(3 * SECOND)
  for (const [, flow] of again) flow.gap = 0
  for (const [pair] of again) world.set(...names(pair), works.get(pair)?.[0] ?? 'sleeve', CUT_WAY)
  world.run(10 * SECOND)
  for (const [pair, { gap }] of again) if (gap > 5 * SECOND) wrong.push(`nothing arrived for ${gap} ms at ${pair.b.facts.nickname}`)
  return wrong.map((what) => `seed ${seed}: ${what}`)
}

test(`${SEEDS} random worlds`, { timeout: 120_000 }, () => {
  const wrong: string[] = []
  for (let seed = 1; seed <= SEEDS; seed += 1) wrong.push(...runSeed(seed))
  expect(wrong).toEqual([])
})
