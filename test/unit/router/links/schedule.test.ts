/** When links are probed, and what that costs a node in a big mesh. */
import { describe, expect, test } from 'vitest'
import { ipv4 } from '../../../../mesh/base/address.ts'
import { millis } from '../../../../mesh/base/brand.ts'
import type { LinkKind } from '../../../../router/links/kind.ts'
import { type LinkState, replied, SMALL_BYTES, sent, untested } from '../../../../router/links/link-state.ts'
import {
  type Count,
  counted,
  exchangeBytes,
  isActive,
  isSuspicious,
  nextProbe,
  noTraffic,
  PROBE_BUDGET,
  type ProbeNeed,
  type Situation,
  type Traffic,
} from '../../../../router/links/schedule.ts'
import { factsOf } from '../../../support/links.ts'
import { CUT_WAY, type Flow, GOOD_WAY, LinksWorld, type WorldNode } from '../../../support/links-world.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND

/** A link that was proved at `at`. */
function upAt(at: number, fullBytes = 1_450): LinkState {
  return replied(sent(untested(fullBytes), { id: 1, sizeBytes: fullBytes }, millis(at)), 1, millis(at))
}

function trafficOf(...counts: readonly (readonly [number, Count])[]): Traffic {
  return counts.reduce((traffic, [at, count]) => counted(traffic, count, millis(at)), noTraffic)
}

const OUT = { sent: 5, received: 0 }
const BOTH = { sent: 5, received: 5 }
const IN = { sent: 0, received: 5 }
const NONE = { sent: 0, received: 0 }

test('an exchange of probes costs both headers and both ways', () => {
  expect(exchangeBytes('vxlan', 'ipv4', SMALL_BYTES)).toBe(2 * (76 + 50 + 14))
  expect(exchangeBytes('direct', 'ipv6', 1_500)).toBe(2 * (1_500 + 14))
})

describe('packets that leave', () => {
  test.each([
    { name: 'and are answered are fine', traffic: trafficOf([9_000, BOTH]), is: false },
    { name: 'without an answer are suspicious', traffic: trafficOf([9_000, OUT]), is: true },
    { name: 'without an answer, when some came before, are suspicious', traffic: trafficOf([8_000, BOTH], [9_000, OUT]), is: true },
    { name: 'and are answered later are fine', traffic: trafficOf([8_000, OUT], [9_000, IN]), is: false },
    { name: 'and then no more stay suspicious', traffic: trafficOf([8_000, OUT], [9_000, NONE]), is: true },
    { name: 'just after a proof are fine', traffic: trafficOf([6_400, OUT]), is: false },
    { name: 'some time after a proof are suspicious', traffic: trafficOf([6_500, OUT]), is: true },
    { name: 'not at all are fine', traffic: trafficOf([9_000, IN]), is: false },
  ])('$name', ({ traffic, is }) => {
    expect(isSuspicious(traffic, upAt(5_000))).toBe(is)
  })
  test('count as traffic for a minute', () => {
    const traffic = trafficOf([SECOND, OUT])
    expect([60_999, 61_000].map((at) => isActive(traffic, millis(at)))).toEqual([true, false])
    expect(isActive(noTraffic, millis(0))).toBe(false)
  })
})

describe('the next probe', () => {
  const used: Situation = { role: 'used', link: upAt(0), traffic: noTraffic, isLeader: true, isAsked: false }
  const full = upAt(0)
  const waiting = sent(full, { id: 2, sizeBytes: SMALL_BYTES }, millis(100))
  const small = replied(sent(untested(1_450), { id: 1, sizeBytes: SMALL_BYTES }, millis(0)), 1, millis(0))
  const busy = trafficOf([900, BOTH])
  test.each<{ name: string; situation: Partial<Situation>; need: ProbeNeed }>([
    { name: 'of an idle link is in 20 minutes', situation: {}, need: { at: millis(20 * MINUTE), sizeBytes: undefined, isUrgent: false } },
    {
      name: 'of the other end is in 30',
      situation: { isLeader: false },
      need: { at: millis(30 * MINUTE), sizeBytes: undefined, isUrgent: false },
    },
    {
      name: 'of one with traffic is in 45 s',
      situation: { traffic: busy },
      need: { at: millis(45 * SECOND), sizeBytes: undefined, isUrgent: false },
    },
    { name: 'of one in doubt is in 250 ms', situation: { link: waiting }, need: { at: millis(350), sizeBytes: undefined, isUrgent: true } },
    {
      name: 'that was asked for is at once',
      situation: { isAsked: true },
      need: { at: millis(250), sizeBytes: undefined, isUrgent: true },
    },
    {
      name: 'finds out about the size where there is traffic',
      situation: { link: small, traffic: busy },
      need: { at: millis(1_000), sizeBytes: 1_450, isUrgent: false },
    },
    {
      name: 'of one that might be better is in a second',
      situation: { role: 'tried' },
      need: { at: millis(1_000), sizeBytes: undefined, isUrgent: false },
    },
    {
      name: 'of one that nothing is known of is at once',
      situation: { role: 'tried', link: untested(1_450) },
      need: { at: millis(0), sizeBytes: undefined, isUrgent: false },
    },
    {
      name: 'of one that might be better, where there is traffic, has the size',
      situation: { role: 'tried', link: untested(1_450), traffic: busy },
      need: { at: millis(0), sizeBytes: 1_450, isUrgent: true },
    },
    {
      name: 'of one that stands in is in 250 ms',
      situation: { role: 'standing in' },
      need: { at: millis(250), sizeBytes: undefined, isUrgent: true },
    },
  ])('$name', ({ situation, need }) => {
    expect(nextProbe({ ...used, ...situation }, millis(1_000))).toEqual(need)
  })
})

/** One node among so many, in the midst of their names; what the others have to do with each other does not concern it. */
function star(size: number, kinds: readonly LinkKind[]): { world: LinksWorld; hub: WorldNode; others: readonly WorldNode[] } {
  const world = new LinksWorld(1)
  const node = (index: number): WorldNode =>
    world.add(factsOf(index, { can: ['vxlan', 'sleeve'], underlay: [{ address: ipv4(0x0a00_0000 + index), length: 16 }] }), index)
  const hub = node(size / 2)
  const others = Array.from({ length: size }, (_, index) => index + 1)
    .filter((index) => index !== size / 2)
    .map(node)
  for (const { facts } of others) for (const kind of kinds) world.set(hub.facts.name, facts.name, kind, GOOD_WAY)
  for (const other of others) world.introduce(hub, other)
  return { world, hub, others }
}

/** Half of them begun by the hub; of these, and of the others, this many get no answers. */
function talkTo(world: LinksWorld, hub: WorldNode, others: readonly WorldNode[], oneWay: number): readonly Flow[] {
  return others.map(({ facts }, index) => {
    const [from, to] = index % 2 === 0 ? [hub.facts.name, facts.name] : [facts.name, hub.facts.name]
    return world.talk(from, to, { isAnswered: index >= oneWay, sizeBytes: 1_000 })
  })
}

describe('a node among 1,000', { timeout: 120_000 }, () => {
  test('with traffic to 30 of them spends less than 1 KB/s on probes, and leaves links that fail in 5 s', () => {
    const { world, hub, others } = star(1_000, ['vxlan', 'sleeve'])
    const active = others.filter((_, index) => index % 33 === 0).slice(0, 30)
    world.run(MINUTE)
    // All links of a mesh that starts are known after a minute.
    expect(others.filter(({ facts }) => hub.wants.get(facts.name)?.kind !== 'vxlan')).toEqual([])
    expect(hub.wireBytes).toBeLessThan(PROBE_BUDGET.burst)
    const flows = talkTo(world, hub, active, 2)
    world.run(10 * MINUTE)
    const before = hub.wireBytes
    world.run(40 * MINUTE)
    const rate = (hub.wireBytes - before) / (40 * 60)
    expect(rate).toBeLessThan(1_000)
    expect(rate).toBeGreaterThan(300)
    for (const flow of flows) flow.gap = 0
    for (const { facts } of active) world.set(hub.facts.name, facts.name, 'vxlan', CUT_WAY)
    world.run(20 * SECOND)
    expect(flows.filter(({ gap }) => gap > 5 * SECOND)).toEqual([])
    expect(active.map(({ facts }) => hub.wants.get(facts.name)?.kind)).toEqual(Array(30).fill('sleeve'))
  })
  test('that can reach all by their second best links only spends less than 1 KB/s on trials', () => {
    const { world, hub, others } = star(1_000, ['sleeve'])
    world.run(30 * MINUTE)
    expect(others.filter(({ facts }) => hub.wants.get(facts.name)?.kind !== 'sleeve')).toEqual([])
    const before = hub.wireBytes
    world.run(30 * MINUTE)
    expect((hub.wireBytes - before) / (30 * 60)).toBeLessThan(1_000)
  })
  test('that is cut off spends what the budget has', () => {
    const { world, hub, others } = star(1_000, ['vxlan'])
    world.run(MINUTE)
    for (const { facts } of others) world.set(hub.facts.name, facts.name, 'vxlan', CUT_WAY)
    talkTo(world, hub, others.slice(0, 30), 0)
    for (const { facts } of others) world.hint(hub, facts.name)
    const before = hub.wireBytes
    world.run(10 * MINUTE)
    expect(hub.wireBytes - before).toBeLessThan(PROBE_BUDGET.burst + 600 * PROBE_BUDGET.perSecond)
  })
  test('that comes back finds all again in a minute', () => {
    const { world, hub, others } = star(1_000, ['vxlan'])
    world.run(5 * MINUTE)
    for (const { facts } of others) hub.engine.removePeer(facts.name)
    for (const { engine } of others) engine.removePeer(hub.facts.name)
    world.run(10 * MINUTE)
    for (const other of others) world.introduce(hub, other)
    world.run(MINUTE)
    expect(others.filter(({ facts }) => hub.wants.get(facts.name)?.kind !== 'vxlan').map(({ facts }) => facts.nickname)).toEqual([])
    expect(others.filter(({ wants }) => wants.get(hub.facts.name)?.kind !== 'vxlan').map(({ facts }) => facts.nickname)).toEqual([])
  })
})
