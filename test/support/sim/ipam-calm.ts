/** How a cluster comes to rest when nothing happens to it any more, and what must hold of it then. */
import { attachmentKey } from '../../../ipam/attachment.ts'
import { ownedRanges } from '../../../ipam/ring.ts'
import type { PeerName } from '../../../mesh/base/brand.ts'
import { seconds } from '../../../mesh/base/brand.ts'
import { pick } from '../../../mesh/base/random.ts'
import { healAll } from './ipam-faults.ts'
import * as must from './ipam-invariants.ts'
import type { SimRouter } from './ipam-router.ts'
import type { IpamWorld } from './ipam-world.ts'

/** What TCP held up comes within a minute; whoever is asked then answers at once. */
const AGREE_WITHIN = seconds(150)
const DECIDE_WITHIN = seconds(240)
/** Whoever was refused an address asks again after this. */
const REFUSAL = seconds(6)
const FAIR_WITHIN = seconds(2)
/** The host of a name that is gone may be that of another by now, and answer: so it is taken for slow for a minute or two. */
const BURIED_WITHIN = seconds(240)

export async function comeToRest(world: IpamWorld): Promise<void> {
  world.isCalm = true
  Object.assign(world.seam, { lost: 0, repeated: 0, late: 0 })
  healAll(world)
  for (const router of world.routers) {
    router.failing = []
    if (router.life !== undefined) router.life.effects.doom = undefined
    router.upAt = world.now
  }
  await world.pass(seconds(8))
  for (const step of [unite, bury, agree, account, share, exhaust]) if (!world.isOver) await step(world)
  world.settleCommands()
  for (const { kind, node, what } of world.history.open()) world.violate(`I8: ${node} never answers ${kind} ${what}`)
}

/** Somebody decides, as often as need be, until there is one ring; then those that have an address in common are told apart. */
async function unite(world: IpamWorld): Promise<void> {
  if (world.plan.mode !== 'rivals') return
  const isOne = (): boolean => world.isWhole
  for (let round = 0; round < 8 && !isOne(); round++) {
    for (const { ipam } of world.seen()) if (resolve(world, ipam)) break
    await world.until(isOne, seconds(DECIDE_WITHIN / 8_000))
  }
  if (!isOne()) world.violate(`I8: there is not one ring after a decision: ${rings(world)}`)
  world.note('rings of two beginnings became one')
  // Claims are asked for again every half a minute.
  await world.pass(seconds(45))
  for (const router of world.workers) {
    for (const key of router.life?.ipam.conflicts().keys() ?? []) {
      world.note('two pods had one address, and were named')
      router.del(key)
    }
  }
  await world.pass(seconds(45))
}

function resolve(world: IpamWorld, ipam: must.Seen['ipam']): boolean {
  try {
    ipam.resolve(world.random() < 0.5 ? 'ours' : 'theirs', undefined)
    world.note('somebody decided between rings')
    return true
  } catch {
    return false
  }
}

function rings(world: IpamWorld): string {
  return world.members.map((router) => `${router.name} ${world.ringOf(router)?.seedId ?? 'none'}`).join(', ')
}

/** Every peer that is gone is taken over from. */
async function bury(world: IpamWorld): Promise<void> {
  if (!(await world.until(() => world.isWhole, AGREE_WITHIN))) {
    world.violate(`I8: not all have a ring: ${rings(world)}`)
    return
  }
  const outcomes: (string | undefined)[] = []
  const end = world.now + BURIED_WITHIN
  while (world.now < end && !world.isOver) {
    const name = pick(world.random, orphans(world))
    if (name === undefined) return
    const taker = pick(world.random, world.workers)
    let outcome: string | undefined = 'waiting'
    if (taker !== undefined) {
      void world.takeOver(taker, name, true).then((result) => {
        outcome = result
      })
    }
    await world.until(() => outcome !== 'waiting', seconds(12))
    outcomes.push(outcome)
    if (outcome !== 'ok') await world.pass(seconds(6))
  }
  for (const name of orphans(world)) world.violate(`I8: nobody can take over from ${name}: ${JSON.stringify(outcomes)}`)
}

/** Owners that are no member, and those without whom a doubt does not end. */
function orphans(world: IpamWorld): readonly PeerName[] {
  const living = new Set(world.routers.filter(({ fate }) => fate === 'member' || fate === 'back').map(({ name }) => name))
  const owners = world.seen().flatMap(({ ring }) => (ring === undefined ? [] : ownedRanges(ring).map(({ owner }) => owner)))
  const awaited = world.seen().flatMap(({ ipam }) => (ipam.upkeep.words() === undefined ? [] : ipam.upkeep.awaited()))
  return [...new Set([...owners, ...awaited])].filter((name) => !living.has(name))
}

async function agree(world: IpamWorld): Promise<void> {
  // Not by their digests, which may be wrong themselves.
  const digests = (): number =>
    new Set(world.seen().map(({ ring }) => JSON.stringify([ring?.entries, [...(ring?.retired ?? [])].sort()]))).size
  const doubts = (): readonly string[] => world.seen().flatMap(({ ipam }) => ipam.upkeep.words() ?? [])
  const isAgreed = (): boolean => digests() === 1 && doubts().length === 0 && world.history.open().every(({ kind }) => kind !== 'add')
  if (!(await world.until(isAgreed, AGREE_WITHIN))) {
    const open = world.history.open().length
    world.violate(`I8: ${digests()} different rings, ${open} operations under way, and ${doubts()[0] ?? 'no doubt'}`)
  }
  // Who was to be removed, and was not, is a member like others.
  for (const router of world.routers) if (router.fate === 'back') router.fate = 'member'
  await world.pass(seconds(10))
}

function account(world: IpamWorld): Promise<void> {
  const seen = world.seen()
  for (const one of seen) world.violate(...must.accounted(one, one.router.held))
  world.violate(...must.noneLost(seen, heldIn(world), world.universe))
  for (const { name, ipam } of seen) for (const text of ipam.status().notices) world.violate(`I8: ${name} still says: ${text}`)
  return Promise.resolve()
}

function heldIn(world: IpamWorld): number {
  return world.routers.reduce((sum, { held }) => sum + held.size, 0)
}

/** Whoever has none gets one at once from those that have more than one. */
async function share(world: IpamWorld): Promise<void> {
  for (let turn = 0; turn < 3 && !world.isOver; turn++) {
    const poor = world.workers.filter(({ life }) => life?.ipam.status().freeAddresses === 0)
    const rich = world.workers.some(({ life }) => (life?.ipam.status().freeAddresses ?? 0) > 1)
    const asker = pick(world.random, poor)
    if (!rich || asker === undefined) return
    const key = attachmentKey(`fair-${turn}`, 'eth0')
    asker.add(key, new AbortController().signal)
    if (!(await world.until(() => asker.held.has(key), FAIR_WITHIN)))
      world.violate(`I11: ${asker.name} gets no address within ${FAIR_WITHIN / 1_000} s, though others have some`)
    else world.note('one that had none was given some in time')
    await world.pass(REFUSAL)
  }
}

/** All that are free can be given, by whomever, and no more. */
async function exhaust(world: IpamWorld): Promise<void> {
  const asker = pick(world.random, world.workers)
  if (asker === undefined) return
  const free = (): number => world.seen().reduce((sum, { ipam }) => sum + ipam.status().freeAddresses, 0)
  for (let at = 0; free() > 0 && at <= world.size && !world.isOver; at++) {
    const before = asker.held.size
    const operation = ask(world, asker, at)
    await world.until(() => operation.outcome !== undefined, seconds(11))
    // A refusal may be older than what was freed since.
    if (asker.held.size === before) await world.pass(REFUSAL)
  }
  if (heldIn(world) !== world.size - 2) world.violate(`I5: only ${heldIn(world)} of ${world.size - 2} addresses could be given`)
  const last = ask(world, asker, world.size + 1)
  await world.until(() => last.outcome !== undefined, seconds(11))
  if (last.outcome === 'ok') world.violate('I1: more addresses were given than there are')
  else world.note(`the last one was told: ${last.detail}`)
}

function ask(world: IpamWorld, router: SimRouter, number: number): IpamWorld['history']['operations'][number] {
  router.add(attachmentKey(`last-${number}`, 'eth0'), new AbortController().signal)
  const operation = world.history.operations.at(-1)
  if (operation === undefined) throw new Error('nothing was asked')
  return operation
}
