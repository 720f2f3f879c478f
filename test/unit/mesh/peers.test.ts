/** The records of all peers: a join-semilattice that only owners can move. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { PeerName } from '../../../mesh/base/brand.ts'
import { toHex } from '../../../mesh/base/bytes.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { KEY_LENGTH_MAX, OFFER_BYTES_MAX } from '../../../mesh/gossip.ts'
import { identityFromSeed } from '../../../mesh/identity.ts'
import { PEERS_MAX, Peers } from '../../../mesh/peers.ts'
import { RECORD_BYTES_MAX, type SignedRecord } from '../../../mesh/record.ts'
import { deltaOf, identityOf, plainFacts, recordOf, withBitFlipped } from '../../support/mesh-records.ts'
import { simCrypto } from '../../support/sim/crypto.ts'

const crypto = simCrypto(seededRandom(1))
const stranger = identityOf(250, crypto).name

function peersOf(index: number, incarnation = 1_000): Peers {
  return new Peers({ identity: identityOf(index, crypto), crypto, incarnation })
}

/** Merges the records one by one: those that were news, and what was wrong. */
function merge(
  peers: Peers,
  records: readonly SignedRecord[],
): { readonly news: readonly Uint8Array[]; readonly faults: readonly string[] } {
  const merged = records.map((record) => peers.merge(deltaOf(record), stranger))
  return {
    news: merged.flatMap((one) => (one.ok ? one.value.news.map(({ delta }) => delta) : [])),
    faults: merged.flatMap((one) => (one.ok ? one.value.faults : [one.error])).map(({ code }) => code),
  }
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
        expect(merge(peers, all).news).toEqual([])
        expect(stateOf(peers)).toEqual(before)
      }),
      { seed: 1 },
    )
  })

  test('never throws, whatever it is given', () => {
    const whole = deltaOf(recordOf(identityOf(1, crypto), crypto))
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

  test('relays exactly the records that were news, under the name of their peer', () => {
    const { name } = identityOf(1, crypto)
    const [old, current, later] = [1, 2, 3].map((version) => recordOf(identityOf(1, crypto), crypto, { version }))
    if (old === undefined || current === undefined || later === undefined) throw new Error('there are three records')
    const peers = peersOf(100)
    const merged = (record: SignedRecord) => peers.merge(deltaOf(record), stranger)
    expect(merged(current)).toMatchObject({ ok: true, value: { news: [{ key: name, delta: deltaOf(current) }], held: [name], faults: [] } })
    // Who sends what we know knows it; who sends what is older has yet to learn.
    expect(merged(current)).toEqual({ ok: true, value: { news: [], held: [name], faults: [] } })
    expect(merged(old)).toEqual({ ok: true, value: { news: [], held: [], faults: [] } })
    expect(merged(later)).toMatchObject({ ok: true, value: { news: [{ key: name, delta: deltaOf(later) }], held: [name], faults: [] } })
  })

  test('grows the revision with every change, and with nothing else', () => {
    const peers = peersOf(100)
    const records = [1, 2].map((version) => recordOf(identityOf(1, crypto), crypto, { version }))
    const revisions = [...records, ...records, recordOf(identityOf(2, crypto), crypto)].map((record) => {
      merge(peers, [record])
      return peers.revision
    })
    expect(revisions).toEqual([1, 2, 2, 2, 3])
  })
})

test('what a peer is told of others are their records, as far as we know them', () => {
  const peers = peersOf(100)
  const record = recordOf(identityOf(1, crypto), crypto)
  merge(peers, [record])
  expect(peers.tell(record.record.name)).toMatchObject({ key: record.record.name, delta: deltaOf(record) })
  expect(peers.tell(identityOf(9, crypto).name)).toBeUndefined()
})

describe('an offer', () => {
  /** What `from` would offer of the one record that it holds of this peer. */
  function offerOf(record: SignedRecord): Uint8Array {
    const from = peersOf(101)
    merge(from, [record])
    const offer = from.tell(record.record.name)?.offer
    if (offer === undefined) throw new Error('a record has an offer')
    return offer
  }

  const identity = identityOf(1, crypto)
  const { name } = identity
  const held = recordOf(identity, crypto, { incarnation: 5, version: 5 })

  test.each([
    { name: 'of what we hold', facts: {}, verdict: 'held' },
    { name: 'of a later version', facts: { version: 6 }, verdict: 'lacking' },
    { name: 'of an earlier version', facts: { version: 4 }, verdict: 'older' },
    { name: 'of a later life', facts: { incarnation: 6, version: 1 }, verdict: 'lacking' },
    { name: 'of an earlier life', facts: { incarnation: 4, version: 9 }, verdict: 'older' },
    { name: 'of another one with the same number', facts: { nickname: 'clone' }, verdict: 'lacking' },
    { name: 'of the last life that there may be', facts: { incarnation: 2 ** 52, version: 1 }, verdict: 'lacking' },
  ] as const)('$name is weighed as $verdict', ({ facts, verdict }) => {
    const peers = peersOf(100)
    merge(peers, [held])
    const offered = recordOf(identity, crypto, { incarnation: 5, version: 5, ...facts })
    expect(peers.weigh(offerOf(offered))).toEqual({ ok: true, value: { key: name, verdict } })
  })

  test('of a peer that we do not know is weighed as lacking, and what it stands for is held after merging', () => {
    const peers = peersOf(100)
    expect(peers.weigh(offerOf(held))).toEqual({ ok: true, value: { key: name, verdict: 'lacking' } })
    merge(peers, [held])
    expect(peers.weigh(offerOf(held))).toEqual({ ok: true, value: { key: name, verdict: 'held' } })
  })

  test('is what news of our own has as well, and short', () => {
    const [ours, other] = [peersOf(1), peersOf(2)]
    const news = ours.publish(plainFacts)
    const offer = news?.offer ?? new Uint8Array()
    expect(offer.length).toBeLessThanOrEqual(OFFER_BYTES_MAX)
    expect(news?.key?.length).toBeLessThanOrEqual(KEY_LENGTH_MAX)
    expect(other.weigh(offer)).toEqual({ ok: true, value: { key: name, verdict: 'lacking' } })
    expect(ours.weigh(offer)).toEqual({ ok: true, value: { key: name, verdict: 'held' } })
  })

  test('of any record is weighed as merging goes: lacking is news or a conflict, held and older change nothing', () => {
    fc.assert(
      fc.property(records, (all) => {
        const peers = peersOf(100)
        for (const record of all) {
          const weighed = peers.weigh(offerOf(record))
          const { news, faults } = merge(peers, [record])
          expect(weighed).toMatchObject({ ok: true, value: { key: record.record.name } })
          expect(weighed.ok && weighed.value.verdict === 'lacking').toBe(news.length + faults.length > 0)
        }
      }),
      { seed: 1 },
    )
  })

  test.each([0, 27, 29, 64])('of %i bytes is a fault', (bytes) => {
    expect(peersOf(100).weigh(new Uint8Array(bytes))).toMatchObject({ ok: false, error: { code: 'malformed' } })
  })

  test('of any bytes is weighed, or a fault', () => {
    const peers = peersOf(100)
    merge(peers, [held])
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), fc.boolean(), (rest, isKnown) => {
        const offer = isKnown ? offerOf(held) : new Uint8Array(28)
        offer.set(rest, 8)
        expect(peers.weigh(offer).ok).toBe(true)
      }),
      { seed: 1 },
    )
  })
})

test('what is told is the newest record, and nothing is told of who is unknown, whatever the key', () => {
  const peers = peersOf(100)
  const versions = [1, 2].map((version) => recordOf(identityOf(1, crypto), crypto, { version }))
  merge(peers, versions)
  const { name } = identityOf(1, crypto)
  expect(peers.tell(name)?.delta).toEqual(versions.map(deltaOf).at(-1))
  expect(['', name.toUpperCase(), '__proto__'].map((key) => peers.tell(key))).toEqual([undefined, undefined, undefined])
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
    expect(merge(peers, [forged])).toEqual({ news: [], faults: ['signature'] })
    expect(peers.list()).toEqual([good.record])
  })

  test('with the number of another one of its peer is taken or not, the same everywhere, and counted', () => {
    const pair = [recordOf(identityOf(1, crypto), crypto, { nickname: 'a' }), recordOf(identityOf(1, crypto), crypto, { nickname: 'b' })]
    const [one, two] = [peersOf(100), peersOf(100)]
    expect(merge(one, pair)).toMatchObject({ faults: ['malformed'] })
    expect(merge(two, pair.toReversed())).toMatchObject({ faults: ['malformed'] })
    expect(stateOf(one)).toEqual(stateOf(two))
  })

  test.each([
    { name: 'something that is no record', delta: new Uint8Array(100), code: 'malformed' },
    { name: 'nothing', delta: new Uint8Array(0), code: 'malformed' },
    { name: 'a signature alone', delta: new Uint8Array(64), code: 'malformed' },
    { name: 'more bytes than a record may have', delta: new Uint8Array(64 + RECORD_BYTES_MAX + 1), code: 'limit' },
  ])('$name is a fault', ({ delta, code }) => {
    expect(peersOf(100).merge(delta, stranger)).toMatchObject({ ok: false, error: { code } })
  })
})

describe('repair', () => {
  /** What A would send to B after B's summary, merged by B. */
  function repair(from: Peers, to: Peers): number {
    const missing = from.missing(to.summary())
    if (!missing.ok) throw new Error(missing.error.detail)
    for (const { delta } of missing.value) expect(to.merge(delta, stranger).ok).toBe(true)
    return missing.value.reduce((bytes, { delta }) => bytes + delta.length, 0)
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

  /** Publishes, and hands it to the other. */
  function tell(ours: Peers, other: Peers, more: Partial<typeof facts> = {}): readonly string[] {
    const news = ours.publish({ ...facts, ...more })
    const merged = news === undefined ? undefined : other.merge(news.delta, stranger)
    return merged?.ok ? merged.value.faults.map(({ code }) => code) : ['nothing told']
  }

  test('counts its versions, and others take each', () => {
    const [ours, other] = [peersOf(1), peersOf(2)]
    const { name } = identityOf(1, crypto)
    for (const version of [1, 2, 3]) {
      expect(tell(ours, other, { mtuBytes: 1_000 + version })).toEqual([])
      expect(ownOf(other, name)).toEqual({ incarnation: 1_000, version })
    }
  })

  test('is not published again when it says nothing new', () => {
    const [ours, other] = [peersOf(1), peersOf(2)]
    expect([tell(ours, other), tell(ours, other), tell(ours, other, { hasLeft: true })]).toEqual([[], ['nothing told'], []])
    expect(other.get(identityOf(1, crypto).name)).toMatchObject({ version: 2, hasLeft: true })
  })

  test('jumps above what an earlier life has left, wherever the clock went since', () => {
    const identity = identityOf(1, crypto)
    const peers = peersOf(1, 1_000)
    peers.publish(facts)
    expect(merge(peers, [recordOf(identity, crypto, { incarnation: 5_000, version: 70 })])).toEqual({ news: [], faults: [] })
    expect(ownOf(peers, identity.name)).toEqual({ incarnation: 1_000, version: 1 })
    expect([peers.supersessions, peers.superseder]).toMatchObject([1, { incarnation: 5_000, version: 70 }])
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
    expect(merge(peers, [recordOf(identityOf(1, crypto), crypto, { incarnation: 900 })])).toEqual({ news: [], faults: [] })
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
  expect(merge(peers, [recordOf(manyIdentity(PEERS_MAX), crypto)])).toEqual({ news: [], faults: ['limit'] })
  expect(merge(peers, [recordOf(manyIdentity(3), crypto, { version: 2 })])).toMatchObject({ news: [expect.anything()], faults: [] })
  expect(peers.list()).toHaveLength(PEERS_MAX)
  const names = peers.list().map(({ name }) => name)
  expect(names).toEqual(names.toSorted())
})

function manyIdentity(index: number): ReturnType<typeof identityOf> {
  const seed = new Uint8Array(32)
  new DataView(seed.buffer).setUint32(0, index + 1)
  return identityFromSeed(seed, crypto)
}
