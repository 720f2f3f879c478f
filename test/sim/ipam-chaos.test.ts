/** Whole routers' IPAM in a hostile world: whatever happened, no address has two pods or owners, none is lost, and all agree in the end. */
import { describe, expect, test } from 'vitest'
import { ipamChaos } from '../support/sim/ipam-chaos.ts'
import { COVERAGE } from '../support/sim/ipam-coverage.ts'

const SEEDS = Array.from({ length: 56 }, (_, index) => index + 1)

const happened = new Set<string>()

describe.each(SEEDS)('addresses in a hostile world, seed %i', (seed) => {
  test('end well', async () => {
    const run = await ipamChaos(seed)
    expect(run.violations).toEqual([])
    for (const what of run.happened.keys()) happened.add(what)
  }, 120_000)
})

test('the runs above went through what they are for', () => {
  expect(COVERAGE.filter((what) => !happened.has(what))).toEqual([])
})

test.each([5, 8, 19, 24])(
  'seed %i is the same run every time',
  async (seed) => {
    expect((await ipamChaos(seed)).hash).toBe((await ipamChaos(seed)).hash)
  },
  120_000,
)
