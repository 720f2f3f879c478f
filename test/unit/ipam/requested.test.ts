/** Callers who want exactly one address: from our range, from another's, from one that is away; and who change their minds. */
import { describe, expect, test } from 'vitest'
import { bareKey } from '../../../ipam/attachment.ts'
import type { Ipam } from '../../../ipam/ipam.ts'
import { formatIpv4 } from '../../../mesh/base/address.ts'
import { millis, seconds } from '../../../mesh/base/brand.ts'
import { allocate, key, peer, ranges } from '../../support/ipam.ts'
import { ask } from '../../support/ipam-asker.ts'
import { IpamGroup, three } from '../../support/ipam-group.ts'

/** What a waiting ADD costs must be nothing once it is over. */
function expectNothingLeft(ipam: Ipam): void {
  expect([[...ipam.allocations().keys()], ipam.status().pending]).toEqual([[], []])
}

describe('an address of our own range', () => {
  test('is given when it is free, and the same again to the same caller', async () => {
    const { group, a } = three()
    const [first, again] = [ask(a, 1, '10.32.0.33'), ask(a, 1, '10.32.0.33')]
    await group.pass()
    expect([first.told(), again.told(), group.sent]).toEqual(['10.32.0.33', '10.32.0.33', []])
  })

  test('is refused at once while somebody has it here, who is named', async () => {
    const { group, a } = three()
    await allocate(a, 7)
    const other = ask(a, 8, '10.32.0.1')
    await group.pass()
    expect([other.told(), other.why()]).toEqual(['taken', '10.32.0.1 is in use by pod-7/eth0 on this node'])
    await a.free(key(7))
    const later = ask(a, 8, '10.32.0.1')
    await group.pass()
    expect(later.told()).toBe('10.32.0.1')
  })

  test('is refused to whoever has another one', async () => {
    const { group, a } = three()
    await allocate(a, 1)
    const other = ask(a, 1, '10.32.0.9')
    const subnet = ask(a, 1, '10.32.0.8/29')
    await group.pass()
    expect([other.told(), other.why()]).toEqual(['impossible', 'pod-1/eth0 has 10.32.0.1, and cannot get 10.32.0.9 as well'])
    expect([subnet.told(), subnet.why()]).toEqual(['impossible', 'pod-1/eth0 has 10.32.0.1, and cannot get 10.32.0.8/29 as well'])
    expect([...a.allocations().values()].map(formatIpv4)).toEqual(['10.32.0.1'])
  })

  test('can be had for another plugin as well', async () => {
    const { group, a } = three()
    const bare = ask(a, bareKey('pod-1', 'eth0'), '10.32.0.9')
    await group.pass()
    expect(bare.told()).toBe('10.32.0.9')
  })
})

test.each([
  { wanted: '10.33.0.1', why: '10.33.0.1 is outside of 10.32.0.0/24, from which pods get their addresses' },
  { wanted: '10.31.255.255', why: '10.31.255.255 is outside of 10.32.0.0/24, from which pods get their addresses' },
  { wanted: '10.32.0.0', why: '10.32.0.0 is the first or the last address of 10.32.0.0/24, which no pod gets' },
  { wanted: '10.32.0.255', why: '10.32.0.255 is the first or the last address of 10.32.0.0/24, which no pod gets' },
])('$wanted can never be had, and that is said at once', async ({ wanted, why }) => {
  const { group, a } = three()
  const asker = ask(a, 1, wanted)
  await group.pass()
  expect([asker.told(), asker.why()]).toEqual(['impossible', why])
  expectNothingLeft(a)
})

describe("an address of another's range", () => {
  test('is claimed from it: exactly that one, at once, and all know whose it is', async () => {
    const { group, a, b, c } = three()
    const asker = ask(a, 1, '10.32.0.200')
    await group.pass()
    expect([asker.told(), group.sent]).toEqual(['10.32.0.200', ['a→c 16', 'c→a 17']])
    for (const ipam of [a, b, c]) expect(ranges(ipam)).toBe('a:0-64 b:64-128 c:128-200 a:200-201 c:201-0')
  })

  test('is not given to anybody by its old owner, also when that comes back from a crash at once', async () => {
    const { group, a, disk } = three()
    const asker = ask(a, 1, '10.32.0.129')
    await group.pass()
    expect(asker.told()).toBe('10.32.0.129')
    disk.losePower(() => 0)
    const { ipam: c } = group.join('c', 'seed=a,b,c', disk)
    expect(ranges(c)).toContain('a:129-130')
    const [again, first] = [ask(c, 2, '10.32.0.129'), ask(c, 3)]
    await group.pass()
    expect([again.told(), again.why(), first.told()]).toEqual(['taken', `10.32.0.129 is in use on ${peer('a')}`, '10.32.0.128'])
  })

  test('is refused at once when it is in use there', async () => {
    const { group, a, b } = three()
    await allocate(b, 5)
    const asker = ask(a, 1, '10.32.0.64')
    await group.pass()
    expect([asker.told(), asker.why()]).toEqual(['taken', `10.32.0.64 is in use on ${peer('b')}`])
    expectNothingLeft(a)
    await b.free(key(5))
    const later = ask(a, 1, '10.32.0.64')
    await group.pass()
    expect(later.told()).toBe('10.32.0.64')
  })

  test('is not refused to who came after its owner was asked: it may be free by now', async () => {
    const { group, a, b } = three()
    await allocate(b, 5)
    group.deaf.add(peer('a'))
    const early = ask(a, 1, '10.32.0.64')
    await group.pass(millis(10))
    const answer = group.last
    await b.free(key(5))
    const late = ask(a, 2, '10.32.0.64')
    await group.pass(millis(10))
    group.deaf.clear()
    group.deliver(answer, 'b', 'a')
    await group.pass()
    expect([early.told(), late.told()]).toEqual(['taken', '10.32.0.64'])
  })

  test('goes to one of two that want it, and the other hears who has it', async () => {
    const { group, a, b } = three()
    const askers = [ask(a, 1, '10.32.0.200'), ask(b, 2, '10.32.0.200')]
    await group.pass()
    await group.pass()
    expect(askers.map((asker) => asker.told())).toEqual(['10.32.0.200', 'taken'])
    expect(askers[1]?.why()).toBe(`10.32.0.200 is in use on ${peer('a')}`)
  })

  test('goes to who asked for it, not to somebody else who waits for any', async () => {
    const group = new IpamGroup('10.32.0.0/29')
    const [a, b] = [group.join('a', 'seed=a,b').ipam, group.join('b', 'seed=a,b').ipam]
    for (const number of [1, 2, 3]) await allocate(a, number)
    group.deaf.add(peer('b'))
    const [any, one] = [ask(a, 4), ask(a, 5, '10.32.0.5')]
    await group.pass()
    group.deaf.clear()
    for (let second = 0; second < 9; second++) await group.pass(seconds(1))
    expect([one.told(), any.told()]).toEqual(['10.32.0.5', '10.32.0.6'])
    expect([...b.allocations().keys()]).toEqual([])
  })
})

describe('an owner that is away', () => {
  test('is waited for until the deadline, and then named', async () => {
    const { group, a, c } = three()
    group.gone.add(peer('c'))
    const asker = ask(a, 1, '10.32.0.200')
    await group.pass(millis(9_999))
    expect([asker.told(), a.status().pending]).toEqual([undefined, [key(1)]])
    await group.pass(millis(1))
    expect([asker.told(), asker.why()]).toEqual(['unreachable', `10.32.0.200 is in a range of ${peer('c')}, which cannot be reached`])
    group.gone.clear()
    await group.pass(seconds(60))
    expectNothingLeft(a)
    expect([ranges(a), ranges(c)]).toEqual(['a:0-64 b:64-128 c:128-0', 'a:0-64 b:64-128 c:128-0'])
  })

  test('and comes back in time gives it', async () => {
    const { group, a } = three()
    group.gone.add(peer('c'))
    const asker = ask(a, 1, '10.32.0.200')
    await group.pass(seconds(6))
    group.gone.clear()
    await group.pass(seconds(1))
    expect(asker.told()).toBe('10.32.0.200')
  })

  test('or silent is asked again, and named at the deadline', async () => {
    const { group, a } = three()
    group.deaf.add(peer('c'))
    const asker = ask(a, 1, '10.32.0.200')
    await group.pass(seconds(10))
    expect([asker.told(), asker.why()]).toEqual(['unreachable', `10.32.0.200 is in a range of ${peer('c')}, which did not answer`])
    expect(group.sent.filter((message) => message === 'a→c 16').length).toBeGreaterThan(2)
    expect(group.sent.length).toBeLessThan(8)
  })

  test('does not hold up those who want something else', async () => {
    const { group, a } = three()
    group.gone.add(peer('c'))
    const [one, any, other] = [ask(a, 1, '10.32.0.200'), ask(a, 2), ask(a, 3, '10.32.0.65')]
    await group.pass()
    expect([one.told(), any.told(), other.told()]).toEqual([undefined, '10.32.0.1', '10.32.0.65'])
  })

  test('whose range another takes over in time: that one gives it', async () => {
    const { group, a, b } = three()
    group.gone.add(peer('c'))
    const asker = ask(a, 1, '10.32.0.200')
    await group.pass(seconds(1))
    const taking = b.members.takeOver(peer('c'), { known: [], leaveAbsent: false })
    for (let second = 0; second < 5; second++) await group.pass(seconds(1))
    expect([(await taking).ok, asker.told()]).toEqual([true, '10.32.0.200'])
  })
})

describe('who gives up', () => {
  test('while the owner is away leaves nothing', async () => {
    const { group, a } = three()
    group.gone.add(peer('c'))
    const asker = ask(a, 1, '10.32.0.200')
    await group.pass(seconds(1))
    asker.giveUp()
    await group.pass()
    expect(asker.told()).toBe('cancelled')
    group.gone.clear()
    await group.pass(seconds(30))
    expectNothingLeft(a)
    expect(group.sent).toEqual([])
  })

  test('while its claim is on its way leaves nothing: the address is free, wherever it came to be', async () => {
    const { group, a, b } = three()
    group.deaf.add(peer('c'))
    const asker = ask(a, 1, '10.32.0.200')
    await group.pass()
    asker.giveUp()
    await group.pass()
    expect(asker.told()).toBe('cancelled')
    const claim = group.last
    group.deaf.clear()
    group.deliver(claim, 'a', 'c')
    await group.pass(seconds(30))
    expectNothingLeft(a)
    expect(ranges(a)).toContain('a:200-201')
    const next = ask(b, 2, '10.32.0.200')
    await group.pass()
    expect(next.told()).toBe('10.32.0.200')
  })

  test('while another waits for the same takes nothing from that one', async () => {
    const { group, a } = three()
    group.gone.add(peer('c'))
    const [one, other] = [ask(a, 1, '10.32.0.200'), ask(a, 2, '10.32.0.200')]
    await group.pass(seconds(1))
    one.giveUp()
    group.gone.clear()
    await group.pass(seconds(1))
    expect([one.told(), other.told()]).toEqual(['cancelled', '10.32.0.200'])
  })

  test('or whose pod is removed meanwhile, or whose router stops, hears that', async () => {
    const { group, a } = three()
    group.gone.add(peer('c'))
    const [one, other] = [ask(a, 1, '10.32.0.200'), ask(a, 2, '10.32.0.201')]
    await a.free(key(1))
    await group.pass()
    expect([one.told(), one.why(), other.told()]).toEqual(['cancelled', 'the attachment was removed meanwhile', undefined])
    await a[Symbol.asyncDispose]()
    await group.pass()
    expect([other.told(), other.why()]).toEqual(['cancelled', 'the router is shutting down'])
  })
})

describe('before anything may be given', () => {
  test('it waits for the ring, and says so at the deadline', async () => {
    const group = new IpamGroup('10.32.0.0/24')
    const { ipam } = group.join('a', '')
    const asker = ask(ipam, 1, '10.32.0.5')
    await group.pass(seconds(10))
    expect(asker.told()).toBe('no-ring')
  })

  test('it waits while our past is in doubt, and says so at the deadline', async () => {
    const { group, c: before, disk } = three()
    await allocate(before, 7)
    group.gone.add(peer('a'))
    group.gone.add(peer('b'))
    if (disk.bytes === undefined) return expect.fail()
    disk.bytes = disk.bytes.with(disk.bytes.length - 1, 255 - (disk.bytes.at(-1) ?? 0))
    const { ipam: c } = group.join('c', 'seed=a,b,c', disk)
    const asker = ask(c, 1, '10.32.0.200')
    await group.pass(seconds(10))
    expect(asker.told()).toBe('in-doubt')
    expectNothingLeft(c)
  })
})
