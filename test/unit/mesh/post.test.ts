/** Parcels on their way: delivered once, carried on, and gone after so many connections. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Millis, millis, type PeerName } from '../../../mesh/base/brand.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import type { Identity } from '../../../mesh/identity.ts'
import { type GossipMessage, HOPS_MAX } from '../../../mesh/messages.ts'
import { type Parcel, sealParcel } from '../../../mesh/parcel.ts'
import { Post } from '../../../mesh/post.ts'
import type { PeerRecord } from '../../../mesh/record.ts'
import { identityOf, recordOf, withBitFlipped } from '../../support/mesh-records.ts'
import { simCrypto } from '../../support/sim/crypto.ts'

type ParcelMessage = GossipMessage & { kind: 'parcel' }

const crypto = simCrypto(seededRandom(1))
const body = Uint8Array.of(1, 2, 3)

/** The post of one peer, and what became of all. Its way to others is `routes`; who is not in it is not reached. */
interface Office {
  readonly identity: Identity
  readonly name: PeerName
  readonly post: Post
  readonly routes: Map<PeerName, PeerName>
  readonly records: Map<PeerName, PeerRecord>
  readonly sent: { readonly to: PeerName; readonly message: ParcelMessage }[]
  readonly delivered: string[]
  readonly faults: string[]
  now: Millis
  isSlow: boolean
}

/** Knows the records of `count` peers, all of incarnation 1000. */
function officeOf(index: number, count = 8): Office {
  const identity = identityOf(index, crypto)
  const known = Array.from({ length: count }, (_, other) => recordOf(identityOf(other, crypto), crypto).record)
  const office: Omit<Office, 'post'> = {
    identity,
    name: identity.name,
    routes: new Map(),
    records: new Map(known.map((record) => [record.name, record])),
    sent: [],
    delivered: [],
    faults: [],
    now: millis(0),
    isSlow: false,
  }
  const post = new Post({
    identity,
    crypto,
    now: () => office.now,
    recordOf: (name) => office.records.get(name),
    nextHop: (name) => office.routes.get(name),
    send: (to, message) => {
      if (message.kind === 'parcel' && !office.isSlow) office.sent.push({ to, message })
      return !office.isSlow
    },
    deliver: (channel, bytes, from) => void office.delivered.push(`${channel} ${bytes.join()} from ${from}`),
    fault: (from, code) => void office.faults.push(`${code} of ${from}`),
  })
  return Object.assign(office, { post })
}

/** A parcel from peer 0 to peer 1. */
function parcelOf(more: Partial<Parcel> = {}, signer = identityOf(0, crypto)): ParcelMessage {
  const parcel = {
    from: identityOf(0, crypto).name,
    to: identityOf(1, crypto).name,
    fromIncarnation: 1_000,
    toIncarnation: 1_000,
    number: 1,
    channel: 'ring',
    body,
    ...more,
  }
  return { kind: 'parcel', hops: HOPS_MAX, bytes: sealParcel(parcel, signer, crypto) }
}

const sender = identityOf(0, crypto).name
const neighbour = identityOf(7, crypto).name
const arrived = `ring 1,2,3 from ${sender}`

describe('who sends', () => {
  test('hands a signed parcel to the first neighbour on the way', () => {
    const office = officeOf(0)
    const to = identityOf(1, crypto).name
    office.routes.set(to, neighbour)
    expect([1, 2].map(() => office.post.send(to, 'ring', body))).toEqual([true, true])
    expect(office.sent).toEqual([
      { to: neighbour, message: parcelOf() },
      { to: neighbour, message: parcelOf({ number: 2 }) },
    ])
  })

  test.each([
    { name: 'there is no way', change: (office: Office) => office.routes.clear() },
    { name: 'the other is unknown', change: (office: Office) => office.records.delete(identityOf(1, crypto).name) },
    { name: 'it has no record of itself yet', change: (office: Office) => office.records.delete(sender) },
    { name: 'the neighbour is slow', change: (office: Office) => Object.assign(office, { isSlow: true }) },
  ])('is told when $name', ({ change }) => {
    const office = officeOf(0)
    office.routes.set(identityOf(1, crypto).name, neighbour)
    change(office)
    expect(office.post.send(identityOf(1, crypto).name, 'ring', body)).toBe(false)
    expect(office.sent).toEqual([])
  })
})

describe('who receives', () => {
  /** What peer 1 does with these, one after the other. */
  function received(messages: readonly ParcelMessage[], change: (office: Office) => void = () => undefined): Office {
    const office = officeOf(1)
    change(office)
    for (const message of messages) office.post.receive(neighbour, message)
    return office
  }

  test('opens a parcel once, by whatever way and how often it comes', () => {
    const office = received([parcelOf(), parcelOf(), { ...parcelOf(), hops: 0 }])
    expect([office.delivered, office.faults]).toEqual([[arrived], []])
  })

  test('opens those that overtook each other, and none that is too old to tell', () => {
    const office = received([200, 198, 199, 198, 73, 72].map((number) => parcelOf({ number })))
    expect(office.delivered).toHaveLength(4)
  })

  test('counts anew in the next life of the sender, and opens nothing of an earlier one', () => {
    const office = received([
      parcelOf({ number: 5, body: Uint8Array.of(1) }),
      parcelOf({ fromIncarnation: 1_001, number: 5, body: Uint8Array.of(2) }),
      parcelOf({ number: 6, body: Uint8Array.of(3) }),
      parcelOf({ fromIncarnation: 1_001, number: 5, body: Uint8Array.of(4) }),
    ])
    expect([office.delivered, office.faults]).toEqual([[1, 2].map((byte) => `ring ${byte} from ${sender}`), []])
  })

  test('drops what was meant for another life of it: nobody’s fault', () => {
    const office = received([parcelOf({ toIncarnation: 999 })])
    expect([office.delivered, office.faults, office.sent]).toEqual([[], [], []])
  })

  test.each([
    { name: 'one that somebody else has signed', message: parcelOf({}, identityOf(2, crypto)), fault: 'signature' },
    {
      name: 'one that was changed on the way',
      message: { ...parcelOf(), bytes: withBitFlipped(parcelOf().bytes, 8 * parcelOf().bytes.length - 8) },
      fault: 'signature',
    },
    { name: 'something that is no parcel', message: { ...parcelOf(), bytes: new Uint8Array(70) }, fault: 'message' },
  ] as const)('$name is reported, as the neighbour’s who brought it', ({ message, fault }) => {
    const office = received([message])
    expect([office.delivered, office.faults]).toEqual([[], [`${fault} of ${neighbour}`]])
    office.post.receive(neighbour, parcelOf())
    expect(office.delivered).toEqual([arrived])
  })
})

describe('what comes before the record of its sender', () => {
  const record = recordOf(identityOf(0, crypto), crypto).record
  const other = identityOf(6, crypto).name

  /** Peer 1, which has not heard of peer 0. */
  function ignorant(messages: readonly ParcelMessage[], from = neighbour): Office {
    const office = officeOf(1)
    office.records.delete(sender)
    for (const message of messages) office.post.receive(from, message)
    return office
  }

  function hears(office: Office): void {
    office.records.set(sender, record)
    office.post.recordsCame()
  }

  test('is opened when that comes, in order and once', () => {
    const bodies = [3, 1, 2].map((byte) => Uint8Array.of(byte))
    const office = ignorant([...bodies, ...bodies].map((bytes, index) => parcelOf({ body: bytes, number: 1 + (index % 3) })))
    office.post.recordsCame()
    expect([office.delivered, office.faults]).toEqual([[], []])
    hears(office)
    hears(office)
    expect([office.delivered, office.faults]).toEqual([[3, 1, 2].map((byte) => `ring ${byte} from ${sender}`), []])
  })

  test('is dropped when that takes too long', () => {
    const office = ignorant([parcelOf()])
    office.now = millis(1_999)
    office.post.recordsCame()
    office.post.receive(neighbour, parcelOf({ number: 2 }))
    office.now = millis(2_000)
    hears(office)
    expect(office.delivered).toEqual([arrived])
  })

  test('is reported as the neighbour’s who brought it when it turns out to be forged', () => {
    const office = ignorant([parcelOf({}, identityOf(2, crypto))])
    expect(office.faults).toEqual([])
    hears(office)
    expect([office.delivered, office.faults]).toEqual([[], [`signature of ${neighbour}`]])
  })

  test('takes no more room than a neighbour’s share, which others do not lose', () => {
    const office = ignorant(Array.from({ length: 20 }, (_, index) => parcelOf({ number: index + 1 })))
    office.post.receive(other, parcelOf({ number: 21 }))
    expect(office.post.status.dropped).toBe(4)
    hears(office)
    expect(office.delivered).toHaveLength(17)
    const large = ignorant([1, 2, 3].map((number) => parcelOf({ number, body: new Uint8Array(30_000) })))
    expect(large.post.status.dropped).toBe(1)
    large.now = millis(2_000)
    large.post.receive(neighbour, parcelOf({ number: 4, body: new Uint8Array(30_000) }))
    expect(large.post.status.dropped).toBe(1)
  })
})

describe('who carries', () => {
  const [from, to] = [identityOf(0, crypto).name, identityOf(1, crypto).name]

  function carrier(route: PeerName | undefined = neighbour): Office {
    const office = officeOf(2)
    if (route !== undefined) office.routes.set(to, route)
    return office
  }

  test('passes the same bytes on, with one hop less, unopened', () => {
    const office = carrier()
    office.post.receive(from, parcelOf())
    expect(office.sent).toEqual([{ to: neighbour, message: { ...parcelOf(), hops: HOPS_MAX - 1 } }])
    expect([office.delivered, office.post.status]).toEqual([[], { carried: 1, dropped: 0 }])
  })

  test.each([
    { name: 'the hops have run out', hops: 1, route: neighbour, isSlow: false },
    { name: 'there were none', hops: 0, route: neighbour, isSlow: false },
    { name: 'there is no way', hops: 9, route: undefined, isSlow: false },
    { name: 'the way leads back where it came from', hops: 9, route: from, isSlow: false },
    { name: 'the next neighbour is slow', hops: 9, route: neighbour, isSlow: true },
  ])('drops it when $name', ({ hops, route, isSlow }) => {
    const office = officeOf(2)
    if (route !== undefined) office.routes.set(to, route)
    office.isSlow = isSlow
    office.post.receive(from, { ...parcelOf(), hops })
    expect([office.sent, office.faults, office.post.status]).toEqual([[], [], { carried: 0, dropped: 1 }])
  })

  test('carries for each neighbour as much as its budget allows, and more with time', () => {
    const office = carrier()
    const bulk = parcelOf({ body: new Uint8Array(100_000) })
    const carriedFor = (name: PeerName): number => {
      const before = office.post.status.carried
      for (let count = 0; count < 30; count += 1) office.post.receive(name, bulk)
      return office.post.status.carried - before
    }
    expect([carriedFor(from), carriedFor(from)]).toEqual([10, 0])
    expect(carriedFor(identityOf(3, crypto).name)).toBe(10)
    office.now = millis(2_000)
    expect(carriedFor(from)).toBe(1)
    office.post.forget(from)
    expect(carriedFor(from)).toBe(10)
  })
})

/** Offices that hand each other what they send, until nothing is on its way. Returns how many connections were passed. */
function run(offices: readonly Office[]): number {
  const byName = new Map(offices.map((office) => [office.name, office]))
  let passed = 0
  for (let isMoving = true; isMoving; ) {
    isMoving = false
    for (const office of offices) {
      for (const { to, message } of office.sent.splice(0)) {
        passed += 1
        isMoving = true
        byName.get(to)?.post.receive(office.name, message)
      }
    }
  }
  return passed
}

test('a chain of three carries both ways', () => {
  const [a, b, c] = [officeOf(0), officeOf(1), officeOf(2)]
  for (const [here, there, over] of [
    [a, b, b],
    [a, c, b],
    [b, a, a],
    [b, c, c],
    [c, a, b],
    [c, b, b],
  ] as const)
    here.routes.set(there.name, over.name)
  expect([a.post.send(c.name, 'ring', body), c.post.send(a.name, 'ring', body), b.post.send(a.name, 'ring', body)]).toEqual([
    true,
    true,
    true,
  ])
  expect(run([a, b, c])).toBe(5)
  expect([a.delivered, b.delivered, c.delivered]).toEqual([[`ring 1,2,3 from ${b.name}`, `ring 1,2,3 from ${c.name}`], [], [arrived]])
  expect([a, b, c].map(({ post }) => post.status)).toEqual([
    { carried: 0, dropped: 0 },
    { carried: 2, dropped: 0 },
    { carried: 0, dropped: 0 },
  ])
})

test('whatever each peer believes about the ways, a parcel passes no more than so many connections, and arrives at most once', () => {
  const size = 6
  // By peer and destination: the peer that the way begins with, as each sees it.
  const beliefs = fc.array(fc.array(fc.nat(size - 1), { minLength: size, maxLength: size }), { minLength: size, maxLength: size })
  fc.assert(
    fc.property(beliefs, (views) => {
      const offices = Array.from({ length: size }, (_, index) => officeOf(index, size))
      for (const [index, view] of views.entries()) {
        for (const [to, over] of view.entries()) {
          const [destination, next] = [offices[to], offices[over]]
          if (destination === undefined || next === undefined || to === index || over === index) continue
          offices[index]?.routes.set(destination.name, next.name)
        }
      }
      const [first, last] = [offices[0], offices[size - 1]]
      if (first === undefined || last === undefined) throw new Error('there are six')
      first.post.send(last.name, 'ring', body)
      expect(run(offices)).toBeLessThanOrEqual(HOPS_MAX)
      expect(last.delivered.length).toBeLessThanOrEqual(1)
      expect(offices.flatMap(({ faults }) => faults)).toEqual([])
    }),
    { seed: 1, numRuns: 300 },
  )
})
