/**
 * What went wrong in the rings of Weave Net. Each history is told to Weave's rule and to ours: the rule breaks what must
 * hold, ours does not. The rules are in test/support/weave-rules.ts.
 */
import { describe, expect, test } from 'vitest'
import { Ledger } from '../../../ipam/ledger.ts'
import { decodeSpaceMessage, encodeSpaceMessage } from '../../../ipam/messages.ts'
import { quorumOf } from '../../../ipam/paxos.ts'
import {
  checkInvariants,
  coalesceItems,
  entryOver,
  grantItems,
  mergeRing,
  ownedRanges,
  type Ring,
  type RingNews,
} from '../../../ipam/ring.ts'
import { ringDigest } from '../../../ipam/ring-digest.ts'
import { Space } from '../../../ipam/space.ts'
import { openStore } from '../../../ipam/store.ts'
import { claimItems, estateOf } from '../../../ipam/takeover.ts'
import { cidrSize, parseCidr } from '../../../mesh/base/address.ts'
import { type PeerName, seconds } from '../../../mesh/base/brand.ts'
import { allocate, items, joined, key, news, peer, ring, SEED_ID, show } from '../../support/ipam.ts'
import { IpamGroup } from '../../support/ipam-group.ts'
import { MemoryDisk } from '../../support/memory-disk.ts'
import { PaxosModel } from '../../support/paxos-model.ts'
import { must, mustFail } from '../../support/result.ts'
import {
  type InUse,
  nothingInUse,
  showWeave,
  type WeaveRing,
  weaveGrant,
  weaveLoad,
  weaveMerge,
  weaveOwner,
  weaveRemove,
  weaveReport,
  weaveRing,
  weaveSpace,
  weaveVoters,
  weaveWait,
} from '../../support/weave-rules.ts'

const UNIVERSE = parseCidr('10.32.0.0/27')
const SIZE = cidrSize(UNIVERSE)
const [A, B, C] = ['a', 'b', 'c'].map(peer) as [PeerName, PeerName, PeerName]

/** A ledger on a disk of its own, told of the ring. */
function ledger(self: PeerName, of: string): Ledger {
  const { store, records } = openStore(new MemoryDisk().open(), { peer: self, universe: UNIVERSE, cluster: '' })
  const made = new Ledger(self, UNIVERSE, store, records)
  hear(made, news(items(SIZE, of)))
  return made
}

function hear(at: Ledger, what: Partial<RingNews>): ReturnType<Ledger['merge']> {
  return at.merge({ universe: UNIVERSE, seedId: SEED_ID, items: [], retired: [], ...what })
}

/** Pods, until there is no address for one more. */
function fill(at: Ledger): readonly number[] {
  for (let number = 0; must(at.allocate(key(number))) !== undefined; number++);
  return [...at.allocations.values()]
}

/** Everybody tells everybody, until nothing changes; refused messages change nothing. */
function gossip(rings: Map<PeerName, WeaveRing>, inUse: InUse = nothingInUse): readonly string[] {
  for (let round = 0; round < 10; round++) {
    for (const [self, mine] of rings) {
      for (const theirs of rings.values()) {
        const merged = weaveMerge(self, SIZE, rings.get(self) ?? mine, theirs, inUse)
        if (merged.ok) rings.set(self, merged.value)
      }
    }
  }
  return [...new Set([...rings.values()].map(showWeave))]
}

describe('a range that is lost', () => {
  // a and b have both taken over 8-16 and 16-32; where their stamps are equal, b's stand.
  const [before, told] = ['0:a:1 8:a:1.1', '8:b:1.1:32'] as const

  test('leaves the free space too (Weave: free space only grew, which the next check of the ring found, and died of)', () => {
    const after = mergeRing(ring(SIZE, before), news(items(SIZE, told))).ring
    const own = (of: Ring): { readonly start: number; readonly end: number }[] =>
      ownedRanges(of).flatMap(({ owner, range }) => (owner === A ? [range] : []))
    const growing = new Space(SIZE)
    growing.own(weaveSpace(own(ring(SIZE, before)), own(after)))
    expect(growing.unused()).toEqual([{ start: 0, end: SIZE }])

    const mine = ledger(A, before)
    must(hear(mine, news(items(SIZE, told))))
    expect(mine.unused()).toEqual(own(after))
    const given = fill(mine)
    expect([given, given.map((host) => entryOver(after, host)?.owner === A)]).toEqual([[1, 2, 3, 4, 5, 6, 7], Array(7).fill(true)])
  })
})

describe('two owners at one version', () => {
  test.each([
    { name: 'seen by others', selves: [C, peer('d')] },
    { name: 'seen by themselves', selves: [A, B] },
  ])('end as one, $name (Weave: each kept what it had, for ever)', ({ selves }) => {
    const [one, two] = ['0:a:5', '0:b:5']
    const weave = new Map(selves.map((self, at) => [self, weaveRing(at === 0 ? one : two)]))
    expect(gossip(weave)).toHaveLength(2)
    const [left, right] = [ring(SIZE, one), ring(SIZE, two)]
    expect([show(joined(left, right)), show(joined(right, left))]).toEqual(['0:b:5', '0:b:5'])
  })
})

describe('a takeover', () => {
  test('beats what the peer that is gone had written and only some had heard (Weave: +100, so not the 101st time)', () => {
    const [known, last] = ['0:a:1 16:c:7', '0:a:1 16:c:108']
    const weave = new Map([
      [A, weaveRemove(weaveRing(known), C, A)],
      [B, weaveRing(last)],
    ])
    gossip(weave)
    expect([...weave.values()].map((view) => weaveOwner(view, 16))).toEqual([C, C])

    const claim = claimItems(estateOf(items(SIZE, known), C), A) ?? []
    const taken = mergeRing(ring(SIZE, known), news(claim)).ring
    expect(show(joined(taken, ring(SIZE, last)))).toBe('0:a:1 16:a:1.1')
    expect(joined(ring(SIZE, last), taken)).toEqual(joined(taken, ring(SIZE, last)))
  })

  test('with pods there stays with its taker, for all (Weave: the taker refused all later news, and the rest took it away)', () => {
    const [known, last] = ['0:a:1 16:c:7', '0:a:1 16:c:108']
    const weave = new Map([
      [A, weaveRemove(weaveRing(known), C, A)],
      [B, weaveRing(last)],
    ])
    expect(gossip(weave, (start, end) => end < start || end > 16)).toHaveLength(2)

    const [a, b] = [ledger(A, known), ledger(B, last)]
    must(a.write(news(claimItems(estateOf(items(SIZE, known), C), A) ?? [])))
    const pods = fill(a)
    must(hear(b, news(a.ring?.entries ?? [])))
    must(hear(a, news(items(SIZE, last))))
    expect([a.strays(), pods.length, b.ring]).toEqual([[], SIZE - 2, a.ring])
  })

  test('by two at once ends with one owner (Weave: equal versions, and both gave out the same addresses)', () => {
    const known = '0:a:1 8:b:1 16:c:1'
    const weave = new Map([A, B].map((self) => [self, weaveRemove(weaveRing(known), C, self)]))
    gossip(weave)
    expect([...weave].map(([self, view]) => weaveOwner(view, 20) === self)).toEqual([true, true])

    const [a, b] = [A, B].map((self) => mergeRing(ring(SIZE, known), news(claimItems(estateOf(items(SIZE, known), C), self) ?? [])).ring)
    if (a === undefined || b === undefined) throw new Error('two takers')
    expect([show(joined(a, b)), show(joined(b, a))]).toEqual(['0:a:1 8:b:1 16:b:1.1', '0:a:1 8:b:1 16:b:1.1'])
  })
})

describe('a peer that was taken over from and returns', () => {
  test('with its old disk gives out nothing, and nothing that it writes counts (Weave: it had its range back)', () => {
    const known = '0:a:1 16:c:7'
    const taken = weaveRemove(weaveRing(known), C, A)
    const mine = weaveRing(known)
    // It has pods there, and so refuses to hear of it; each pod that comes or goes takes it nearer.
    const isUsed: InUse = (start) => start === 16
    expect(mustFail(weaveMerge(C, SIZE, mine, taken, isUsed))).toBe('newer version of my entry')
    const later = Array.from({ length: 101 }).reduce<WeaveRing>((view) => weaveReport(view, C), mine)
    expect(weaveOwner(must(weaveMerge(A, SIZE, taken, later, nothingInUse)), 20)).toBe(C)

    const [a, c] = [ledger(A, known), ledger(C, known)]
    const claim = claimItems(estateOf(items(SIZE, known), C), A) ?? []
    const retired = [{ peer: C, by: A }]
    must(a.write({ items: claim, retired }))
    for (let number = 0; number < 5; number++) must(c.allocate(key(number)))
    expect(must(hear(c, { items: claim, retired })).lost).toHaveLength(5)
    expect([must(c.allocate(key(9))), c.unused(), must(c.grant(B))]).toEqual([undefined, [], undefined])
    // What it had been given, and nobody here had heard of, is not its own either.
    const unheard = ledger(C, '0:a:1 8:c:9 16:c:7')
    must(hear(unheard, { retired }))
    expect([must(unheard.allocate(key(9))), unheard.unused(), must(unheard.grant(B))]).toEqual([undefined, [], undefined])
    must(hear(a, news(items(SIZE, '16:c:108'))))
    expect(a.ring && show(a.ring)).toBe('0:a:1 16:a:1.1')
  })
})

describe('the first ring', () => {
  /** Peers that are cut into halves, in each of which one proposes. */
  function inHalves(count: number, counted: number): PaxosModel {
    const model = new PaxosModel(count, counted)
    for (const half of [model.voters.slice(0, count / 2), model.voters.slice(count / 2)]) {
      const [first] = half
      if (first !== undefined) model.propose(first, half)
      model.calm(half)
      if (first?.state.attempt.kind === 'preparing') model.act({ kind: 'timeout', voter: model.voters.indexOf(first) })
    }
    return model
  }

  test.each([2, 4, 6, 10])('of %i peers in two halves is none (Weave: no peer counted itself, so each half began its own)', (count) => {
    expect(2 * quorumOf(weaveVoters(count))).toBeLessThanOrEqual(count)
    expect(() => inHalves(count, weaveVoters(count)).check()).toThrow('decided:')
    const ours = inHalves(count, count)
    ours.check()
    expect(ours.decided).toEqual(new Set())
    const [first] = ours.voters
    if (first !== undefined) ours.propose(first, ours.voters)
    ours.calm(ours.voters)
    expect(ours.decided.size).toBe(1)
  })
})

describe('a message with something wrong in it', () => {
  test('leaves no trace of what is wrong (Weave: what came before the error was raised, and stayed so)', () => {
    const mine = weaveRing('0:a:1 8:a:1')
    expect(mustFail(weaveMerge(A, SIZE, mine, weaveRing('0:a:5 8:b:9'), () => true))).toBe('newer version of my entry')
    expect(showWeave(mine)).toBe('0:a:6 8:a:1')

    const ours = ring(SIZE, '0:a:1 8:a:1')
    const [copy, theirs] = [structuredClone(ours), items(SIZE, '0:a:5:8 40:b:9:41')]
    for (const part of [ours, ours.entries, ...ours.entries, theirs, ...theirs]) Object.freeze(part)
    expect(mergeRing(ours, news(theirs)).faults).toHaveLength(1)
    const a = ledger(A, '0:a:1')
    const held = a.ring
    expect(a.merge({ universe: UNIVERSE, seedId: 'ffffffffffffffff' as typeof SEED_ID, items: theirs, retired: [] }).ok).toBe(false)
    expect([ours, a.ring === held]).toEqual([copy, true])
  })

  test('is taken but for that (Weave: all of it was refused, each time anew, and nobody learned the rest)', () => {
    const told = '4:b:2:8 12:b:2:16 40:b:1:41'
    const weave = weaveMerge(C, SIZE, weaveRing('0:a:1'), weaveRing(told), nothingInUse)
    expect(mustFail(weave)).toBe('invalid')
    const merged = mergeRing(ring(SIZE, '0:a:1'), news(items(SIZE, told)))
    expect([show(merged.ring), merged.faults.length]).toEqual(['0:a:1 4:b:2 8:a:1 12:b:2 16:a:1', 1])
  })
})

describe('pods that come and go', () => {
  test('change nothing in the ring and say nothing to anybody (Weave: each raised a version, and the whole ring went around)', async () => {
    const before = ring(SIZE, '0:a:1 16:b:1')
    const raised = {
      ...before,
      entries: before.entries.map((entry, at) => ({ ...entry, ...weaveReport(weaveRing('0:a:1 16:b:1'), A)[at] })),
    }
    expect(ringDigest(UNIVERSE, raised)).not.toEqual(ringDigest(UNIVERSE, before))

    const group = new IpamGroup('10.32.0.0/27')
    const [a, b] = [group.join('a', 'seed=a,b'), group.join('b', 'seed=a,b')]
    await group.pass()
    const digest = a.ipam.part.digest()
    let broadcasts = 0
    a.ipam.attach({ broadcast: () => broadcasts++, send: () => false, reachable: () => [] })
    for (let number = 0; number < 200; number++) {
      expect(await allocate(a.ipam, number)).toMatch(/^10/)
      await a.ipam.free(key(number))
    }
    await group.pass(seconds(60))
    expect([broadcasts, group.sent, a.ipam.part.digest(), b.ipam.part.digest()]).toEqual([0, [], digest, digest])
  })

  test('on two nodes that lend each other one address after the other leave one run (Weave: a token for each, for ever)', () => {
    let weave = weaveRing('0:a:1')
    let ours = ring(SIZE, '0:a:1')
    const give = (from: PeerName, host: number, to: PeerName): void => {
      const written = grantItems(ours, from, { start: host, end: host + 1 }, to) ?? []
      ours = mergeRing(ours, news(written)).ring
      ours = mergeRing(ours, news(coalesceItems(ours, to))).ring
      weave = weaveGrant(weave, host, host + 1, to)
    }
    for (let host = 1; host < SIZE - 1; host += 2) give(A, host, B)
    for (let host = 1; host < SIZE - 1; host += 2) give(B, host, A)
    expect([weave.length, weave.every(({ owner }) => owner === A)]).toEqual([SIZE - 1, true])
    expect([ours.entries.length, entryOver(ours, 0)?.owner, checkInvariants(ours)]).toEqual([1, A, undefined])
  })
})

describe('an allocation for which only peers that are away have space', () => {
  test('fails within ten seconds, with their names (Weave: it was tried again for ever, and the runtime was told nothing)', async () => {
    const group = new IpamGroup('10.32.0.0/29')
    const { ipam } = group.join('b', 'seed=a,b')
    for (let number = 0; number < 3; number++) expect(await allocate(ipam, number)).toMatch(/^10/)
    expect(weaveWait(() => ipam.status().freeAddresses > 0, 3_600)).toBeUndefined()
    const waiting = ipam.allocate(key(9), new AbortController().signal)
    await group.pass(seconds(10))
    expect(mustFail(await waiting)).toEqual({ code: 'unreachable', text: expect.stringContaining(`${A} own more of the range`) })
    expect(ipam.status().pending).toEqual([])
  })
})

describe('news of a part of our range', () => {
  const RINGS = ['0:a:1 8:a:1 16:a:1 24:a:1', '8:a:1 24:a:1'] as const

  test('is taken wherever it is, when nothing is in use there (Weave: not behind its last token)', () => {
    const weave = [4, 12, 20, 28].map((token) => weaveMerge(A, SIZE, weaveRing(RINGS[0]), weaveRing(`${token}:b:2`), nothingInUse).ok)
    expect(weave).toEqual([true, true, true, false])
    for (const token of [4, 12, 20, 28]) {
      const { ring: merged, faults } = mergeRing(ring(SIZE, RINGS[0]), news(items(SIZE, `${token}:b:2:${token + 4}`)))
      expect([entryOver(merged, token)?.owner, entryOver(merged, token - 1)?.owner, faults]).toEqual([B, A, []])
    }
  })

  test('is never taken in silence where a pod has an address (Weave: it was, before its first token)', () => {
    const isUsed: InUse = () => true
    const weave = [2, 12].map((token) => weaveMerge(A, SIZE, weaveRing(RINGS[1]), weaveRing(`${token}:b:2`), isUsed).ok)
    expect(weave).toEqual([true, false])
    for (const token of [0, 12, 24]) {
      const a = ledger(A, '0:a:1')
      const pods = fill(a).filter((host) => host >= token && host < token + 4)
      const { lost, forgotten } = must(hear(a, news(items(SIZE, `${token}:b:2:${token + 4}`))))
      expect([lost, forgotten, a.inDoubt]).toEqual([pods, expect.stringContaining('in a range of ours'), true])
    }
  })
})

describe('a range that is not the configured one', () => {
  test('stops the start, and the disk stays as it is (Weave: the data were dropped, and a new pod got the address of a running one)', () => {
    const disk = new MemoryDisk()
    const open = (range: string): Ledger => {
      const universe = parseCidr(range)
      const { store, records } = openStore(disk.open(), { peer: A, universe, cluster: '' })
      return new Ledger(A, universe, store, records)
    }
    const first = open('10.32.0.0/27')
    must(first.seed(ring(SIZE, '0:a:1')))
    expect(must(first.allocate(key(1)))).toBe(1)
    const kept = weaveLoad({ range: '10.32.0.0/27', kept: first.allocations }, '10.32.0.0/26')
    const after = ledger(A, '0:a:1')
    for (const [pod, host] of kept ?? []) after.relearn(pod, host)
    expect(must(after.allocate(key(2)))).toBe(first.allocations.get(key(1)))

    const { bytes } = disk
    expect(() => open('10.32.0.0/26')).toThrow(expect.objectContaining({ code: 'STATE', hint: expect.any(String) }))
    expect(disk.bytes).toBe(bytes)
    expect(open('10.32.0.0/27').allocations).toEqual(first.allocations)
  })

  test('or more free addresses than a range has, as told by a peer, break nothing (Weave: a check of all counts, which ended the router)', async () => {
    // The count was part of an entry; one that was told before the entry was cut in two was too big for what was left.
    const told = [
      { token: 0, free: 16 },
      { token: 8, free: 8 },
      { token: 16, free: 0 },
    ] as const
    expect(told.some(({ token, free }, at) => free > (told[at + 1]?.token ?? SIZE) - token)).toBe(true)

    const group = new IpamGroup('10.32.0.0/29')
    const [a] = [group.join('a', 'seed=a,b'), group.join('b', 'seed=a,b')]
    for (let number = 0; number < 3; number++) await allocate(a.ipam, number)
    group.deaf.add(B)
    const waiting = allocate(a.ipam, 9)
    await group.pass()
    const ask = must(decodeSpaceMessage(group.last))
    a.ipam.part.receive(encodeSpaceMessage({ kind: 'denial', id: ask.id, free: 0xffff_fffe }), B)
    group.deaf.clear()
    await group.pass(seconds(6))
    expect(await waiting).toMatch(/^10/)
  })
})
