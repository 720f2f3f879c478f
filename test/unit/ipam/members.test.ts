/** Peers that are removed or leave while IPAM has other troubles: rings that met, lost journals, votes under way. */
import { describe, expect, test } from 'vitest'
import type { Ipam } from '../../../ipam/ipam.ts'
import { scanJournal } from '../../../ipam/journal.ts'
import { Ledger } from '../../../ipam/ledger.ts'
import { mergeRing, ringNews } from '../../../ipam/ring.ts'
import { encodeDelta } from '../../../ipam/ring-codec.ts'
import { seedIdOf, seedRing } from '../../../ipam/seed.ts'
import { openStore } from '../../../ipam/store.ts'
import { encodeVerdict } from '../../../ipam/verdicts.ts'
import { parseCidr } from '../../../mesh/base/address.ts'
import { millis, type PeerName, seconds } from '../../../mesh/base/brand.ts'
import { allocate, items, key, news, peer, ranges, ring, SEED_ID, takeOver } from '../../support/ipam.ts'
import { IpamGroup, three } from '../../support/ipam-group.ts'
import { MemoryDisk } from '../../support/memory-disk.ts'

const RANGE = '10.32.0.0/24'
const universe = parseCidr(RANGE)
const ringOf = (...letters: readonly string[]) => seedIdOf(universe, letters.map(peer))
const own = key(0)

async function talk(group: IpamGroup): Promise<void> {
  for (let round = 0; round < 4; round++) {
    group.gossip()
    await group.pass(seconds(1))
  }
}

/** Of the peer that a person has told `ipam` to be removed, if it is so. */
function removals(ipam: Ipam): readonly PeerName[] {
  const told: PeerName[] = []
  ipam.members.onRetired(({ by }) => told.push(by))
  return told
}

describe('while another ring is there', () => {
  test('a takeover asks its peers too, and waits for a person’s word about them; it changes nothing in their ring', async () => {
    const { group, a, b } = three()
    const x = group.join('e', 'seed=e').ipam
    await talk(group)
    group.gone.add(peer('c'))
    expect(await takeOver(a, 'c', false, [peer('e')])).toEqual({ code: 'apart', peers: [peer('e')] })
    expect([ranges(a), ranges(b)]).toEqual(['a:0-64 b:64-128 c:128-0', 'a:0-64 b:64-128 c:128-0'])
    expect(await takeOver(a, 'e')).toEqual({ code: 'alive', peers: [peer('a')] })
    expect(await takeOver(a, 'c', true, [peer('e')])).toEqual({ taken: 128 })
    await talk(group)
    expect([ranges(b), ranges(x)]).toEqual(['a:0-64 b:64-128 a:128-0', 'e:0-0'])

    expect(a.resolve('ours', undefined)).toBe(ringOf('a', 'b', 'c'))
    await talk(group)
    expect(ranges(x)).toBe(ranges(a))
    expect(await takeOver(x, 'c')).toEqual({ taken: 0 })
  })

  test('who leaves gives its ranges to a peer of its own ring, and to nobody when there is none', async () => {
    const { group, a, c } = three()
    for (const letter of ['e', 'f', '1', '2']) group.join(letter, `seed=${letter}`)
    group.gone.add(peer('a')).add(peer('b'))
    const alone = c.members.leave({ own, force: false })
    await group.pass(seconds(9))
    expect(await alone).toMatchObject({ ok: false, error: { code: 'silent' } })
    expect(ranges(c)).toBe('a:0-64 b:64-128 c:128-0')
    group.gone.delete(peer('a'))
    const left = c.members.leave({ own, force: false })
    await group.pass(seconds(7))
    expect(await left).toMatchObject({ ok: true, value: { heir: peer('a'), given: 128 } })
    expect(ranges(a)).toBe('a:0-64 b:64-128 a:128-0')
  })

  test('a takeover and a departure that are under way end when our ring is given up', async () => {
    const { group, a } = three()
    group.gone.add(peer('c'))
    group.deaf.add(peer('b'))
    const theirs = ringOf('e')
    const [taking, leaving] = [takeOver(a, 'c'), a.members.leave({ own, force: false })]
    a.part.merge(encodeVerdict(universe, { loser: ringOf('a', 'b', 'c'), winner: theirs, at: millis(1) }), peer('e'))
    a.part.merge(encodeDelta({ universe, seedId: theirs, ...news(items(256, '0:e:1')) }), peer('e'))
    expect(ranges(a)).toBe('e:0-0')
    await group.pass(seconds(2))
    expect(await taking).toMatchObject({ code: 'apart' })
    expect(await leaving).toMatchObject({ ok: false, error: { code: 'apart' } })
    expect(a.status().retiredBy).toBeUndefined()
  })
})

describe('a name that was retired in one of two rings', () => {
  /** `b` was removed from the ring that it began with `a`; it lives, and has begun another one. */
  async function parted(): Promise<{ readonly group: IpamGroup; readonly a: Ipam; readonly b: Ipam }> {
    const group = new IpamGroup(RANGE)
    const a = group.join('a', 'seed=a,b').ipam
    group.gone.add(peer('b'))
    expect(await takeOver(a, 'b')).toEqual({ taken: 128 })
    group.gone.clear()
    const b = group.join('b', 'seed=b').ipam
    expect(await allocate(b, 1)).toBe('10.32.0.1')
    await talk(group)
    return { group, a, b }
  }

  test('is not taken along into the ring that stands, where it is an owner’s', async () => {
    const { group, a, b } = await parted()
    a.resolve('theirs', undefined)
    await talk(group)
    expect([ranges(a), a.status().owners.map(({ isRetired }) => isRetired)]).toEqual(['b:0-0', [false]])
    expect([b.status().retiredBy, await allocate(b, 2)]).toEqual([undefined, '10.32.0.2'])
  })

  test('is what its bearer finds when that ring stands: it gives out nothing, claims nothing, and is told', async () => {
    const { group, a, b } = await parted()
    const told = removals(b)
    a.resolve('ours', undefined)
    await talk(group)
    expect([ranges(b), told]).toEqual(['a:0-0', [peer('a')]])
    expect(await allocate(b, 2)).toBe('retired')
    await group.pass(seconds(5))
    expect(group.sent.filter((message) => message === 'b→a 16')).toEqual([])
    expect(ranges(a)).toBe('a:0-0')
  })

  test('is asked for before anything is given out in the ring that stands, as who told it may not have known', async () => {
    const { group, b } = await parted()
    const theirs = ringOf('a', 'b')
    b.part.merge(encodeVerdict(universe, { loser: ringOf('b'), winner: theirs, at: millis(1) }), peer('e'))
    b.part.merge(encodeDelta({ universe, seedId: theirs, ...news(items(256, '0:a:1 128:b:1')) }), peer('e'))
    expect([ranges(b), b.status().retiredBy]).toEqual(['a:0-128 b:128-0', undefined])
    const answer = allocate(b, 2)
    await group.pass()
    expect(await answer).toBe('retired')
  })
})

describe('a peer that has lost some of its journal', () => {
  /** `a` with a damaged journal beside `b`, and `c` gone for good. */
  async function damaged(): Promise<{ readonly group: IpamGroup; readonly a: Ipam; readonly b: Ipam }> {
    const { group, a: before, b } = three()
    await allocate(before, 1)
    const [disk] = group.disks('a')
    if (disk?.bytes === undefined) throw new Error('no journal')
    const last = disk.bytes.length - 3
    disk.bytes = disk.bytes.map((byte, at) => (at === last ? byte ^ 1 : byte))
    group.gone.add(peer('c'))
    group.known.push(peer('c'))
    const { ipam: a } = group.join('a', 'seed=a,b,c', disk)
    await talk(group)
    expect(a.status().doubt).toContain(`until it has heard from ${peer('c')}`)
    return { group, a, b }
  }

  test.each(['another', 'itself'])('waits for a peer that is gone until %s takes over from it', async (who) => {
    const { group, a, b } = await damaged()
    const leaving = await a.members.leave({ own, force: true })
    expect(leaving).toMatchObject({ ok: false, error: { code: 'in-doubt', hint: expect.stringContaining('weft ipam recover') } })
    expect(await takeOver(who === 'another' ? b : a, 'c')).toEqual({ taken: 128 })
    await talk(group)
    expect([a.status().doubt, await allocate(a, 2)]).toEqual([undefined, expect.stringMatching(/^10\.32/)])
    expect([a, b].map((ipam) => ipam.upkeep.ringFindings())).toEqual([[], []])
  })

  test('does not make one run of what it gains and what it may have given away', () => {
    const { store } = openStore(new MemoryDisk().open(), { peer: peer('a'), universe: parseCidr('10.32.0.0/27'), cluster: '' })
    const delta = (text: string) => ({ universe: parseCidr('10.32.0.0/27'), seedId: SEED_ID, ...news(items(32, text)) })
    const records = [{ kind: 'ring', delta: delta('0:a:1 16:c:1') } as const, { kind: 'doubt', isOpen: true } as const]
    const ledger = new Ledger(peer('a'), parseCidr('10.32.0.0/27'), store, records)
    expect(ledger.merge(delta('16:a:2'))).toMatchObject({ ok: true, value: { own: [] } })
    // What it had forgotten.
    ledger.merge(delta('8:b:2:16'))
    expect(ledger.ring?.entries).toEqual(ring(32, '0:a:1 8:b:2 16:a:2').entries)
    ledger.doubt(false)
    expect(ledger.merge(delta('8:a:3:16'))).toMatchObject({ ok: true, value: { own: [{ token: 0, end: 32, version: 4 }] } })
  })
})

test('the ring adds up after a removal; after a forced reset it names what nobody has taken over yet', async () => {
  const { group, a, b, c } = three()
  await allocate(c, 7)
  expect(await c.members.leave({ own, force: true })).toMatchObject({ ok: true, value: { kept: 1 } })
  await group.pass()
  group.gone.add(peer('c'))
  const rest = `10.32.0.128 to 10.32.0.128 are of ${peer('c')}, which was removed: run \`weft rmpeer ${peer('c')}\``
  expect([a, b].map((ipam) => ipam.upkeep.ringFindings())).toEqual([[rest], [rest]])
  expect(await takeOver(b, 'c')).toEqual({ taken: 1 })
  expect([a, b].map((ipam) => ipam.upkeep.ringFindings())).toEqual([[], []])
  const asked = a.upkeep.ask(peer('b'), seconds(1))
  await group.pass()
  const answer = await asked
  expect(answer !== undefined && a.upkeep.isAgreed(answer)).toBe(true)
})

describe('a ring that votes began', () => {
  test('goes on when one of the voters was removed: neither its successor nor one that lost all begins another', async () => {
    const group = new IpamGroup(RANGE)
    const [a, b, c] = ['a', 'b', 'c'].map((letter) => group.join(letter, 'consensus=3'))
    await group.pass(seconds(8))
    if (a === undefined || b === undefined || c === undefined) throw new Error('no members')
    expect(ranges(a.ipam)).toBe('a:0-64 b:64-128 c:128-0')
    group.gone.add(c.name)
    expect(await takeOver(a.ipam, 'c')).toEqual({ taken: 128 })
    const successor = group.join('d', 'consensus=3')
    const { ipam: emptied } = group.join('b', 'consensus=3', new MemoryDisk())
    await group.pass(seconds(8))
    await talk(group)
    expect([ranges(successor.ipam), ranges(emptied)]).toEqual([ranges(a.ipam), ranges(a.ipam)])
    expect(await allocate(successor.ipam, 1)).toMatch(/^10\.32/)
    expect(group.sent.filter((message) => message.endsWith(' accept')).length).toBeLessThanOrEqual(2)
  })

  test('is not changed when it is begun again from the same list', async () => {
    const { group, a } = three()
    group.gone.add(peer('c'))
    await takeOver(a, 'c')
    const [disk] = group.disks('a')
    const { records } = scanJournal(disk?.bytes ?? new Uint8Array())
    const { store } = openStore(new MemoryDisk().open(), { peer: peer('a'), universe, cluster: '' })
    const now = new Ledger(peer('a'), universe, store, records).ring
    if (now === undefined) throw new Error('no ring')
    expect(mergeRing(now, ringNews(seedRing(universe, ['a', 'b', 'c'].map(peer)))).ring).toBe(now)
    expect(now.retired.get(peer('c'))).toBe(peer('a'))
  })
})
