/** A disk that counts. */
import { expect, test } from 'vitest'
import { type Counts, counted } from '../../../../bench/ipam/journals.ts'
import { MemoryDisk } from '../../../support/memory-disk.ts'

test.each([
  [false, 3],
  [true, 4],
])('counts what is written and waited for; each append synced: %s', (isSynced, syncs) => {
  const counts: Counts = { bytes: 0, syncs: 0, gossipBytes: 0 }
  const inner = new MemoryDisk().open()
  const disk = counted(inner, counts, isSynced)
  disk.replace(Uint8Array.of(1, 2, 3))
  disk.append(Uint8Array.of(4, 5))
  disk.sync()
  expect(counts).toEqual({ bytes: 5, syncs, gossipBytes: 0 })
  expect(disk.read()).toEqual(Uint8Array.of(1, 2, 3, 4, 5))
})

test('counts the files beside it too', () => {
  const counts: Counts = { bytes: 0, syncs: 0, gossipBytes: 0 }
  using disk = counted(new MemoryDisk().open(), counts, false)
  disk.beside('other').replace(Uint8Array.of(1))
  expect(counts).toEqual({ bytes: 1, syncs: 2, gossipBytes: 0 })
})
