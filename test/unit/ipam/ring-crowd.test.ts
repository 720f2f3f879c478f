/**
 * A hundred peers and more that grant, gossip, come, go and are removed at random, as real ledgers without a network:
 * no message is ever refused, nobody takes for its own what is another's, and in the end all of the range is somebody's.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Ledger } from '../../../ipam/ledger.ts'
import {
  checkInvariants,
  entryOver,
  gapsOf,
  mergeRing,
  ownedRanges,
  type Ring,
  type RingItem,
  type RingNews,
  ringNews,
} from '../../../ipam/ring.ts'
import { chunksOf } from '../../../ipam/ring-digest.ts'
import { seedRing } from '../../../ipam/seed.ts'
import { openStore } from '../../../ipam/store.ts'
import { claimItems, estateOf } from '../../../ipam/takeover.ts'
import { cidrSize, parseCidr } from '../../../mesh/base/address.ts'
import { pick, type Random, randomBelow, seededRandom } from '../../../mesh/base/random.ts'
import { key, news, peerNumber } from '../../support/ipam.ts'
import { MemoryDisk } from '../../support/memory-disk.ts'
import { must } from '../../support/result.ts'

const UNIVERSE = parseCidr('10.32.0.0/20')
const SIZE = cidrSize(UNIVERSE)
const PEERS = 100
const STEPS = 3_000

class Crowd {
  readonly members: Ledger[]
  /** All that anybody has written. */
  truth: Ring
  readonly happened: Record<string, number> = {}
  readonly #random: Random
  #names = PEERS
  #pods = 0

  constructor(seed: number) {
    this.#random = seededRandom(seed)
    const names = Array.from({ length: PEERS }, (_, index) => peerNumber(index))
    this.members = names.map((_, index) => ledgerOf(index))
    this.truth = seedRing(UNIVERSE, names.slice(0, 7))
    for (const member of this.members.slice(0, 5)) must(member.seed(this.truth))
  }

  step(): void {
    const [one, other] = [this.#any(), this.#any()]
    const chance = this.#random()
    if (chance < 0.3) this.#grant(one, other)
    else if (chance < 0.75) this.#tell(one, other, this.#random() < 0.5 ? 1 : this.#random())
    else if (chance < 0.96) this.#pod(one)
    else if (chance < 0.98 && this.members.length > 2) this.#remove(one, other)
    else if (chance >= 0.98) this.#add()
    for (const member of [one, other]) this.check(member)
  }

  /** Everybody hears of everything; also of what somebody writes in answer to it. */
  settle(): void {
    const [first, ...others] = this.members
    for (let round = 0; first !== undefined && round < 2; round++) {
      for (const member of others) this.#tell(member, first, 1)
      for (const member of others) this.#tell(first, member, 1)
    }
  }

  /** What a peer takes for its own, and what its pods have, is its own. */
  check(member: Ledger): void {
    if (!this.members.includes(member)) return
    for (const { start, end } of member.unused()) {
      for (let host = start; host < end; host++)
        if (entryOver(this.truth, host)?.owner !== member.self) throw new Error(`${host} is not its own`)
    }
    expect([member.strays(), member.inDoubt, member.ring && checkInvariants(member.ring)]).toEqual([[], false, undefined])
  }

  #grant(from: Ledger, to: Ledger): void {
    const delta = from === to || from.ring === undefined ? undefined : must(from.grant(to.self))
    if (delta === undefined) return
    this.#note('granted', delta.items)
    if (this.#random() < 0.5) this.#merge(to, delta)
  }

  #tell(from: Ledger, to: Ledger, share: number): void {
    if (from.ring === undefined || from === to || from.ring === to.ring) return
    const { items, retired } = ringNews(from.ring)
    const some = <T>(list: readonly T[]): readonly T[] => (share === 1 ? list : list.filter(() => this.#random() < share))
    for (const chunk of chunksOf({ items: some(items), retired: some(retired) })) this.#merge(to, chunk)
    this.#note('told')
  }

  #merge(at: Ledger, { items, retired }: RingNews): void {
    const merged = must(at.merge({ universe: UNIVERSE, seedId: this.truth.seedId, items, retired }))
    expect(merged).toMatchObject({ lost: [], faults: [], forgotten: undefined, unwritten: undefined })
    this.#note('merged', merged.own)
  }

  #pod(at: Ledger): void {
    const old = this.#random() < 0.4 ? pick(this.#random, [...at.allocations.keys()]) : undefined
    if (old !== undefined) at.release(old)
    else if (must(at.allocate(key(this.#pods++))) !== undefined) this.#note('allocated')
  }

  /** As when all consent: what each of them knows is known to all, before the name is retired. */
  #remove(gone: Ledger, taker: Ledger): void {
    if (gone === taker) return
    const others = this.members.filter((member) => member !== gone && member !== taker)
    for (const member of others) this.#tell(member, taker, 1)
    for (const member of others) this.#tell(taker, member, 1)
    if (taker.ring === undefined) return
    const retired = [{ peer: gone.self, by: taker.self }]
    this.members.splice(this.members.indexOf(gone), 1)
    const items = claimItems(estateOf(taker.ring.entries, gone.self), taker.self) ?? []
    must(taker.write({ items, retired }))
    this.#note('removed', items)
    for (const member of others) this.#merge(member, { items, retired })
  }

  #add(): void {
    const member = ledgerOf(this.#names++)
    this.members.push(member)
    this.#note('added')
  }

  #note(what: string, written: readonly RingItem[] = []): void {
    this.happened[what] = (this.happened[what] ?? 0) + 1
    this.truth = mergeRing(this.truth, news(written)).ring
  }

  #any(): Ledger {
    const member = this.members[randomBelow(this.#random, this.members.length)]
    if (member === undefined) throw new Error('nobody is left')
    return member
  }
}

function ledgerOf(index: number): Ledger {
  const self = peerNumber(index)
  const { store, records } = openStore(new MemoryDisk().open(), { peer: self, universe: UNIVERSE, cluster: '' })
  return new Ledger(self, UNIVERSE, store, records)
}

test('three thousand steps of a hundred peers: every merge is whole, nobody owns what another does, and nothing is lost', {
  timeout: 120_000,
}, () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const crowd = new Crowd(seed)
      for (let step = 0; step < STEPS; step++) crowd.step()
      for (const member of crowd.members) crowd.check(member)
      crowd.settle()
      for (const { ring } of crowd.members) expect(ring?.entries).toEqual(crowd.truth.entries)
      for (const member of crowd.members) crowd.check(member)

      const names = new Set(crowd.members.map(({ self }) => self))
      expect([gapsOf(crowd.truth), ownedRanges(crowd.truth).filter(({ owner }) => !names.has(owner))]).toEqual([[], []])
      const count = crowd.members.reduce((sum, { free, allocations }) => sum + free + allocations.size, 0)
      expect(count).toBe(SIZE - 2)
      for (const [what, least] of Object.entries({ granted: 300, told: 500, allocated: 150, removed: 15, added: 15 })) {
        expect([what, (crowd.happened[what] ?? 0) >= least]).toEqual([what, true])
      }
    }),
    { seed: 1, numRuns: 3, endOnFailure: true },
  )
})
