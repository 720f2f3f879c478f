import { expect, test } from 'vitest'
import { cidrSize, parseCidr } from '/tmp/wt-ring/mesh/base/address.ts'
import { seededRandom } from '/tmp/wt-ring/mesh/base/random.ts'
import { IpamCluster } from '/tmp/wt-ring/test/support/ipam-cluster.ts'
const from = Number(process.env.FROM ?? 1), n = Number(process.env.N ?? 100)
test('many', async () => {
  const seen = new Map<string, number>()
  let bad = 0
  for (let k = 0; k < n; k++) {
    const seed = from + k * 7919
    try {
    const universe = parseCidr(seed % 2 === 0 ? '10.32.0.0/27' : '10.32.0.0/25')
    const cluster = new IpamCluster(universe, 3 + (seed % 3), 1 + (seed % 2), seededRandom(seed))
    for (let step = 0; step < 1200; step++) await cluster.step()
    if (!(await cluster.heal())) throw new Error('heal')
    await cluster.inherit()
    if (!(await cluster.heal())) throw new Error('heal2')
    for (const [what, count] of cluster.happened) seen.set(what, (seen.get(what) ?? 0) + count)
    await cluster.collect()
    const held = cluster.members.reduce((sum, node) => sum + node.held.size, 0)
    const free = cluster.members.reduce((sum, { ipam }) => sum + ipam.status().freeAddresses, 0)
    if (held + free !== cidrSize(universe) - 2) throw new Error(`lost ${held} ${free}`)
    } catch (e) { bad++; console.log(seed, String(e)) }
  }
  console.log(JSON.stringify([...seen]))
  expect(bad).toBe(0)
}, 550_000)
