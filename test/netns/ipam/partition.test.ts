/** Two hosts cut off from three, while pods come and go on both sides all the time: healed, all have one ring, and no address is held twice. */
import { expect, test } from 'vitest'
import { seconds } from '../../../mesh/base/brand.ts'
import { sleep, systemClock } from '../../../mesh/base/clock.ts'
import { type Random, randomBelow, seededRandom } from '../../../mesh/base/random.ts'
import { Churn } from '../../support/churn.ts'
import { audit } from '../../support/churn-audit.ts'
import { type ClusterHost, labCluster } from '../../support/lab-cluster.ts'
import { isLongRun } from '../../support/long-run.ts'
import { until } from '../../support/until.ts'

const CUT_S = isLongRun ? 60 : 20
const SEED = 20_261_125
const LONG_MS = CUT_S * 1_000 + 180_000

/** Each of five hosts begins with 32 or 64 of the 256 addresses: the one with most pods needs some of the others on its side. */
const RANGE = '10.32.0.0/24'
const LEFT = 2
const PODS_OF_A_SIDE = 50
const PODS_OF_A_HOST = 45

/** What is aimed at; a machine that does other things too is given ten times as long. */
const SAME_RING_WITHIN = seconds(5)

const WHOLE_MS = 3_000
const WAVE_MS = 2_500

/** One host of each side has nearly all pods of that side. */
function wave(churn: Churn, sides: readonly (readonly ClusterHost[])[], random: Random): void {
  for (const side of sides) {
    const busy = randomBelow(random, side.length)
    for (const [index, { name }] of side.entries()) {
      churn.targets.set(name, index === busy ? PODS_OF_A_HOST - 5 : Math.floor((PODS_OF_A_SIDE - PODS_OF_A_HOST + 5) / (side.length - 1)))
    }
  }
}

/** The ring of all of them, once they have the same. */
async function ringOf(hosts: readonly ClusterHost[]): Promise<string> {
  const same = async (): Promise<string | undefined> => {
    const [ring, ...others] = await Promise.all(hosts.map(async (host) => JSON.stringify((await host.snapshot()).ipam.entries)))
    return others.every((other) => other === ring) ? ring : undefined
  }
  return await until('all have one ring', same, seconds((SAME_RING_WITHIN / 1_000) * 10))
}

async function namesInReach(host: ClusterHost): Promise<string> {
  const { peers } = (await host.snapshot()).router
  return peers
    .flatMap(({ nickname, state }) => (state === 'alive' ? [nickname] : []))
    .toSorted()
    .join(' ')
}

test(`a partition of 2 and 3 hosts for ${CUT_S} s under churn`, { timeout: LONG_MS }, async () => {
  await using cluster = await labCluster('--hosts', '5', '--range', RANGE)
  const { hosts } = cluster
  const random = seededRandom(SEED)
  const sides = [hosts.slice(0, LEFT), hosts.slice(LEFT)]
  await using churn = await Churn.make({ hosts, random, places: PODS_OF_A_HOST })
  const churnFor = async (ms: number): Promise<void> => {
    for (const end = systemClock.now() + ms; systemClock.now() < end; ) {
      wave(churn, sides, random)
      await sleep(seconds(Math.min(WAVE_MS, end - systemClock.now()) / 1_000))
    }
  }
  churn.resume()
  await churnFor(WHOLE_MS)
  await cluster.cutAfter(LEFT)
  const before = new Map(churn.addsOf)
  await churnFor(CUT_S * 1_000)
  const addsOf = hosts.map(({ name }) => (churn.addsOf.get(name) ?? 0) - (before.get(name) ?? 0))
  await churn.pause()
  const apart = await Promise.all(sides.map(ringOf))
  const known = await Promise.all(hosts.map(namesInReach))
  await cluster.heal()
  const healedAt = systemClock.now()
  await ringOf(hosts)
  const sameRingMs = systemClock.now() - healedAt
  const [prover] = hosts
  if (prover === undefined) throw new Error('five hosts')
  const { settledMs, provedMs } = await audit(hosts, churn, prover)
  const figures = {
    cutS: CUT_S,
    seed: SEED,
    addsOf,
    ...churn.counts,
    refusals: [...churn.refusals],
    sameRingMs,
    settledMs,
    provedMs,
  }
  process.stdout.write(`${JSON.stringify(figures, undefined, 2)}\n`)
  expect(apart[0]).not.toBe(apart[1])
  expect(known).toEqual(['a b', 'a b', 'c d e', 'c d e', 'c d e'])
  for (const adds of addsOf) expect(adds).toBeGreaterThan(CUT_S)
  churn.resume()
  await churnFor(WHOLE_MS)
  await churn.pause()
  await audit(hosts, churn, prover)
  for (const host of ['a', 'e']) expect((await cluster.lab.run('exec', host, '--', 'weft', 'ipam', 'check')).status).toBe(0)
})
