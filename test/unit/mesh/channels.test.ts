/** Which gossip goes where. */
import { describe, expect, test } from 'vitest'
import { millis, type PeerName, parsePeerName } from '../../../mesh/base/brand.ts'
import { err, ok } from '../../../mesh/base/result.ts'
import { Channels, SUMMARIES_PER_SECOND_MAX } from '../../../mesh/channels.ts'
import type { GossipPart } from '../../../mesh/gossip.ts'

const a = parsePeerName('aaaaaaaaaaaaaaaa')
const b = parsePeerName('bbbbbbbbbbbbbbbb')
const c = parsePeerName('cccccccccccccccc')

/** A set of bytes below 16: a delta is a list of them, the digest and the summary are which there are. */
class ByteSet implements GossipPart {
  readonly channel: string
  readonly held = new Set<number>()
  readonly received: { readonly from: PeerName; readonly bytes: readonly number[] }[] = []

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
    const lacking = [...this.held].filter((byte) => summary[byte] === 0)
    return ok(lacking.length === 0 ? [] : [Uint8Array.from(lacking)])
  }

  merge(delta: Uint8Array): ReturnType<GossipPart['merge']> {
    if (delta.length === 0) return err({ code: 'malformed', detail: 'no delta' })
    const good = delta.filter((byte) => byte < 16)
    const news = good.filter((byte) => !this.held.has(byte))
    for (const byte of news) this.held.add(byte)
    const faults = good.length === delta.length ? [] : [{ code: 'limit' as const, detail: 'a byte too big' }]
    return ok({ news: news.length === 0 ? undefined : news, faults })
  }

  receive(message: Uint8Array, from: PeerName): void {
    this.received.push({ from, bytes: [...message] })
  }
}

function channelsOf(part: GossipPart, neighbours: readonly PeerName[]): { readonly channels: Channels; readonly faults: string[] } {
  const faults: string[] = []
  const channels = new Channels((from, code, detail) => faults.push(`${from.slice(0, 1)} ${code}: ${detail}`))
  channels.register(part)
  for (const name of neighbours) channels.up(name)
  return { channels, faults }
}

const now = millis(0)

test('news goes to all neighbours but the one that told, and what is known goes nowhere', () => {
  const { channels } = channelsOf(new ByteSet('set', 1), [a, b, c])
  const delta = (...bytes: readonly number[]) => ({ kind: 'delta', channel: 'set', bytes: Uint8Array.from(bytes) }) as const
  expect(channels.receive(a, delta(1, 2), now)).toEqual([
    { to: b, message: delta(2) },
    { to: c, message: delta(2) },
  ])
  expect(channels.receive(b, delta(1, 2), now)).toEqual([])
})

test('one exchange makes two states equal, whichever side begins', () => {
  const [left, right] = [new ByteSet('set', 1, 2), new ByteSet('set', 2, 3)]
  const ends = new Map([
    [a, channelsOf(left, [b]).channels],
    [b, channelsOf(right, [a]).channels],
  ])
  const messages = [{ from: a, to: b, message: { kind: 'digests', digests: ends.get(a)?.digests() ?? [] } as const }] as {
    from: PeerName
    to: PeerName
    message: Parameters<Channels['receive']>[1]
  }[]
  const kinds: string[] = []
  for (let next = messages.shift(); next !== undefined; next = messages.shift()) {
    const { from, to, message } = next
    kinds.push(`${from.slice(0, 1)} ${message.kind}`)
    for (const answer of ends.get(to)?.receive(from, message, now) ?? []) messages.push({ ...answer, from: to })
  }
  expect(kinds).toEqual(['a digests', 'b summary', 'a delta', 'a summary', 'b delta'])
  expect([...left.held].sort()).toEqual([1, 2, 3])
  expect([...right.held].sort()).toEqual([1, 2, 3])
})

describe('digests', () => {
  const different = { kind: 'digests', digests: [{ channel: 'set', digest: new Uint8Array(16) }] } as const

  test('that are equal, or of a channel that we do not have, are met with silence', () => {
    const { channels, faults } = channelsOf(new ByteSet('set', 1), [a])
    expect(channels.receive(a, { kind: 'digests', digests: channels.digests() }, now)).toEqual([])
    expect(channels.receive(a, { kind: 'digests', digests: [{ channel: 'other', digest: new Uint8Array(16) }] }, now)).toEqual([])
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
      message: { kind: 'delta', channel: 'other', bytes: Uint8Array.of(1) },
      fault: 'a channel: gossip on the unknown channel other',
    },
    {
      name: 'a delta that is none',
      message: { kind: 'delta', channel: 'set', bytes: new Uint8Array() },
      fault: 'a malformed: set: no delta',
    },
    { name: 'a bad entry', message: { kind: 'delta', channel: 'set', bytes: Uint8Array.of(99) }, fault: 'a limit: set: a byte too big' },
    {
      name: 'a summary that is none',
      message: { kind: 'summary', channel: 'set', bytes: new Uint8Array(), wantsOurs: true },
      fault: 'a malformed: set: no summary',
    },
  ] as const
  test.each(cases)('$name is reported, and nothing is sent', ({ message, fault }) => {
    const { channels, faults } = channelsOf(new ByteSet('set', 1), [a, b])
    expect(channels.receive(a, message, now)).toEqual([])
    expect(faults).toEqual([fault])
  })

  test('more summaries in a second than an exchange has are not answered', () => {
    const { channels, faults } = channelsOf(new ByteSet('set', 1), [a, b])
    const summary = { kind: 'summary', channel: 'set', bytes: new Uint8Array(16), wantsOurs: true } as const
    const answers = Array.from({ length: SUMMARIES_PER_SECOND_MAX + 2 }, () => channels.receive(a, summary, now).length)
    expect(answers).toEqual([...new Array(SUMMARIES_PER_SECOND_MAX).fill(2), 0, 0])
    expect(faults).toHaveLength(2)
    expect(channels.receive(b, summary, now)).toHaveLength(2)
    expect(channels.receive(a, summary, millis(1_000))).toHaveLength(2)
  })
})

test('a unicast message reaches the part, with its sender', () => {
  const part = new ByteSet('set')
  const { channels } = channelsOf(part, [a])
  expect(channels.receive(a, { kind: 'unicast', channel: 'set', bytes: Uint8Array.of(1, 2) }, now)).toEqual([])
  expect(part.received).toEqual([{ from: a, bytes: [1, 2] }])
})

test('a channel is registered once, under a proper name', () => {
  const { channels } = channelsOf(new ByteSet('set'), [])
  expect(() => channels.register(new ByteSet('set'))).toThrow('registered once')
  expect(() => channels.register(new ByteSet('Not A Channel'))).toThrow('a proper name')
})

test('a neighbour that is gone hears nothing any more', () => {
  const { channels } = channelsOf(new ByteSet('set'), [a, b])
  channels.down(a)
  expect(channels.spread('set', Uint8Array.of(1)).map(({ to }) => to)).toEqual([b])
})
