/** Callers who want an address of a subnet: of our ranges, of others', of one that is used up, of one whose owner is away. */
import { describe, expect, test } from 'vitest'
import type { Ipam } from '../../../ipam/ipam.ts'
import { encodeDelta } from '../../../ipam/ring-codec.ts'
import { parseCidr, parseIpv4 } from '../../../mesh/base/address.ts'
import { millis, seconds } from '../../../mesh/base/brand.ts'
import { allocate, items, key, peer, ranges, SEED_ID } from '../../support/ipam.ts'
import { type Asker, ask } from '../../support/ipam-asker.ts'
import { IpamGroup, three } from '../../support/ipam-group.ts'

const NEVER = new AbortController().signal

/** As many as there are in it: six of b's. */
async function fillSubnet(group: IpamGroup, ipam: Ipam, subnet: string, size: number): Promise<readonly (string | undefined)[]> {
  const askers = Array.from({ length: size }, (_, number) => ask(ipam, 100 + number, subnet))
  await group.pass(seconds(1))
  return askers.map((asker) => asker.told()).sort()
}

function tell(askers: readonly Asker[]): readonly (string | undefined)[] {
  return askers.map((asker) => asker.told())
}

describe('a subnet', () => {
  test('of our own range: an address of it, and no more once it is used up', async () => {
    const { group, a } = three()
    const askers = [1, 2, 3, 4, 5].map((number) => ask(a, number, '10.32.0.20/30'))
    await group.pass()
    expect(tell(askers.slice(0, 4))).toEqual(['10.32.0.20', '10.32.0.21', '10.32.0.22', '10.32.0.23'])
    expect(askers[4]?.told()).toBe('exhausted')
    expect(askers[4]?.why()).toBe('subnet 10.32.0.20/30 exhausted: no address is free here')
    expect([await allocate(a, 6), group.sent]).toEqual(['10.32.0.1', []])
  })

  test("of another's range: space is asked for there, and there only", async () => {
    const { group, a, b, c } = three()
    const asker = ask(a, 1, '10.32.0.192/29')
    await group.pass()
    expect([asker.told(), group.sent]).toEqual(['10.32.0.196', ['a→c 1', 'c→a 2']])
    for (const ipam of [a, b, c]) expect(ranges(ipam)).toBe('a:0-64 b:64-128 c:128-196 a:196-200 c:200-0')
  })

  test('in the ranges of two: first what is here, then what the other has, and when both have none it is told, of that subnet', async () => {
    const { group, a, b } = three()
    expect(await fillSubnet(group, a, '10.32.0.0/25', 126)).not.toContain('exhausted')
    expect(ranges(a)).toBe('a:0-64 b:64-65 a:65-128 c:128-0')
    const last = ask(a, 300, '10.32.0.0/25')
    await group.pass()
    expect(last.told()).toBe('10.32.0.64')
    const [more, any] = [ask(a, 1, '10.32.0.0/25'), ask(b, 2)]
    await group.pass(millis(300))
    expect(more.told()).toBe('exhausted')
    expect(more.why()).toContain('subnet 10.32.0.0/25 exhausted')
    expect(any.told()).toMatch(/^10\.32\.0\.(1[2-9]\d|2\d\d)$/)
  })

  test('as big as the whole range is the whole range', async () => {
    const { group, a } = three()
    const asker = ask(a, 1, '10.32.0.0/24')
    await group.pass()
    expect(asker.told()).toBe('10.32.0.1')
  })

  test.each([
    { wanted: '10.33.0.0/28', why: 'the subnet 10.33.0.0/28 is outside of 10.32.0.0/24, from which pods get their addresses' },
    { wanted: '10.32.0.0/23', why: 'the subnet 10.32.0.0/23 is outside of 10.32.0.0/24, from which pods get their addresses' },
    { wanted: '10.32.0.255/32', why: 'no pod gets an address of 10.32.0.255/32' },
  ])('$wanted can never be had, and that is said at once', async ({ wanted, why }) => {
    const { group, a } = three()
    const asker = ask(a, 1, wanted)
    await group.pass()
    expect([asker.told(), asker.why()]).toEqual(['impossible', why])
  })

  test('and an address together must go together', async () => {
    const { a } = three()
    const subnet = parseCidr('10.32.0.16/28')
    expect(await a.allocate(key(1), NEVER, { subnet, address: parseIpv4('10.32.0.20') })).toEqual({
      ok: true,
      value: parseIpv4('10.32.0.20'),
    })
    expect(await a.allocate(key(2), NEVER, { subnet, address: parseIpv4('10.32.0.40') })).toEqual({
      ok: false,
      error: { code: 'impossible', text: '10.32.0.40 is outside of the subnet 10.32.0.16/28' },
    })
  })
})

describe('a subnet whose owner is away', () => {
  test('is waited for until the deadline, and the owner is named', async () => {
    const { group, a } = three()
    group.gone.add(peer('c'))
    const [asker, any] = [ask(a, 1, '10.32.0.192/29'), ask(a, 2)]
    await group.pass(millis(9_999))
    expect(tell([asker, any])).toEqual([undefined, '10.32.0.1'])
    await group.pass(millis(1))
    expect([asker.told(), asker.why()]).toEqual([
      'unreachable',
      `no address of the subnet 10.32.0.192/29 is free here; ${peer('c')} own more of the range and cannot be reached`,
    ])
  })

  test('is had when it comes back in time', async () => {
    const { group, a } = three()
    group.gone.add(peer('c'))
    const asker = ask(a, 1, '10.32.0.192/29')
    await group.pass(seconds(5))
    group.gone.clear()
    await group.pass(seconds(1))
    expect(asker.told()).toBe('10.32.0.196')
  })

  test('and who gives up meanwhile leaves nothing, nor does a grant that comes later', async () => {
    const { group, a } = three()
    group.deaf.add(peer('c'))
    const asker = ask(a, 1, '10.32.0.192/29')
    await group.pass()
    asker.giveUp()
    await group.pass()
    group.deaf.clear()
    group.deliver(group.last, 'a', 'c')
    await group.pass(seconds(30))
    expect([asker.told(), a.allocations().size, a.status().pending, group.sent]).toEqual(['cancelled', 0, [], ['a→c 1', 'c→a 2']])
    const later = ask(a, 2, '10.32.0.192/29')
    await group.pass()
    expect([later.told(), group.sent.length]).toEqual(['10.32.0.196', 2])
  })
})

test('of which nobody knows yet whose a part is: it is not taken for used up, as one is that is known as a whole', async () => {
  const group = new IpamGroup('10.32.0.0/24')
  const { ipam: a } = group.join('a', '')
  const universe = parseCidr('10.32.0.0/24')
  a.part.merge(encodeDelta({ universe, seedId: SEED_ID, items: items(256, '0:a:1:8'), retired: [] }), peer('b'))
  await fillSubnet(group, a, '10.32.0.0/29', 7)
  const [known, unknown] = [ask(a, 1, '10.32.0.0/29'), ask(a, 2, '10.32.0.0/28')]
  await group.pass(seconds(9))
  expect(tell([known, unknown])).toEqual(['exhausted', undefined])
  await group.pass(seconds(1))
  expect([unknown.told(), unknown.why()]).toEqual([
    'unreachable',
    'no address of the subnet 10.32.0.0/28 is free here; nobody knows yet whose the rest of it is',
  ])
})

test('an answer that comes twice is heard once: who had nothing is not taken for one that may not give', async () => {
  const { group, a, b } = three()
  await fillSubnet(group, b, '10.32.0.64/30', 4)
  const asker = ask(a, 1, '10.32.0.64/30')
  await group.pass()
  group.deliver(group.last, 'b', 'a')
  await group.pass(millis(300))
  expect([asker.told(), group.sent.filter((message) => message === 'a→b 1').length]).toEqual(['exhausted', 2])
})
