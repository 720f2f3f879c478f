/** Small meshes meet every goal of the table; the large ones are for `npm run sim`. */
import { expect, test } from 'vitest'
import { measure } from '../support/sim/scenarios.ts'
import { judge } from '../support/sim/table.ts'

test.each([
  { peers: 10, seeds: [1, 2, 3, 4] },
  { peers: 100, seeds: [1] },
])(
  'a mesh of $peers meets the goals',
  async ({ peers, seeds }) => {
    const runs = []
    for (const seed of seeds) runs.push(await measure(peers, seed, () => undefined))
    expect(judge(peers, runs).filter(({ isMet }) => !isMet)).toEqual([])
  },
  300_000,
)
