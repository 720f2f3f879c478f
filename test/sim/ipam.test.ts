/** Whole IPAMs under loss, cuts, crashes, power losses, full disks and takeovers: no address twice, none lost, all agree in the end. */
import { describe, expect, test } from 'vitest'
import { cidrSize, parseCidr } from '../../mesh/base/address.ts'
import { seededRandom } from '../../mesh/base/random.ts'
import { type Happening, IpamCluster } from '../support/ipam-cluster.ts'

/** The last ones found records that were acted on after a restart, before they were on the device. */
const SEEDS = [...Array.from({ length: 24 }, (_, index) => 1 + index * 7_919), 720_630, 2_890_436, 4_331_694]
const STEPS = 1_200
const RARE: readonly Happening[] = [
  'went for good',
  'taken over',
  'taken by another',
  'came back',
  'granted',
  'denied',
  'killed',
  'lost power',
  'write failed',
  'split',
  'refused',
  'repeated',
  'rotted',
]

const seen = new Map<Happening, number>()

describe.each(SEEDS)('IPAM in a hostile world, seed %i', (seed) => {
  test('no address has two owners, no address is lost, and all agree in the end', async () => {
    const random = seededRandom(seed)
    const universe = parseCidr(seed % 2 === 0 ? '10.32.0.0/27' : '10.32.0.0/25')
    const cluster = new IpamCluster(universe, 3 + (seed % 3), 1 + (seed % 2), random)
    for (let step = 0; step < STEPS; step++) await cluster.step()
    expect(await cluster.heal()).toBe(true)
    await cluster.inherit()
    expect(await cluster.heal()).toBe(true)
    for (const [what, count] of cluster.happened) seen.set(what, (seen.get(what) ?? 0) + count)

    await cluster.collect()
    const held = cluster.members.reduce((sum, node) => sum + node.held.size, 0)
    const free = cluster.members.reduce((sum, { ipam }) => sum + ipam.status().freeAddresses, 0)
    expect(held + free).toBe(cidrSize(universe) - 2)

    const [first] = cluster.members
    const more = first === undefined ? 0 : await cluster.exhaust(first)
    expect(held + more).toBe(cidrSize(universe) - 2)
  })
})

test('the runs above went through what they are for', () => {
  expect(RARE.filter((what) => (seen.get(what) ?? 0) < 10)).toEqual([])
})
