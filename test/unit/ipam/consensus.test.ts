/** `consensus=N`, observers, and seeds that somebody else names: who begins a ring, who waits, and what they say meanwhile. */
import { describe, expect, test } from 'vitest'
import type { Ipam } from '../../../ipam/ipam.ts'
import { seedIdOf } from '../../../ipam/seed.ts'
import { encodeBootstrap } from '../../../ipam/vote.ts'
import { parseCidr } from '../../../mesh/base/address.ts'
import { type PeerName, seconds } from '../../../mesh/base/brand.ts'
import { allocate, key, peer, ranges } from '../../support/ipam.ts'
import { IpamGroup } from '../../support/ipam-group.ts'
import { MemoryDisk, systemError } from '../../support/memory-disk.ts'

const NEVER = new AbortController().signal
const RANGE = '10.32.0.0/24'
const VOTE = 'ipam.vote'

/** Votes are counted in the first seconds, and news needs none here. */
async function decide(group: IpamGroup): Promise<void> {
  await group.pass(seconds(8))
}

function heard(ipam: Ipam): readonly PeerName[] {
  const { bootstrap } = ipam.status()
  return bootstrap.mode === 'consensus' ? bootstrap.heard : []
}

/** Votes can still be written. */
function failJournal(disk: MemoryDisk): void {
  disk.beside(VOTE).fault = undefined
  disk.fault = () => {
    throw systemError('ENOSPC')
  }
}

describe('consensus', () => {
  test('of one is made at once', async () => {
    const group = new IpamGroup(RANGE)
    const { ipam } = group.join('a', 'consensus=1')
    await decide(group)
    expect([ranges(ipam), ipam.status().status]).toEqual(['a:0-0', 'ready'])
  })

  test('of two takes two questions and two answers; an allocation waits for it', async () => {
    const group = new IpamGroup(RANGE)
    const a = group.join('a', 'consensus=2')
    await decide(group)
    const waiting = a.ipam.allocate(key(1), NEVER)
    await group.pass(seconds(5))
    expect(group.sent).toEqual([])
    group.join('b', 'consensus=2')
    await group.pass(seconds(3))
    expect(group.sent).toEqual(['a→b prepare', 'b→a promise', 'a→b accept', 'b→a accepted'])
    expect(await waiting).toMatchObject({ ok: true })
    await group.pass(seconds(60))
    expect(group.sent).toHaveLength(4)
  })

  test.each([
    { voters: 3, letters: ['a', 'b'] },
    { voters: 3, letters: ['a', 'b', 'c'] },
    { voters: 4, letters: ['a', 'b', 'c'] },
    { voters: 5, letters: ['1', '2', '3', '4', '5'] },
  ])('of $voters is made by $letters, who share the range, and all know it', async ({ voters, letters }) => {
    const group = new IpamGroup(RANGE)
    const members = letters.map((letter) => group.join(letter, `consensus=${voters}`))
    await decide(group)
    for (const { ipam } of members) {
      expect(ipam.status().owners.map(({ peer: owner }) => owner)).toEqual(letters.map(peer))
      expect(ranges(ipam)).toBe(ranges(members[0]?.ipam ?? ipam))
    }
  })

  test('is not made by a minority, however long it waits; it says whom it waits for', async () => {
    const group = new IpamGroup(RANGE)
    const [a, b] = [group.join('a', 'consensus=4'), group.join('b', 'consensus=4')]
    const refused = a.ipam.allocate(key(1), NEVER)
    await group.pass(seconds(3_600))
    expect(group.sent).toEqual([])
    const reason = `waiting for 1 more of 4 peers; in reach: ${b.name}`
    expect(await refused).toEqual({ ok: false, error: { code: 'no-ring', text: `no ring of IP ranges is known yet: ${reason}` } })
    expect(a.ipam.status()).toMatchObject({
      status: 'awaiting consensus (quorum: 3, known: 2)',
      waiting: reason,
      bootstrap: { mode: 'consensus', voters: 4, quorum: 3, heard: [b.name], leader: undefined, round: 0 },
    })
    group.join('c', 'consensus=4')
    await decide(group)
    expect([ranges(a.ipam), a.ipam.status().waiting]).toEqual(['a:0-64 b:64-128 c:128-0', undefined])
    expect(a.ipam.status().bootstrap).toMatchObject({ leader: a.name, round: 1 })
  })

  test('goes on when its proposer dies: whoever remains decides what may have been decided', async () => {
    const group = new IpamGroup(RANGE)
    const [a, b] = [group.join('a', 'consensus=3'), group.join('b', 'consensus=3')]
    // A ring is decided, but nobody can write it.
    for (const { disk } of [a, b]) failJournal(disk)
    await decide(group)
    expect([a.ipam.ranges(), b.ipam.ranges(), group.sent[3]]).toEqual([[], [], 'b→a accepted'])
    group.gone.add(a.name)
    b.disk.fault = undefined
    const c = group.join('c', 'consensus=3')
    await group.pass(seconds(20))
    expect([ranges(b.ipam), ranges(c.ipam)]).toEqual(['a:0-128 b:128-0', 'a:0-128 b:128-0'])
  })

  test('is kept by whoever decided it and could not write the ring, until it can', async () => {
    const group = new IpamGroup(RANGE)
    const [a, b] = [group.join('a', 'consensus=2'), group.join('b', 'consensus=2')]
    for (const { disk } of [a, b]) failJournal(disk)
    await decide(group)
    expect(a.ipam.ranges()).toEqual([])
    for (const { disk } of [a, b]) disk.fault = undefined
    await group.pass(seconds(20))
    expect([ranges(a.ipam), ranges(b.ipam)]).toEqual(['a:0-128 b:128-0', 'a:0-128 b:128-0'])
  })

  test('is asked for again when answers were lost', async () => {
    const group = new IpamGroup(RANGE)
    const [a, b] = [group.join('a', 'consensus=2'), group.join('b', 'consensus=2')]
    group.deaf.add(b.name)
    await group.pass(seconds(10))
    expect(a.ipam.ranges()).toEqual([])
    group.deaf.delete(b.name)
    await group.pass(seconds(20))
    expect(ranges(a.ipam)).toBe('a:0-128 b:128-0')
  })
})

describe('a voter', () => {
  test('that comes back remembers what it accepted', async () => {
    const first = new IpamGroup(RANGE)
    const [a, b] = [first.join('a', 'consensus=3'), first.join('b', 'consensus=3')]
    failJournal(a.disk)
    await first.pass(seconds(2))
    expect([first.sent.at(-1), b.ipam.ranges()]).toEqual(['b→a accepted', []])
    // What a and b decided stands, though a is gone and b has died since.
    const second = new IpamGroup(RANGE)
    b.disk.kill()
    const back = second.join('b', 'consensus=3', b.disk)
    const c = second.join('c', 'consensus=3')
    await second.pass(seconds(20))
    expect([ranges(back.ipam), ranges(c.ipam)]).toEqual(['a:0-128 b:128-0', 'a:0-128 b:128-0'])
  })

  test('that has a ring does not ask for another one after a restart', async () => {
    const group = new IpamGroup(RANGE)
    const { disk } = group.join('a', 'consensus=1')
    await decide(group)
    const again = new IpamGroup(RANGE)
    const { ipam } = again.join('a', 'consensus=3', disk)
    again.join('b', 'consensus=3')
    await again.pass(seconds(60))
    expect([ranges(ipam), again.sent.filter((line) => line.startsWith('a→b') && !line.endsWith('settled'))]).toEqual(['a:0-0', []])
  })

  test.each([
    { name: 'damaged', spoil: (bytes: Uint8Array) => bytes.with(7, 1 + (bytes[7] ?? 0)), says: 'is damaged' },
    { name: 'of another peer', spoil: (bytes: Uint8Array) => bytes, says: 'is of another peer or range', as: 'd' },
  ])('whose file is $name does not vote, and says so', async ({ spoil, says, as = 'b' }) => {
    const first = new IpamGroup(RANGE)
    first.join('a', 'consensus=2')
    const { disk } = first.join('b', 'consensus=2')
    await decide(first)
    const copy = new MemoryDisk()
    copy.beside(VOTE).bytes = spoil(disk.beside(VOTE).bytes ?? new Uint8Array())
    const group = new IpamGroup(RANGE)
    const [a, b] = [group.join('a', 'consensus=2'), group.join(as, 'consensus=2', copy)]
    await group.pass(seconds(60))
    expect([a.ipam.ranges(), group.sent.at(-1)]).toEqual([[], `${as}→a abstention`])
    expect(b.ipam.status().waiting).toContain(says)
    expect(b.ipam.status().waiting).toContain('we do not vote, and wait for the ring of the others')
    expect(a.ipam.status().waiting).toContain('waiting for 1 more of 2 peers; in reach: nobody')
  })

  test('that lost its ring with some of its journal does not vote, as it had one, until it has listened for others; then as it voted before', async () => {
    const first = new IpamGroup(RANGE)
    const { disk } = first.join('a', 'consensus=1')
    await decide(first)
    const bytes = disk.bytes ?? new Uint8Array()
    disk.bytes = bytes.with(-1, 1 ^ (bytes.at(-1) ?? 0))
    const group = new IpamGroup(RANGE)
    const { ipam } = group.join('a', 'consensus=1', disk)
    await group.pass(seconds(4))
    expect(ipam.ranges()).toEqual([])
    expect(ipam.status().waiting).toContain('our ring was lost with the damage; we do not vote')
    await group.pass(seconds(10))
    expect([ranges(ipam), ipam.status().doubt]).toEqual(['a:0-0', undefined])
  })

  test('that lost its ring votes no other one together with somebody who knows of none, before it has heard as many as vote', async () => {
    const first = new IpamGroup(RANGE)
    const [a, b] = [first.join('a', 'consensus=3'), first.join('b', 'consensus=3')]
    first.join('c', 'consensus=3')
    await decide(first)
    const bytes = a.disk.bytes ?? new Uint8Array()
    a.disk.bytes = bytes.with(-1, 1 ^ (bytes.at(-1) ?? 0))
    const group = new IpamGroup(RANGE)
    const [again, c] = [group.join('a', 'consensus=3', a.disk), group.join('c', 'consensus=3')]
    await group.pass(seconds(60))
    const words = group.sent.filter((line) => /^a→c [a-z]/.test(line))
    expect([again.ipam.ranges(), c.ipam.ranges(), new Set(words)]).toEqual([[], [], new Set(['a→c abstention'])])
    expect(again.ipam.status().doubt).toContain('until it has heard from 1 more of the 3 peers that vote')
    const { ipam } = group.join('b', 'consensus=3', b.disk)
    group.gossip()
    await group.pass(seconds(10))
    expect([again.ipam, c.ipam].map((one) => one.status().seedId)).toEqual(Array(2).fill(ipam.status().seedId))
    expect(again.ipam.status().status).toBe('ready')
  })

  test('that lost its ring and goes on without the others, as a person says, does not forget how it voted', async () => {
    const first = new IpamGroup(RANGE)
    const a = first.join('a', 'consensus=2')
    const b = first.join('b', 'consensus=2')
    await decide(first)
    const bytes = a.disk.bytes ?? new Uint8Array()
    a.disk.bytes = bytes.with(-1, 1 ^ (bytes.at(-1) ?? 0))
    const group = new IpamGroup(RANGE)
    const { ipam } = group.join('a', 'consensus=2', a.disk)
    await group.pass(seconds(10))
    expect(ipam.upkeep.recover()).toEqual([])
    const { ipam: newcomer } = group.join('c', 'consensus=2')
    await group.pass(seconds(30))
    expect([ipam, newcomer].map((one) => one.status().seedId)).toEqual(Array(2).fill(b.ipam.status().seedId))
  })

  test('that cannot write what it says says nothing, until it can', async () => {
    const group = new IpamGroup(RANGE)
    const [a, b] = [group.join('a', 'consensus=2'), group.join('b', 'consensus=2')]
    b.disk.fault = () => {
      throw systemError('ENOSPC')
    }
    await group.pass(seconds(20))
    expect([a.ipam.ranges(), group.sent.filter((line) => line.startsWith('b→a'))]).toEqual([[], []])
    expect(b.ipam.status().faults.join()).toContain('so that we cannot vote: ENOSPC')
    b.disk.fault = undefined
    await group.pass(seconds(30))
    expect(ranges(a.ipam)).toBe('a:0-128 b:128-0')
  })

  test('counts only those who count to the same number', async () => {
    const group = new IpamGroup(RANGE)
    const [a, b] = [group.join('a', 'consensus=3'), group.join('b', 'consensus=2')]
    await group.pass(seconds(60))
    expect([a.ipam.ranges(), b.ipam.ranges()]).toEqual([[], []])
    expect(a.ipam.status().waiting).toContain(
      `${b.name} says consensus=2, and we consensus=3; waiting for 1 more of 3 peers; in reach: nobody`,
    )
    expect(b.ipam.status().faults).toEqual([`${a.name} says consensus=3, and we consensus=2: it does not count`])
  })

  test('stops when more vote than the number says: two of their majorities might have nobody in common', async () => {
    const group = new IpamGroup(RANGE)
    const letters = ['a', 'b', 'c', 'd']
    const members = letters.map((letter) => group.join(letter, 'consensus=2'))
    await group.pass(seconds(120))
    expect(members.map(({ ipam }) => ipam.ranges().length)).toEqual([0, 0, 0, 0])
    expect(members[0]?.ipam.status().waiting).toContain('peers vote, more than consensus=2: bbbb')
    for (const letter of ['c', 'd']) group.gone.add(peer(letter))
    await group.pass(seconds(30))
    expect(ranges(members[0]?.ipam as Ipam)).toBe('a:0-128 b:128-0')
  })

  test('waits for the ring of a peer that has one, instead of beginning another', async () => {
    const group = new IpamGroup(RANGE)
    group.join('d', 'seed=d')
    await group.pass()
    const [a, b] = [group.join('a', 'consensus=2'), group.join('b', 'consensus=2')]
    await group.pass(seconds(60))
    expect([a.ipam.ranges(), b.ipam.ranges()]).toEqual([[], []])
    expect(a.ipam.status().waiting).toContain(`waiting for the ring of ${peer('d')}`)
    group.gossip()
    await group.pass(seconds(1))
    expect([ranges(a.ipam), ranges(b.ipam)]).toEqual(['d:0-0', 'd:0-0'])
  })
})

describe('an observer', () => {
  test('has no vote, and gets its addresses once there is a ring', async () => {
    const group = new IpamGroup(RANGE)
    const observer = group.join('a', 'observer')
    const more = group.join('c', '')
    const voter = group.join('b', 'consensus=3')
    await group.pass(seconds(60))
    expect([voter.ipam.ranges(), heard(voter.ipam)]).toEqual([[], []])
    expect(await fate(observer.ipam, group)).toMatchObject({ code: 'no-ring', text: expect.stringContaining('no other peer has told us') })
    group.join('d', 'consensus=3')
    const waiting = observer.ipam.allocate(key(1), NEVER)
    await decide(group)
    expect(await waiting).toMatchObject({ ok: true })
    expect(observer.ipam.status().owners.map(({ peer: owner }) => owner)).toEqual([observer.name, voter.name, peer('d')])
    expect([await allocate(more.ipam, 2), observer.ipam.status().bootstrap]).toEqual([expect.any(String), { mode: 'observer' }])
  })
})

test('seeds that cannot reach each other allocate all the same, each its own, and are one cluster when they meet', async () => {
  const group = new IpamGroup(RANGE)
  group.gone.add(peer('b'))
  const [a, b] = [group.join('a', 'seed=a,b'), group.join('b', 'seed=a,b')]
  const given = [await allocate(a.ipam, 1), await allocate(b.ipam, 1)]
  group.gone.clear()
  expect([given, group.gossip(), a.ipam.status().notices]).toEqual([['10.32.0.1', '10.32.0.128'], [], []])
  expect(a.ipam.part.digest()).toEqual(b.ipam.part.digest())
})

describe('seeds that somebody else names', () => {
  const named = (seeds: (signal: AbortSignal) => Promise<readonly PeerName[]>) =>
    ({ kind: 'named', source: { name: 'the registry', seeds } }) as const

  test('begin the ring when they are known', async () => {
    const group = new IpamGroup(RANGE)
    const { promise, resolve } = Promise.withResolvers<readonly PeerName[]>()
    const { ipam } = group.join(
      'a',
      named(() => promise),
    )
    await group.pass(seconds(60))
    expect(ipam.status()).toMatchObject({
      status: 'awaiting the seeds from the registry',
      bootstrap: { mode: 'seed', source: 'the registry' },
    })
    expect(ipam.status().waiting).toContain('the registry has not named the seeds')
    resolve([peer('b'), peer('a')])
    await group.pass()
    expect(ranges(ipam)).toBe('a:0-128 b:128-0')
  })

  test('are asked for again, ever more rarely, when that fails', async () => {
    const group = new IpamGroup(RANGE)
    let asked = 0
    const { ipam } = group.join(
      'a',
      named(() => Promise.try(() => (++asked < 4 ? Promise.reject(new Error('503')) : [peer('a')]))),
    )
    await group.pass(seconds(0.1))
    expect([asked, ipam.status().faults]).toEqual([1, ['the registry does not name the seeds: 503']])
    await group.pass(seconds(10))
    expect([asked, ranges(ipam)]).toEqual([4, 'a:0-0'])
  })

  test('are of no use once there is a ring, or no router', async () => {
    const group = new IpamGroup(RANGE)
    const signals: AbortSignal[] = []
    const forever = named((signal) => {
      signals.push(signal)
      return new Promise(() => undefined)
    })
    group.join('a', forever)
    const b = group.join('b', forever)
    group.join('c', 'seed=c')
    await b.ipam[Symbol.asyncDispose]()
    group.gossip()
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true])
  })

  test('that are not those of our ring change nothing, and show', async () => {
    const group = new IpamGroup(RANGE)
    const { disk } = group.join('a', 'seed=a')
    const { ipam } = new IpamGroup(RANGE).join(
      'a',
      named(() => Promise.resolve([peer('b')])),
      disk,
    )
    await group.pass()
    expect([ranges(ipam), ipam.status().faults]).toEqual([
      'a:0-0',
      ['the seed list is not the one that our ring began with; we keep our ring'],
    ])
  })

  test('give the same ring as a list that everybody has', async () => {
    const [one, other] = [new IpamGroup(RANGE), new IpamGroup(RANGE)]
    const { ipam } = one.join('a', 'seed=a,b')
    const { ipam: same } = other.join(
      'a',
      named(() => Promise.resolve([peer('b'), peer('a')])),
    )
    await other.pass()
    expect(same.part.digest()).toEqual(ipam.part.digest())
    expect(seedIdOf(parseCidr(RANGE), [peer('b'), peer('a')])).toBe(seedIdOf(parseCidr(RANGE), [peer('a'), peer('b')]))
  })
})

test('a peer that has a ring, or does not vote, says so to whoever asks', async () => {
  const group = new IpamGroup(RANGE)
  const [seed, observer] = [group.join('a', 'seed=a'), group.join('b', '')]
  group.join('c', '')
  const prepare = encodeBootstrap({ voters: 3, universe: parseCidr(RANGE) }, { kind: 'prepare', ballot: { round: 1, proposer: peer('c') } })
  for (const { ipam } of [seed, observer]) ipam.part.receive(prepare, peer('c'))
  await group.pass()
  expect(group.sent).toEqual(['a→c settled', 'b→c abstention'])
})

async function fate(ipam: Ipam, group: IpamGroup): Promise<unknown> {
  const asked = ipam.allocate(key(99), NEVER)
  await group.pass(seconds(11))
  const result = await asked
  return result.ok ? result : result.error
}
