/** What waits for one neighbour, and what is told, offered or dropped when somebody takes it. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { News } from '../../../mesh/gossip.ts'
import { type ChannelMessage, DELTAS_MAX, decodeMessage, encodeMessage } from '../../../mesh/messages.ts'
import { Outbox, QUEUE_BYTES_MAX, TOLD_MAX } from '../../../mesh/outbox.ts'

const OFFER_BYTES = 28

/** News with an offer, which is its number alone. */
function offerable(number: number, bytes = 400): News {
  return { key: `k${number}`, delta: deltaOf(number, bytes), offer: deltaOf(number, OFFER_BYTES) }
}

function many(count: number, first = 0): readonly News[] {
  return Array.from({ length: count }, (_, index) => offerable(first + index))
}

function deltaOf(number: number, bytes: number): Uint8Array {
  const delta = new Uint8Array(bytes)
  new DataView(delta.buffer).setUint32(0, number)
  return delta
}

function numberOf(item: Uint8Array): number {
  return new DataView(item.buffer, item.byteOffset).getUint32(0)
}

interface Taken {
  readonly told: readonly number[]
  readonly offered: readonly number[]
}

function summarised(messages: readonly ChannelMessage[]): Taken {
  return {
    told: messages.flatMap((message) => (message.kind === 'deltas' ? message.deltas.map(numberOf) : [])),
    offered: messages.flatMap((message) => (message.kind === 'offers' ? message.offers.map(numberOf) : [])),
  }
}

function takeAll(outbox: Outbox): Taken {
  const messages: ChannelMessage[] = []
  while (!outbox.isEmpty) messages.push(...outbox.take())
  return summarised(messages)
}

function outboxWith(news: readonly News[], isWanted = false): Outbox {
  const outbox = new Outbox()
  outbox.add('c', news, isWanted)
  return outbox
}

const range = (count: number, first = 0): readonly number[] => Array.from({ length: count }, (_, index) => first + index)

describe('news that waits', () => {
  test.each([
    { name: 'few pieces are told', news: many(TOLD_MAX), told: TOLD_MAX, offered: 0 },
    { name: 'one more, and all are only offered', news: many(TOLD_MAX + 1), told: 0, offered: TOLD_MAX + 1 },
  ])('$name', ({ news, told, offered }) => {
    expect(takeAll(outboxWith(news))).toEqual({ told: range(told), offered: range(offered) })
  })

  test('without a key, or without an offer, is told however much there is', () => {
    const bare = range(2 * TOLD_MAX).map((number) => ({ key: number % 2 === 0 ? undefined : `k${number}`, delta: deltaOf(number, 10) }))
    expect(takeAll(outboxWith(bare))).toEqual({ told: range(2 * TOLD_MAX), offered: [] })
    // Nor does it make others be offered.
    const outbox = outboxWith(bare)
    outbox.add('c', many(TOLD_MAX, 100))
    expect(takeAll(outbox)).toEqual({ told: [...range(2 * TOLD_MAX), ...range(TOLD_MAX, 100)], offered: [] })
  })

  test('that the neighbour has asked for is told, among however many offers', () => {
    const outbox = outboxWith(many(100))
    outbox.add('c', many(30, 500), true)
    expect(takeAll(outbox)).toEqual({ told: range(30, 500), offered: range(100) })
  })

  test('stays wanted when a later piece takes its place', () => {
    const outbox = outboxWith([offerable(7)], true)
    outbox.add('c', [{ ...offerable(8), key: 'k7' }, ...many(100, 100)])
    expect(takeAll(outbox)).toEqual({ told: [8], offered: range(100, 100) })
  })

  test('becomes wanted where it stands', () => {
    const outbox = outboxWith(many(100))
    outbox.add('c', [offerable(50)], true)
    expect(takeAll(outbox)).toEqual({ told: [50], offered: range(100).filter((number) => number !== 50) })
  })

  test('counts as sent when it is taken, and is not wanted for ever', () => {
    const outbox = outboxWith([offerable(1)], true)
    takeAll(outbox)
    outbox.add('c', many(100))
    expect(takeAll(outbox).told).toEqual([])
  })
})

describe('dropping', () => {
  test('takes away the one piece of the one channel', () => {
    const outbox = outboxWith(many(3))
    outbox.add('d', many(3))
    outbox.drop('c', 'k1')
    outbox.drop('c', 'unknown')
    outbox.drop('unknown', 'k1')
    expect(outbox.take()).toEqual([
      { kind: 'deltas', channel: 'c', deltas: [0, 2].map((number) => offerable(number).delta) },
      { kind: 'deltas', channel: 'd', deltas: [0, 1, 2].map((number) => offerable(number).delta) },
    ])
    expect(outbox.isEmpty).toBe(true)
  })

  test('leaves nothing to take when it was all', () => {
    const outbox = outboxWith(many(2))
    outbox.drop('c', 'k0')
    outbox.drop('c', 'k0')
    expect(outbox.isEmpty).toBe(false)
    outbox.drop('c', 'k1')
    expect([outbox.isEmpty, outbox.take()]).toEqual([true, []])
  })
})

describe('an outbox that is full', () => {
  const half = QUEUE_BYTES_MAX / 2

  test('drops what does not fit, says so, and takes what does', () => {
    const outbox = outboxWith([offerable(1, half), offerable(2, half)])
    expect(outbox.isBehind).toBe(false)
    outbox.add('c', [offerable(3, 4)])
    expect(outbox.isBehind).toBe(true)
    outbox.drop('c', 'k1')
    outbox.add('c', [offerable(4, 4)])
    expect(takeAll(outbox).told).toEqual([2, 4])
  })

  test('keeps the earlier piece when the later one is too long for it', () => {
    const outbox = outboxWith([offerable(1, half), offerable(2, half)])
    outbox.add('c', [{ ...offerable(9, half + 1), key: 'k2' }])
    expect([outbox.isBehind, takeAll(outbox).told]).toEqual([true, [1, 2]])
  })

  test('has room for as much again once it was taken', () => {
    const outbox = outboxWith([offerable(1, half), offerable(2, half)])
    takeAll(outbox)
    outbox.add('c', [offerable(3, half), offerable(4, half)])
    expect([outbox.isBehind, takeAll(outbox).told]).toEqual([false, [3, 4]])
  })
})

describe('messages', () => {
  test('hold as many offers as a message may have', () => {
    const outbox = outboxWith(range(2_500).map((number) => offerable(number, 40)))
    const messages = outbox.take()
    expect(messages.map((message) => (message.kind === 'offers' ? message.offers.length : message.kind))).toEqual([
      DELTAS_MAX,
      DELTAS_MAX,
      2_500 - 2 * DELTAS_MAX,
    ])
    expect(messages.every((message) => decodeMessage(encodeMessage(message)).ok)).toBe(true)
  })

  test('are each about one channel', () => {
    const outbox = outboxWith(many(20))
    outbox.add('d', many(20, 20))
    expect(outbox.take().map((message) => (message.kind === 'offers' ? [message.channel, message.offers.length] : message.kind))).toEqual([
      ['c', 20],
      ['d', 20],
    ])
  })

  test('are no longer than they need be, however long their pieces are', () => {
    const pieces = range(40).map((number) => ({ key: undefined, delta: deltaOf(number, 10_000) }))
    const outbox = outboxWith([...pieces, { key: undefined, delta: deltaOf(40, 100_000) }])
    const lengths: number[] = []
    while (!outbox.isEmpty) {
      for (const message of outbox.take()) lengths.push(message.kind === 'deltas' ? message.deltas.length : 0)
    }
    // A single piece may be longer than a message is meant to be; it travels alone.
    expect(lengths.every((length) => length <= 3)).toBe(true)
    expect([lengths.at(-1), lengths.reduce((sum, length) => sum + length, 0)]).toEqual([1, 41])
  })
})

/** An outbox, and beside it a plain list of what must be in it. */
class Compared {
  readonly outbox: Outbox = new Outbox()
  readonly pieces: Map<string, { readonly number: number; readonly isWanted: boolean }> = new Map()

  add(key: string, number: number, isWanted: boolean): void {
    this.outbox.add('c', [{ ...offerable(number), key }], isWanted)
    this.pieces.set(key, { number, isWanted: isWanted || this.pieces.get(key)?.isWanted === true })
  }

  drop(key: string): void {
    this.outbox.drop('c', key)
    this.pieces.delete(key)
  }

  take(): void {
    const waiting = [...this.pieces.values()]
    const canOffer = waiting.filter(({ isWanted }) => !isWanted).length > TOLD_MAX
    const isTold = ({ isWanted }: { readonly isWanted: boolean }): boolean => isWanted || !canOffer
    expect(summarised(this.outbox.take())).toEqual({
      told: waiting.filter(isTold).map(({ number }) => number),
      offered: waiting.filter((piece) => !isTold(piece)).map(({ number }) => number),
    })
    this.pieces.clear()
  }
}

const step = fc.oneof(
  { weight: 20, arbitrary: fc.tuple(fc.constant('add' as const), fc.nat(40), fc.boolean()) },
  { weight: 4, arbitrary: fc.tuple(fc.constant('drop' as const), fc.nat(40), fc.constant(false)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('take' as const), fc.constant(0), fc.constant(false)) },
)

test('whatever comes and goes, each piece is taken once, the latest of its key, and told if it was wanted', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const compared = new Compared()
      for (const [number, [kind, key, isWanted]] of steps.entries()) {
        if (kind === 'add') compared.add(`k${key}`, number, isWanted)
        else if (kind === 'drop') compared.drop(`k${key}`)
        else compared.take()
        expect(compared.outbox.isEmpty).toBe(compared.pieces.size === 0)
      }
      compared.take()
    }),
    { seed: 1 },
  )
})
