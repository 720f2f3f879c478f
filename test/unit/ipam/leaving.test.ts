/** Leaving in good order: who has the addresses afterwards, and when nobody may leave. */
import { describe, expect, test } from 'vitest'
import { seconds } from '../../../mesh/base/brand.ts'
import { allocate, key, peer, ranges, takeOver } from '../../support/ipam.ts'
import { three } from '../../support/ipam-group.ts'
import { systemError } from '../../support/memory-disk.ts'

describe('leaving', () => {
  const own = key(0)

  test('gives all to a peer that lives, which has it on its disk, and retires the name', async () => {
    const { group, a, b, c } = three()
    await c.allocate(own, new AbortController().signal)
    const left = await c.members.leave({ own, force: false })
    expect(left).toMatchObject({ ok: true, value: { given: 128, kept: 0 } })
    await group.pass()
    expect([ranges(a), ranges(b)]).toEqual([ranges(c), ranges(c)])
    expect(ranges(a)).not.toContain('c:')
    expect(await allocate(c, 1)).toBe('retired')
    expect(c.status().status).toContain('has handed over its addresses and left')
    group.gone.add(peer('c'))
    expect(await takeOver(a, 'c')).toEqual({ taken: 0 })
  })

  test('is refused while pods have addresses; by force they keep theirs until a takeover', async () => {
    const { group, a, c } = three()
    const held = await allocate(c, 7)
    expect(await c.members.leave({ own, force: false })).toMatchObject({
      ok: false,
      error: { code: 'pods', text: '1 pod has an address of this node' },
    })
    expect(await c.members.leave({ own, force: true })).toMatchObject({ ok: true, value: { given: 127, kept: 1 } })
    await group.pass()
    expect(a.status().owners.filter(({ peer: owner }) => owner === peer('c'))).toEqual([
      { peer: peer('c'), addresses: 1, active: undefined, isRetired: true },
    ])
    expect(c.lookup(key(7))).toBeDefined()
    group.gone.add(peer('c'))
    expect(await takeOver(a, 'c')).toEqual({ taken: 1 })
    expect(held).toBeDefined()
  })

  test('is refused when nobody can be reached', async () => {
    const { group, c } = three()
    group.gone.add(peer('c'))
    expect(await c.members.leave({ own, force: false })).toMatchObject({ ok: false, error: { code: 'alone' } })
    expect(await allocate(c, 1)).toMatch(/^10\.32/)
  })

  test('is refused when nobody answers that it has the same ring', async () => {
    const { group, c } = three()
    group.deaf.add(peer('a')).add(peer('b'))
    const leaving = c.members.leave({ own, force: false })
    await group.pass(seconds(8))
    expect(await leaving).toMatchObject({ ok: false, error: { code: 'silent', text: expect.stringContaining('the same ring') } })
    expect(ranges(c)).toContain('c:128-0')
  })

  test('fails when the heir does not confirm: nothing is lost, and it can be tried again', async () => {
    const { group, a, c } = three()
    const broken = (): never => {
      throw systemError('ENOSPC')
    }
    for (const disk of group.disks('a', 'b')) disk.fault = broken
    const leaving = c.members.leave({ own, force: false })
    await group.pass(seconds(8))
    expect(await leaving).toMatchObject({ ok: false, error: { code: 'silent', text: expect.stringContaining('did not confirm') } })
    expect(c.status().retiredBy).toBeUndefined()
    for (const disk of group.disks('a', 'b')) disk.fault = undefined
    expect(await c.members.leave({ own, force: false })).toMatchObject({ ok: true })
    await group.pass()
    expect(ranges(a)).not.toContain('c:')
  })
})
