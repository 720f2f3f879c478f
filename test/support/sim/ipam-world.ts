/**
 * A cluster of routers to which things happen, from one seed: how it begins, time, what is asked of it, and the checks of
 * every moment. What happens is in `ipam-faults.ts`, how it comes to rest in `ipam-calm.ts`.
 */
import { type AttachmentKey, attachmentKey } from '../../../ipam/attachment.ts'
import type { Ring } from '../../../ipam/ring.ts'
import { seedIdOf } from '../../../ipam/seed.ts'
import { type Cidr, cidrSize, type Ipv4 } from '../../../mesh/base/address.ts'
import { type Millis, millis, type PeerName, seconds } from '../../../mesh/base/brand.ts'
import { pick, type Random, randomBelow } from '../../../mesh/base/random.ts'
import type { Result } from '../../../mesh/base/result.ts'
import { History, type Operation } from './history.ts'
import * as must from './ipam-invariants.ts'
import { initOf, type Plan } from './ipam-plan.ts'
import { JOURNAL_PATH, type RouterPorts, SimRouter } from './ipam-router.ts'
import { voteOf, Witness } from './ipam-witness.ts'
import { allocationsIn, ringIn } from './journal-view.ts'
import { SimCluster } from './mesh.ts'
import type { Seam } from './seam.ts'

/** A name of which a person says that it is gone for good. */
export interface Absence {
  /** Undefined when it cannot come back. */
  router: SimRouter | undefined
  isTaken: boolean
}

const SLICE: Millis = millis(250)
const OWN = attachmentKey('weft-host', 'weft0')

export class IpamWorld {
  readonly plan: Plan
  readonly cluster: SimCluster
  readonly random: Random
  readonly universe: Cidr
  readonly history: History
  readonly violations: string[] = []
  readonly happened: Map<string, number> = new Map()
  readonly routers: readonly SimRouter[]
  readonly seam: Seam = { lost: 0, repeated: 0, late: 0 }
  readonly absent: Map<PeerName, Absence> = new Map()
  /** Names of which somebody was told that they are gone. */
  readonly removed: Set<PeerName> = new Set()
  /** Nothing happens any more. */
  isCalm = false
  hasCuts = false
  readonly #rings = new Map<SimRouter, Ring>()
  readonly #beginnings = new Set<string>()
  readonly #retired = new Set<SimRouter>()
  readonly #witness: Witness
  /** All that ever were. */
  readonly #names = new Set<PeerName>()
  readonly #commands = new Map<Operation, { readonly router: SimRouter; readonly life: SimRouter['life'] }>()
  #owners: readonly unknown[] = []
  #keys = 0

  constructor(plan: Plan) {
    this.plan = plan
    this.universe = plan.universe
    this.cluster = new SimCluster(plan.seed, plan.quality)
    this.random = plan.random
    this.history = new History(() => this.now)
    this.#witness = new Witness(this)
    const ports = this.#ports()
    this.routers = Array.from({ length: plan.size }, (_, at) => new SimRouter(at + 1, ports))
    for (const { name } of this.routers) this.#names.add(name)
  }

  get now(): Millis {
    return this.cluster.clock.now()
  }

  get size(): number {
    return cidrSize(this.universe)
  }

  get running(): readonly SimRouter[] {
    return this.routers.filter(({ isRunning }) => isRunning)
  }

  /** Take part, as far as anybody can tell, whether they run now or not. */
  get members(): readonly SimRouter[] {
    return this.routers.filter(({ fate }) => fate === 'member')
  }

  get workers(): readonly SimRouter[] {
    return this.members.filter(({ isRunning }) => isRunning)
  }

  get isOver(): boolean {
    return this.violations.length > 0
  }

  note(what: string, count = 1): void {
    if (count > 0) this.happened.set(what, (this.happened.get(what) ?? 0) + count)
  }

  violate(...texts: readonly string[]): void {
    this.violations.push(...texts)
  }

  any(): SimRouter | undefined {
    return pick(this.random, this.workers)
  }

  duration(max: Millis): Millis {
    return millis(max * this.random())
  }

  ringOf(router: SimRouter): Ring | undefined {
    return router.life === undefined ? undefined : must.ringOf(router.life.ipam, this.universe)
  }

  /** All members run, and have one ring: what a node takes along when it goes for good is not the ring itself. */
  get isWhole(): boolean {
    const rings = this.members.map((router) => this.ringOf(router)?.seedId)
    return rings.every((seedId) => seedId !== undefined && seedId === rings[0])
  }

  seen(): readonly (must.Seen & { readonly router: SimRouter })[] {
    return this.routers.flatMap((router) =>
      router.life === undefined ? [] : [{ router, name: router.name, ipam: router.life.ipam, ring: this.ringOf(router) }],
    )
  }

  /** Lets time pass, starts those whose time it is, and looks every quarter of a second whether all that must hold does. */
  async pass(duration: Millis): Promise<void> {
    const end = this.now + duration
    while (this.now < end && !this.isOver) {
      await this.cluster.clock.advanceAsync(millis(Math.min(SLICE, end - this.now)), briefly)
      await settled()
      await this.#tend()
      this.check()
    }
  }

  /** False when it does not come true within `limit`. */
  async until(condition: () => boolean, limit: Millis): Promise<boolean> {
    const end = this.now + limit
    while (!condition() && this.now < end && !this.isOver) await this.pass(SLICE)
    return condition()
  }

  // What is asked of routers.

  add(router: SimRouter): void {
    const isKnown = this.random() < 0.05
    const key = (isKnown ? pick(this.random, [...router.held.keys()]) : undefined) ?? attachmentKey(`pod-${this.#keys++}`, 'eth0')
    const caller = new AbortController()
    if (this.random() < this.plan.cancelled) {
      const cancel = (): void => {
        caller.abort()
        this.note('a caller went away')
      }
      this.cluster.clock.after(this.duration(seconds(4)), cancel)
    }
    router.add(key, caller.signal)
  }

  /** Of a pod that has an address, or waits for one. */
  del(router: SimRouter): void {
    const key = pick(this.random, this.random() < 0.1 ? router.asked : [...router.held.keys()])
    if (key !== undefined) router.del(key)
  }

  /** One after the other, as a runtime asks for one pod. */
  settled(): Promise<void> {
    return settled()
  }

  /** `taker` is told that this peer is gone for good. */
  async takeOver(taker: SimRouter, name: PeerName, leaveAbsent: boolean): Promise<string | undefined> {
    const { life } = taker
    if (life === undefined) return undefined
    this.removed.add(name)
    const known = life.mesh.peers().map((record) => record.name)
    const operation = this.#command(taker, 'rmpeer', name)
    const result = await life.ipam.members.takeOver(name, { known, leaveAbsent })
    this.check()
    return this.#ended(operation, result)
  }

  async leave(router: SimRouter, force: boolean): Promise<string | undefined> {
    const { life } = router
    if (life === undefined) return undefined
    const operation = this.#command(router, 'reset', force ? '--force' : '')
    const result = await life.ipam.members.leave({ own: OWN, force })
    if (result.ok) this.#checkHeir(router, result.value.heir)
    return this.#ended(operation, result)
  }

  /** What who leaves has given to its heir is on the disk of that. */
  #checkHeir(router: SimRouter, name: PeerName): void {
    const [left, heir] = [this.ringOf(router), this.routers.find((one) => one.name === name)]
    const bytes = heir?.files.durable(JOURNAL_PATH)
    const got = bytes === undefined ? undefined : ringIn(bytes, this.universe)
    // An heir that has got another name since has nothing of it any more.
    if (heir === undefined || left === undefined) return
    const entries = left.entries.filter(({ owner }) => owner === name)
    this.violate(...must.survived(name, { ...left, entries, retired: new Map() }, got))
  }

  /** Of commands whose routers died over them nobody knows what has come of them. */
  settleCommands(): void {
    for (const [operation, { router, life }] of this.#commands) {
      if (operation.outcome === undefined && router.life !== life) this.history.end(operation, 'info', '')
    }
  }

  #command(router: SimRouter, kind: Operation['kind'], what: string): Operation {
    const operation = this.history.invoke(kind, router.name, what)
    this.#commands.set(operation, { router, life: router.life })
    return operation
  }

  /** 'ok', why not, or undefined when its router has died meanwhile. */
  #ended(operation: Operation, result: Result<unknown, { readonly code: string }>): string | undefined {
    const asked = this.#commands.get(operation)
    const isAlive = asked?.router.life === asked?.life
    const detail = result.ok ? 'ok' : result.error.code
    if (operation.outcome === undefined) this.history.end(operation, isAlive ? (result.ok ? 'ok' : 'fail') : 'info', detail)
    this.note(`${operation.kind}: ${detail}`)
    return isAlive ? detail : undefined
  }

  // What must hold at every moment.

  check(): void {
    const seen = this.seen()
    for (const one of seen) this.#checkRing(one.router, one)
    const owners = seen.flatMap(({ name, ring, ipam }) => [name, ring, ipam.upkeep.words() === undefined])
    if (owners.length !== this.#owners.length || owners.some((value, at) => value !== this.#owners[at])) {
      this.#owners = owners
      for (const ring of new Set(seen.map((one) => one.ring?.seedId)))
        this.violate(
          ...must.exclusiveOwnership(
            seen.filter((one) => one.ring?.seedId === ring),
            this.size,
          ),
        )
    }
    this.#checkPods()
  }

  #checkRing(router: SimRouter, seen: must.Seen): void {
    const { name, ring, ipam } = seen
    if (router.hasRotted && ipam.upkeep.words() === undefined) {
      router.hasRotted = false
      this.note('a doubt ended')
    }
    if (ipam.members.retiredBy !== undefined) this.violate(...must.fenced(seen))
    const before = this.#rings.get(router)
    if (ring === undefined || ring === before) return
    this.#rings.set(router, ring)
    this.violate(...must.coverage(seen), ...must.knownOwners(seen, this.#names), ...must.onlyGrows(name, before, ring))
    if (!this.#beginnings.has(ring.seedId)) this.#checkBeginning(ring)
    const other = pick(this.random, [...this.#rings.values()])
    if (other !== undefined && other.seedId === ring.seedId) this.violate(...must.isJoin(ring, other, this.universe))
  }

  #checkBeginning(ring: Ring): void {
    this.#beginnings.add(ring.seedId)
    if (this.#beginnings.size > 1) this.note('both halves began')
    this.violate(...must.oneBeginning(this.#beginnings, this.plan.mode === 'rivals' ? 2 : 1))
    if (this.plan.mode !== 'consensus') return
    const accepted = this.routers.filter((router) => {
      const vote = voteOf(router, this.universe)
      return vote?.accepted !== undefined && seedIdOf(this.universe, vote.accepted.seeds) === ring.seedId
    })
    this.violate(...must.noMinority(accepted.length, this.plan.voters))
  }

  /** Rings that began apart may have given one address to two pods; from then on each is of the ring that its router has. */
  #checkPods(): void {
    if (this.plan.mode !== 'rivals') {
      this.violate(...must.singleUse(this.routers, () => false))
      return
    }
    const isStray = (name: PeerName, address: Ipv4): boolean => {
      const router = this.routers.find((one) => one.name === name)
      const ring = router === undefined ? undefined : this.#rings.get(router)
      const host = address - this.universe.base
      return ring?.entries.some(({ token, end, owner }) => owner === name && token <= host && host < end) !== true
    }
    const ofRing = (seedId: string | undefined): readonly SimRouter[] =>
      this.routers.filter((router) => this.#rings.get(router)?.seedId === seedId)
    for (const seedId of this.#beginnings) this.violate(...must.singleUse(ofRing(seedId), isStray))
  }

  #ports(): RouterPorts {
    const { cluster, universe, random, seam, history } = this
    return {
      ...{ cluster, universe, random, seam, history },
      init: (router) => {
        this.#names.add(router.name)
        return initOf(this.plan, router, cluster.clock)
      },
      targets: ({ index }) => this.plan.targets.filter((target) => target !== index),
      note: (what) => this.note(what),
      violate: (text) => this.violate(text),
      granted: (router, key, address, isNew) => this.#granted(router, key, address, isNew),
      said: (router, message, to) => this.#witness.said(router, message, to),
      recovered: (router) => this.#recovered(router),
      retired: (router, by, wasRetired) => this.#onRetired(router, by, wasRetired),
    }
  }

  #granted(router: SimRouter, key: AttachmentKey, address: Ipv4, isNew: boolean): void {
    this.note('an address was given')
    this.#checkPods()
    if (!isNew) return
    const bytes = router.files.durable(JOURNAL_PATH)
    this.violate(
      ...must.authority(router.name, address - this.universe.base, bytes === undefined ? undefined : ringIn(bytes, this.universe)),
    )
    const written = router.files.contents(JOURNAL_PATH)
    if (written === undefined || allocationsIn(written, this.universe).get(key) !== address)
      this.violate(`I10: ${router.name} confirms an address of ${key} that is not in its journal`)
    const isRemoved = router.life?.ipam.members.retiredBy !== undefined || this.absent.get(router.name)?.isTaken === true
    if (isRemoved) this.violate(`I9: ${router.name} was removed, and gives ${key} an address`)
  }

  #recovered(router: SimRouter): void {
    const { promised, life } = router
    this.#rings.delete(router)
    if (promised === undefined || life === undefined) return
    const { ipam } = life
    if (ipam.status().faults.some((fault) => fault.includes('cut short'))) this.note('a torn write was recovered from')
    const ring = this.ringOf(router)
    if (ring === undefined || ring.seedId === promised.ring?.seedId || ring.seedId !== promised.latest)
      this.violate(...must.survived(router.name, promised.ring, ring))
    for (const [key, address] of router.held)
      if (ipam.lookup(key) !== address) this.violate(`I10: ${router.name} has forgotten the address of ${key} by its death`)
    if (promised.ending === 'power loss' || !promised.isWhole) return
    for (const key of router.released)
      if (ipam.lookup(key) !== undefined) this.violate(`I10: ${router.name} has forgotten by its death that ${key} is gone`)
  }

  #onRetired(router: SimRouter, by: PeerName, wasRetired: boolean): void {
    const { name, fate } = router
    const { life } = router
    if (life !== undefined) this.violate(...must.fenced({ name, ipam: life.ipam, ring: this.ringOf(router) }))
    if (by === name && !wasRetired) return
    if (fate === 'member' && by !== name && !this.removed.has(name)) this.violate(`I9: ${name} lives, and was removed by ${by}`)
    if (fate === 'back') this.note('a removed peer came back and heard of it')
    this.#retired.add(router)
  }

  async #tend(): Promise<void> {
    for (const router of this.#retired) {
      router.rename()
      router.fate = 'member'
      this.#rings.delete(router)
    }
    this.#retired.clear()
    for (const router of this.routers) {
      if (router.isRunning || router.fate === 'gone' || router.fate === 'left') continue
      router.upAt ??= millis(this.now + (this.isCalm ? 0 : this.duration(this.plan.downtime)))
      if (this.now < router.upAt) continue
      router.upAt = undefined
      if (this.isCalm) router.failing = []
      await router.start()
    }
  }

  /** Peers by lot, as many as asked for, none twice. */
  some(count: number, from: readonly SimRouter[]): readonly SimRouter[] {
    const rest = [...from]
    return Array.from({ length: Math.min(count, rest.length) }, () => rest.splice(randomBelow(this.random, rest.length), 1)).flat()
  }
}

/** Enough for what IPAM does after a timer: it waits for nothing but itself. */
async function briefly(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await undefined
}

/** Resolves when every promise that can settle now has. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
