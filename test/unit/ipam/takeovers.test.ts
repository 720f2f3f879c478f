/** Peers that are gone: who takes over from them, when nobody may, and what they find when they come back. */
import { describe, expect, test } from 'vitest'
import type { Ipam } from '../../../ipam/ipam.ts'
import { encodeSpaceMessage } from '../../../ipam/messages.ts'
import { encodeDelta } from '../../../ipam/ring-codec.ts'
import { seedIdOf } from '../../../ipam/seed.ts'
import { formatIpv4, parseCidr } from '../../../mesh/base/address.ts'
import { seconds } from '../../../mesh/base/brand.ts'
import { allocate, items, key, peer, ranges, takeOver } from '../../support/ipam.ts'
import { IpamGroup, three } from '../../support/ipam-group.ts'
import { MemoryDisk, systemError } from '../../support/memory-disk.ts'

const epochs = (ipam: Ipam): string =>
  ipam
    .status()
    .entries.map((entry) => `${entry.token.split('.')[3]}:${entry.peer?.[0]}:${entry.epoch}`)
    .join(' ')

describe('taking over from a peer that is gone', () => {
  test('makes its ranges ours under a higher epoch, for all to see, and its addresses are given out again', async () => {
    const { group, a, b, c } = three()
    const before = await allocate(c, 1)
    group.gone.add(peer('c'))
    expect(await takeOver(a, 'c')).toEqual({ taken: 128 })
    expect([epochs(a), epochs(b)]).toEqual(['0:a:0 64:b:0 128:a:1', '0:a:0 64:b:0 128:a:1'])
    const given = await Promise.all(Array.from({ length: 191 }, (_, number) => allocate(a, number)))
    expect(given).toContain(before)
    expect(await takeOver(b, 'c')).toEqual({ taken: 0 })
  })

  test('survives a power loss', async () => {
    const { group, a } = three()
    group.gone.add(peer('c'))
    const disk = new MemoryDisk()
    const d = group.join('d', '', disk)
    group.gossip()
    expect(await takeOver(d.ipam, 'c')).toEqual({ taken: 128 })
    disk.losePower(() => 0)
    const { ipam } = new IpamGroup('10.32.0.0/24').join('d', '', disk)
    expect(epochs(ipam)).toBe('0:a:0 64:b:0 128:d:1')
    expect(epochs(a)).toBe(epochs(ipam))
  })

  test('serves those who wait for an address', async () => {
    const { group, a, b } = three()
    for (let number = 0; number < 63; number++) await allocate(a, number)
    for (let number = 0; number < 64; number++) await allocate(b, number)
    group.gone.add(peer('c'))
    const waiting = allocate(a, 999)
    await group.pass()
    expect(a.status().status).toContain('waiting')
    expect(await takeOver(a, 'c')).toEqual({ taken: 128 })
    expect(await waiting).toMatch(/^10\.32\.0\./)
  })

  test.each([
    { name: 'itself', letter: 'a', says: { code: 'self', peers: [] } },
    { name: 'a peer that lives', letter: 'c', says: { code: 'alive', peers: [peer('a')] } },
    { name: 'a peer that nobody knows', letter: 'f', says: { code: 'unknown', peers: [] } },
  ])('nobody takes over from $name', async ({ letter, says }) => {
    const { a } = three()
    expect(await takeOver(a, letter)).toEqual(says)
  })

  test('waits for peers that cannot be reached, unless a person leaves them out', async () => {
    const { group, a } = three()
    group.gone.add(peer('c')).add(peer('b'))
    expect(await takeOver(a, 'c')).toEqual({ code: 'absent', peers: [peer('b')] })
    expect(await takeOver(a, 'c', true)).toEqual({ taken: 128 })
    expect(await takeOver(a, 'b')).toEqual({ taken: 64 })
    expect(ranges(a)).toBe('a:0-0')
  })

  test('peers without ranges count too, when the mesh knows them', async () => {
    const { group, a } = three()
    group.gone.add(peer('c'))
    expect(await takeOver(a, 'c', false, [peer('d'), peer('b')])).toEqual({ code: 'absent', peers: [peer('d')] })
  })

  test('fails after eight seconds when somebody does not answer, and takes nothing', async () => {
    const { group, a } = three()
    group.gone.add(peer('c'))
    group.deaf.add(peer('b'))
    const taking = takeOver(a, 'c')
    await group.pass(seconds(8))
    expect(await taking).toEqual({ code: 'silent', peers: [peer('b')] })
    expect(epochs(a)).toBe('0:a:0 64:b:0 128:c:0')
    group.deaf.clear()
    expect(await takeOver(a, 'c')).toEqual({ taken: 128 })
  })

  test('fails when the peer is back meanwhile, or another one reaches it', async () => {
    const { group, a } = three()
    group.gone.add(peer('c'))
    group.deaf.add(peer('b'))
    const taking = takeOver(a, 'c')
    group.gone.clear()
    await group.pass(seconds(1))
    expect(await taking).toEqual({ code: 'alive', peers: [peer('a')] })
  })

  test('goes on where an attempt had failed, although the peer, retired by then, is back', async () => {
    const { group, a, b, c } = three()
    const d = group.join('d', '')
    group.gossip()
    group.gone.add(peer('c'))
    group.deaf.add(peer('d'))
    const taking = a.members.takeOver(peer('c'), { known: [d.name], leaveAbsent: false })
    await group.pass(seconds(8))
    expect(await taking).toMatchObject({ ok: false, error: { code: 'silent', peers: [peer('d')] } })
    expect([b.status().owners.find((owner) => owner.isRetired)?.peer, epochs(a)]).toEqual([peer('c'), '0:a:0 64:b:0 128:c:0'])
    group.gone.clear()
    group.deaf.clear()
    expect(await takeOver(b, 'c')).toEqual({ taken: 128 })
    expect(await allocate(c, 1)).toBe('retired')
    expect([epochs(a), epochs(c)]).toEqual(['0:a:0 64:b:0 128:b:1', '0:a:0 64:b:0 128:b:1'])
  })

  test('fails when it cannot be written, and takes nothing', async () => {
    const { group, a } = three()
    group.gone.add(peer('c'))
    const d = group.join('d', '')
    group.gossip()
    d.disk.fault = () => {
      throw systemError('ENOSPC')
    }
    expect(await takeOver(d.ipam, 'c')).toEqual({ code: 'store', peers: [] })
    expect(epochs(a)).toBe('0:a:0 64:b:0 128:c:0')
  })

  test('a peer that cannot keep the retirement does not consent', async () => {
    const { group, a } = three()
    const d = group.join('d', '')
    group.gossip()
    await allocate(d.ipam, 1)
    group.gone.add(peer('c'))
    d.disk.fault = () => {
      throw systemError('EIO')
    }
    const taking = takeOver(a, 'c')
    await group.pass(seconds(4))
    d.disk.fault = undefined
    await group.pass(seconds(1))
    expect(await taking).toMatchObject({ taken: expect.any(Number) })
  })
})

describe('what the peer that is gone had given away', () => {
  test('at the last moment, known to the receiver alone, stays the receiver’s', async () => {
    const { group, a, b, c } = three()
    for (let number = 0; number < 64; number++) await allocate(b, number)
    group.isSilent = true
    group.deaf.add(peer('a'))
    group.apart.add(peer('b')).add(peer('c')) // b can ask c only, and a hears nothing.
    const given = await allocate(b, 99)
    expect(given).toBe('10.32.0.192')
    group.apart.clear()
    group.deaf.clear()
    group.isSilent = false
    group.gone.add(peer('c'))
    expect(epochs(a)).toBe('0:a:0 64:b:0 128:c:0')
    expect(await takeOver(a, 'c')).toEqual({ taken: 64 })
    expect([epochs(a), epochs(b)]).toEqual(['0:a:0 64:b:0 128:a:1 192:b:0', '0:a:0 64:b:0 128:a:1 192:b:0'])
    expect(ranges(c)).toBe('a:0-64 b:64-128 c:128-192 b:192-0')
  })

  test('but what arrives after the receiver has consented goes back, and is taken over with the rest', async () => {
    const { group, a, b, c } = three()
    for (let number = 0; number < 64; number++) await allocate(b, number)
    group.isSilent = true
    group.deaf.add(peer('b')).add(peer('a'))
    group.apart.add(peer('b')).add(peer('c'))
    const patience = new AbortController()
    void b.allocate(key(99), patience.signal)
    await group.pass()
    const ask = group.last
    c.part.receive(ask, peer('b')) // c gives, durably, and its answer is on its way …
    const grant = group.last
    patience.abort()
    expect(grant[0]).toBe(2)
    group.apart.clear()
    group.deaf.clear()
    group.gone.add(peer('c'))
    group.deaf.add(peer('b'))
    const taking = takeOver(a, 'c')
    group.deaf.clear()
    await group.pass(seconds(1))
    b.part.receive(grant, peer('c')) // … until now.
    await group.pass()
    expect({ free: b.status().freeAddresses, view: epochs(b) }).toEqual({ free: 0, view: '0:a:0 64:b:0 128:c:0 192:c:0' })
    expect(await taking).toEqual({ taken: 128 })
    group.gossip()
    expect([epochs(a), epochs(b)]).toEqual(['0:a:0 64:b:0 128:a:1', '0:a:0 64:b:0 128:a:1'])
  })
})

describe('ranges whose owner the taker does not know', () => {
  /** a and b have heard of c's half only; of the other half, which is d's, c and d alone. */
  async function halves(): Promise<{ readonly group: IpamGroup; readonly a: Ipam; readonly b: Ipam; readonly d: Ipam }> {
    const group = new IpamGroup('10.32.0.0/24')
    const [c, d] = [group.join('c', 'seed=c'), group.join('d', '')]
    group.gossip()
    await allocate(d.ipam, 1)
    const [a, b] = [group.join('a', ''), group.join('b', '')]
    const universe = parseCidr('10.32.0.0/24')
    const delta = encodeDelta({ universe, seedId: seedIdOf(universe, [c.name]), items: items(256, '0:c:1:128'), retired: [] })
    for (const { ipam } of [a, b]) ipam.part.merge(delta, c.name)
    return { group, a: a.ipam, b: b.ipam, d: d.ipam }
  }

  test('are taken over with the rest when nobody present knows it, but not while somebody is left out', async () => {
    const { group, a, b } = await halves()
    group.gone.add(peer('c')).add(peer('d'))
    expect(await takeOver(a, 'c', true, [peer('d')])).toEqual({ taken: 128 })
    expect([ranges(a), ranges(b)]).toEqual(['a:0-128', 'a:0-128'])
    expect(await takeOver(b, 'd', false, [peer('d')])).toEqual({ taken: 128 })
    expect([ranges(a), ranges(b)]).toEqual(['a:0-128 b:128-0', 'a:0-128 b:128-0'])
  })

  test('stay the owner’s when it is present', async () => {
    const { group, a, d } = await halves()
    group.gone.add(peer('c'))
    expect(await takeOver(a, 'c', false, [peer('d'), peer('b')])).toEqual({ taken: 128 })
    expect([ranges(a), ranges(d)]).toEqual(['a:0-128 d:128-0', 'a:0-128 d:128-0'])
  })
})

describe('two who take over at once', () => {
  test('from one peer: one of them does, the other is told who, and all agree', async () => {
    const { group, a, b } = three()
    group.gone.add(peer('c'))
    const results = await Promise.all([takeOver(a, 'c'), takeOver(b, 'c')])
    expect(results).toEqual([{ code: 'busy', peers: [peer('b')] }, { taken: 128 }])
    expect([epochs(a), epochs(b)]).toEqual(['0:a:0 64:b:0 128:b:1', '0:a:0 64:b:0 128:b:1'])
  })

  test('one after the other: who has consented to the second gives up, though the others had consented to it before', async () => {
    const { group, a, b } = three()
    group.join('d', '')
    group.gossip()
    group.gone.add(peer('c'))
    group.deaf.add(peer('d'))
    const known = [peer('d')]
    const first = takeOver(a, 'c', false, known) // b consents, d does not answer
    await group.pass()
    const second = takeOver(b, 'c', false, known)
    await group.pass()
    group.deaf.clear()
    await group.pass(seconds(1.5))
    expect(await Promise.all([first, second])).toEqual([{ code: 'busy', peers: [peer('b')] }, { taken: 128 }])
  })

  test('in two halves, each told by a person that the other is not there: converge, and the loser says what it lost', async () => {
    const { group, a, b } = three()
    group.gone.add(peer('c'))
    group.apart.add(peer('b'))
    expect(await takeOver(a, 'c')).toEqual({ code: 'absent', peers: [peer('b')] })
    expect([await takeOver(a, 'c', true), await takeOver(b, 'c', true)]).toEqual([{ taken: 128 }, { taken: 128 }])
    for (let number = 0; number < 63; number++) await allocate(a, number)
    const lost = await allocate(a, 99)
    expect(lost).toBe('10.32.0.128')
    group.apart.clear()
    group.gossip()
    expect(epochs(a)).toBe(epochs(b))
    expect(ranges(a)).toBe('a:0-64 b:64-0')
    // Two answers to one question, not a sign of something forgotten.
    expect([a, b].map((ipam) => ipam.status().doubt)).toEqual([undefined, undefined])
    expect(a.status().faults.join()).toContain(`taken by another peer: ${lost}`)
    expect(a.status().faults.join()).toContain(`${lost} is allocated here, but the ring gives it to another peer`)
  })

  test('a taker that dies before it has written leaves the estate to the next', async () => {
    const { group, a, b } = three()
    group.gone.add(peer('c'))
    group.deaf.add(peer('a'))
    const taking = takeOver(b, 'c') // a gets the proposal, and does not answer
    await group.pass(seconds(2))
    await b[Symbol.asyncDispose]()
    expect(await taking).toEqual({ code: 'silent', peers: [] })
    group.deaf.clear()
    group.gone.add(peer('b'))
    expect(await takeOver(a, 'c', true)).toEqual({ taken: 128 })
  })
})

describe('a peer that was taken over from', () => {
  test('and comes back drops its ranges, says so once, and refuses to allocate', async () => {
    const { group, a, c, disk } = three()
    const held = await allocate(c, 1)
    group.gone.add(peer('c'))
    await takeOver(a, 'c')
    group.gone.clear()
    const { ipam } = group.join('c', 'seed=a,b,c', disk)
    const told: unknown[] = []
    ipam.members.onRetired(({ by, lost }) => told.push({ by, lost: [...lost].map(([pod, address]) => [pod, formatIpv4(address)]) }))
    await group.pass()
    expect(told).toEqual([{ by: peer('a'), lost: [[key(1), held]] }])
    expect(await allocate(ipam, 2)).toBe('retired')
    expect(ipam.status()).toMatchObject({
      retiredBy: peer('a'),
      freeAddresses: 0,
      status: expect.stringContaining('was removed from the cluster by aaaa'),
    })
    expect(await allocate(a, 500)).toMatch(/^10\.32/)
  })

  test('gives out nothing before it has heard whether it still belongs, and for three seconds when it reaches nobody', async () => {
    const { group, a, disk } = three()
    group.gone.add(peer('c'))
    await takeOver(a, 'c')
    const { ipam } = group.join('c', 'seed=a,b,c', disk)
    const waiting = allocate(ipam, 1)
    await group.pass(seconds(2.5))
    group.gone.clear()
    await group.pass(seconds(0.4))
    expect(await waiting).toBe('retired')
    const alone = new IpamGroup('10.32.0.0/24')
    const cut = alone.join('b', 'seed=a,b,c', new MemoryDisk())
    const restarted = alone.join('b', 'seed=a,b,c', cut.disk)
    const served = allocate(restarted.ipam, 1)
    let isServed = false
    void served.then(() => {
      isServed = true
    })
    await alone.pass(seconds(2.9))
    expect(isServed).toBe(false)
    await alone.pass(seconds(0.2))
    expect(await served).toBe('10.32.0.64')
  })

  test('asks whether it still belongs also when all of the ring was its own, as others may have heard of it', async () => {
    const group = new IpamGroup('10.32.0.0/24')
    const first = group.join('a', 'seed=a')
    const { ipam: b } = group.join('b', '')
    group.gossip()
    group.gone.add(peer('a'))
    expect(await takeOver(b, 'a')).toEqual({ taken: 256 })
    group.known.push(peer('b'))
    const { ipam: back } = group.join('a', 'seed=a', first.disk)
    const waiting = allocate(back, 1)
    await group.pass(seconds(1))
    group.gone.clear()
    await group.pass(seconds(1))
    expect(await waiting).toBe('retired')
  })

  test('cut off while it happened, and alive all the while, hears it when the cut heals', async () => {
    const { group, a, c } = three()
    group.apart.add(peer('c'))
    await takeOver(a, 'c')
    const mine = await allocate(c, 1)
    const told: unknown[] = []
    c.members.onRetired(({ lost }) => told.push([...lost.values()].map(formatIpv4)))
    group.apart.clear()
    group.gossip()
    expect(told).toEqual([[mine]])
    expect(await allocate(c, 2)).toBe('retired')
    expect(ranges(c)).toBe(ranges(a))
  })

  test('is given nothing by anybody', async () => {
    const { group, a, disk } = three()
    group.gone.add(peer('c'))
    await takeOver(a, 'c')
    group.gone.clear()
    group.join('c', '', disk)
    group.sent.length = 0
    const seedId = seedIdOf(parseCidr('10.32.0.0/24'), ['a', 'b', 'c'].map(peer))
    a.part.receive(encodeSpaceMessage({ kind: 'ask', id: 1, seedId }), peer('c'))
    await group.pass()
    expect(group.sent.filter((word) => word.startsWith('a→c'))).toEqual(['a→c 3', 'a→c 10'])
  })
})
