/**
 * A cluster of routers in a hostile world, from one seed: faults drawn by lot for a while, then none, then what must hold
 * whatever has happened. Says what was violated, what happened on the way, and a hash of how everything ended.
 */
import { createHash } from 'node:crypto'
import { seconds } from '../../../mesh/base/brand.ts'
import { pick, type Random, randomBelow } from '../../../mesh/base/random.ts'
import type { ChaosRun } from './chaos.ts'
import { comeToRest } from './ipam-calm.ts'
import { FAULTS, type Fault, healAll } from './ipam-faults.ts'
import { half, planOf } from './ipam-plan.ts'
import { IpamWorld } from './ipam-world.ts'

const CHAOS = seconds(60)

export interface IpamRun extends ChaosRun {
  /** In a few words: how many, how they began. */
  readonly plan: string
  /** What was asked, and what came of it, the last of it last. */
  readonly history: readonly string[]
}

export async function ipamChaos(seed: number, trace: (text: string) => void = () => undefined): Promise<IpamRun> {
  const world = new IpamWorld(planOf(seed))
  const plan = `${world.plan.size} nodes, ${world.plan.mode}, ${world.size} addresses`
  trace(`seed ${seed}: ${plan}`)
  try {
    await populate(world)
    await suffer(world, trace)
    trace('no more faults')
    if (!world.isOver) await comeToRest(world)
  } catch (error) {
    world.violate(`an exception: ${error instanceof Error ? error.stack : String(error)}`)
  }
  const lines = world.history.lines()
  const ends = world.seen().map(({ ipam }) => ipam.status())
  const hash = createHash('sha256')
    .update(JSON.stringify([lines, ends, [...world.happened]]))
    .digest('hex')
  return { violations: world.violations, happened: world.happened, hash, plan, history: lines }
}

/** All at once, or one after the other; rivals in two groups that cannot hear each other. */
async function populate(world: IpamWorld): Promise<void> {
  const { plan, routers, cluster } = world
  if (plan.mode === 'rivals') {
    const addresses = routers.map(({ address }) => address)
    cluster.network.partition(addresses.slice(0, half(plan.size)), addresses.slice(half(plan.size)))
    world.hasCuts = true
    // Until then nothing happens that heals the cut.
  }
  const isAtOnce = world.random() < 0.5
  for (const router of routers) {
    await router.start()
    if (!isAtOnce) await world.pass(world.duration(seconds(1)))
  }
  if (plan.mode === 'consensus' && world.random() < 0.6) await vote(world)
  if (plan.mode !== 'rivals') return
  await world.until(() => world.seen().every(({ ring }) => ring !== undefined), seconds(30))
  for (let turn = 0; turn < 10; turn++) await turnOf(world)
  await world.pass(seconds(2))
  healAll(world)
}

/** Voters that are cut off and die while they vote. */
async function vote(world: IpamWorld): Promise<void> {
  const parts = FAULTS.filter(({ name }) => name === 'the mesh is parted')
  const deaths = FAULTS.filter(({ name }) => ['a process is killed', 'a host loses power', 'a process dies over an effect'].includes(name))
  for (let turn = 0; turn < 24 && !world.isWhole && !world.isOver; turn++) {
    await pick(world.random, world.random() < 0.3 ? parts : deaths)?.act(world)
    await world.pass(world.duration(seconds(1)))
    if (world.random() < 0.6) healAll(world)
  }
  healAll(world)
}

async function suffer(world: IpamWorld, trace: (text: string) => void): Promise<void> {
  const { seam, plan } = world
  Object.assign(seam, { lost: plan.seam * world.random(), repeated: plan.seam, late: plan.seam * world.random() })
  const faults = draw(world.random)
  const rate = 0.2 + 0.6 * world.random()
  const end = world.now + CHAOS
  while (world.now < end && !world.isOver) {
    const fault = world.random() < rate ? pick(world.random, faults) : undefined
    if (fault !== undefined) trace(`${Math.round(world.now)} ${fault.name}`)
    await fault?.act(world)
    await world.settled()
    await turnOf(world)
    // What is cut for good tells nothing: half of the time something is cut, at most.
    if (world.hasCuts && world.random() < 0.15) healAll(world)
    await world.pass(world.duration(plan.pace))
  }
}

/** Some kinds, each as often as the lot says. */
function draw(random: Random): readonly Fault[] {
  const groups = new Map<string, boolean>()
  const kinds = FAULTS.filter(({ group }) => {
    if (group === undefined) return random() < 0.45
    const isDrawn = groups.get(group) ?? random() < 0.5
    groups.set(group, isDrawn)
    return isDrawn && random() < 0.85
  })
  return kinds.flatMap((fault) => Array.from({ length: 1 + randomBelow(random, 4) }, () => fault))
}

/** Pods come and go. */
async function turnOf(world: IpamWorld): Promise<void> {
  for (let count = randomBelow(world.random, 1 + world.plan.operations); count >= 0; count--) {
    const router = world.any()
    if (router === undefined) return
    if (world.random() < world.plan.releases) world.del(router)
    else world.add(router)
    await world.settled()
  }
}
