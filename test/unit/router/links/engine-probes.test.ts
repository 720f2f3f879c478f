/** What probes of two link engines find out about the largest packet, and what is made of those that come. */
import { describe, expect, test } from 'vitest'
import { millis } from '../../../../mesh/base/brand.ts'
import type { Probe } from '../../../../router/links/probe-codec.ts'
import { A, B, both, kinds, MINUTE, type Pair, pair, SECOND } from '../../../support/links.ts'
import { GOOD_WAY, nodeName } from '../../../support/links-world.ts'

describe('the MTU', () => {
  /** A path that carries so much on the underlay. */
  const mtuOf = (it: Pair): readonly (number | undefined)[] => [it.a.wants.get(B)?.mtuBytes, it.b.wants.get(A)?.mtuBytes]

  test('is what both underlays carry, until proven otherwise', () => {
    const it = pair(['vxlan'])
    it.world.run(SECOND)
    expect(mtuOf(it)).toEqual([1_450, 1_450])
    expect(it.a.engine.status(B, it.world.now())?.isMtuProven).toBe(false)
    it.world.talk(A, B)
    it.world.run(5 * SECOND)
    expect(it.a.engine.status(B, it.world.now())?.isMtuProven).toBe(true)
  })
  test.each([
    { path: 1_400, mtu: 1_350 },
    { path: 1_300, mtu: 1_230 },
    { path: 700, mtu: 576 },
  ])('of a path of $path is found in seconds: $mtu', ({ path, mtu }) => {
    const it = pair([])
    it.world.set(A, B, 'vxlan', { ...GOOD_WAY, mtuBytes: path })
    it.world.talk(A, B, { sizeBytes: 1_450 })
    it.world.run(25 * SECOND)
    expect(mtuOf(it)).toEqual([mtu, mtu])
    expect(kinds(it)).toEqual(both('vxlan'))
  })
  test('shrinks in seconds with the path, when packets stay unanswered', () => {
    const it = pair(['vxlan'])
    it.world.talk(A, B, { sizeBytes: 1_450 })
    it.world.run(2 * MINUTE)
    it.world.set(A, B, 'vxlan', { ...GOOD_WAY, mtuBytes: 1_280 })
    it.world.run(20 * SECOND)
    expect(mtuOf(it)[0]).toBe(1_230)
    expect(kinds(it)).toEqual(both('vxlan'))
  })
  test.each([
    { name: 'at once on a hint', isHinted: true, wait: 10 * SECOND },
    { name: 'in an hour or so', isHinted: false, wait: 75 * MINUTE },
  ])('grows again with the path $name', ({ isHinted, wait }) => {
    const it = pair([], { can: ['vxlan'] })
    it.world.set(A, B, 'vxlan', { ...GOOD_WAY, mtuBytes: 1_300 })
    it.world.talk(A, B)
    it.world.run(30 * SECOND)
    expect(mtuOf(it)).toEqual([1_230, 1_230])
    it.world.set(A, B, 'vxlan', GOOD_WAY)
    if (isHinted) it.world.hint(it.a, B)
    it.world.run(wait)
    expect(mtuOf(it)[0]).toBe(1_450)
  })
  test('of a path that is better in one direction is the smaller one', () => {
    const it = pair(['vxlan'])
    it.world.set(B, A, 'vxlan', { ...GOOD_WAY, mtuBytes: 1_300 }, true)
    it.world.talk(A, B, { sizeBytes: 1_450 })
    it.world.run(30 * SECOND)
    expect(mtuOf(it)).toEqual([1_230, 1_230])
  })
  test('does not change while a good path is verified again and again', () => {
    const it = pair(['vxlan'])
    it.world.talk(A, B)
    let changes = 0
    for (let minute = 0; minute < 60; minute += 1) {
      it.world.run(MINUTE)
      if (mtuOf(it).join() !== '1450,1450') changes += 1
    }
    expect(changes).toBe(0)
  })
})

describe('a probe', () => {
  const probe: Probe = {
    isReply: false,
    isDoubted: false,
    kind: 'vxlan',
    sizeBytes: 76,
    provenBytes: 0,
    sender: B,
    receiver: A,
    id: 1e12,
  }
  test('is answered in its own size', () => {
    const { a, world } = pair([], { can: ['vxlan'] })
    const [reply] = a.engine.received({ ...probe, sizeBytes: 1_000 }, world.now()).probes
    expect(reply).toMatchObject({ isReply: true, sizeBytes: 1_000, id: probe.id, sender: A, receiver: B, kind: 'vxlan' })
  })
  test.each([
    { name: 'for somebody else', change: { receiver: B } },
    { name: 'of somebody unknown', change: { sender: nodeName(3) } },
    { name: 'by a link that must not be used', change: { kind: 'sleeve' } },
  ] as const)('$name is not', ({ change }) => {
    const { a, world } = pair([], { can: ['vxlan'] })
    expect(a.engine.received({ ...probe, ...change }, world.now())).toEqual({ probes: [], wants: [] })
  })
  test('makes no link, whatever it says, but has us look for ourselves', () => {
    const { a, world } = pair([], { can: ['vxlan'] })
    const { probes } = a.engine.received({ ...probe, provenBytes: 1_450 }, world.now())
    expect(probes.map(({ isReply, kind }) => `${kind} ${isReply}`)).toEqual(['vxlan true', 'vxlan false'])
    expect(a.engine.status(B, world.now())?.kind).toBeUndefined()
  })
  test('of a peer that does not hear us has us look at the link in use; but not when it is played back', () => {
    const asked = (id: number): number => {
      const it = pair(['vxlan'], { can: ['vxlan'] })
      it.world.run(MINUTE)
      const { probes } = it.a.engine.received({ ...probe, isDoubted: true, id }, it.world.now())
      return probes.filter(({ isReply }) => !isReply).length
    }
    expect([asked(1e12), asked(1)]).toEqual([1, 0])
  })
  test('that nobody awaits an answer to makes no link', () => {
    const { a, world } = pair([], { can: ['vxlan'] })
    a.engine.received({ ...probe, isReply: true }, world.now())
    expect(a.engine.status(B, world.now())?.kind).toBeUndefined()
  })
  test('of a peer that is gone is not answered', () => {
    const { a, world } = pair([], { can: ['vxlan'] })
    a.engine.removePeer(B)
    expect(a.engine.received(probe, world.now()).probes).toEqual([])
    expect(a.engine.wake(world.now())).toEqual({ probes: [], wants: [] })
    expect(a.engine.wakeAt()).toBeUndefined()
    expect(a.engine.status(B, millis(0))).toBeUndefined()
  })
})
