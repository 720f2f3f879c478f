/** Waiting for a link as kernels before 6.8 make it necessary: being asked does not make them take it into use. */
import { describe, expect, test } from 'vitest'
import { millis, seconds } from '../../../../mesh/base/brand.ts'
import { ok, type Result } from '../../../../mesh/base/result.ts'
import type { Link } from '../../../../router/kernel/codec/link.ts'
import { type KernelError, kernelError } from '../../../../router/kernel/kernel-error.ts'
import { untilOperational } from '../../../../router/kernel/operational.ts'
import { mustFail } from '../../../support/result.ts'
import { TestClock } from '../../../support/test-clock.ts'

const link: Link = {
  index: 2,
  name: 'eth0',
  mac: undefined,
  mtuBytes: 1_450,
  up: true,
  operational: false,
  master: undefined,
  lower: 7,
  alias: undefined,
  details: { kind: 'veth' },
}

describe('a link', () => {
  test('that passes packets is waited for no longer', async () => {
    const clock = new TestClock()
    expect(await untilOperational(() => Promise.resolve(ok({ ...link, operational: true })), clock)).toEqual(ok(undefined))
  })

  test('is looked at again and again until it passes packets, ever more rarely', async () => {
    const clock = new TestClock()
    const from = clock.now()
    const looks: number[] = []
    const waiting = untilOperational(() => {
      looks.push(clock.now() - from)
      return Promise.resolve(ok({ ...link, operational: clock.now() - from >= 100 }))
    }, clock)
    await clock.advanceAsync(millis(200))
    expect(await waiting).toEqual(ok(undefined))
    expect(looks).toEqual([0, 1, 3, 7, 15, 31, 63, 127])
  })

  test('that passes nothing for ten seconds is given up', async () => {
    const clock = new TestClock()
    const waiting = untilOperational(() => Promise.resolve(ok(link)), clock)
    await clock.advanceAsync(seconds(11))
    expect(mustFail(await waiting)).toMatchObject({ code: 'ETIMEDOUT', operation: 'ip link show dev eth0' })
  })

  test('is waited for no longer when nobody wants it any more', async () => {
    const clock = new TestClock()
    const controller = new AbortController()
    let looks = 0
    const look = (): Promise<Result<Link | undefined, KernelError>> => {
      looks++
      return Promise.resolve(ok(link))
    }
    const waiting = untilOperational(look, clock, controller.signal)
    await clock.advanceAsync(millis(1))
    controller.abort()
    expect(mustFail(await waiting).code).toBe('ETIMEDOUT')
    expect(looks).toBe(3)
  })

  test('that is gone, or of which the kernel says nothing, is an error at once', async () => {
    const clock = new TestClock()
    expect(mustFail(await untilOperational(() => Promise.resolve(ok(undefined)), clock)).code).toBe('ENODEV')
    const refused = { ok: false, error: kernelError('ip link show', 1) } as const
    expect(await untilOperational(() => Promise.resolve(refused), clock)).toEqual(refused)
  })
})
