/** The allocator alone, with time in the test's hand. */
import { expect, test } from 'vitest'
import { Allocator } from '../../../ipam/allocator.ts'
import { Ledger } from '../../../ipam/ledger.ts'
import { decodeSpaceMessage } from '../../../ipam/messages.ts'
import { seedRing } from '../../../ipam/seed.ts'
import { openStore } from '../../../ipam/store.ts'
import { parseCidr } from '../../../mesh/base/address.ts'
import { type Millis, millis } from '../../../mesh/base/brand.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { key, peer } from '../../support/ipam.ts'
import { MemoryDisk } from '../../support/memory-disk.ts'
import { must } from '../../support/result.ts'

const UNIVERSE = parseCidr('10.32.0.0/29')
const [SELF, OTHER] = [peer('a'), peer('b')]

/** It has three addresses, all of them in use. */
function fullAllocator(): Allocator {
  const { store, records } = openStore(new MemoryDisk().open(), { peer: SELF, universe: UNIVERSE, cluster: '' })
  const allocator = new Allocator(new Ledger(SELF, UNIVERSE, store, records), seededRandom(1), {
    reachable: () => [OTHER],
    isHeld: () => false,
  })
  must(allocator.seed(seedRing(UNIVERSE, [SELF, OTHER]), millis(0)))
  for (let request = 0; request < 3; request++) allocator.allocate(request, key(request), millis(0))
  allocator.drain()
  return allocator
}

/** The other one answers all asks under way: it has nothing. @returns how many asks there were. */
function deny(allocator: Allocator, now: Millis): number {
  const asks = allocator.drain().flatMap((effect) => {
    const message = effect.kind === 'send' ? must(decodeSpaceMessage(effect.message)) : undefined
    return message?.kind === 'ask' ? [message.id] : []
  })
  for (const id of asks) must(allocator.receive(OTHER, { kind: 'denial', id, free: 0 }, now))
  return asks.length
}

test('who is woken a moment too early is woken again, and asks once more before it says that there is nothing', () => {
  const allocator = fullAllocator()
  allocator.allocate(9, key(9), millis(1_000))
  expect(deny(allocator, millis(1_001))).toBe(1)
  expect(allocator.wakeAt(millis(1_001))).toBe(1_250)
  allocator.tick(millis(1_249.6))
  expect(allocator.wakeAt(millis(1_250.2))).toBe(1_250)
  allocator.tick(millis(1_250.3))
  expect(deny(allocator, millis(1_251))).toBe(1)
  expect(allocator.drain()).toMatchObject([{ kind: 'settle', request: 9, result: { ok: false, error: { code: 'exhausted' } } }])
  expect(allocator.wakeAt(millis(1_251))).toBeUndefined()
})
