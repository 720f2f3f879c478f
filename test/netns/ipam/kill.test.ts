/** kill -9 of one router of three, again and again, while pods come and go on all: no address is given twice, and none is lost. */
import { expect, test } from 'vitest'
import { millis } from '../../../mesh/base/brand.ts'
import { sleep, systemClock } from '../../../mesh/base/clock.ts'
import { type Random, randomBelow, seededRandom } from '../../../mesh/base/random.ts'
import { Churn } from '../../support/churn.ts'
import { audit } from '../../support/churn-audit.ts'
import { type ClusterHost, labCluster } from '../../support/lab-cluster.ts'
import { isLongRun } from '../../support/long-run.ts'

const ROUNDS = isLongRun ? 200 : 20
const SEED = 20_261_125
const LONG_MS = ROUNDS * 12_000 + 60_000

/** Of 62 addresses: so few that hosts need those of each other, so many that there are some for all. */
const RANGE = '10.32.0.0/26'
const PODS = 42
const PODS_OF_A_HOST = 30

/** Of the pods of a router that is dead: how many go without a DEL. */
const ABANDONED_MAX = 2

const ALIVE_MS_MAX = 800
const DEAD_MS_MAX = 300
const STARTING_MS_MAX = 600

/** How many pods each host is to have: one of them many, so that space has to move. */
function shares(random: Random, hosts: readonly ClusterHost[]): ReadonlyMap<string, number> {
  const busy = randomBelow(random, hosts.length)
  const many = 14 + randomBelow(random, PODS_OF_A_HOST - 14)
  return new Map(hosts.map(({ name }, index) => [name, index === busy ? many : Math.floor((PODS - many) / (hosts.length - 1))]))
}

/** Kills it, some time, also while it starts. @returns how many times, and how many pods went without a DEL. */
async function killAndStart(victim: ClusterHost, churn: Churn, random: Random): Promise<readonly [number, number]> {
  let kills = 1
  await victim.kill()
  const abandoned = await churn.abandon(victim, randomBelow(random, ABANDONED_MAX + 1))
  await sleep(millis(randomBelow(random, DEAD_MS_MAX)))
  for (; randomBelow(random, 5) === 0; kills++) {
    const starting = victim.start().catch(() => undefined)
    await sleep(millis(randomBelow(random, STARTING_MS_MAX)))
    const isDead = await victim.kill().then(
      () => true,
      () => false,
    )
    await starting
    // It was not even there to be killed, and has started meanwhile.
    if (!isDead) return [kills, abandoned]
  }
  await victim.start()
  return [kills, abandoned]
}

test(`${ROUNDS} times kill -9 of a router under churn`, { timeout: LONG_MS }, async () => {
  await using cluster = await labCluster('--hosts', '3', '--range', RANGE)
  const random = seededRandom(SEED)
  const { hosts } = cluster
  await using churn = await Churn.make({ hosts, random, places: PODS_OF_A_HOST })
  let [kills, abandoned, settledMsMax, provedMsMax, startMsMax] = [0, 0, 0, 0, 0]
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, target] of shares(random, hosts)) churn.targets.set(name, target)
    churn.resume()
    await sleep(millis(randomBelow(random, ALIVE_MS_MAX)))
    const victim = hosts[randomBelow(random, hosts.length)]
    const prover = hosts[randomBelow(random, hosts.length)]
    if (victim === undefined || prover === undefined) throw new Error('three hosts')
    const start = systemClock.now()
    const [times, lost] = await killAndStart(victim, churn, random)
    kills += times
    abandoned += lost
    startMsMax = Math.max(startMsMax, systemClock.now() - start)
    await churn.pause()
    const { settledMs, provedMs } = await audit(hosts, churn, prover)
    settledMsMax = Math.max(settledMsMax, settledMs)
    provedMsMax = Math.max(provedMsMax, provedMs)
  }
  const { status, stdout } = await cluster.lab.run('exec', 'b', '--', 'weft', 'ipam', 'check')
  expect([status, stdout]).toEqual([0, expect.stringContaining('each of the 64 addresses of 10.32.0.0/26 has one owner')])
  expect(kills).toBeGreaterThanOrEqual(ROUNDS)
  expect(abandoned).toBeGreaterThan(0)
  expect(churn.counts.adds).toBeGreaterThan(ROUNDS)
  // Space has moved, so that kills have met donations too.
  const { entries } = (await hosts[0]?.snapshot())?.ipam ?? { entries: [] }
  const versions = entries.reduce((sum, { version }) => sum + version, 0)
  expect(versions).toBeGreaterThan(hosts.length + ROUNDS / 2)
  const figures = {
    rounds: ROUNDS,
    seed: SEED,
    kills,
    abandoned,
    ...churn.counts,
    refusals: [...churn.refusals],
    entries: entries.length,
    versions,
  }
  process.stdout.write(`${JSON.stringify({ ...figures, settledMsMax, provedMsMax, startMsMax }, undefined, 2)}\n`)
})
