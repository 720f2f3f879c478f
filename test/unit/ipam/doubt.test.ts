/** A peer that has lost some of its journal: it gives nothing to anybody before it has heard what it gave away. */
import { describe, expect, test } from 'vitest'
import { encodeClaim } from '../../../ipam/claims.ts'
import type { Ipam } from '../../../ipam/ipam.ts'
import { encodeHeader, encodeRecords, type JournalRecord, scanJournal } from '../../../ipam/journal.ts'
import { seedIdOf } from '../../../ipam/seed.ts'
import { parseCidr, parseIpv4 } from '../../../mesh/base/address.ts'
import { seconds } from '../../../mesh/base/brand.ts'
import { allocate, key, peer, ranges } from '../../support/ipam.ts'
import { IpamGroup } from '../../support/ipam-group.ts'
import { type MemoryDisk, systemError } from '../../support/memory-disk.ts'

const RANGE = '10.32.0.0/24'
const WAITING = 'waiting to hear from other peers what became of our IP ranges'

/** Flips a bit in the first record that is as wanted. */
function flip(disk: MemoryDisk, wanted: (record: JournalRecord) => boolean): void {
  const bytes = disk.bytes ?? new Uint8Array()
  const { records } = scanJournal(bytes)
  const header = encodeHeader({ peer: peer('a'), universe: parseCidr(RANGE), cluster: '' })
  const at = header.length + encodeRecords(records.slice(0, records.findIndex(wanted))).length
  disk.bytes = bytes.map((byte, index) => (index === at + 10 ? byte ^ 4 : byte))
}

/** `a` begins the ring, gives half of it to `b`, and has two pods. */
async function begin(): Promise<{ readonly group: IpamGroup; readonly disk: MemoryDisk; readonly b: Ipam }> {
  const group = new IpamGroup(RANGE)
  const [a, b] = [group.join('a', 'seed=a'), group.join('b', '')]
  group.gossip()
  await allocate(a.ipam, 1)
  expect(await allocate(b.ipam, 2)).toBe('10.32.0.128')
  await allocate(a.ipam, 3)
  await group.pass()
  return { group, disk: a.disk, b: b.ipam }
}

const isGrant = (record: JournalRecord): boolean => record.kind === 'ring' && record.delta.items.some(({ owner }) => owner === peer('b'))

describe('a grant that was lost', () => {
  test('is heard of again from whoever has it, and only then is anything given out', async () => {
    const { group, disk } = await begin()
    flip(disk, isGrant)
    const { ipam } = group.join('a', 'seed=a', disk)
    expect([ranges(ipam), ipam.status().status, disk.damaged.length]).toEqual(['a:0-0', WAITING, 1])
    const waiting = allocate(ipam, 9)
    await group.pass(seconds(2))
    expect([ipam.lookup(key(9)), ipam.status().status]).toEqual([undefined, WAITING])
    group.gossip()
    await group.pass(seconds(5))
    expect([await waiting, ranges(ipam), ipam.status().status]).toEqual(['10.32.0.2', 'a:0-128 b:128-0', 'ready'])
  })

  test('is not given a second time to a peer that asks', async () => {
    const { group, disk, b } = await begin()
    flip(disk, isGrant)
    group.gone.add(peer('b'))
    group.known.push(peer('b'))
    const { ipam } = group.join('a', 'seed=a', disk)
    const c = group.join('c', '')
    group.gossip()
    const refused = allocate(c.ipam, 5)
    await group.pass(seconds(9))
    expect([ranges(ipam), group.sent.filter((message) => message.startsWith('a→c 2'))]).toEqual(['a:0-0', []])
    await group.pass(seconds(2))
    expect(await refused).toBe('unreachable')
    expect(ranges(b)).toBe('a:0-128 b:128-0')
  })

  test('while its peer is away an allocation fails with whom it waits for; the doubt outlives restarts, and a person can end it', async () => {
    const { group, disk } = await begin()
    flip(disk, isGrant)
    group.gone.add(peer('b'))
    group.known.push(peer('b'))
    group.join('a', 'seed=a', disk)
    const { ipam } = group.join('a', 'seed=a', disk)
    const refused = ipam.allocate(key(9), new AbortController().signal)
    await group.pass(seconds(11))
    expect(await refused).toMatchObject({
      ok: false,
      error: { code: 'in-doubt', text: expect.stringContaining(`until it has heard from ${peer('b')} what became of its ranges`) },
    })
    expect(ipam.upkeep.recover()).toEqual([peer('b')])
    expect(await allocate(ipam, 9)).toBe('10.32.0.2')
    const { ipam: back } = group.join('a', 'seed=a', disk)
    expect(back.status().doubt).toBeUndefined()
  })

  test('is noticed also when the journal itself looks whole, as an old copy of it does', async () => {
    const { group, disk } = await begin()
    const { records } = scanJournal(disk.bytes ?? new Uint8Array())
    const header = encodeHeader({ peer: peer('a'), universe: parseCidr(RANGE), cluster: '' })
    disk.bytes = new Uint8Array([...header, ...encodeRecords(records.slice(0, records.findIndex(isGrant)))])
    const { ipam } = group.join('a', 'seed=a', disk)
    expect(ipam.status().status).toBe('ready')
    group.gossip()
    expect([ranges(ipam), ipam.status().status]).toEqual(['a:0-128 b:128-0', WAITING])
    expect(ipam.status().faults.join()).toContain('only we can have made it')
    await group.pass(seconds(6))
    expect(ipam.status().status).toBe('ready')
  })
})

describe('a peer in doubt', () => {
  test('does not answer a claim, neither by giving nor by refusing, until it has heard the others', async () => {
    const { group, disk } = await begin()
    flip(disk, isGrant)
    const { ipam } = group.join('a', 'seed=a', disk)
    const claim = encodeClaim({ kind: 'claim', seedId: seedIdOf(parseCidr(RANGE), [peer('a')]), hosts: [5, 130] })
    ipam.part.receive(claim, peer('b'))
    await group.pass()
    expect([ranges(ipam), group.sent.filter((message) => message === 'a→b 17')]).toEqual(['a:0-0', []])
    group.gossip()
    await group.pass(seconds(6))
    ipam.part.receive(claim, peer('b'))
    await group.pass()
    expect([ranges(ipam), group.sent.filter((message) => message === 'a→b 17')]).toEqual(['a:0-5 b:5-6 a:6-128 b:128-0', ['a→b 17']])
  })

  test('says when all that it waits for have a ring that began apart; when it takes that one, it asks the peers of that one anew', async () => {
    const { group, disk } = await begin()
    for (const letter of ['a', 'b']) group.gone.add(peer(letter))
    const c = group.join('c', 'seed=a,c')
    await allocate(c.ipam, 7)
    await group.pass()
    flip(disk, isGrant)
    group.gone.delete(peer('a'))
    const { ipam } = group.join('a', 'seed=a', disk)
    ipam.upkeep.reconcile(new Map([[key(1), parseIpv4('10.32.0.1')]]))
    group.gossip()
    await group.pass(seconds(10))
    expect(ipam.status().doubt).toContain(`until ${c.name} and we have one ring: decide which of the two stands with \`weft ipam resolve\``)
    ipam.resolve('theirs', undefined)
    group.deaf.add(c.name)
    group.gossip()
    expect([ranges(ipam), ipam.status().status, ipam.status().doubt]).toEqual([
      'a:0-128 c:128-0',
      WAITING,
      expect.stringContaining(`until it has heard from ${c.name} what`),
    ])
    await group.pass(seconds(10))
    expect(ipam.status().status).toBe(WAITING)
    group.join('a', 'seed=a', disk)
    group.deaf.clear()
    const { ipam: back } = group.join('a', 'seed=a', disk)
    expect([ranges(back), back.status().status]).toEqual(['a:0-128 c:128-0', WAITING])
    await group.pass(seconds(10))
    expect([back.status().status, await allocate(back, 9)]).toEqual(['ready', '10.32.0.2'])
  })
})

describe('addresses of pods that run', () => {
  test('are taken up again, those of pods that are gone are freed, and nothing is given twice', async () => {
    const { group, disk } = await begin()
    flip(disk, (record) => record.kind === 'allocate')
    const { ipam } = group.join('a', 'seed=a', disk)
    expect(ipam.allocations().size).toBe(0)
    const living = new Map([1, 3].map((number) => [key(number), parseIpv4(`10.32.0.${number === 1 ? 1 : 2}`)]))
    expect(ipam.upkeep.reconcile(living)).toEqual({ freed: [], relearnt: [key(1), key(3)], refused: [] })
    group.gossip()
    await group.pass(seconds(6))
    expect(await allocate(ipam, 4)).toBe('10.32.0.3')
    expect(ipam.upkeep.reconcile(new Map([[key(1), undefined]]))).toEqual({ freed: [key(3), key(4)], relearnt: [], refused: [] })
    const { ipam: back } = group.join('a', 'seed=a', disk)
    expect([...back.allocations().keys()]).toEqual([key(1)])
  })

  test('win over what is left of the journal, but two pods do not share one', () => {
    const { ipam } = new IpamGroup(RANGE).join('a', 'seed=a')
    const [one, two] = [parseIpv4('10.32.0.1'), parseIpv4('10.32.0.2')]
    ipam.upkeep.reconcile(new Map([[key(1), one]]))
    expect(
      ipam.upkeep.reconcile(
        new Map([
          [key(1), two],
          [key(2), one],
        ]),
      ),
    ).toMatchObject({ relearnt: [key(1), key(2)], refused: [] })
    const odd = new Map([
      [key(1), two],
      [key(2), one],
      [key(3), one],
      [key(4), parseIpv4('10.99.0.1')],
      [key(5), parseIpv4('10.32.0.0')],
    ])
    expect(ipam.upkeep.reconcile(odd)).toMatchObject({ freed: [], refused: [key(3), key(4), key(5)] })
    expect(ipam.allocations()).toEqual(
      new Map([
        [key(1), two],
        [key(2), one],
      ]),
    )
  })
})

test('a peer that is alone listens for a while, and then goes on; also when its ring itself was lost', async () => {
  const group = new IpamGroup(RANGE)
  const { disk } = group.join('a', 'seed=a')
  flip(disk, (record) => record.kind === 'ring')
  const { ipam } = group.join('a', 'seed=a', disk)
  expect([ipam.ranges(), ipam.status().status]).toEqual([[], WAITING])
  await group.pass(seconds(4))
  expect(ipam.status().status).toBe(WAITING)
  await group.pass(seconds(2))
  expect([ranges(ipam), ipam.status().status]).toEqual(['a:0-0', 'ready'])
})

test('damage is found again after a restart on a full disk, and a copy is made when there is room', async () => {
  const { group, disk } = await begin()
  flip(disk, isGrant)
  const damaged = disk.bytes
  disk.fault = (call) => {
    if (call !== 'sync') throw systemError('ENOSPC')
  }
  for (const round of [1, 2]) {
    const { ipam } = group.join('a', 'seed=a', disk)
    expect([round, ipam.status().status, disk.bytes, disk.damaged]).toEqual([round, WAITING, damaged, []])
    expect(ipam.status().journalFault).toContain('ENOSPC')
  }
  disk.fault = undefined
  await group.pass(seconds(6))
  expect([disk.damaged.length, scanJournal(disk.bytes ?? new Uint8Array()).end]).toEqual([1, 'whole'])
})
