/** Two rings that meet: both sides say so and keep working; a person decides; the half that gives way keeps its pods. */
import { describe, expect, test } from 'vitest'
import { CLAIMS_MAX, decodeClaim, encodeClaim } from '../../../ipam/claims.ts'
import type { Ipam } from '../../../ipam/ipam.ts'
import { encodeDelta } from '../../../ipam/ring-codec.ts'
import { seedIdOf } from '../../../ipam/seed.ts'
import { encodeVerdict } from '../../../ipam/verdicts.ts'
import { formatIpv4, parseCidr } from '../../../mesh/base/address.ts'
import { type Millis, millis, seconds } from '../../../mesh/base/brand.ts'
import { parseCidr6 } from '../../../mesh/base/prefix.ts'
import { allocate, items, key, news, peer, ranges } from '../../support/ipam.ts'
import { IpamGroup } from '../../support/ipam-group.ts'
import { systemError } from '../../support/memory-disk.ts'

const RANGE = '10.32.0.0/24'
const universe = parseCidr(RANGE)
const ringOf = (...letters: readonly string[]) => seedIdOf(universe, letters.map(peer))

/** Gossip and time, until what there is to tell is told. */
async function talk(group: IpamGroup, duration: Millis = seconds(2)): Promise<void> {
  for (let round = 0; round < 4; round++) {
    group.gossip()
    await group.pass(millis(duration / 4))
  }
}

function addresses(ipam: Ipam): readonly string[] {
  return [...ipam.allocations().values()].map(formatIpv4)
}

/** Two halves, a+b and c+d, that began apart: with pods on each. */
async function halves(group: IpamGroup) {
  for (const letter of ['c', 'd']) group.gone.add(peer(letter))
  const [a, b] = [group.join('a', 'seed=a,b'), group.join('b', 'seed=a,b')]
  await group.pass()
  group.gone.clear()
  for (const { name } of [a, b]) group.gone.add(name)
  const [c, d] = [group.join('c', 'seed=c'), group.join('d', '')]
  await talk(group)
  group.gone.clear()
  return { a, b, c, d }
}

describe('two rings that meet', () => {
  test('are not merged; each side names the other, says what to do, and keeps serving its pods', async () => {
    const group = new IpamGroup(RANGE)
    const { a, c } = await halves(group)
    const before = [ranges(a.ipam), ranges(c.ipam)]
    await talk(group)
    expect([ranges(a.ipam), ranges(c.ipam)]).toEqual(before)
    expect(a.ipam.status().rivals).toEqual([{ seedId: ringOf('c'), peers: [c.name, peer('d')] }])
    expect(c.ipam.status().rivals).toEqual([{ seedId: ringOf('a', 'b'), peers: [a.name, peer('b')] }])
    const hint = 'weft ipam resolve --keep-ours'
    for (const { ipam } of [a, c]) expect(ipam.status().notices).toEqual([expect.stringContaining(hint)])
    expect([await allocate(a.ipam, 1), await allocate(c.ipam, 1)]).toEqual(['10.32.0.1', '10.32.0.1'])
  })

  test('give nothing to each other, though a peer of one may be an owner in the other', async () => {
    const group = new IpamGroup('10.32.0.0/28')
    const [a, c] = [group.join('a', 'seed=a,b'), group.join('c', 'seed=a,c')]
    await talk(group)
    const asked: Promise<unknown>[] = []
    for (let number = 0; number < 12; number++) asked.push(allocate(c.ipam, number))
    await talk(group, seconds(12))
    expect(group.sent).toContain('c→a 1')
    expect((await Promise.all(asked)).filter((answer) => answer === 'unreachable')).toHaveLength(5)
    c.ipam.part.receive(encodeClaim({ kind: 'claim', seedId: seedIdOf(universe, [peer('a')]), hosts: [1] }), peer('a'))
    a.ipam.part.receive(encodeClaim({ kind: 'claim', seedId: seedIdOf(universe, [peer('a')]), hosts: [1] }), peer('c'))
    await group.pass()
    expect([ranges(a.ipam), ranges(c.ipam)]).toEqual(['a:0-8 b:8-16', 'a:0-8 c:8-16'])
  })

  test('are forgotten when they part', async () => {
    const group = new IpamGroup(RANGE)
    const { a, b, c, d } = await halves(group)
    await talk(group)
    for (const { name } of [c, d]) group.gone.add(name)
    await group.pass(seconds(61))
    expect([a, b].map(({ ipam }) => ipam.status().notices)).toEqual([[], []])
  })

  test('of which one has a newcomer: it takes the first that it hears of, and sees the other', async () => {
    const group = new IpamGroup(RANGE)
    await halves(group)
    const { ipam } = group.join('e', '')
    await talk(group)
    expect([ipam.status().seedId === undefined, ipam.status().rivals.length]).toEqual([false, 1])
  })
})

describe('a verdict', () => {
  test.each([
    { name: 'ours', by: 'a', keep: 'ours', stands: ['a', 'b'] },
    { name: 'theirs', by: 'c', keep: 'theirs', stands: ['a', 'b'] },
    { name: 'ours', by: 'd', keep: 'ours', stands: ['c'] },
    { name: 'theirs', by: 'b', keep: 'theirs', stands: ['c'] },
  ] as const)('of $by for $name: all have that ring soon, and no pod is lost', async ({ by, keep, stands }) => {
    const group = new IpamGroup(RANGE)
    const { a, b, c, d } = await halves(group)
    const members = { a, b, c, d }
    // In a's ring these are of b, and free; in c's ring those of b are free.
    for (const number of [1, 2, 3]) await allocate(d.ipam, number)
    for (const number of [11, 12]) await allocate(b.ipam, number)
    const before = Object.values(members).map(({ ipam }) => addresses(ipam))
    await talk(group)
    expect(members[by].ipam.resolve(keep, undefined)).toBe(ringOf(...stands))
    await talk(group, seconds(8))
    expect(Object.values(members).map(({ ipam }) => ipam.status().seedId)).toEqual(Array(4).fill(ringOf(...stands)))
    expect(Object.values(members).map(({ ipam }) => addresses(ipam))).toEqual(before)
    for (const { ipam } of [b, d]) {
      expect(ipam.status().faults.filter((fault) => fault.includes('the ring gives it to another peer'))).toEqual(
        [...ipam.conflicts().keys()].map(() => expect.any(String)),
      )
    }
    await talk(group)
    const digests = Object.values(members).map(({ ipam }) => Buffer.from(ipam.part.digest()).toString('hex'))
    expect(new Set(digests).size).toBe(1)
  })

  test('gives the pods of the half that yields their addresses, but for those in use on both sides, which it names', async () => {
    const group = new IpamGroup(RANGE)
    const { a, c } = await halves(group)
    for (const number of [1, 2]) await allocate(a.ipam, number)
    for (const number of [1, 2, 3, 4]) await allocate(c.ipam, number)
    await talk(group)
    c.ipam.resolve('theirs', undefined)
    await talk(group, seconds(8))
    expect(addresses(c.ipam)).toEqual(['10.32.0.1', '10.32.0.2', '10.32.0.3', '10.32.0.4'])
    expect([...c.ipam.conflicts()]).toEqual([
      [key(1), a.name],
      [key(2), a.name],
    ])
    expect(c.ipam.status().notices.filter((notice) => notice.includes('in use'))).toEqual(
      [1, 2].map((number) => `10.32.0.${number} of pod-${number}/eth0 is in use at ${a.name} too: delete one of the two pods`),
    )
    expect(ranges(a.ipam)).toBe('a:0-3 c:3-5 a:5-128 b:128-0')
    // Whoever has the address goes: the other one keeps it, and it is nobody else's.
    await c.ipam.free(key(1))
    await a.ipam.free(key(2))
    await talk(group, seconds(100))
    expect(c.ipam.status().notices).toEqual([])
    expect([c.ipam.conflicts().size, ranges(a.ipam)]).toEqual([0, 'a:0-2 c:2-5 a:5-128 b:128-0'])
    const given = []
    for (let number = 20; number < 40; number++) given.push(await allocate(a.ipam, number))
    expect(given.filter((address) => addresses(c.ipam).includes(address ?? ''))).toEqual([])
  })

  test('waits for the whole of the ring, and for a disk that can be written', () => {
    const group = new IpamGroup(RANGE)
    const { ipam, disk } = group.join('a', 'seed=a')
    const theirs = ringOf('c')
    ipam.part.merge(encodeVerdict(universe, { loser: ringOf('a'), winner: theirs, at: millis(1) }), peer('c'))
    const tell = (text: string): unknown => ipam.part.merge(encodeDelta({ universe, seedId: theirs, ...news(items(256, text)) }), peer('c'))
    tell('128:c:1')
    expect(ipam.status()).toMatchObject({ seedId: ringOf('a'), notices: [expect.stringContaining('which is being fetched')] })
    disk.fault = () => {
      throw systemError('ENOSPC')
    }
    tell('0:d:1:128')
    expect(ipam.status().seedId).toBe(ringOf('a'))
    disk.fault = undefined
    tell('0:d:1:128')
    expect([ipam.status().seedId, ranges(ipam)]).toEqual([theirs, 'd:0-128 c:128-0'])
  })

  test('and what follows from it survive a restart', async () => {
    const group = new IpamGroup(RANGE)
    const { a, c } = await halves(group)
    await allocate(c.ipam, 1)
    await talk(group)
    a.ipam.resolve('ours', undefined)
    await talk(group, seconds(8))
    const { ipam } = new IpamGroup(RANGE).join('c', 'seed=c', c.disk)
    expect([ranges(ipam), addresses(ipam), ipam.status().seedId]).toEqual([ranges(c.ipam), ['10.32.0.1'], ringOf('a', 'b')])
  })

  test('is not forgotten by whoever was told, though it is killed before anybody hears of it', async () => {
    const group = new IpamGroup(RANGE)
    const { a, b, c } = await halves(group)
    await talk(group)
    for (const { name } of [b, c, group.join('e', '')]) group.gone.add(name)
    group.gone.add(peer('d'))
    a.ipam.resolve('ours', undefined)
    const later = new IpamGroup(RANGE)
    a.disk.kill()
    const back = later.join('a', 'seed=a,b', a.disk)
    c.disk.kill()
    const other = later.join('c', 'seed=c', c.disk)
    await talk(later, seconds(8))
    expect([back, other].map(({ ipam }) => ipam.status().seedId)).toEqual(Array(2).fill(ringOf('a', 'b')))
  })

  test('that cannot be written is none', async () => {
    const group = new IpamGroup(RANGE)
    const [{ ipam, disk }] = [group.join('a', 'seed=a'), group.join('b', 'seed=b')]
    await talk(group)
    disk.fault = () => {
      throw systemError('EIO')
    }
    expect(() => ipam.resolve('ours', undefined)).toThrow(expect.objectContaining({ code: 'STATE' }))
    disk.fault = undefined
    expect(ipam.resolve('theirs', undefined)).toBe(ringOf('b'))
  })

  test('whose file is damaged has to be given again', async () => {
    const group = new IpamGroup(RANGE)
    const { ipam, disk } = group.join('a', 'seed=a')
    group.join('b', 'seed=b')
    await talk(group)
    ipam.resolve('ours', undefined)
    const file = disk.beside('ipam.verdicts')
    file.bytes = file.bytes?.with(9, 77)
    const { ipam: back } = new IpamGroup(RANGE).join('a', 'seed=a', disk)
    expect(back.status().faults.join()).toContain('is damaged: what was decided about rings may have to be decided again')
  })

  test('reaches those who were away, from whoever knows it', async () => {
    const group = new IpamGroup(RANGE)
    const { a, c, d } = await halves(group)
    await talk(group)
    group.gone.add(d.name)
    a.ipam.resolve('ours', undefined)
    await talk(group, seconds(8))
    expect([c.ipam.status().seedId, d.ipam.status().seedId]).toEqual([ringOf('a', 'b'), ringOf('c')])
    group.gone.delete(d.name)
    group.gone.add(a.name)
    await talk(group, seconds(8))
    expect(d.ipam.status().seedId).toBe(ringOf('a', 'b'))
  })

  test('against another one: the earlier stands everywhere', async () => {
    const group = new IpamGroup(RANGE)
    const { a, b, c, d } = await halves(group)
    await talk(group)
    const verdict = (loser: readonly string[], winner: readonly string[], at: number) =>
      encodeVerdict(universe, { loser: ringOf(...loser), winner: ringOf(...winner), at: millis(at) })
    a.ipam.part.merge(verdict(['c'], ['a', 'b'], 2_000), peer('a'))
    c.ipam.part.merge(verdict(['a', 'b'], ['c'], 1_000), peer('c'))
    await talk(group, seconds(20))
    expect([a, b, c, d].map(({ ipam }) => ipam.status().seedId)).toEqual(Array(4).fill(ringOf('c')))
    expect(() => a.ipam.resolve('ours', undefined)).toThrow('no other ring has been heard of lately')
  })

  test('is not to be had without another ring, or with several to choose from', async () => {
    const group = new IpamGroup(RANGE)
    const { ipam } = group.join('a', 'seed=a')
    expect(() => ipam.resolve('theirs', undefined)).toThrow('no other ring has been heard of lately')
    group.join('b', 'seed=b')
    group.join('c', 'seed=c')
    await talk(group)
    expect(() => ipam.resolve('theirs', undefined)).toThrow('there are several other rings')
    expect(() => ipam.resolve('theirs', '00')).toThrow('no ring 00 has been heard of')
    expect(ipam.resolve('theirs', ringOf('b'))).toBe(ringOf('b'))
    expect(() => ipam.resolve('ours', ringOf('b'))).toThrow('it was decided otherwise before')
  })

  test.each([
    { name: 'too short', bytes: Uint8Array.of(2, 24, 0, 0) },
    { name: 'on a ring against itself', bytes: encodeVerdict(universe, { loser: ringOf('a'), winner: ringOf('a'), at: millis(1) }) },
    { name: 'on another range', bytes: encodeVerdict(parseCidr('10.0.0.0/8'), { loser: ringOf('a'), winner: ringOf('b'), at: millis(1) }) },
    {
      name: 'on another range of IPv6',
      bytes: encodeVerdict({ ...universe, v6: parseCidr6('fd00:77:65::/64') }, { loser: ringOf('a'), winner: ringOf('b'), at: millis(1) }),
    },
  ])('$name is refused', ({ bytes }) => {
    const { ipam } = new IpamGroup(RANGE).join('a', 'seed=a')
    expect(ipam.part.merge(bytes, peer('b')).ok).toBe(false)
    expect(ipam.status().seedId).toBe(ringOf('a'))
  })

  test('is one of a few: whoever sends more is refused', () => {
    const { ipam } = new IpamGroup(RANGE).join('a', 'seed=a')
    const verdicts = Array.from({ length: 17 }, (_, at) =>
      encodeVerdict(universe, { loser: ringOf('b'), winner: ringOf('c'), at: millis(at) }),
    )
    expect(verdicts.map((bytes) => ipam.part.merge(bytes, peer('b')).ok).indexOf(false)).toBe(16)
  })
})

describe('a claim', () => {
  test('gets what is free, hears of what is not, and costs the owner no pod', async () => {
    const group = new IpamGroup(RANGE)
    const { ipam } = group.join('a', 'seed=a')
    group.join('b', '')
    for (const number of [1, 2]) await allocate(ipam, number)
    ipam.part.receive(encodeClaim({ kind: 'claim', seedId: ringOf('a'), hosts: [0, 1, 5, 5, 255, 256, 9_999] }), peer('b'))
    await group.pass()
    expect(decodeClaim(group.last)).toMatchObject({ ok: true, value: { kind: 'answer', used: [1] } })
    expect([ranges(ipam), addresses(ipam)]).toEqual(['a:0-5 b:5-6 a:6-0', ['10.32.0.1', '10.32.0.2']])
    // Asked again, as the answer may have been lost, it says the same.
    const first = group.last
    ipam.part.receive(encodeClaim({ kind: 'claim', seedId: ringOf('a'), hosts: [1, 5] }), peer('b'))
    await group.pass()
    expect([ranges(ipam), decodeClaim(group.last)]).toMatchObject(['a:0-5 b:5-6 a:6-0', { value: { used: [1] } }])
    expect(first).not.toEqual(new Uint8Array())
  })

  test('to a peer without a ring, or with a disk that is full, has no answer', async () => {
    const group = new IpamGroup(RANGE)
    const { ipam, disk } = group.join('a', 'seed=a')
    const none = group.join('b', '')
    await group.pass()
    disk.fault = () => {
      throw systemError('ENOSPC')
    }
    const claim = encodeClaim({ kind: 'claim', seedId: ringOf('a'), hosts: [5] })
    ipam.part.receive(claim, peer('c'))
    none.ipam.part.receive(claim, peer('c'))
    await group.pass()
    expect([group.sent, ranges(ipam)]).toEqual([[], 'a:0-0'])
  })

  test('of too many, or cut short, is refused', () => {
    const hosts = Array.from({ length: CLAIMS_MAX }, (_, host) => host)
    const whole = encodeClaim({ kind: 'claim', seedId: ringOf('a'), hosts })
    expect(decodeClaim(whole)).toEqual({ ok: true, value: { kind: 'claim', seedId: ringOf('a'), hosts } })
    for (const bytes of [new Uint8Array([...whole, 0, 0, 0, 1]), whole.subarray(0, 6), Uint8Array.of(17), Uint8Array.of(17, 0, 0, 9)]) {
      expect(decodeClaim(bytes).ok).toBe(false)
    }
  })
})
