/** Life of an address, from the outside: allocating, asking others, waiting, and failing with a reason. */
import { describe, expect, test } from 'vitest'
import type { AllocateError } from '../../../ipam/allocator.ts'
import { attachmentKey } from '../../../ipam/attachment.ts'
import type { Ipam } from '../../../ipam/ipam.ts'
import { decodeSpaceMessage, encodeSpaceMessage } from '../../../ipam/messages.ts'
import { seedIdOf } from '../../../ipam/seed.ts'
import { formatIpv4, type Ipv4, parseCidr } from '../../../mesh/base/address.ts'
import { millis, seconds } from '../../../mesh/base/brand.ts'
import type { Result } from '../../../mesh/base/result.ts'
import { allocate, key, peer, ranges, SEED_ID, told } from '../../support/ipam.ts'
import { IpamGroup } from '../../support/ipam-group.ts'

const NEVER = new AbortController().signal

/** As `allocate`, with time passing until there is an answer. */
async function allocateInTime(group: IpamGroup, ipam: Ipam, number: number): Promise<string | undefined> {
  let answer: { readonly address: string | undefined } | undefined
  void allocate(ipam, number).then((address) => {
    answer = { address }
  })
  for (await group.pass(); answer === undefined; await group.pass(seconds(1)));
  return answer.address
}

describe('one peer alone', () => {
  test('allocates one address after the other, the same again for the same attachment, and frees once', async () => {
    const { ipam } = new IpamGroup('10.32.0.0/27').join('a', 'seed=a')
    expect([await allocate(ipam, 1), await allocate(ipam, 2), await allocate(ipam, 1)]).toEqual(['10.32.0.1', '10.32.0.2', '10.32.0.1'])
    const other = attachmentKey('pod-1', 'net1')
    expect(told(await ipam.allocate(other, NEVER))).toBe('10.32.0.3')
    expect([await ipam.free(key(1)), await ipam.free(key(1))]).toEqual([0x0a200001, undefined])
    expect([ipam.lookup(key(1)), ipam.lookup(key(2)), [...ipam.allocations().keys()]]).toEqual([undefined, 0x0a200002, [key(2), other]])
  })

  test('does not give to a fresh pod what was just freed', async () => {
    const { ipam } = new IpamGroup('10.32.0.0/29').join('a', 'seed=a')
    const given: (string | undefined)[] = []
    for (let number = 0; number < 12; number++) {
      given.push(await allocate(ipam, number))
      await ipam.free(key(number))
    }
    expect(given.map((address) => address?.at(-1)).join('')).toBe('123456123456')
  })

  test('tells of changes once per turn, and not after the listener was disposed of', async () => {
    const { ipam } = new IpamGroup('10.32.0.0/24').join('a', 'seed=a')
    await allocate(ipam, 0)
    let changes = 0
    const listening = ipam.onChange(() => {
      changes += 1
    })
    await Promise.all([1, 2, 3].map((number) => allocate(ipam, number)))
    expect(changes).toBe(1)
    await ipam.allocate(key(1), AbortSignal.abort())
    await ipam.free(key(9))
    listening[Symbol.dispose]()
    await ipam.free(key(1))
    expect(changes).toBe(1)
  })

  test('is ready, and shows its ring', async () => {
    const { ipam } = new IpamGroup('10.32.0.0/27').join('a', 'seed=a,b')
    await allocate(ipam, 1)
    expect(ipam.status()).toEqual({
      status: 'ready',
      bootstrap: { mode: 'seed', source: `${peer('a')}, ${peer('b')}` },
      waiting: undefined,
      seedId: seedIdOf(parseCidr('10.32.0.0/27'), [peer('a'), peer('b')]),
      rivals: [],
      notices: [],
      range: '10.32.0.0/27',
      rangeAddresses: 30,
      activeAddresses: 1,
      freeAddresses: 14,
      entries: [
        { token: '10.32.0.0', size: 16, peer: peer('a'), version: 1, epoch: 0 },
        { token: '10.32.0.16', size: 16, peer: peer('b'), version: 1, epoch: 0 },
      ],
      owners: [
        { peer: peer('a'), addresses: 16, active: 1, isRetired: false },
        { peer: peer('b'), addresses: 16, active: undefined, isRetired: false },
      ],
      pending: [],
      journalFault: undefined,
      doubt: undefined,
      faults: [],
      retiredBy: undefined,
    })
  })
})

describe('several peers', () => {
  test('share: whoever joins without space gets half of what another has free, as one aligned block', async () => {
    const group = new IpamGroup('10.32.0.0/24')
    const [a, b] = [group.join('a', 'seed=a'), group.join('b', '')]
    group.gossip()
    expect(await allocate(b.ipam, 1)).toBe('10.32.0.128')
    await group.pass()
    expect([ranges(a.ipam), ranges(b.ipam)]).toEqual(['a:0-128 b:128-0', 'a:0-128 b:128-0'])
  })

  test('seeded apart allocate at once, from shares that do not overlap, and agree when they meet', async () => {
    const group = new IpamGroup('10.32.0.0/24')
    group.gone.add(peer('a'))
    const [a, b] = [group.join('a', 'seed=a,b'), group.join('b', 'seed=b,a')]
    expect([await allocate(a.ipam, 1), await allocate(b.ipam, 2)]).toEqual(['10.32.0.1', '10.32.0.128'])
    group.gone.clear()
    expect([group.gossip(), a.ipam.part.digest()]).toEqual([[], b.ipam.part.digest()])
  })

  test('200 allocations at once, on a peer that owns nothing yet, are all different, and one ask at a time is enough', async () => {
    const group = new IpamGroup('10.32.0.0/22')
    group.join('a', 'seed=a')
    const b = group.join('b', '')
    group.gossip()
    const given = await Promise.all(Array.from({ length: 200 }, (_, number) => allocate(b.ipam, number)))
    expect(new Set(given).size).toBe(200)
    expect(given.every((address) => address?.startsWith('10.32.'))).toBe(true)
    expect(group.sent).toEqual(['b→a 1', 'a→b 2'])
  })

  test('use the universe up to the last address, wherever the pods are', async () => {
    const group = new IpamGroup('10.32.0.0/26')
    const members = ['a', 'b', 'c'].map((letter) => group.join(letter, 'seed=a,b'))
    group.gossip()
    const given = new Set<string | undefined>()
    for (let number = 0; number < 62; number++)
      given.add(await allocateInTime(group, members[number % 7 === 0 ? 0 : 2]?.ipam ?? expect.fail(), number))
    expect(given.size).toBe(62)
    expect(given.has('exhausted')).toBe(false)
  })

  test('do not cut the ring to pieces as pods come and go', async () => {
    const group = new IpamGroup('10.32.0.0/22')
    const members = ['a', 'b', 'c'].map((letter) => group.join(letter, 'seed=a,b,c'))
    for (let round = 0; round < 100; round++) {
      for (const { ipam } of members) await allocate(ipam, round)
      if (round % 3 !== 0) for (const { ipam } of members) await ipam.free(key(round))
    }
    expect(members.map(({ ipam }) => ipam.status().entries.length)).toEqual([3, 3, 3])
  })

  test('that are given range after range have one, as soon as these touch', async () => {
    const group = new IpamGroup('10.32.0.0/24')
    const [a, b] = [group.join('a', 'seed=a'), group.join('b', '')]
    group.gossip()
    // One after the other, without a pause: the broadcast of a grant comes before the grant here, and counts as given.
    for (let number = 0; number < 200; number++) await allocate(b.ipam, number)
    for (const { ipam } of [a, b]) {
      expect(ranges(ipam)).toBe('a:0-32 b:32-0')
      expect(ipam.status().entries.map(({ size }) => size)).toEqual([32, 224])
    }
  })

  test('that ask twice with one ask get one block', () => {
    const group = new IpamGroup('10.32.0.0/24')
    const a = group.join('a', 'seed=a')
    const seedId = seedIdOf(parseCidr('10.32.0.0/24'), [peer('a')])
    const ask = encodeSpaceMessage({ kind: 'ask', id: 7, seedId })
    a.ipam.part.receive(ask, peer('b'))
    a.ipam.part.receive(ask, peer('b'))
    expect(ranges(a.ipam)).toBe('a:0-128 b:128-0')
    a.ipam.part.receive(encodeSpaceMessage({ kind: 'ask', id: 8, seedId }), peer('b'))
    expect(ranges(a.ipam)).toBe('a:0-64 b:64-0')
  })

  test('ask another when one is silent for two seconds', async () => {
    const group = new IpamGroup('10.32.0.0/24')
    for (const letter of ['a', 'b']) group.join(letter, 'seed=a,b')
    const c = group.join('c', '')
    group.gossip()
    group.deaf.add(peer('a')).add(peer('b'))
    const waiting = allocate(c.ipam, 1)
    await group.pass()
    const first = group.sent[0] ?? ''
    group.deaf.clear()
    await group.pass(seconds(1.9))
    expect(group.sent).toEqual([first])
    await group.pass(seconds(0.2))
    expect(await waiting).toMatch(/^10\.32\.0\./)
    expect(group.sent[1]).not.toBe(first)
  })

  test('do not ask at once again whoever answers without giving anything', async () => {
    const group = new IpamGroup('10.32.0.0/24')
    group.join('a', 'seed=a')
    const { ipam } = group.join('b', '')
    group.gossip()
    group.deaf.add(peer('a'))
    void ipam.allocate(key(1), NEVER)
    await group.pass()
    const delta = { universe: parseCidr('10.32.0.0/24'), seedId: seedIdOf(parseCidr('10.32.0.0/24'), [peer('a')]), items: [], retired: [] }
    const ask = decodeSpaceMessage(group.last)
    ipam.part.receive(encodeSpaceMessage({ kind: 'grant', id: ask.ok ? ask.value.id : 0, free: 9, delta }), peer('a'))
    await group.pass(seconds(4))
    expect(group.sent).toEqual(['b→a 1'])
    await group.pass(seconds(4))
    expect(group.sent).toEqual(['b→a 1', 'b→a 1'])
  })

  test('never call the mesh from inside its own call', () => {
    const group = new IpamGroup('10.32.0.0/24')
    const { ipam } = group.join('a', 'seed=a')
    group.join('b', '')
    ipam.part.receive(encodeSpaceMessage({ kind: 'ask', id: 1, seedId: SEED_ID }), peer('b'))
    expect(group.sent).toEqual([])
  })
})

describe('an allocation that cannot be', () => {
  async function fate(waiting: Promise<Result<Ipv4, AllocateError>>, group: IpamGroup): Promise<AllocateError | undefined> {
    await group.pass(seconds(10))
    const result = await waiting
    return result.ok ? undefined : result.error
  }

  test('for want of a ring says so after ten seconds, and is served at once when a ring comes sooner', async () => {
    const group = new IpamGroup('10.32.0.0/24')
    const { ipam } = group.join('b', '')
    expect(ipam.status().status).toBe('awaiting a ring from another peer')
    expect(await fate(ipam.allocate(key(1), NEVER), group)).toMatchObject({ code: 'no-ring' })
    const second = allocate(ipam, 2)
    group.join('a', 'seed=a')
    group.gossip()
    expect(await second).toBe('10.32.0.128')
  })

  test('as all addresses are used says who has none', async () => {
    const group = new IpamGroup('10.32.0.0/29')
    const [a, b] = [group.join('a', 'seed=a,b'), group.join('b', 'seed=a,b')]
    for (let number = 0; number < 6; number++) expect(await allocateInTime(group, a.ipam, number)).toMatch(/^10/)
    const waiting = b.ipam.allocate(key(9), NEVER)
    expect([b.ipam.status().status, b.ipam.status().pending]).toEqual(['waiting for IP(s) to become available', ['pod-9/eth0']])
    expect(await fate(waiting, group)).toEqual({
      code: 'exhausted',
      text: `range exhausted: no address is free here; ${peer('a')} have none free`,
    })
  })

  test('as all addresses are used fails after two rounds of asking, each time anew, and is served at once when one was freed', async () => {
    const group = new IpamGroup('10.32.0.0/28')
    const [a, b, c] = ['a', 'b', 'c'].map((letter) => group.join(letter, 'seed=a,b,c').ipam)
    if (a === undefined || b === undefined || c === undefined) throw new Error('three peers')
    for (let number = 0; number < 14; number++) expect(await allocateInTime(group, a, number)).toMatch(/^10/)
    for (const [round, ipam] of [b, c, a, b].entries()) {
      const asked = group.sent.length
      const waiting = allocate(ipam, 20 + round)
      await group.pass(millis(250))
      expect(await waiting).toBe('exhausted')
      // Two others, twice, and their answers.
      expect(group.sent.length - asked).toBeLessThanOrEqual(8)
      await group.pass(millis(100))
      const owner = b.lookup(key(round)) === undefined ? a : b
      const freed = await owner.free(key(round))
      await group.pass(millis(100))
      const served = allocate(c, round + 30)
      await group.pass()
      expect(await served).toBe(freed === undefined ? undefined : formatIpv4(freed))
    }
  })

  test('as space moves between two others while it asks them is found where it has come to rest', async () => {
    const group = new IpamGroup('10.32.0.0/28')
    const [a, b, c] = ['a', 'b', 'c'].map((letter) => group.join(letter, 'seed=a,b,c').ipam)
    if (a === undefined || b === undefined || c === undefined) throw new Error('three peers')
    for (let number = 0; number < 14; number++) await allocateInTime(group, a, number)
    const waiting = allocate(b, 20)
    await group.pass()
    // Both others have said that they have none.
    expect(b.status().pending).toHaveLength(1)
    await a.free(key(1))
    await group.pass(millis(250))
    expect(await waiting).toMatch(/^10/)
  })

  test('as who has some cannot give it now waits for it, and says who that is', async () => {
    const group = new IpamGroup('10.32.0.0/28')
    const { ipam } = group.join('a', 'seed=b')
    const b = group.join('b', 'seed=b')
    group.gossip()
    b.disk.fault = () => {
      throw new Error('no room')
    }
    expect(await fate(ipam.allocate(key(1), NEVER), group)).toEqual({
      code: 'unreachable',
      text: `no address is free here; ${peer('b')} may have some and cannot give it now`,
    })
  })

  test('as an owner has lost the ring is not taken for a range that is used up', async () => {
    const group = new IpamGroup('10.32.0.0/29')
    const { ipam } = group.join('b', 'seed=a,b')
    await group.pass()
    group.join('a', '')
    for (let number = 0; number < 3; number++) expect(await allocate(ipam, number)).toMatch(/^10/)
    expect(await fate(ipam.allocate(key(9), NEVER), group)).toEqual({
      code: 'unreachable',
      text: `no address is free here; ${peer('a')} may have some and cannot give it now`,
    })
  })

  test('as an owner is away is served when an address becomes free meanwhile, here or elsewhere', async () => {
    const group = new IpamGroup('10.32.0.0/29')
    const [a, b] = [group.join('a', 'seed=a,b,c'), group.join('b', 'seed=a,b,c')]
    for (let number = 0; number < 3; number++) await allocateInTime(group, a.ipam, number)
    const [here, elsewhere] = [allocate(a.ipam, 8), allocate(b.ipam, 9)]
    await group.pass(seconds(1))
    await a.ipam.free(key(0))
    expect(await here).toBe('10.32.0.1')
    const freed = await a.ipam.free(key(1))
    await group.pass(seconds(6))
    expect(await elsewhere).toBe(freed === undefined ? undefined : formatIpv4(freed))
  })

  test('as the owners cannot be reached or do not answer says so', async () => {
    const group = new IpamGroup('10.32.0.0/24')
    for (const letter of ['a', 'b']) group.join(letter, 'seed=a,b')
    const { ipam } = group.join('c', '')
    group.gossip()
    group.gone.add(peer('a')).add(peer('b'))
    const waiting = ipam.allocate(key(1), NEVER)
    expect(ipam.status().status).toBe("all IP ranges owned by unreachable peers - use 'rmpeer' if they are dead")
    expect(await fate(waiting, group)).toEqual({
      code: 'unreachable',
      text: `no address is free here; ${peer('a')}, ${peer('b')} own more of the range and cannot be reached`,
    })
    group.gone.delete(peer('a'))
    group.deaf.add(peer('a'))
    expect(await fate(ipam.allocate(key(2), NEVER), group)).toEqual({
      code: 'unreachable',
      text: `no address is free here; ${peer('a')} did not answer; ${peer('b')} own more of the range and cannot be reached`,
    })
  })

  test('ends when its caller, its attachment or the router goes', async () => {
    const { ipam } = new IpamGroup('10.32.0.0/24').join('b', '')
    const caller = new AbortController()
    const waiting = [
      ipam.allocate(key(1), caller.signal),
      ipam.allocate(key(2), NEVER),
      ipam.allocate(key(2), NEVER),
      ipam.allocate(key(3), NEVER),
    ]
    caller.abort()
    await ipam.free(key(2))
    await ipam[Symbol.asyncDispose]()
    waiting.push(ipam.allocate(key(4), NEVER), ipam.allocate(key(5), AbortSignal.abort()))
    expect((await Promise.all(waiting)).map(told)).toEqual(Array.from({ length: 6 }, () => 'cancelled'))
    expect(ipam.status().pending).toEqual([])
  })

  test('as too many wait is refused at once', async () => {
    const { ipam } = new IpamGroup('10.32.0.0/24').join('b', '')
    const caller = new AbortController()
    const waiting = Array.from({ length: 1_024 }, (_, number) => ipam.allocate(key(number), caller.signal))
    expect(await allocate(ipam, 2_000)).toBe('busy')
    caller.abort()
    expect(new Set((await Promise.all(waiting)).map(told))).toEqual(new Set(['cancelled']))
  })
})
