/** Where there is much to tell: offers, wants, and what follows from them between two and more neighbours. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Millis, millis, type PeerName, parsePeerName } from '../../../mesh/base/brand.ts'
import { pick, type Random, randomBelow, seededRandom } from '../../../mesh/base/random.ts'
import { ok } from '../../../mesh/base/result.ts'
import { Channels } from '../../../mesh/channels.ts'
import type { GossipPart } from '../../../mesh/gossip.ts'
import { type ChannelMessage, decodeMessage, encodeMessage } from '../../../mesh/messages.ts'
import { TOLD_MAX } from '../../../mesh/outbox.ts'
import { channelsOf } from '../../support/channels.ts'
import { DELTA_BYTES, entry, OFFER_BYTES, Versions } from '../../support/versions.ts'

const a = parsePeerName('aaaaaaaaaaaaaaaa')
const b = parsePeerName('bbbbbbbbbbbbbbbb')
const c = parsePeerName('cccccccccccccccc')

const PATIENCE = 1_000

function offers(...list: readonly (readonly [number, number])[]): ChannelMessage {
  return { kind: 'offers', channel: 'versions', offers: list.map(([key, version]) => entry(key, version, OFFER_BYTES)) }
}

function deltas(...list: readonly (readonly [number, number])[]): ChannelMessage {
  return { kind: 'deltas', channel: 'versions', deltas: list.map(([key, version]) => entry(key, version, DELTA_BYTES)) }
}

function wants(...keys: readonly number[]): ChannelMessage {
  return { kind: 'wants', channel: 'versions', keys: keys.map(String) }
}

const range = (count: number, first = 0): readonly number[] => Array.from({ length: count }, (_, index) => first + index)
const now = millis(0)

describe('offers', () => {
  test('take the place of deltas when there are many, and wants bring these', () => {
    const part = new Versions()
    const { channels } = channelsOf(part, [a, b])
    channels.spread(
      'versions',
      range(TOLD_MAX + 1).map((key) => part.make(key)),
    )
    expect(channels.take(a)).toEqual([offers(...range(TOLD_MAX + 1).map((key) => [key, 1] as const))])
    expect(channels.receive(a, wants(3, 5, 99), now)).toEqual([])
    expect(channels.take(a)).toEqual([deltas([3, 1], [5, 1])])
    expect(channels.take(b)).toHaveLength(1)
  })

  test('are answered by wants for what we lack, and by nothing else', () => {
    const { channels, faults } = channelsOf(new Versions([1, 5], [2, 5], [3, 5]), [a])
    expect(channels.receive(a, offers([1, 4], [2, 5], [3, 6], [4, 1]), now)).toEqual([{ to: a, message: wants(3, 4) }])
    expect(channels.receive(a, offers([1, 4], [2, 5]), now)).toEqual([])
    expect(faults).toEqual([])
  })

  test('show that the other side need not be told the same, or less', () => {
    const part = new Versions()
    const { channels } = channelsOf(part, [a])
    channels.spread(
      'versions',
      [1, 2, 3].map((key) => part.make(key)),
    )
    part.make(2)
    channels.receive(a, offers([1, 1], [2, 1], [3, 2]), now)
    expect(channels.take(a)).toEqual([deltas([2, 1])])
  })

  test.each([
    {
      name: 'that are none are a fault each',
      message: { kind: 'offers', channel: 'versions', offers: [new Uint8Array(3), entry(7, 1, 8)] },
    },
  ] as const)('$name, and cost the others nothing', ({ message }) => {
    const { channels, faults } = channelsOf(new Versions(), [a])
    expect(channels.receive(a, message, now)).toEqual([{ to: a, message: wants(7) }])
    expect(faults).toEqual(['a malformed: versions: no offer'])
  })

  test('of a part that has none are faults', () => {
    const part: GossipPart = { ...bare, channel: 'bare' }
    const { channels, faults } = channelsOf(part, [a])
    expect(channels.receive(a, { kind: 'offers', channel: 'bare', offers: [new Uint8Array(8)] }, now)).toEqual([])
    expect(channels.receive(a, { kind: 'wants', channel: 'bare', keys: ['k'] }, now)).toEqual([])
    expect(faults).toEqual(['a malformed: bare: an offer, of which this channel has none'])
    expect(channels.waiting()).toEqual([])
  })

  test('are made of nothing without a key', () => {
    const { channels } = channelsOf({ ...bare, channel: 'bare' }, [a])
    channels.spread(
      'bare',
      range(3 * TOLD_MAX).map((byte) => ({ key: undefined, delta: Uint8Array.of(byte) })),
    )
    expect(channels.take(a).map(({ kind }) => kind)).toEqual(['deltas'])
  })
})

const bare: Omit<GossipPart, 'channel'> = {
  digest: () => new Uint8Array(16),
  summary: () => new Uint8Array(),
  missing: () => ok([]),
  merge: () => ok({ news: [], held: [], faults: [] }),
  receive: () => undefined,
}

describe('what was offered by several', () => {
  function offered(): { readonly channels: Channels } {
    const scene = channelsOf(new Versions(), [a, b, c])
    expect(scene.channels.receive(a, offers([1, 1], [2, 1]), now)).toEqual([{ to: a, message: wants(1, 2) }])
    expect(scene.channels.receive(b, offers([1, 1], [2, 2]), now)).toEqual([])
    return scene
  }

  test('is asked of one, and not asked again when that one answers', () => {
    const { channels } = offered()
    expect(channels.isWaiting).toBe(true)
    expect(channels.receive(a, deltas([1, 1], [2, 2]), now)).toEqual([])
    expect([channels.isWaiting, channels.chase(millis(PATIENCE))]).toEqual([false, []])
  })

  test('is asked of the next when the first does not answer', () => {
    const { channels } = offered()
    expect(channels.chase(millis(PATIENCE - 1))).toEqual([])
    expect(channels.chase(millis(PATIENCE))).toEqual([{ to: b, message: wants(1, 2) }])
  })

  test('is asked of the next when the first is gone, and of nobody when all are', () => {
    const { channels } = offered()
    channels.down(a)
    expect(channels.chase(now)).toEqual([{ to: b, message: wants(1, 2) }])
    channels.down(b)
    expect([channels.chase(now), channels.isWaiting]).toEqual([[], false])
  })

  test('is asked of whoever has offered something newer than what came', () => {
    const { channels } = offered()
    expect(channels.receive(a, deltas([1, 1], [2, 1]), now)).toEqual([{ to: b, message: wants(2) }])
    expect(channels.receive(b, deltas([2, 2]), now)).toEqual([])
    expect(channels.isWaiting).toBe(false)
  })

  test('is passed on to those who have not offered it', () => {
    const { channels } = offered()
    channels.receive(a, deltas([1, 1]), now)
    expect([a, b, c].map((name) => channels.take(name))).toEqual([[], [deltas([1, 1])], [deltas([1, 1])]])
  })
})

describe('a neighbour that floods us', () => {
  const thousand = (first: number): readonly (readonly [number, number])[] => range(1_000, first).map((key) => [key, 1] as const)

  test('with deltas is not heard any more for a while, and is at fault; others are', () => {
    const part = new Versions()
    const { channels, faults } = channelsOf(part, [a, b])
    for (let message = 0; message < 9; message += 1) channels.receive(a, deltas(...thousand(1_000 * message)), now)
    expect([part.held.size, faults]).toEqual([
      8_192,
      ['a flood: versions: more news than all peers together have: 808 deltas were dropped'],
    ])
    channels.receive(b, deltas([9_000, 1]), now)
    channels.receive(a, deltas([9_001, 1]), millis(1_000))
    expect([part.held.has(9_000), part.held.has(9_001), faults.length]).toEqual([true, true, 1])
  })

  test('with wants is not told more than there is', () => {
    const part = new Versions(...thousand(0))
    const { channels, faults } = channelsOf(part, [a, b])
    for (let message = 0; message < 9; message += 1) {
      channels.receive(a, wants(...range(1_000)), now)
      while (channels.waiting().includes(a)) channels.take(a)
    }
    expect(faults).toEqual(['a flood: versions: more asked for than there is: 1000 wants were dropped'])
    channels.receive(b, wants(1), now)
    expect(channels.waiting()).toEqual([b])
  })

  test('with offers of what does not exist is not asked for all of it, and does not keep others from offering', () => {
    const { channels, faults } = channelsOf(new Versions(), [a, b])
    const asked = range(9).map((message) => channels.receive(a, offers(...thousand(1_000 * message)), now).length)
    expect([asked, faults]).toEqual([new Array(9).fill(1), ['a flood: versions: more offered than there can be: 808 offers were dropped']])
    channels.chase(millis(PATIENCE))
    // A second later it may invent a thousand more; there is room beside these.
    channels.receive(a, offers(...thousand(20_000), ...thousand(21_000)), millis(PATIENCE))
    expect(channels.receive(b, offers([9_999, 1]), millis(PATIENCE))).toEqual([{ to: b, message: wants(9_999) }])
  })

  test('begins anew when it comes back', () => {
    const { channels, faults } = channelsOf(new Versions(), [a])
    for (let message = 0; message < 9; message += 1) channels.receive(a, deltas(...thousand(1_000 * message)), now)
    channels.down(a)
    channels.up(a)
    channels.receive(a, deltas([1, 2]), now)
    expect(faults).toHaveLength(1)
  })
})

test('a neighbour that has fallen behind is told by digests, and then offered what it lacks', () => {
  const [ours, theirs] = [new Versions(), new Versions()]
  const [here, there] = [channelsOf(ours, [b]).channels, channelsOf(theirs, [a]).channels]
  // More than an outbox holds.
  here.spread(
    'versions',
    range(6_000).map((key) => ours.make(key)),
  )
  const lost: ChannelMessage[] = []
  while (here.waiting().length > 0) lost.push(...here.take(b))
  expect([...new Set(lost.map(({ kind }) => kind))]).toEqual(['offers', 'digests'])
  const digests = lost.at(-1)
  const asked = digests === undefined ? [] : there.receive(a, digests, now)
  expect(asked.map(({ message }) => message.kind)).toEqual(['summary'])
  for (const { message } of asked) here.receive(b, message, now)
  expect(here.take(b).map(({ kind }) => kind)[0]).toBe('offers')
})

/** Some nodes, connected somehow; each connection carries messages in their order, until it is cut. */
class Net {
  readonly parts: readonly Versions[]
  readonly faults: string[] = []
  readonly #random: Random
  readonly #names: readonly PeerName[]
  readonly #channels: readonly Channels[]
  /** By connection: those between two nodes that may be connected. */
  readonly #edges: readonly (readonly [number, number])[]
  /** What is on its way, by `from to`; absent while the connection is down. */
  readonly #pipes = new Map<string, Uint8Array[]>()
  now: Millis = now

  constructor(size: number, random: Random) {
    this.#random = random
    this.#names = range(size).map((index) => parsePeerName(index.toString(16).padStart(16, '0')))
    this.parts = this.#names.map(() => new Versions())
    this.#channels = this.parts.map((part) => {
      const channels = new Channels((_from, code, detail) => this.faults.push(`${code}: ${detail}`))
      channels.register(part)
      return channels
    })
    const tree = range(size - 1, 1).map((index) => [randomBelow(random, index), index] as const)
    const others = range(size).flatMap((to) => range(to).map((from) => [from, to] as const))
    this.#edges = [...tree, ...others.filter(([from, to]) => random() < 0.5 && !tree.some((edge) => edge[0] === from && edge[1] === to))]
    for (const edge of this.#edges) this.connect(edge)
  }

  connect([one, other]: readonly [number, number]): void {
    if (this.#pipes.has(`${one} ${other}`)) return
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      this.#pipes.set(`${from} ${to}`, [])
      this.#channels[from]?.up(this.#nameOf(to))
    }
  }

  cut([one, other]: readonly [number, number]): void {
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      if (this.#pipes.delete(`${from} ${to}`)) this.#channels[from]?.down(this.#nameOf(to))
    }
  }

  /** One node makes something. */
  publish(count: number, keys: number): void {
    const node = randomBelow(this.#random, this.parts.length)
    const part = this.parts[node]
    const news = range(count).map(() => part?.make(node * keys + randomBelow(this.#random, keys)))
    this.#channels[node]?.spread(
      'versions',
      news.filter((piece) => piece !== undefined),
    )
  }

  /** One message arrives, somewhere. False when none is on its way. */
  deliver(): boolean {
    const [pipe, messages] =
      pick(
        this.#random,
        [...this.#pipes].filter(([, { length }]) => length > 0),
      ) ?? []
    const [from = 0, to = 0] = pipe?.split(' ').map(Number) ?? []
    const decoded = messages === undefined ? undefined : decodeMessage(messages.shift() ?? new Uint8Array())
    if (decoded === undefined) return false
    if (!decoded.ok) throw new Error(decoded.error)
    const message = decoded.value as ChannelMessage
    for (const answer of this.#channels[to]?.receive(this.#nameOf(from), message, this.now) ?? []) this.#send(to, answer.to, answer.message)
    return true
  }

  /** One node, or another, sends what waits. */
  flush(nodes: readonly number[] = [randomBelow(this.#random, this.parts.length)]): void {
    for (const node of nodes) {
      const channels = this.#channels[node]
      for (const { to, message } of channels?.chase(this.now) ?? []) this.#send(node, to, message)
      for (const name of channels?.waiting() ?? []) for (const message of channels?.take(name) ?? []) this.#send(node, name, message)
    }
  }

  anyEdge(): readonly [number, number] {
    return pick(this.#random, this.#edges) ?? [0, 1]
  }

  /** Until nothing is on its way or waits. */
  settle(): void {
    const all = range(this.parts.length)
    do {
      while (this.deliver()) if (this.#random() < 0.3) this.flush()
      this.flush(all)
    } while ([...this.#pipes.values()].some(({ length }) => length > 0))
  }

  /** Everybody compares digests with every neighbour. */
  compare(): void {
    this.now = millis(this.now + PATIENCE)
    for (const edge of this.#edges) this.connect(edge)
    for (const [one, other] of this.#edges) {
      this.#send(one, this.#nameOf(other), { kind: 'digests', digests: this.#channels[one]?.digests() ?? [] })
    }
    this.settle()
  }

  get isEqual(): boolean {
    return new Set(this.parts.map((part) => part.summary().join())).size === 1
  }

  get isWaiting(): boolean {
    return this.#channels.some((channels) => channels.isWaiting)
  }

  #nameOf(index: number): PeerName {
    return this.#names[index] ?? a
  }

  #send(from: number, to: PeerName, message: ChannelMessage): void {
    this.#pipes.get(`${from} ${this.#names.indexOf(to)}`)?.push(encodeMessage(message))
  }
}

const world = fc.record({ size: fc.integer({ min: 2, max: 5 }), seed: fc.nat(1e9) })

test('however nodes are connected and cut off, and whatever is lost, all end with the same', () => {
  fc.assert(
    fc.property(world, fc.nat(80), ({ size, seed }, steps) => {
      const random = seededRandom(seed)
      const net = new Net(size, random)
      const happenings: readonly (() => unknown)[] = [
        () => net.publish(1 + randomBelow(random, 60), 50),
        () => net.flush(),
        () => net.flush(),
        () => range(10).some(() => !net.deliver()),
        () => net.cut(net.anyEdge()),
        () => net.connect(net.anyEdge()),
        () => (net.now = millis(net.now + randomBelow(random, PATIENCE))),
      ]
      for (let step = 0; step < steps; step += 1) pick(random, happenings)?.()
      // What was lost crosses one connection in each round: no path here is longer than four.
      for (let round = 0; round < 4 && !net.isEqual; round += 1) net.compare()
      expect([net.isEqual, net.faults]).toEqual([true, []])
      net.compare()
      expect(net.isWaiting).toBe(false)
    }),
    { seed: 1, numRuns: 150 },
  )
})

test('when nothing is lost all end with the same without comparing, and much news comes to each node about once', () => {
  fc.assert(
    fc.property(world, fc.integer({ min: 1, max: 5 }), ({ size, seed }, tellers) => {
      const net = new Net(size, seededRandom(seed))
      for (let count = 0; count < tellers; count += 1) net.publish(1_000, 1_000)
      net.settle()
      expect([net.isEqual, net.isWaiting, net.faults]).toEqual([true, false, []])
      const made = net.parts[0]?.held.size ?? 0
      const came = net.parts.flatMap((part) => [...part.came.values()]).reduce((sum, count) => sum + count, 0)
      // All but its maker need it once.
      expect(came / (made * (size - 1))).toBeLessThan(1.02)
    }),
    { seed: 1, numRuns: 60 },
  )
})
