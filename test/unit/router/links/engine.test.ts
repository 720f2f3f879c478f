/** Link engines of two nodes against each other, in a world that fails. */
import { describe, expect, test } from 'vitest'
import { randomBelow, seededRandom } from '../../../../mesh/base/random.ts'
import { LINK_KINDS } from '../../../../router/links/kind.ts'
import { A, B, both, CAN, factsOf, kinds, MINUTE, pair, SEALED, SECOND } from '../../../support/links.ts'
import { CUT_WAY, GOOD_WAY, LinksWorld } from '../../../support/links-world.ts'

describe('at the beginning', () => {
  test('the best link that works is used within the time of a few answers', () => {
    const it = pair(['vxlan', 'sleeve'])
    it.world.run(500)
    expect(kinds(it)).toEqual(both('vxlan'))
  })
  test('no plain link is used before an answer has proved it', () => {
    expect(kinds(pair(LINK_KINDS, { can: ['direct', 'vxlan'] }))).toEqual(both(undefined))
  })
  test('a sealed one is used at once, and left when it does not answer', () => {
    const it = pair(['sleeve'], SEALED)
    expect(kinds(it)).toEqual(both('wireguard'))
    it.world.run(6 * SECOND)
    expect(kinds(it)).toEqual(both('sleeve'))
  })
  test('two small probes each way are enough between two that have nothing to say', () => {
    const it = pair(['vxlan'], { can: ['vxlan'] })
    it.world.run(MINUTE)
    expect(it.a.probesSent + it.b.probesSent).toBeLessThanOrEqual(4)
    expect(kinds(it)).toEqual(both('vxlan'))
  })
  test('where nothing works nothing is used, others hear of it, and people hear why', () => {
    const it = pair([])
    it.world.run(30 * SECOND)
    expect(kinds(it)).toEqual(both(undefined))
    expect(it.a.engine.unreachable(it.world.now())).toEqual([B])
    it.world.introduce(it.a, it.b, { isAlive: false })
    expect(it.a.engine.unreachable(it.world.now())).toEqual([])
    it.world.introduce(it.a, it.b)
    const lost = 'no answer to 4 probes in a row'
    expect(it.a.engine.status(B, it.world.now())?.reason).toBe(`no link works: vxlan: ${lost}; wireguard: ${lost}; sleeve: ${lost}`)
  })
  test('where nothing is possible people hear why', () => {
    const it = pair(LINK_KINDS, { ...SEALED, can: ['vxlan'] })
    expect(it.a.engine.status(B, it.world.now())?.reason).toContain('vxlan: must be encrypted: n1 and n2 ask to encrypt always')
  })
})

describe('while pods talk', () => {
  test.each([
    { name: 'both ways', ways: [A, B], isAnswered: true },
    { name: 'to one end', ways: [A], isAnswered: true },
    { name: 'to the other end', ways: [B], isAnswered: true },
    { name: 'both ways, with packets in one direction', ways: [A, B], isAnswered: false },
    { name: 'to the end that says nothing', ways: [A], isAnswered: false },
  ])('a link that is cut $name is left in 5 s, at any moment', ({ ways, isAnswered }) => {
    for (let moment = 0; moment < 3_000; moment += 130) {
      const it = pair(['vxlan', 'sleeve'])
      const flow = it.world.talk(A, B, { isAnswered })
      it.world.run(30 * SECOND + moment)
      expect(kinds(it)).toEqual(both('vxlan'))
      flow.gap = 0
      for (const from of ways) it.world.set(from, from === A ? B : A, 'vxlan', CUT_WAY, true)
      it.world.run(30 * SECOND)
      expect(flow.gap).toBeLessThan(5 * SECOND)
      expect(it.world.kindOf(A, B)).toBe('sleeve')
      if (isAnswered) expect(it.world.kindOf(B, A)).toBe('sleeve')
    }
  })
  test.each(Array.from({ length: 24 }, (_, index) => index * 130))(
    'both ends leave a link that is cut one way about together, %i ms',
    (moment) => {
      const it = pair(['vxlan', 'sleeve'])
      it.world.talk(A, B)
      it.world.run(30 * SECOND + moment)
      it.world.set(B, A, 'vxlan', CUT_WAY, true)
      const left = [0, 0]
      for (let at = 0; at < 10_000; at += 50) {
        it.world.run(50)
        for (const [index, kind] of kinds(it).entries()) if (kind === 'vxlan') left[index] = at
      }
      expect(Math.abs((left[0] ?? 0) - (left[1] ?? 0))).toBeLessThanOrEqual(1_000)
    },
  )
  test('a link that loses a packet in twenty is kept for an hour', () => {
    const it = pair(['sleeve'])
    it.world.set(A, B, 'vxlan', { ...GOOD_WAY, loss: 0.05 })
    it.world.run(10 * SECOND)
    it.world.talk(A, B, { isAnswered: false })
    const before = it.a.switches + it.b.switches
    it.world.run(60 * MINUTE)
    expect(kinds(it)).toEqual(both('vxlan'))
    expect(it.a.switches + it.b.switches).toBe(before)
  })
  test('no link is left for a slow answer', () => {
    const it = pair([])
    it.world.set(A, B, 'vxlan', { ...GOOD_WAY, delay: 300 })
    it.world.talk(A, B)
    it.world.run(10 * MINUTE)
    expect(kinds(it)).toEqual(both('vxlan'))
    expect(it.a.switches).toBe(2)
  })
  test('probes are few where both talk, and one in two seconds where nobody answers', () => {
    const perMinute = (isAnswered: boolean): number => {
      const it = pair(['vxlan'], { can: ['vxlan'] })
      it.world.talk(A, B, { isAnswered })
      it.world.run(MINUTE)
      const before = it.a.probesSent + it.b.probesSent
      it.world.run(5 * MINUTE)
      return (it.a.probesSent + it.b.probesSent - before) / 5
    }
    expect(perMinute(true)).toBeLessThan(6)
    expect(perMinute(false)).toBeLessThan(70)
  })
})

describe('a router', () => {
  test('that sleeps takes no link for dead, nor do others while pods talk, however long', () => {
    for (const sleep of [1, 2, 5, 20, 60]) {
      const it = pair(['vxlan', 'sleeve'])
      it.world.talk(A, B)
      it.world.run(40 * SECOND)
      const before = [it.a.switches, it.b.switches]
      it.b.asleepUntil = it.world.now() + sleep * SECOND
      it.world.run((sleep + 60) * SECOND)
      expect([it.a.switches, it.b.switches]).toEqual(before)
    }
  })
  test('that is gone leaves what is used, and is asked for at once when it is back', () => {
    const it = pair(['vxlan'])
    it.world.run(MINUTE)
    it.world.introduce(it.a, it.b, { isAlive: false })
    it.world.set(A, B, 'vxlan', CUT_WAY)
    it.world.talk(A, B)
    const before = it.a.probesSent
    it.world.run(60 * MINUTE)
    expect([kinds(it), it.a.probesSent]).toEqual([both('vxlan'), before])
    it.world.set(A, B, 'sleeve', GOOD_WAY)
    it.world.introduce(it.a, it.b)
    it.world.run(5 * SECOND)
    expect(kinds(it)).toEqual(both('sleeve'))
  })
  test('that crashes, while nobody answers us, takes a link away only until gossip tells; then all is as before, until it is back', () => {
    const it = pair(['vxlan', 'sleeve'])
    it.world.talk(A, B, { isAnswered: false })
    it.world.run(MINUTE)
    it.b.asleepUntil = it.world.now() + 60 * MINUTE
    it.world.run(10 * SECOND)
    expect(it.world.kindOf(A, B)).not.toBe('vxlan')
    it.world.introduce(it.a, it.b, { isAlive: false })
    const before = it.a.switches
    expect(it.world.kindOf(A, B)).toBe('vxlan')
    it.world.run(70 * MINUTE)
    it.world.introduce(it.a, it.b)
    it.world.run(MINUTE)
    expect([it.world.kindOf(A, B), it.a.switches]).toEqual(['vxlan', before])
  })
  test('that starts again keeps what it used, without a gap, until it turns out to be down', () => {
    const world = new LinksWorld(1)
    const [a, b] = [world.add(factsOf(1, { can: CAN }), 1), world.add(factsOf(2, { can: CAN }), 2)]
    world.set(A, B, 'sleeve', GOOD_WAY)
    world.introduce(a, b, { lastKind: 'vxlan' })
    const it = { world, a, b }
    expect(kinds(it)).toEqual(both('vxlan'))
    world.run(10 * SECOND)
    expect(kinds(it)).toEqual(both('sleeve'))
  })
  test('that starts again does not use what is not allowed any more', () => {
    const world = new LinksWorld(1)
    const [a, b] = [world.add(factsOf(1, SEALED), 1), world.add(factsOf(2), 2)]
    world.introduce(a, b, { lastKind: 'vxlan' })
    expect(kinds({ world, a, b })).toEqual(both('wireguard'))
  })
})

describe('a better link that works again', () => {
  test.each([1, 2, 3, 4, 5])('is used again within its time, seed %i', (seed) => {
    const it = pair(['vxlan', 'sleeve'])
    it.world.talk(A, B)
    it.world.run(MINUTE)
    it.world.set(A, B, 'vxlan', CUT_WAY)
    it.world.run((10 + seed * 7) * SECOND)
    expect(kinds(it)).toEqual(both('sleeve'))
    it.world.set(A, B, 'vxlan', GOOD_WAY)
    const until = it.a.engine.status(B, it.world.now())?.nextTrialAt ?? 0
    expect(until).toBeLessThanOrEqual(it.world.now() + 2 * MINUTE)
    it.world.run(until - it.world.now() + 10 * SECOND)
    expect(kinds(it)).toEqual(both('vxlan'))
  })
  test('is tried at once on a hint, and must prove itself', () => {
    const it = pair(['sleeve'])
    it.world.talk(A, B)
    it.world.run(20 * MINUTE)
    it.world.set(A, B, 'vxlan', GOOD_WAY)
    it.world.hint(it.a, B)
    it.world.run(2 * SECOND)
    expect(kinds(it)).toEqual(both('sleeve'))
    it.world.run(6 * SECOND)
    expect(kinds(it)).toEqual(both('vxlan'))
  })
  test('is tried every ten seconds at most, however many hints come', () => {
    const it = pair(['sleeve'])
    it.world.run(20 * MINUTE)
    const before = it.a.probesSent
    for (let count = 0; count < 600; count += 1) {
      it.world.hint(it.a, B)
      it.world.run(100)
    }
    // Two that would be better, and the one in use.
    expect(it.a.probesSent - before).toBeLessThanOrEqual(3 * 7)
  })
  test('is tried every ten minutes in the end', () => {
    const it = pair(['sleeve'])
    it.world.run(60 * MINUTE)
    for (let minute = 0; minute < 60; minute += 1) {
      it.world.run(MINUTE)
      const next = it.a.engine.status(B, it.world.now())?.nextTrialAt ?? 0
      expect(next - it.world.now()).toBeLessThanOrEqual(10 * MINUTE)
    }
    expect(it.a.probesSent).toBeLessThan(4 + 4 + 2 * 2 * 26)
  })
  test('is tried anew when the peer has another address', () => {
    const it = pair(['sleeve'])
    it.world.run(20 * MINUTE)
    it.world.set(A, B, 'vxlan', GOOD_WAY)
    it.world.introduce(it.a, it.b, { place: 'another address' })
    it.world.run(500)
    expect(kinds(it)).toEqual(both('vxlan'))
  })
})

describe('when nothing is left', () => {
  test('a link that works again is used soon after', () => {
    const it = pair(['vxlan'])
    it.world.talk(A, B)
    it.world.run(10 * SECOND)
    it.world.set(A, B, 'vxlan', CUT_WAY)
    it.world.run(10 * SECOND)
    expect(it.world.kindOf(A, B)).toBeUndefined()
    it.world.set(A, B, 'vxlan', GOOD_WAY)
    it.world.run(20 * SECOND)
    expect(kinds(it)).toEqual(both('vxlan'))
  })
  test('a hint makes it sooner', () => {
    const it = pair([])
    it.world.run(20 * MINUTE)
    it.world.set(A, B, 'sleeve', GOOD_WAY)
    it.world.hint(it.a, B)
    it.world.run(6 * SECOND)
    expect(kinds(it)).toEqual(both('sleeve'))
    expect(it.a.engine.unreachable(it.world.now())).toEqual([])
  })
})

describe('policy', () => {
  test('that changes takes a plain link away at once', () => {
    const it = pair(['vxlan', 'wireguard'])
    it.world.run(SECOND)
    expect(kinds(it)).toEqual(both('vxlan'))
    Object.assign(it.b.facts, SEALED)
    it.world.introduce(it.a, it.b)
    expect(kinds(it)).toEqual(both('wireguard'))
  })
})

describe('however links flap', () => {
  test.each([1, 2, 3, 4, 5, 6])('switches are few, seed %i', (seed) => {
    const random = seededRandom(seed)
    const it = pair(['sleeve'])
    it.world.set(A, B, 'vxlan', GOOD_WAY)
    it.world.talk(A, B)
    it.world.run(10 * SECOND)
    const before = [it.a.switches, it.b.switches]
    const HOURS = 2
    for (const until = it.world.now() + HOURS * 60 * MINUTE; it.world.now() < until; ) {
      it.world.set(A, B, 'vxlan', random() < 0.5 ? GOOD_WAY : CUT_WAY)
      it.world.run(randomBelow(random, 60 * SECOND))
      if (random() < 0.1) it.world.hint(it.a, B)
    }
    // Trials come at the earliest after 0.5, 1, 2, 4 and then 5 minutes each, and each may take it up and down once.
    const switchesMax = 2 * (4 + (HOURS * 60 - 7.5) / 5)
    for (const [index, node] of [it.a, it.b].entries()) expect(node.switches - (before[index] ?? 0)).toBeLessThanOrEqual(switchesMax)
  })
})
