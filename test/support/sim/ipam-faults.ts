/** What may happen to a cluster of routers. Each seed draws some of these kinds, with rates of their own. */
import type { PeerName } from '../../../mesh/base/brand.ts'
import { millis, seconds } from '../../../mesh/base/brand.ts'
import { pick, randomBelow } from '../../../mesh/base/random.ts'
import { JOURNAL_HEADER_BYTES } from '../ipam.ts'
import type { Moment } from './effects.ts'
import type { Ending, SimRouter } from './ipam-router.ts'
import { JOURNAL_PATH } from './ipam-router.ts'
import type { IpamWorld } from './ipam-world.ts'

export interface Fault {
  readonly name: string
  /** Those of one group are drawn together, as the one makes something of the other. */
  readonly group?: string
  readonly act: (world: IpamWorld) => void | Promise<void>
}

const MOMENTS: readonly Moment[] = ['before', 'in the midst of', 'after']
const ENDINGS: readonly Ending[] = ['kill', 'power loss']
const DISK_FAULTS = [['write'], ['sync'], ['rename'], ['open', 'write', 'sync', 'sync directory', 'truncate', 'rename']]

/** What more there has to be than one that goes. */
const MEMBERS_MIN = 3

function cut(world: IpamWorld, left: readonly SimRouter[], right: readonly SimRouter[], isOneWay = false): void {
  const { network } = world.cluster
  for (const a of left) {
    for (const b of right) {
      if (isOneWay) network.cutOneWay(a.address, b.address)
      else network.cut(a.address, b.address)
    }
  }
  world.hasCuts = true
}

export function healAll(world: IpamWorld): void {
  world.cluster.network.healAll()
  world.hasCuts = false
}

function doom(world: IpamWorld, router: SimRouter | undefined): void {
  if (router?.life === undefined) return
  const moment = pick(world.random, MOMENTS) ?? 'before'
  router.ending = pick(world.random, ENDINGS) ?? 'kill'
  // Small numbers, as one that is far away is reached by nobody.
  router.life.effects.doom = { left: 1 + randomBelow(world.random, 1 + randomBelow(world.random, 24)), moment }
}

/** Whether a node may go for good: the others have the ring, and there are enough of them. */
function mayGo(world: IpamWorld): boolean {
  return world.members.length > MEMBERS_MIN && world.isWhole && !world.routers.some(({ hasRotted }) => hasRotted)
}

/** One or two are told at once that this peer is gone. */
function remove(world: IpamWorld, name: PeerName): void {
  const takers = world.some(world.random() < 0.5 ? 1 : 2, world.workers)
  const absence = world.absent.get(name)
  // Who has never been heard of by the taker, and has been given something by the one that is gone, is asked by nobody.
  if (takers.some((taker) => world.members.some((member) => member !== taker && !knows(taker, member.name)))) return
  if (takers.length > 1) world.note('two were told at once to take over')
  const leaveAbsent =
    world.random() < 0.7 && takers.every((taker) => world.members.every((one) => one === taker || reaches(taker, one.name)))
  for (const taker of takers) {
    void world.takeOver(taker, name, leaveAbsent).then((outcome) => {
      if (outcome === 'ok') world.note('a peer was taken over from')
      if (outcome === 'ok' && absence !== undefined) absence.isTaken = true
      if (outcome === 'busy' && takers.length > 1) world.note('two takeovers raced')
    })
  }
}

function reaches(router: SimRouter, name: PeerName): boolean {
  return router.life?.port.reachable().includes(name) === true
}

function knows(router: SimRouter, name: PeerName): boolean {
  return router.life?.mesh.peers().some((record) => record.name === name) === true
}

export const FAULTS: readonly Fault[] = [
  {
    name: 'a link is cut',
    act: (world) => {
      const [a, b] = world.some(2, world.routers)
      if (a !== undefined && b !== undefined) cut(world, [a], [b], world.random() < 0.3)
    },
  },
  {
    name: 'the mesh is parted',
    act: (world) => {
      const left = world.routers.filter(() => world.random() < 0.5)
      cut(
        world,
        left,
        world.routers.filter((router) => !left.includes(router)),
        world.random() < 0.3,
      )
      world.note('the mesh was parted')
    },
  },
  {
    name: 'connections are reset',
    act: (world) => world.note('a connection was reset', world.cluster.network.resetSome(0.3)),
  },
  {
    name: 'a process gets no processor',
    act: (world) => world.any()?.host.pause(world.duration(seconds(8))),
  },
  {
    name: 'a clock jumps',
    act: (world) => world.any()?.host.jumpClock(world.duration(seconds(7_200)) - 3_600_000),
  },
  {
    name: 'a process is killed',
    act: (world) => world.any()?.die('kill'),
  },
  {
    name: 'a host loses power',
    act: (world) => world.any()?.die('power loss'),
  },
  {
    name: 'a process dies over an effect',
    act: (world) => doom(world, world.any()),
  },
  {
    name: 'a process dies over an effect while much is asked of it',
    act: (world) => {
      const router = world.any()
      doom(world, router)
      for (let count = 0; router?.isRunning === true && count < 6; count++) world.add(router)
    },
  },
  {
    name: 'a router is stopped and started',
    act: (world) => world.any()?.stop(),
  },
  {
    name: 'a disk fails for a while',
    act: (world) => {
      const router = world.any()
      if (router === undefined) return
      router.failing = pick(world.random, DISK_FAULTS) ?? []
      world.cluster.clock.after(world.duration(seconds(15)), () => {
        router.failing = []
      })
    },
  },
  { name: 'a journal rots', act: rot },
  {
    name: 'a node goes for good',
    group: 'funerals',
    act: (world) => void end(world),
  },
  { name: 'a node goes for good, and others are told so when they have seen it', group: 'funerals', act: funeral },
  {
    name: 'a node gets a fresh disk',
    group: 'funerals',
    act: (world) => {
      const router = mayGo(world) ? world.any() : undefined
      if (router === undefined) return
      world.absent.set(router.name, { router: undefined, isTaken: false })
      router.die('power loss')
      router.rename()
      world.note('a node got a fresh disk')
    },
  },
  {
    name: 'a peer is removed',
    group: 'funerals',
    act: (world) => {
      const names = [...world.absent].filter(([, { router }]) => router === undefined || router.fate === 'gone').map(([name]) => name)
      const name = pick(world.random, names)
      if (name !== undefined) remove(world, name)
    },
  },
  {
    name: 'a peer that lives is removed by mistake',
    act: (world) => {
      const [taker, other] = world.some(2, world.workers)
      if (taker?.life === undefined || other === undefined || world.absent.has(other.name)) return
      if (world.hasCuts || !reaches(taker, other.name)) return
      const wasRemoved = world.removed.has(other.name)
      void world.takeOver(taker, other.name, true).then((outcome) => {
        if (outcome === 'ok') world.violate(`I9: ${taker.name} takes over from ${other.name}, which lives`)
        if (outcome === 'alive') world.note('a peer that lives was not removed')
      })
      if (!wasRemoved) world.removed.delete(other.name)
    },
  },
  { name: 'a peer that was gone comes back', group: 'funerals', act: comeBack },
  { name: 'a node leaves in good order', act: leave },
  {
    name: 'pods come in crowds',
    act: (world) => {
      const router = world.any()
      for (let count = 0; router?.isRunning === true && count < 24; count++) world.add(router)
    },
  },
  {
    name: 'a node is drained',
    act: (world) => {
      const router = world.any()
      for (const key of router?.held.keys() ?? []) router?.del(key)
    },
  },
  { name: 'somebody decides between rings', act: decide },
]

/** One at a time: two losses at once could be of both copies of one fact. */
async function rot(world: IpamWorld): Promise<void> {
  const router = world.any()
  const isWell = world.plan.mode !== 'rivals' && world.isWhole && world.seen().every(({ ipam }) => ipam.upkeep.words() === undefined)
  if (router === undefined || !isWell || world.routers.some(({ hasRotted }) => hasRotted)) return
  router.die('kill')
  const bytes = router.files.contents(JOURNAL_PATH)
  if (bytes === undefined || bytes.length <= JOURNAL_HEADER_BYTES) return
  const bit = 8 * JOURNAL_HEADER_BYTES + randomBelow(world.random, 8 * (bytes.length - JOURNAL_HEADER_BYTES))
  router.files.overwrite(
    JOURNAL_PATH,
    bytes.map((byte, at) => (at === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte)),
  )
  router.hasRotted = true
  router.promised = undefined
  world.note('a bit of a journal flipped')
  if (world.random() < 0.5) return
  // Where it hears nobody, nothing tells it what it has forgotten.
  cut(
    world,
    [router],
    world.routers.filter((other) => other !== router),
  )
  router.upAt = world.now
  await world.pass(seconds(4))
  for (let count = 0; router.isRunning && count < 8; count++) world.add(router)
  await world.pass(seconds(2))
}

/** Its name; undefined when none may go. */
function end(world: IpamWorld): PeerName | undefined {
  const router = mayGo(world) ? world.any() : undefined
  if (router === undefined) return undefined
  const { name } = router
  world.absent.set(name, { router, isTaken: false })
  router.die('power loss')
  router.fate = 'gone'
  router.failing = []
  world.note('a node went for good')
  return name
}

async function funeral(world: IpamWorld): Promise<void> {
  const name = end(world)
  if (name === undefined) return
  if (world.random() < 0.7) healAll(world)
  await world.until(() => world.workers.every((router) => !reaches(router, name)), seconds(20))
  remove(world, name)
  const chance = world.random()
  if (chance < 0.15) doom(world, world.any())
  await world.pass(millis(400 * world.random() ** 2))
  if (chance > 0.15 && chance < 0.3) world.any()?.die('kill')
  if (chance > 0.3 && chance < 0.5) world.cluster.network.resetSome(0.3)
  if (chance > 0.5 && chance < 0.7) remove(world, name)
  await world.pass(world.duration(seconds(3)))
  if (chance > 0.5) await comeBack(world)
}

/** When nothing keeps it from hearing what has become of it: else it would go on with what it has, as if it were cut off. */
async function comeBack(world: IpamWorld): Promise<void> {
  const gone = [...world.absent].filter(([, { router }]) => router?.fate === 'gone')
  const found = gone.find(([name]) => world.removed.has(name)) ?? gone[0]
  const router = found?.[1].router
  if (found === undefined || router === undefined || (!world.removed.has(found[0]) && world.random() < 0.7)) return
  healAll(world)
  await world.pass(seconds(3))
  if (world.workers.length < 2) return
  const [name, absence] = found
  absence.router = undefined
  router.fate = world.removed.has(name) ? 'back' : 'member'
  if (router.fate === 'member') world.absent.delete(name)
  router.upAt = world.now
  world.note('a node that was gone came back')
  await world.pass(millis(250))
  for (let count = 0; router.isRunning && count < 2; count++) world.add(router)
  await world.pass(seconds(8))
}

async function leave(world: IpamWorld): Promise<void> {
  const router = mayGo(world) ? world.any() : undefined
  if (router?.life === undefined) return
  const { life, name } = router
  const force = world.random() < 0.4
  if (!force) for (const key of router.held.keys()) router.del(key)
  void world.leave(router, force).then((outcome) => {
    if (outcome !== 'ok' || router.life !== life) return
    if (router.held.size > 0) world.absent.set(name, { router: undefined, isTaken: false })
    if (router.held.size > 0) world.note('a node left with addresses in use')
    router.rename()
    // Who has left may be started again, as a new one.
    router.fate = world.random() < 0.5 ? 'member' : 'left'
    world.note('a node left')
  })
  await world.pass(millis(500))
}

function decide(world: IpamWorld): void {
  const router = world.any()
  if (router?.life === undefined || world.plan.mode !== 'rivals') return
  const operation = world.history.invoke('resolve', router.name, '')
  try {
    const ring = router.life.ipam.resolve(world.random() < 0.5 ? 'ours' : 'theirs', undefined)
    world.history.end(operation, 'ok', ring)
    world.note('somebody decided between rings')
  } catch (error) {
    world.history.end(operation, 'fail', error instanceof Error ? error.message : '')
  }
}
