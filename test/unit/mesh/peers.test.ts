/** The records of all peers: a join-semilattice that only owners can move. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { PeerName } from '../../../mesh/base/brand.ts'
import { toHex } from '../../../mesh/base/bytes.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { identityFromSeed } from '../../../mesh/identity.ts'
import { PEERS_MAX, Peers } from '../../../mesh/peers.ts'
import type { SignedRecord } from '../../../mesh/record.ts'
import { deltaOf, identityOf, plainFacts, recordOf, withBitFlipped } from '../../support/mesh-records.ts'
import { simCrypto } from '../../support/sim/crypto.ts'

const crypto = simCrypto(seededRandom(1))
const stranger = identityOf(250, crypto).name

function peersOf(index: number, incarnation = 1_000): Peers {
  return new Peers({ identity: identityOf(index, crypto), crypto, incarnation })
}

function merge(peers: Peers, records: readonly SignedRecord[]): { readonly isNews: boolean; readonly faults: readonly string[] } {
  const merged = peers.merge(deltaOf(records), stranger)
  if (!merged.ok) throw new Error(merged.error.detail)
  return { isNews: merged.value.news !== undefined, faults: merged.value.faults.map(({ code }) => code) }
}

/** Everything that others can see of the state. */
function stateOf(peers: Peers): unknown {
  return { digest: toHex(peers.digest()), summary: toHex(peers.summary()), records: peers.list() }
}

/** Records of few peers with few numbers, so that they meet often, two different ones with one number included. */
const records = fc.array(
  fc
    .record({
      index: fc.integer({ min: 1, max: 6 }),
      incarnation: fc.integer({ min: 1, max: 3 }),
      version: fc.integer({ min: 1, max: 3 }),
      nickname: fc.constantFrom('a', 'b'),
    })
    .map(({ index, ...facts }) => recordOf(identityOf(index, crypto), crypto, facts)),
  { maxLength: 20 },
)

describe('merging', () => {
  test('is commutative and associative: any order and any grouping ends in the same state', () => {
    fc.assert(
      fc.property(records, fc.infiniteStream(fc.nat()), (all, order) => {
        const one = peersOf(100)
        merge(one, all)
        const other = peersOf(100)
        for (const record of all.map((item) => ({ item, at: order.next().value ?? 0 })).sort((a, b) => a.at - b.at))
          merge(other, [record.item])
        expect(stateOf(other)).toEqual(stateOf(one))
      }),
      { seed: 1 },
    )
  })

  test('is idempotent: what is known is no news', () => {
    fc.assert(
      fc.property(records, (all) => {
        const peers = peersOf(100)
        merge(peers, all)
        const before = stateOf(peers)
        expect(merge(peers, all).isNews).toBe(false)
        expect(stateOf(peers)).toEqual(before)
      }),
      { seed: 1 },
    )
  })

  test('never throws, whatever it is given', () => {
    const { signed, signature } = recordOf(identityOf(1, crypto), crypto)
    const whole = deltaOf([{ signed, signature, record: recordOf(identityOf(1, crypto), crypto).record }])
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(whole.length), (bytes, at) => {
        const mixed = whole.slice()
        mixed.set(bytes.subarray(0, mixed.length - at), at)
        for (const input of [bytes, mixed]) {
          const peers = peersOf(100)
          expect(typeof peers.merge(input, stranger).ok).toBe('boolean')
          expect(typeof peers.missing(input).ok).toBe('boolean')
        }
      }),
      { seed: 1, numRuns: 1_000 },
    )
  })

  test('relays exactly the records that were news', () => {
    const [a1, a2, b1] = [
      recordOf(identityOf(1, crypto), crypto),
      recordOf(identityOf(1, crypto), crypto, { version: 2 }),
      recordOf(identityOf(2, crypto), crypto),
    ]
    const peers = peersOf(100)
    merge(peers, [a2])
    expect(peers.merge(deltaOf([a1, a2, b1]), stranger)).toEqual({ ok: true, value: { news: deltaOf([b1]), faults: [] } })
  })
})

describe('a bad entry', () => {
  const good = recordOf(identityOf(1, crypto), crypto)
  const other = recordOf(identityOf(2, crypto), crypto)

  test('costs nothing but itself', () => {
    const forged = { ...other, signed: withBitFlipped(other.signed, 8 * other.signed.length - 3) }
    const peers = peersOf(100)
    const { faults } = merge(peers, [{ ...good, signature: new Uint8Array(3) }, forged, good])
    expect(faults).toHaveLength(2)
    expect(peers.list()).toEqual([good.record])
  })

  test('that nobody has signed is refused, also where it would replace a good one', () => {
    const peers = peersOf(100)
    merge(peers, [good])
    const forged = { ...recordOf(identityOf(1, crypto), crypto, { version: 9 }), signature: good.signature }
    expect(merge(peers, [forged])).toEqual({ isNews: false, faults: ['signature'] })
    expect(peers.list()).toEqual([good.record])
  })

  test('with the number of another one of its peer is taken or not, the same everywhere, and counted', () => {
    const pair = [recordOf(identityOf(1, crypto), crypto, { nickname: 'a' }), recordOf(identityOf(1, crypto), crypto, { nickname: 'b' })]
    const [one, two] = [peersOf(100), peersOf(100)]
    expect(merge(one, pair)).toEqual({ isNews: true, faults: ['malformed'] })
    expect(merge(two, pair.toReversed())).toEqual({ isNews: true, faults: ['malformed'] })
    expect(stateOf(one)).toEqual(stateOf(two))
  })

  test.each([
    { name: 'something that is not a list', delta: Uint8Array.of(1), code: 'malformed' },
    { name: 'no MessagePack', delta: Uint8Array.of(0xc1), code: 'malformed' },
    { name: 'more records than there may be', delta: deltaOf(new Array(1_025).fill(good)), code: 'limit' },
  ])('$name is a fault as a whole', ({ delta, code }) => {
    expect(peersOf(100).merge(delta, stranger)).toMatchObject({ ok: false, error: { code } })
  })
})

describe('repair', () => {
  /** What A would send to B after B's summary, merged by B. */
  function repair(from: Peers, to: Peers): number {
    const missing = from.missing(to.summary())
    if (!missing.ok) throw new Error(missing.error.detail)
    for (const delta of missing.value) expect(to.merge(delta, stranger).ok).toBe(true)
    return missing.value.reduce((bytes, delta) => bytes + delta.length, 0)
  }

  test('one exchange in each direction makes any two states equal', () => {
    fc.assert(
      fc.property(records, records, (some, others) => {
        const [one, two] = [peersOf(100), peersOf(101)]
        merge(one, some)
        merge(two, others)
        repair(one, two)
        repair(two, one)
        expect(stateOf(one)).toEqual(stateOf(two))
        expect([repair(one, two), repair(two, one)]).toEqual([0, 0])
      }),
      { seed: 1 },
    )
  })

  test('of one record among a thousand sends few', () => {
    const all = Array.from({ length: 1_000 }, (_, index) => recordOf(manyIdentity(index), crypto))
    const [one, two] = [peersOf(100), peersOf(101)]
    for (let at = 0; at < all.length; at += 100) for (const peers of [one, two]) merge(peers, all.slice(at, at + 100))
    merge(one, [recordOf(manyIdentity(500), crypto, { version: 2 })])
    expect(one.summary().length).toBeLessThanOrEqual(256 * 9)
    expect(repair(one, two)).toBeLessThan(4_000)
    expect(toHex(two.digest())).toBe(toHex(one.digest()))
  })

  test.each([{ bytes: 8 }, { bytes: 257 * 9 }])('a summary of $bytes bytes is a fault', ({ bytes }) => {
    expect(peersOf(100).missing(new Uint8Array(bytes))).toMatchObject({ ok: false, error: { code: 'malformed' } })
  })
})

describe('our own record', () => {
  const facts = { ...plainFacts }

  function ownOf(peers: Peers, name: PeerName): { readonly incarnation: number | undefined; readonly version: number | undefined } {
    return { incarnation: peers.get(name)?.incarnation, version: peers.get(name)?.version }
  }

  test('counts its versions, and others take each', () => {
    const [ours, other] = [peersOf(1), peersOf(2)]
    const { name } = identityOf(1, crypto)
    for (const version of [1, 2, 3]) {
      expect(other.merge(ours.publish(facts), stranger)).toMatchObject({ ok: true, value: { faults: [] } })
      expect(ownOf(other, name)).toEqual({ incarnation: 1_000, version })
    }
  })

  test('jumps above what an earlier life has left, wherever the clock went since', () => {
    const identity = identityOf(1, crypto)
    const peers = peersOf(1, 1_000)
    peers.publish(facts)
    expect(merge(peers, [recordOf(identity, crypto, { incarnation: 5_000, version: 70 })])).toEqual({ isNews: false, faults: [] })
    expect(ownOf(peers, identity.name)).toEqual({ incarnation: 1_000, version: 1 })
    expect(peers.supersessions).toBe(1)
    peers.publish(facts)
    expect(ownOf(peers, identity.name)).toEqual({ incarnation: 5_001, version: 1 })
  })

  test('cannot be moved by others', () => {
    const peers = peersOf(1, 1_000)
    peers.publish(facts)
    const forged = { ...recordOf(identityOf(1, crypto), crypto, { incarnation: 5_000 }), signature: new Uint8Array(64) }
    expect(merge(peers, [forged]).faults).toEqual(['signature'])
    expect(peers.supersessions).toBe(0)
  })

  test('of an earlier life that is older is answered by anti-entropy, not by a jump', () => {
    const peers = peersOf(1, 1_000)
    peers.publish(facts)
    expect(merge(peers, [recordOf(identityOf(1, crypto), crypto, { incarnation: 900 })])).toEqual({ isNews: false, faults: [] })
    expect(peers.supersessions).toBe(0)
  })
})

test('there is a limit to how many peers are remembered, and known ones still change', () => {
  const peers = peersOf(100)
  for (let at = 0; at < PEERS_MAX; at += 512) {
    merge(
      peers,
      Array.from({ length: 512 }, (_, index) => recordOf(manyIdentity(at + index), crypto)),
    )
  }
  expect(merge(peers, [recordOf(manyIdentity(PEERS_MAX), crypto)])).toEqual({ isNews: false, faults: ['limit'] })
  expect(merge(peers, [recordOf(manyIdentity(3), crypto, { version: 2 })])).toEqual({ isNews: true, faults: [] })
  expect(peers.list()).toHaveLength(PEERS_MAX)
  const names = peers.list().map(({ name }) => name)
  expect(names).toEqual(names.toSorted())
})

function manyIdentity(index: number): ReturnType<typeof identityOf> {
  const seed = new Uint8Array(32)
  new DataView(seed.buffer).setUint32(0, index + 1)
  return identityFromSeed(seed, crypto)
}
