/** The journal and its store: what survives cuts, flipped bits and failed writes, and whose files are refused. */
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeHeader, encodeRecords, type JournalRecord, scanJournal } from '../../../ipam/journal.ts'
import { openStore } from '../../../ipam/store.ts'
import { parseCidr } from '../../../mesh/base/address.ts'
import { concatBytes } from '../../../mesh/base/bytes.ts'
import { parseCidr6 } from '../../../mesh/base/prefix.ts'
import { items, key, peer, SEED_ID } from '../../support/ipam.ts'
import { MemoryDisk, systemError } from '../../support/memory-disk.ts'

const RANGE6 = parseCidr6('fd00:77:65::/64')
const HEADER = { peer: peer('a'), universe: parseCidr('10.32.0.0/27'), cluster: 'blue' }
const HEAD_BYTES = encodeHeader(HEADER).length
const RECORDS: readonly JournalRecord[] = [
  {
    kind: 'ring',
    delta: { universe: HEADER.universe, seedId: SEED_ID, items: items(32, '0:a:1 16:b:1'), retired: [{ peer: peer('d'), by: peer('c') }] },
  },
  { kind: 'allocate', key: key(1), host: 1 },
  { kind: 'allocate', key: key(2), host: 2 },
  { kind: 'free', key: key(1) },
  { kind: 'cursor', host: 3 },
  { kind: 'rest', hosts: [5, 3, 2 ** 24 - 2] },
  { kind: 'doubt', isOpen: true },
  { kind: 'doubt', isOpen: false },
]
const JOURNAL = concatBytes([encodeHeader(HEADER), encodeRecords(RECORDS)])

function diskWith(bytes: Uint8Array | undefined): MemoryDisk {
  const disk = new MemoryDisk()
  disk.bytes = bytes
  return disk
}

test('every kind of record comes back as it was written', () => {
  expect(scanJournal(JOURNAL)).toEqual({
    head: { kind: 'known', header: HEADER },
    records: RECORDS,
    goodBytes: JOURNAL.length,
    end: 'whole',
  })
})

test('cut anywhere behind its header, it gives the records before the cut, and takes the rest for a record that was never finished', () => {
  for (let cut = HEAD_BYTES; cut <= JOURNAL.length; cut++) {
    const disk = diskWith(JOURNAL.slice(0, cut))
    const { records, warning, store, isDamaged } = openStore(disk.open(), HEADER)
    const whole = encodeRecords(records).length + HEAD_BYTES
    expect(records).toEqual(RECORDS.slice(0, records.length))
    expect(whole).toBeLessThanOrEqual(cut)
    expect(whole + encodeRecords(RECORDS.slice(records.length, records.length + 1)).length).toBeGreaterThan(
      cut === JOURNAL.length ? 0 : cut,
    )
    expect([disk.damaged, isDamaged, warning === undefined, store.broken]).toEqual([[], false, whole === cut, whole !== cut])
    store.rewrite(RECORDS)
    expect([disk.bytes, store.broken]).toEqual([JOURNAL, false])
  }
})

test('with any bit flipped behind its header, it gives the records before that, all of the rest is kept, and it can be written on', () => {
  for (let bit = HEAD_BYTES * 8; bit < JOURNAL.length * 8; bit++) {
    const bytes = JOURNAL.slice()
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    const disk = diskWith(bytes)
    const { records, store, isDamaged } = openStore(disk.open(), HEADER)
    expect([records, isDamaged]).toEqual([RECORDS.slice(0, records.length), true])
    const whole = HEAD_BYTES + encodeRecords(records).length
    expect(whole * 8).toBeLessThanOrEqual(bit)
    expect([disk.damaged, disk.bytes]).toEqual([[bytes.slice(whole)], bytes])
    store.rewrite([...records, { kind: 'cursor', host: 9 }])
    expect(openStore(disk.open(), HEADER).records).toEqual([...records, { kind: 'cursor', host: 9 }])
  }
})

test('no bytes break the scan', () => {
  fc.assert(
    fc.property(fc.constantFrom(0, HEAD_BYTES, HEAD_BYTES + 30), fc.uint8Array({ maxLength: 200 }), (good, rest) => {
      const scan = scanJournal(concatBytes([JOURNAL.slice(0, good), rest]))
      expect(scan.goodBytes).toBeLessThanOrEqual(good + rest.length)
    }),
    { seed: 1, numRuns: 2_000 },
  )
})

describe('a journal that is not ours is refused, with what to do, and nothing of it is touched', () => {
  const ofFormat = (format: number): Uint8Array => {
    const bytes = encodeHeader(HEADER).slice()
    bytes[9] = format
    return reframed(bytes)
  }
  test.each([
    { name: 'of another peer', bytes: encodeHeader({ ...HEADER, peer: peer('b') }), text: 'bbbbbbbbbbbbbbbb' },
    { name: 'of another universe', bytes: encodeHeader({ ...HEADER, universe: parseCidr('10.64.0.0/27') }), text: '10.64.0.0/27' },
    {
      name: 'of another range of IPv6',
      bytes: encodeHeader({ ...HEADER, universe: { ...HEADER.universe, v6: RANGE6 } }),
      text: ',fd00:77:65::/64; we',
    },
    { name: 'of another cluster', bytes: encodeHeader({ ...HEADER, cluster: 'red' }), text: 'the cluster red; we are to join blue' },
    { name: 'of a later format', bytes: ofFormat(3), text: 'is of format 3, which another version of Weft has written; this one knows 2' },
    {
      name: 'of an earlier format',
      bytes: ofFormat(1),
      text: 'is of format 1, which another version of Weft has written; this one knows 2',
    },
    { name: 'empty', bytes: new Uint8Array(), text: 'no readable header' },
    { name: 'cut within its header', bytes: JOURNAL.slice(0, HEAD_BYTES - 1), text: 'no readable header' },
    { name: 'that begins with a record', bytes: encodeRecords(RECORDS), text: 'no readable header' },
    { name: 'of rubbish', bytes: new Uint8Array(Buffer.from('SQLite format 3\0')), text: 'no readable header' },
  ])('$name', ({ bytes, text }) => {
    const disk = diskWith(bytes)
    expect(() => openStore(disk.open(), HEADER)).toThrow(
      expect.objectContaining({ code: 'STATE', message: expect.stringContaining(text), hint: expect.stringMatching(/.+/) }),
    )
    expect([disk.bytes, disk.damaged]).toEqual([bytes, []])
  })
})

describe('a failed write', () => {
  test.each(['append', 'sync'] as const)('(%s) is told, and the next change must write everything anew', (call) => {
    const disk = diskWith(undefined)
    const { store } = openStore(disk.open(), HEADER)
    disk.fault = (attempted) => {
      if (attempted === call) throw systemError('ENOSPC')
    }
    expect(store.append(RECORDS.slice(0, 1), 'durable')).toEqual({
      ok: false,
      error: { code: 'store', errno: 'ENOSPC', text: 'cannot write to memory:ipam.journal: ENOSPC: injected' },
    })
    expect(store.broken).toBe(true)
    disk.fault = undefined
    expect(store.rewrite(RECORDS)).toEqual({ ok: true, value: undefined })
    expect(store.broken).toBe(false)
    expect(disk.bytes).toEqual(JOURNAL)
  })

  test('leaves half a record, which is found and cut off at the next start', () => {
    const disk = diskWith(JOURNAL)
    const { store } = openStore(disk.open(), HEADER)
    disk.fault = () => {
      throw systemError('EIO')
    }
    expect(store.append([{ kind: 'free', key: key(2) }], 'buffered').ok).toBe(false)
    disk.fault = undefined
    const { records, warning, isDamaged } = openStore(disk.open(), HEADER)
    expect([records, warning === undefined, isDamaged]).toEqual([RECORDS, false, false])
  })
})

test('what was written but not waited for is on the device before it is read: a power loss cannot undo what we act on', () => {
  const disk = diskWith(undefined)
  openStore(disk.open(), HEADER).store.append(RECORDS, 'buffered')
  expect(openStore(disk.open(), HEADER).records).toEqual(RECORDS)
  disk.losePower(() => 0)
  expect(openStore(disk.open(), HEADER).records).toEqual(RECORDS)
})

test('a disk that fails at the start is told of', () => {
  const disk = diskWith(JOURNAL)
  disk.fault = () => {
    throw systemError('EIO')
  }
  expect(() => openStore(disk.open(), HEADER)).toThrow(
    expect.objectContaining({ code: 'STATE', cause: expect.objectContaining({ code: 'EIO' }) }),
  )
})

test('a journal asks to be rewritten when it is mostly of the past, and then not for long', () => {
  const disk = diskWith(undefined)
  const { store } = openStore(disk.open(), HEADER)
  let appends = 0
  for (; !store.grown; appends++) store.append(RECORDS, 'buffered')
  expect(appends * encodeRecords(RECORDS).length).toBeGreaterThanOrEqual(200 * 1024)
  store.rewrite(RECORDS)
  expect([store.grown, disk.bytes]).toEqual([false, JOURNAL])
})

/** With its checksum made right again. */
function reframed(record: Uint8Array): Uint8Array {
  const fixed = record.slice()
  new DataView(fixed.buffer).setUint32(4, crc32(fixed.subarray(8), crc32(fixed.subarray(0, 4))))
  return fixed
}
