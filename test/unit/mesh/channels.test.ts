/** Which gossip goes where, and what waits for whom. */
import { describe, expect, test } from 'vitest'
import { millis, type PeerName, parsePeerName } from '../../../mesh/base/brand.ts'
import { err, ok } from '../../../mesh/base/result.ts'
import { type Channels, SUMMARIES_PER_SECOND_MAX } from '../../../mesh/channels.ts'
import { FRAME_BYTES_MAX } from '../../../mesh/framing.ts'
import type { GossipPart, News } from '../../../mesh/gossip.ts'
import { type ChannelMessage, decodeMessage, encodeMessage } from '../../../mesh/messages.ts'
import { QUEUE_BYTES_MAX } from '../../../mesh/outbox.ts'
import { channelsOf } from '../../support/channels.ts'

const a = parsePeerName('aaaaaaaaaaaaaaaa')
const b = parsePeerName('bbbbbbbbbbbbbbbb')
const c = parsePeerName('cccccccccccccccc')

/** A set of bytes below 16: a delta is a list of them, each is news of its own; the digest and the summary are which there are. */
class ByteSet implements GossipPart {
  readonly channel: string
  readonly held = new Set<number>()

  constructor(channel: string, ...held: readonly number[]) {
    this.channel = channel
    for (const byte of held) this.held.add(byte)
  }

  digest(): Uint8Array {
    return Uint8Array.from({ length: 16 }, (_, index) => (this.held.has(index) ? 1 : 0))
  }

  summary(): Uint8Array {
    return this.digest()
  }

  missing(summary: Uint8Array): ReturnType<GossipPart['missing']> {
    if (summary.length !== 16) return err({ code: 'malformed', detail: 'no summary' })
    return ok([...this.held].filter((byte) => summary[byte] === 0).map(newsOf))
  }

  merge(delta: Uint8Array): ReturnType<GossipPart['merge']> {
    if (delta.length === 0) return err({ code: 'malformed', detail: 'no delta' })
    const good = [...delta].filter((byte) => byte < 16)
    const news = good.filter((byte) => !this.held.has(byte))
    for (const byte of news) this.held.add(byte)
    const faults = good.length === delta.length ? [] : [{ code: 'limit' as const, detail: 'a byte too big' }]
    return ok({ news: news.map(newsOf), held: good.map(String), faults })
  }

  receive(): void {}
}

function newsOf(byte: number): News {
  return { key: String(byte), delta: Uint8Array.of(byte) }
}

function deltas(...list: readonly (readonly number[])[]): ChannelMessage {
  return { kind: 'deltas', channel: 'set', deltas: list.map((bytes) => Uint8Array.from(bytes)) }
}

/** Everything that waits for a neighbour, in portions. */
function takeAll(channels: Channels, name: PeerName): readonly (readonly ChannelMessage[])[] {
  const portions: (readonly ChannelMessage[])[] = []
  while (channels.waiting().includes(name)) portions.push(channels.take(name))
  return portions
}

const now = millis(0)

test('news goes to all neighbours but the one that told, and what is known goes nowhere', () => {
  const { channels } = channelsOf(new ByteSet('set', 1), [a, b, c])
  expect(channels.receive(a, deltas([1, 2]), now)).toEqual([])
  expect(channels.waiting()).toEqual([b, c])
  expect([a, b, c].map((name) => channels.take(name))).toEqual([[], [deltas([2])], [deltas([2])]])
  expect(channels.waiting()).toEqual([])
  channels.receive(b, deltas([1, 2]), now)
  expect(channels.waiting()).toEqual([])
})

describe('what waits for a neighbour', () => {
  test('travels in one message per channel, oldest first, and is taken once', () => {
    const { channels } = channelsOf(new ByteSet('set'), [a])
    channels.spread('set', [newsOf(1), newsOf(2)])
    channels.tell(a, 'set', [newsOf(3)])
    channels.spread('other', [newsOf(1)])
    expect(channels.take(a)).toEqual([deltas([1], [2], [3]), { kind: 'deltas', channel: 'other', deltas: [Uint8Array.of(1)] }])
    expect(channels.take(a)).toEqual([])
  })

  test('is replaced by later news with the same key, and joined by news without one', () => {
    const { channels } = channelsOf(new ByteSet('set'), [a])
    channels.spread('set', [{ key: 'k', delta: Uint8Array.of(1) }, newsOf(5)])
    for (const byte of [2, 3]) channels.spread('set', [{ key: 'k', delta: Uint8Array.of(byte) }])
    for (const byte of [8, 8]) channels.spread('set', [{ key: undefined, delta: Uint8Array.of(byte) }])
    expect(channels.take(a)).toEqual([deltas([3], [5], [8], [8])])
  })

  test('is dropped when it shows that it knows', () => {
    const { channels } = channelsOf(new ByteSet('set'), [a, b])
    channels.spread('set', [newsOf(1), newsOf(2)])
    channels.receive(a, deltas([2], [9]), now)
    expect(channels.take(a)).toEqual([deltas([1])])
    expect(channels.take(b)).toEqual([deltas([1], [2], [9])])
  })

  test('is only for it: what one neighbour lacks, the others are not told', () => {
    const { channels } = channelsOf(new ByteSet('set', 1, 2), [a, b])
    channels.receive(a, { kind: 'summary', channel: 'set', bytes: new ByteSet('set', 1).summary(), wantsOurs: false }, now)
    expect(channels.waiting()).toEqual([a])
    expect(channels.take(a)).toEqual([deltas([2])])
  })

  test('is cut into messages that fit a frame, and into portions', () => {
    const { channels } = channelsOf(new ByteSet('set'), [a])
    const news = Array.from({ length: 3_000 }, (_, index) => ({ key: String(index), delta: new Uint8Array(1 + ((index * 37) % 500)) }))
    channels.spread('set', news)
    const portions = takeAll(channels, a)
    expect(portions.length).toBeGreaterThan(2)
    const messages = portions.flat()
    const sizes = messages.map((message) => encodeMessage(message).length)
    expect(Math.max(...sizes)).toBeLessThan(FRAME_BYTES_MAX)
    expect(messages.every((message) => decodeMessage(encodeMessage(message)).ok)).toBe(true)
    expect(messages.flatMap((message) => (message.kind === 'deltas' ? message.deltas : []))).toEqual(news.map(({ delta }) => delta))
  })

  test('is forgotten with it, and a neighbour that comes back begins with nothing', () => {
    const { channels } = channelsOf(new ByteSet('set'), [a, b])
    channels.spread('set', [newsOf(1)])
    channels.down(a)
    channels.spread('set', [newsOf(2)])
    channels.tell(a, 'set', [newsOf(3)])
    expect(channels.take(a)).toEqual([])
    channels.up(a)
    expect(channels.take(a)).toEqual([])
    expect(channels.take(b)).toEqual([deltas([1], [2])])
  })
})

describe('a neighbour that takes nothing', () => {
  const kilobyte = new Uint8Array(1_024)
  const bulk = (count: number, first = 0): readonly News[] =>
    Array.from({ length: count }, (_, index) => ({ key: `bulk ${first + index}`, delta: kilobyte }))

  test('has no more wait for it than the limit, and then gets digests, by which it finds out the rest', () => {
    const { channels } = channelsOf(new ByteSet('set', 1), [a, b])
    for (let round = 0; round < 40; round += 1) channels.tell(a, 'set', bulk(100, 100 * round))
    const messages = takeAll(channels, a).flat()
    const bytes = messages
      .flatMap((message) => (message.kind === 'deltas' ? message.deltas : []))
      .reduce((sum, { length }) => sum + length, 0)
    expect(bytes).toBeLessThanOrEqual(QUEUE_BYTES_MAX)
    expect(messages.at(-1)).toEqual({ kind: 'digests', digests: channels.digests() })
    expect(messages.filter(({ kind }) => kind === 'digests')).toHaveLength(1)
    expect(takeAll(channels, b)).toEqual([])
  })

  test('gets some of it, however much it lacks: an exchange about more than the limit gets on', () => {
    const { channels } = channelsOf(new ByteSet('set', 1), [a])
    channels.tell(a, 'set', bulk(3_000))
    const messages = takeAll(channels, a).flat()
    const count = messages.reduce((sum, message) => sum + (message.kind === 'deltas' ? message.deltas.length : 0), 0)
    expect(count).toBe(QUEUE_BYTES_MAX / kilobyte.length)
  })

  test('may have one piece of news replaced for ever, and is not behind for it', () => {
    const { channels } = channelsOf(new ByteSet('set', 1), [a])
    for (let round = 0; round < 3_000; round += 1) channels.tell(a, 'set', bulk(1))
    expect(takeAll(channels, a)).toEqual([[{ kind: 'deltas', channel: 'set', deltas: [kilobyte] }]])
  })

  test('is told again once it has caught up', () => {
    const { channels } = channelsOf(new ByteSet('set', 1), [a])
    channels.tell(a, 'set', bulk(3_000))
    takeAll(channels, a)
    channels.spread('set', [newsOf(7)])
    expect(takeAll(channels, a)).toEqual([[deltas([7])]])
  })
})

test('one exchange makes two states equal, whichever side begins', () => {
  const [left, right] = [new ByteSet('set', 1, 2), new ByteSet('set', 2, 3)]
  const ends = new Map([
    [a, channelsOf(left, [b]).channels],
    [b, channelsOf(right, [a]).channels],
  ])
  const messages: { readonly from: PeerName; readonly to: PeerName; readonly message: ChannelMessage }[] = [
    { from: a, to: b, message: { kind: 'digests', digests: ends.get(a)?.digests() ?? [] } },
  ]
  const kinds: string[] = []
  for (let next = messages.shift(); next !== undefined; next = messages.shift()) {
    const { from, to, message } = next
    kinds.push(`${from.slice(0, 1)} ${message.kind}`)
    for (const answer of ends.get(to)?.receive(from, message, now) ?? []) messages.push({ ...answer, from: to })
    for (const waiting of ends.get(to)?.take(from) ?? []) messages.push({ from: to, to: from, message: waiting })
  }
  expect(kinds).toEqual(['a digests', 'b summary', 'a summary', 'a deltas', 'b deltas'])
  expect([...left.held].sort()).toEqual([1, 2, 3])
  expect([...right.held].sort()).toEqual([1, 2, 3])
})

describe('digests', () => {
  const different = { kind: 'digests', digests: [{ channel: 'set', digest: new Uint8Array(16) }] } as const

  test('that are equal, or of a channel that we do not have, or of no neighbour, are met with silence', () => {
    const { channels, faults } = channelsOf(new ByteSet('set', 1), [a])
    expect(channels.receive(a, { kind: 'digests', digests: channels.digests() }, now)).toEqual([])
    expect(channels.receive(a, { kind: 'digests', digests: [{ channel: 'other', digest: new Uint8Array(16) }] }, now)).toEqual([])
    expect(channels.receive(b, different, now)).toEqual([])
    expect(faults).toEqual([])
  })

  test('that differ make us ask, once a second per neighbour', () => {
    const { channels } = channelsOf(new ByteSet('set', 1), [a, b])
    const asked = [
      { from: a, at: 0 },
      { from: a, at: 999 },
      { from: b, at: 999 },
      { from: a, at: 1_000 },
    ].map(({ from, at }) => channels.receive(from, different, millis(at)).length)
    expect(asked).toEqual([1, 0, 1, 1])
  })
})

describe('a fault of one neighbour', () => {
  const cases = [
    {
      name: 'an unknown channel',
      message: { kind: 'deltas', channel: 'other', deltas: [Uint8Array.of(1)] },
      faults: ['a channel: gossip on the unknown channel other'],
    },
    { name: 'a delta that is none', message: deltas([]), faults: ['a malformed: set: no delta'] },
    { name: 'a bad entry', message: deltas([99]), faults: ['a limit: set: a byte too big'] },
    {
      name: 'a summary that is none',
      message: { kind: 'summary', channel: 'set', bytes: new Uint8Array(), wantsOurs: true },
      faults: ['a malformed: set: no summary'],
    },
  ] as const
  test.each(cases)('$name is reported, and nothing is sent', ({ message, faults: expected }) => {
    const { channels, faults } = channelsOf(new ByteSet('set', 1), [a, b])
    expect(channels.receive(a, message, now)).toEqual([])
    expect(channels.waiting()).toEqual([])
    expect(faults).toEqual(expected)
  })

  test('in one delta does not cost the others of its message', () => {
    const { channels, faults } = channelsOf(new ByteSet('set', 1), [a, b])
    channels.receive(a, deltas([2], [], [99, 3]), now)
    expect(channels.take(b)).toEqual([deltas([2], [3])])
    expect(faults).toHaveLength(2)
  })

  test('more summaries in a second than an exchange has are not answered', () => {
    const { channels, faults } = channelsOf(new ByteSet('set', 1), [a, b])
    const summary = { kind: 'summary', channel: 'set', bytes: new Uint8Array(16), wantsOurs: true } as const
    const answers = Array.from({ length: SUMMARIES_PER_SECOND_MAX + 2 }, () => channels.receive(a, summary, now).length)
    expect(answers).toEqual([...new Array(SUMMARIES_PER_SECOND_MAX).fill(1), 0, 0])
    expect(faults).toHaveLength(2)
    expect(channels.receive(b, summary, now)).toHaveLength(1)
    expect(channels.receive(a, summary, millis(1_000))).toHaveLength(1)
  })
})

test('a channel is registered once, under a proper name', () => {
  const part = new ByteSet('set')
  const { channels } = channelsOf(part, [])
  expect(() => channels.register(new ByteSet('set'))).toThrow('registered once')
  expect(() => channels.register(new ByteSet('Not A Channel'))).toThrow('a proper name')
  expect([channels.part('set'), channels.part('other')]).toEqual([part, undefined])
})
