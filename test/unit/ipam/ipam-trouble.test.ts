/** What IPAM does when others or its own disk are not as they should be: foreign rings, restarts, damage, and no space left on the device. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Ipam } from '../../../ipam/ipam.ts'
import { DELTA_ITEMS_MAX, decodeDelta, encodeDelta } from '../../../ipam/ring-codec.ts'
import { seedIdOf } from '../../../ipam/seed.ts'
import { parseCidr } from '../../../mesh/base/address.ts'
import { seconds } from '../../../mesh/base/brand.ts'
import { systemClock } from '../../../mesh/base/clock.ts'
import { silentLog } from '../../../mesh/base/log.ts'
import { parseCidr6 } from '../../../mesh/base/prefix.ts'
import { systemRandom } from '../../../mesh/base/random.ts'
import { allocate, items, key, peer, ranges } from '../../support/ipam.ts'
import { IpamGroup } from '../../support/ipam-group.ts'
import { type MemoryDisk, systemError } from '../../support/memory-disk.ts'

const NEVER = new AbortController().signal

/** Every change fails until further notice. */
function fill(disk: MemoryDisk): void {
  disk.fault = () => {
    throw systemError('ENOSPC')
  }
}

describe('a ring of another beginning', () => {
  test.each([
    { name: 'other seeds', theirs: '10.32.0.0/24', detail: ['seed id', 'different seed lists'] },
    { name: 'another universe', theirs: '10.64.0.0/24', detail: ['10.64.0.0/24', 'ours is 10.32.0.0/24'] },
    { name: 'IPv6 beside it', theirs: '10.32.0.0/24', v6: 'fd00::/64', detail: ['range 10.32.0.0/24,fd00::/64; ours is 10.32.0.0/24'] },
  ])('($name) is refused as a whole, changes nothing, and shows', ({ theirs, v6, detail }) => {
    const universe = { ...parseCidr(theirs), v6: v6 === undefined ? undefined : parseCidr6(v6) }
    const { ipam } = new IpamGroup('10.32.0.0/24').join('a', 'seed=a')
    const [digest, seedId] = [ipam.part.digest(), seedIdOf(universe, [peer('c')])]
    const merged = ipam.part.merge(encodeDelta({ universe, seedId, items: items(256, '0:c:9'), retired: [] }), peer('c'))
    expect(merged).toMatchObject({ ok: false, error: { code: 'foreign' } })
    expect([ipam.part.digest(), ranges(ipam)]).toEqual([digest, 'a:0-0'])
    for (const part of detail) expect(ipam.status().faults.join()).toContain(part)
  })

  test('two such peers stay apart, and each keeps working', async () => {
    const group = new IpamGroup('10.32.0.0/24')
    const [a, b] = [group.join('a', 'seed=a'), group.join('b', 'seed=b')]
    expect(group.gossip()).toEqual([])
    for (const { ipam } of [a, b]) expect(ipam.status().faults).toEqual([expect.stringContaining('different seed lists')])
    expect([await allocate(a.ipam, 1), await allocate(b.ipam, 1)]).toEqual(['10.32.0.1', '10.32.0.1'])
  })

  test('bytes that make no sense are faults, not failures', () => {
    const { ipam } = new IpamGroup('10.32.0.0/24').join('a', 'seed=a')
    const rubbish = Uint8Array.of(9, 9, 9)
    expect([ipam.part.merge(rubbish, peer('b')).ok, ipam.part.missing(rubbish).ok]).toEqual([false, false])
    ipam.part.receive(rubbish, peer('b'))
    expect(ipam.status().faults).toHaveLength(2)
  })
})

describe('coming back from disk', () => {
  test('everything is as it was, without a message', async () => {
    const group = new IpamGroup('10.32.0.0/24')
    group.join('a', 'seed=a')
    const b = group.join('b', '')
    group.gossip()
    for (let number = 0; number < 5; number++) await allocate(b.ipam, number)
    await b.ipam.free(key(4))
    const before = { ranges: ranges(b.ipam), allocations: b.ipam.allocations() }
    await b.ipam[Symbol.asyncDispose]()
    const later = new IpamGroup('10.32.0.0/24')
    const { ipam } = later.join('b', '', b.disk)
    expect({ ranges: ranges(ipam), allocations: ipam.allocations() }).toEqual(before)
    await later.pass(seconds(3)) // Somebody might have told that b was removed meanwhile.
    expect(await allocate(ipam, 9)).toBe('10.32.0.133')
  })

  test('also from a journal that was rewritten, with the search going on where it was', async () => {
    const group = new IpamGroup('10.32.0.0/24')
    const { ipam, disk } = group.join('a', 'seed=a')
    for (let number = 1; number <= 5; number++) await allocate(ipam, number)
    fill(disk)
    for (const number of [5, 4]) await ipam.free(key(number))
    await group.pass(seconds(6))
    expect(ipam.status().journalFault).toContain('ENOSPC')
    disk.fault = undefined
    await group.pass(seconds(5))
    expect(ipam.status().journalFault).toBeUndefined()
    const { ipam: back } = new IpamGroup('10.32.0.0/24').join('a', 'seed=a', disk)
    expect([...back.allocations().keys()]).toEqual([1, 2, 3].map(key))
    expect(await allocate(back, 6)).toBe('10.32.0.6')
  })

  test('a journal that has become mostly past is rewritten by itself', async () => {
    const { ipam, disk } = new IpamGroup('10.32.0.0/24').join('a', 'seed=a')
    let rewritten = 0
    disk.fault = (call) => {
      if (call === 'replace') rewritten += 1
    }
    await allocate(ipam, 0)
    for (let number = 1; rewritten === 0 && number < 20_000; number++) {
      await allocate(ipam, number)
      await ipam.free(key(number))
    }
    // What rests is in it, by four bytes.
    expect(disk.bytes?.length).toBeLessThan(500 + 4 * 256)
    const { ipam: back } = new IpamGroup('10.32.0.0/24').join('a', 'seed=a', disk)
    expect(back.allocations()).toEqual(ipam.allocations())
  })

  test('a message of as many entries as one may have, each with an end of its own, is kept whole', () => {
    const universe = parseCidr('10.0.0.0/8')
    const seedId = seedIdOf(universe, [peer('b')])
    const many = Array.from({ length: DELTA_ITEMS_MAX }, (_, at) => ({
      token: at * 4,
      end: at * 4 + 2,
      owner: peer('b'),
      version: 1,
      epoch: 0,
    }))
    const { ipam, disk } = new IpamGroup('10.0.0.0/8').join('a', '')
    const merged = ipam.part.merge(encodeDelta({ universe, seedId, items: many, retired: [] }), peer('b'))
    expect(merged.ok && decodeDelta(merged.value.news[0]?.delta ?? new Uint8Array()).ok).toBe(true)
    const { ipam: back } = new IpamGroup('10.0.0.0/8').join('a', '', disk)
    expect(back.status().entries).toHaveLength(2 * DELTA_ITEMS_MAX)
    expect(back.part.digest()).toEqual(ipam.part.digest())
  })

  test('another seed list than the ring began with is told of and ignored', () => {
    const { disk } = new IpamGroup('10.32.0.0/24').join('a', 'seed=a')
    const { ipam } = new IpamGroup('10.32.0.0/24').join('a', 'seed=a,b', disk)
    expect([ranges(ipam), ipam.status().faults]).toEqual([
      'a:0-0',
      ['the seed list is not the one that our ring began with; we keep our ring'],
    ])
  })

  test('a peer that lost its ring to damage does not begin it anew: it may have given parts away', () => {
    const { disk } = new IpamGroup('10.32.0.0/24').join('a', 'seed=a')
    disk.bytes = disk.bytes?.map((byte, at, all) => (at === all.length - 1 ? byte ^ 1 : byte))
    const { ipam } = new IpamGroup('10.32.0.0/24').join('a', 'seed=a', disk)
    expect([ipam.ranges(), ipam.status().status]).toEqual([[], 'waiting to hear from other peers what became of our IP ranges'])
    expect(ipam.status().faults.join()).toContain('damaged')
  })

  test('on a real disk, in a directory of its own', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'weft-t-ipam-'))
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
    const options = { self: peer('a'), universe: parseCidr('10.32.0.0/12'), init: { kind: 'seed', peers: [peer('a')] }, directory } as const
    const ports = { clock: systemClock, random: systemRandom, log: silentLog }
    {
      await using ipam = await Ipam.open({ ...options, ...ports })
      const given = await Promise.all(Array.from({ length: 200 }, (_, number) => allocate(ipam, number)))
      expect(new Set(given).size).toBe(200)
      await expect(Ipam.open({ ...options, ...ports })).rejects.toMatchObject({ code: 'STATE' })
    }
    await using back = await Ipam.open({ ...options, ...ports })
    expect(back.allocations().size).toBe(200)
    await expect(Ipam.open({ ...options, ...ports, universe: parseCidr('10.0.0.0/30') })).rejects.toMatchObject({ code: 'USAGE' })
  })
})

describe('a full disk', () => {
  test('an allocation that cannot be written is not given, but a release is done: a pod must be able to go; all is written when there is room', async () => {
    const { ipam, disk } = new IpamGroup('10.32.0.0/24').join('a', 'seed=a')
    await allocate(ipam, 1)
    fill(disk)
    const refused = await ipam.allocate(key(2), NEVER)
    expect(refused).toMatchObject({ ok: false, error: { code: 'store', text: expect.stringContaining('ENOSPC') } })
    expect([await ipam.free(key(1)), ipam.lookup(key(1)), ipam.lookup(key(2))]).toEqual([0x0a200001, undefined, undefined])
    expect(ipam.status().faults.join()).toContain('ENOSPC')
    disk.fault = undefined
    expect(await allocate(ipam, 2)).toBe('10.32.0.2')
    const { ipam: back } = new IpamGroup('10.32.0.0/24').join('a', 'seed=a', disk)
    expect(back.allocations()).toEqual(ipam.allocations())
  })

  test('nothing is granted before it is on the device', async () => {
    const group = new IpamGroup('10.32.0.0/24')
    const a = group.join('a', 'seed=a')
    const b = group.join('b', '')
    group.gossip()
    a.disk.fault = (call) => {
      if (call !== 'append') throw systemError('EIO')
    }
    const waiting = allocate(b.ipam, 1)
    await group.pass()
    expect([ranges(a.ipam), ranges(b.ipam), group.sent]).toEqual(['a:0-0', 'a:0-0', ['b→a 1', 'a→b 3']])
    a.disk.fault = undefined
    await group.pass(seconds(6))
    expect(await waiting).toBe('10.32.0.128')
  })

  test('does not keep us from hearing of other peers’ ranges', async () => {
    const group = new IpamGroup('10.32.0.0/24')
    const [a, b, c] = [group.join('a', 'seed=a,b'), group.join('b', 'seed=a,b'), group.join('c', '')]
    group.gossip()
    fill(b.disk)
    await allocate(c.ipam, 1)
    await group.pass()
    group.gossip()
    expect(b.ipam.part.digest()).toEqual(a.ipam.part.digest())
    expect(ranges(b.ipam)).toContain('c:')
  })
})
