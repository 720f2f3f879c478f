/** What Weave Net tested of its allocator with several routers, told to whole IPAMs that hear each other at once. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AttachmentKey } from '../../../ipam/attachment.ts'
import { Asking } from '../../../ipam/donation.ts'
import type { Ipam } from '../../../ipam/ipam.ts'
import { type Ipv4, parseIpv4 } from '../../../mesh/base/address.ts'
import { millis, type PeerName, seconds } from '../../../mesh/base/brand.ts'
import { pick, seededRandom } from '../../../mesh/base/random.ts'
import { allocate, key, peer, peerNumber, ranges, takeOver, told } from '../../support/ipam.ts'
import { checkAccount } from '../../support/ipam-account.ts'
import { IpamGroup, three } from '../../support/ipam-group.ts'
import { must } from '../../support/result.ts'

const NEVER = new AbortController().signal

describe('choosing whom to ask for space', () => {
  const owners = new Map([40, 30, 20, 10].map((size, index) => [peerNumber(index), size] as const))
  const [one, two, three_, four] = [...owners.keys()] as [PeerName, PeerName, PeerName, PeerName]

  test('only who owns some and can be reached is asked, one at a time, and the more often the more it owns', () => {
    const asked = new Map<PeerName, number>()
    const random = seededRandom(1)
    for (let round = 0; round < 1_000; round++) {
      const asking = new Asking(random)
      const next = () => asking.next(owners, [one, two, four, peer('f')], { now: millis(0), since: millis(0) })
      const ask = next()
      if (ask === undefined) throw new Error('nobody is asked')
      expect(next()).toBeUndefined()
      asked.set(ask.peer, (asked.get(ask.peer) ?? 0) + 1)
    }
    expect([...asked.keys()].toSorted()).toEqual([one, two, four])
    const share = (name: PeerName): number => Math.round((asked.get(name) ?? 0) / 100)
    expect([share(one), share(two), share(four)]).toEqual([5, 4, 1])
  })

  test('nobody is asked when there is nobody, and whoever had nothing only after all others', () => {
    const asking = new Asking(seededRandom(2))
    const next = (reachable: readonly PeerName[]) => asking.next(owners, reachable, { now: millis(0), since: millis(0) })
    expect([next([]), next([peer('f')])]).toEqual([undefined, undefined])
    const order: PeerName[] = []
    for (let ask = next([...owners.keys()]); ask !== undefined; ask = next([...owners.keys()])) {
      order.push(ask.peer)
      asking.answered(ask.peer, ask.id, 'none', millis(0))
    }
    expect(order.toSorted()).toEqual([one, two, three_, four])
  })
})

describe('an allocation whose caller goes away while the donor is silent', () => {
  test('takes no address; what the donor gives too late is kept, and is there for the next', async () => {
    const group = new IpamGroup('10.32.0.0/24')
    const [a, b] = [group.join('a', 'seed=a'), group.join('b', '')]
    group.gossip()
    group.deaf.add(a.name)
    const caller = new AbortController()
    const waiting = b.ipam.allocate(key(1), caller.signal)
    await group.pass()
    const [ask] = [group.last]
    caller.abort()
    expect([told(await waiting), b.ipam.status().pending]).toEqual(['cancelled', []])
    group.deaf.clear()
    a.ipam.part.receive(ask, b.name)
    await group.pass()
    expect([ranges(b.ipam), b.ipam.allocations().size, b.ipam.lookup(key(1))]).toEqual(['a:0-128 b:128-0', 0, undefined])
    const before = group.sent.length
    expect([await allocate(b.ipam, 2), group.sent.length]).toEqual(['10.32.0.128', before])
  })
})

/** More pods than a third of a /24 has room for, from this number on; then they go. */
async function comeAndGo(ipam: Ipam, first: number): Promise<void> {
  for (let number = first; number < first + 150; number++) expect(await allocate(ipam, number)).toMatch(/^10/)
  for (const name of ipam.allocations().keys()) await ipam.free(name)
}

describe('three peers of which one after the other is the busy one', () => {
  test('give each other range after range, and leave a ring of a handful of runs, a hundred times', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), async (seed) => {
        const random = seededRandom(seed)
        const group = new IpamGroup('10.32.0.0/24')
        const members = ['a', 'b', 'c'].map((letter) => group.join(letter, 'seed=a').ipam)
        group.gossip()
        for (const [turn, busy] of [...members, ...members].entries()) {
          const ipam = random() < 0.5 ? busy : (pick(random, members) ?? busy)
          await comeAndGo(ipam, 1_000 * turn)
        }
        group.gossip()
        const [runs, ...others] = members.map((ipam) => ipam.status().entries.length)
        expect(others).toEqual([runs, runs])
        // What touches and is of one owner is one run.
        expect([runs, Number(runs) <= 12]).toEqual([members[0]?.ranges().length, true])
      }),
      { seed: 1, numRuns: 100 },
    )
  })
})

describe('two of three peers that are gone', () => {
  test('are taken over from by the third, which then has the whole universe, and gives of it to whoever joins', async () => {
    const group = new IpamGroup('10.32.0.0/22')
    const [a, b, c] = ['a', 'b', 'c'].map((letter) => group.join(letter, 'seed=a,b,c').ipam)
    if (a === undefined || b === undefined || c === undefined) throw new Error('three peers')
    for (const [number, ipam] of [a, b, c].entries()) for (let pod = 0; pod < 5; pod++) await allocate(ipam, 10 * number + pod)
    group.gone.add(peer('b')).add(peer('c'))
    expect(await takeOver(a, 'b')).toMatchObject({ code: 'absent', peers: [peer('c')] })
    expect(await takeOver(a, 'b', true)).toEqual({ taken: 256 })
    expect(await takeOver(a, 'c', true)).toEqual({ taken: 512 })
    expect([ranges(a), a.status().freeAddresses, a.status().activeAddresses]).toEqual(['a:0-0', 1_022 - 5, 5])
    const d = group.join('d', '').ipam
    group.gossip()
    expect(await allocate(d, 100)).toMatch(/^10\.32\.3\./)
    const owned = d.status().owners.map(({ peer: owner, addresses }) => [owner, addresses])
    expect(owned).toEqual([
      [peer('a'), 768],
      [peer('d'), 256],
    ])
  })
})

describe('a pod that has an address of another peer’s range', () => {
  const pod = new Map([[key(1), parseIpv4('10.32.0.5')]])

  test('gets it from that peer, as a run of one; the pods of that peer keep theirs, and nobody is given it later', async () => {
    const group = new IpamGroup('10.32.0.0/28')
    const [a, b] = [group.join('a', 'seed=a,b'), group.join('b', 'seed=a,b')]
    await group.pass()
    b.ipam.upkeep.reconcile(pod)
    await group.pass(seconds(2))
    expect([ranges(a.ipam), ranges(b.ipam)]).toEqual(['a:0-5 b:5-6 a:6-8 b:8-16', 'a:0-5 b:5-6 a:6-8 b:8-16'])
    const given = []
    for (let number = 10; number < 16; number++) given.push(await allocate(a.ipam, number))
    expect(given).toEqual([1, 2, 3, 4, 6, 7].map((host) => `10.32.0.${host}`))
    expect([b.ipam.conflicts(), a.ipam.conflicts()]).toEqual([new Map(), new Map()])
  })

  test('which is away, goes on with it, and gets it when that peer is back', async () => {
    const group = new IpamGroup('10.32.0.0/28')
    const [a, b] = [group.join('a', 'seed=a,b'), group.join('b', 'seed=a,b')]
    group.gone.add(a.name)
    b.ipam.upkeep.reconcile(pod)
    await group.pass(seconds(60))
    expect([ranges(b.ipam), b.ipam.lookup(key(1))]).toEqual(['a:0-8 b:8-16', parseIpv4('10.32.0.5')])
    group.gone.clear()
    await group.pass(seconds(5))
    expect(ranges(a.ipam)).toBe('a:0-5 b:5-6 a:6-8 b:8-16')
  })

  test('which has given it to a pod of its own, is told so, and so are people; it gets it when that pod goes', async () => {
    const group = new IpamGroup('10.32.0.0/28')
    const [a, b] = [group.join('a', 'seed=a,b'), group.join('b', 'seed=a,b')]
    for (let number = 11; number <= 15; number++) await allocate(a.ipam, number)
    b.ipam.upkeep.reconcile(pod)
    await group.pass(seconds(2))
    expect([b.ipam.conflicts(), ranges(a.ipam)]).toEqual([new Map([[key(1), a.name]]), 'a:0-8 b:8-16'])
    expect(await a.ipam.free(key(15))).toBe(parseIpv4('10.32.0.5'))
    await group.pass(seconds(31))
    expect([b.ipam.conflicts(), ranges(a.ipam)]).toEqual([new Map(), 'a:0-5 b:5-6 a:6-8 b:8-16'])
  })

  test('before there is a ring, has it all the same, and it is given to no other', async () => {
    const group = new IpamGroup('10.32.0.0/29')
    const { ipam } = group.join('b', '')
    const one = new Map([[key(1), parseIpv4('10.32.0.5')]])
    expect(ipam.upkeep.reconcile(one)).toMatchObject({ relearnt: [key(1)] })
    const { ipam: a } = group.join('a', 'seed=a')
    group.gossip()
    await group.pass(seconds(2))
    expect([await allocate(ipam, 1), ranges(a)]).toEqual(['10.32.0.5', 'a:0-5 b:5-6 a:6-8'])
  })
})

describe('three hosts that are replaced one after the other', () => {
  test('each gives its space away as it leaves, and its successor, under a new name, allocates at once', async () => {
    const { group, a, b, c } = three()
    const own = key(0)
    for (const [index, ipam] of [a, b, c].entries()) {
      const letter = ['a', 'b', 'c'][index] ?? ''
      await allocate(ipam, index)
      await ipam.free(key(index))
      expect(await ipam.members.leave({ own, force: false })).toMatchObject({ ok: true, value: { kept: 0 } })
      await group.pass()
      group.gone.add(peer(letter))
      const successor = group.join(String(index + 1), '').ipam
      group.gossip()
      expect(await allocate(successor, 100 + index)).toMatch(/^10\.32\.0\./)
      await group.pass()
      expect(ranges(successor)).not.toContain(`${letter}:`)
      group.gossip()
    }
  })
})

interface Member {
  readonly name: PeerName
  readonly ipam: Ipam
  readonly held: Map<AttachmentKey, Ipv4>
}

/** An address for `name`, which is the one that it has already, if it has one. */
async function add({ ipam, held }: Member, name: AttachmentKey): Promise<void> {
  const address = must(await ipam.allocate(name, NEVER))
  expect(held.get(name) ?? address).toBe(address)
  held.set(name, address)
}

async function remove({ ipam, held }: Member, name: AttachmentKey): Promise<void> {
  expect(await ipam.free(name)).toBe(held.get(name))
  held.delete(name)
}

test.each([1, 2, 3])(
  'five peers: a thousand pods at once, then ten thousand that come, ask again, go and are taken up again: no address has two, and each keeps its own, seed %i',
  async (seed) => {
    const random = seededRandom(seed)
    const group = new IpamGroup('10.32.0.0/20')
    const members: readonly Member[] = ['a', 'b', 'c', 'd', 'e'].map((letter) => ({ ...group.join(letter, 'seed=a,b,c'), held: new Map() }))
    group.gossip()
    let pods = 0
    const any = (): Member => pick(random, members) ?? expect.fail('five peers')
    await Promise.all(Array.from({ length: 1_000 }, () => add(any(), key(pods++))))
    for (let step = 0; step < 10_000; step++) {
      const [member, chance] = [any(), random()]
      const old = pick(random, [...member.held.keys()])
      if (chance > 0.99) member.ipam.upkeep.reconcile(member.held)
      else if (old === undefined || chance > 0.65) await add(member, key(pods++))
      else if (chance > 0.3) await remove(member, old)
      else await add(member, old)
      if (step % 1_000 === 0) checkAccount(members)
    }
    checkAccount(members)
    group.gossip()
    expect(new Set(members.map(({ ipam }) => ipam.part.digest().join())).size).toBe(1)
    expect(members.map(({ ipam, held }) => ipam.allocations().size - held.size)).toEqual([0, 0, 0, 0, 0])
  },
)
