/** In which order addresses are used again: the same before and after a restart, whether the journal was rewritten or not. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Ledger } from '../../../ipam/ledger.ts'
import { seedRing } from '../../../ipam/seed.ts'
import { openStore } from '../../../ipam/store.ts'
import { parseCidr } from '../../../mesh/base/address.ts'
import { key, peer } from '../../support/ipam.ts'
import { MemoryDisk } from '../../support/memory-disk.ts'
import { must } from '../../support/result.ts'

const UNIVERSE = parseCidr('10.32.0.0/27')
const SELF = peer('a')

function ledgerOn(disk: MemoryDisk): { readonly ledger: Ledger; readonly close: () => void; readonly rewrite: () => void } {
  const { store, records } = openStore(disk.open(), { peer: SELF, universe: UNIVERSE, cluster: '' })
  const ledger = new Ledger(SELF, UNIVERSE, store, records)
  if (ledger.ring === undefined) must(ledger.seed(seedRing(UNIVERSE, [SELF])))
  return { ledger, close: () => store[Symbol.dispose](), rewrite: () => must(ledger.adopt(seedRing(UNIVERSE, [SELF]))) }
}

/** The order in which the free addresses would be given. */
function orderOf(ledger: Ledger): readonly (number | undefined)[] {
  return Array.from({ length: ledger.free }, (_, number) => must(ledger.allocate(key(1_000 + number))))
}

test('a restart changes nothing about who is next', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(12)), { maxLength: 60, size: 'max' }), fc.boolean(), (steps, isRewritten) => {
      const [disk, twin] = [new MemoryDisk(), new MemoryDisk()]
      const [first, other] = [ledgerOn(disk), ledgerOn(twin)]
      for (const { ledger } of [first, other]) {
        for (const [adds, number] of steps) adds ? must(ledger.allocate(key(number))) : ledger.release(key(number))
      }
      if (isRewritten) first.rewrite()
      first.close()
      expect(orderOf(ledgerOn(disk).ledger)).toEqual(orderOf(other.ledger))
    }),
    { seed: 1, numRuns: 100 },
  )
})
