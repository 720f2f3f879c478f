/** Whom to ask for what neighbours have offered. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { millis, type PeerName, parsePeerName } from '../../../mesh/base/brand.ts'
import { WANTS_MAX, Wants } from '../../../mesh/wants.ts'

const a = parsePeerName('aaaaaaaaaaaaaaaa')
const b = parsePeerName('bbbbbbbbbbbbbbbb')
const c = parsePeerName('cccccccccccccccc')

const PATIENCE = 1_000

/** An offer of one version of something. */
function offerOf(version: number): Uint8Array {
  return Uint8Array.of(version)
}

function offer(wants: Wants, from: PeerName, { key = 'k', version = 1, now = 0 } = {}): boolean {
  return wants.offered('ch', key, { from, offer: offerOf(version), now: millis(now) })
}

/** Version `held` of `key` has come. */
function come(wants: Wants, held: number, { key = 'k', now = 0 } = {}): PeerName | undefined {
  return wants.got('ch', key, (offered) => (offered[0] ?? 0) > held, millis(now))?.to
}

function overdue(wants: Wants, now: number): readonly string[] {
  return wants.overdue(millis(now)).map(({ to, channel, key }) => `${to.slice(0, 1)} ${channel} ${key}`)
}

test('is asked of whoever offers it first, and of nobody else', () => {
  const wants = new Wants()
  expect([a, b, a, c].map((name) => offer(wants, name))).toEqual([true, false, false, false])
  expect(overdue(wants, PATIENCE - 1)).toEqual([])
})

test('the same key on another channel is another thing', () => {
  const wants = new Wants()
  expect(offer(wants, a)).toBe(true)
  expect(wants.offered('other', 'k', { from: b, offer: offerOf(1), now: millis(0) })).toBe(true)
})

describe('one that does not answer', () => {
  test('in time is followed by the others, in the order of their offers, each with as much time', () => {
    const wants = new Wants()
    for (const name of [a, c, b]) offer(wants, name)
    const asked = [PATIENCE, PATIENCE + 1, 2 * PATIENCE - 1, 2 * PATIENCE].map((now) => overdue(wants, now))
    expect(asked).toEqual([['c ch k'], [], [], ['b ch k']])
    expect(wants.isEmpty).toBe(false)
    expect(overdue(wants, 3 * PATIENCE)).toEqual([])
    expect(wants.isEmpty).toBe(true)
  })

  test('because it is gone is followed by the next at once', () => {
    const wants = new Wants()
    for (const name of [a, b, c]) offer(wants, name)
    wants.down(a)
    expect(overdue(wants, 1)).toEqual(['b ch k'])
  })

  test('is not asked later when it is gone by then', () => {
    const wants = new Wants()
    for (const name of [a, b, c]) offer(wants, name)
    wants.down(b)
    expect(overdue(wants, PATIENCE)).toEqual(['c ch k'])
  })

  test('may offer again, and is asked again after the others', () => {
    const wants = new Wants()
    for (const name of [a, b]) offer(wants, name)
    expect(overdue(wants, PATIENCE)).toEqual(['b ch k'])
    expect(offer(wants, a, { now: PATIENCE })).toBe(false)
    expect(overdue(wants, 2 * PATIENCE)).toEqual(['a ch k'])
  })

  test('is not asked twice in a row, however often it offers meanwhile', () => {
    const wants = new Wants()
    for (const version of [1, 2]) offer(wants, a, { version })
    expect([overdue(wants, PATIENCE), wants.isEmpty]).toEqual([[], true])
  })

  test('is given up when nobody else has offered, and asked anew by a new offer', () => {
    const wants = new Wants()
    offer(wants, a)
    wants.down(a)
    expect([overdue(wants, 0), wants.isEmpty]).toEqual([[], true])
    expect(offer(wants, b)).toBe(true)
  })
})

describe('what has come', () => {
  test('is wanted no more, whoever brought it', () => {
    const wants = new Wants()
    for (const name of [a, b]) offer(wants, name)
    expect([come(wants, 1), wants.isEmpty]).toEqual([undefined, true])
    expect(come(wants, 1, { key: 'never offered' })).toBeUndefined()
  })

  test('but is older than what another one has offered is asked of that one', () => {
    const wants = new Wants()
    offer(wants, a, { version: 1 })
    offer(wants, b, { version: 1 })
    offer(wants, c, { version: 2 })
    expect(come(wants, 1, { now: 500 })).toBe(c)
    // And that one has its own time to answer.
    expect(overdue(wants, 500 + PATIENCE - 1)).toEqual([])
    expect([come(wants, 2), wants.isEmpty]).toEqual([undefined, true])
  })

  test('counts by the latest offer of each', () => {
    const wants = new Wants()
    offer(wants, a, { version: 1 })
    offer(wants, b, { version: 1 })
    offer(wants, b, { version: 3 })
    expect(come(wants, 1)).toBe(b)
  })
})

test('offers are kept as copies: they are views of the messages that brought them, which are far longer', () => {
  const wants = new Wants()
  offer(wants, a)
  const message = new Uint8Array(100).fill(2)
  wants.offered('ch', 'k', { from: b, offer: message.subarray(10, 11), now: millis(0) })
  message.fill(0)
  const kept: Uint8Array[] = []
  wants.got('ch', 'k', (one) => kept.push(one) > 0, millis(0))
  expect(kept.map((one) => [[...one], one.buffer.byteLength])).toEqual([[[2], 1]])
})

test('more than the limit are not waited for, and those that are waited for still find other neighbours', () => {
  const wants = new Wants()
  const keys = Array.from({ length: WANTS_MAX + 10 }, (_, index) => `k${index}`)
  expect(keys.filter((key) => offer(wants, a, { key }))).toHaveLength(WANTS_MAX)
  for (const key of keys) offer(wants, b, { key })
  wants.down(a)
  expect(wants.overdue(millis(0))).toHaveLength(WANTS_MAX)
  come(wants, 9, { key: 'k0' })
  expect([offer(wants, c, { key: 'one more' }), offer(wants, c, { key: 'two more' })]).toEqual([true, false])
})

/** Wants, and beside them the offers of each neighbour that it was not asked for yet. */
class Watched {
  readonly wants: Wants = new Wants()
  readonly #open = new Set<string>()
  #now = 0

  offer(from: PeerName, key: string, version: number): void {
    this.#open.add(`${from} ${key}`)
    if (offer(this.wants, from, { key, version, now: this.#now })) this.#check(from, key)
  }

  come(key: string, version: number): void {
    const to = come(this.wants, version, { key, now: this.#now })
    if (to !== undefined) this.#check(to, key)
  }

  down(name: PeerName): void {
    this.wants.down(name)
    for (const id of this.#open) if (id.startsWith(name)) this.#open.delete(id)
  }

  wait(time: number): void {
    this.#now += time
    for (const { to, key } of this.wants.overdue(millis(this.#now))) this.#check(to, key)
  }

  #check(to: PeerName, key: string): void {
    expect(this.#open.delete(`${to} ${key}`)).toBe(true)
  }
}

const event = fc.tuple(fc.constantFrom('offer', 'offer', 'come', 'down', 'wait'), fc.constantFrom(a, b, c), fc.nat(3), fc.nat(3))

test('whatever happens, nobody is asked for what it has not offered since, and in the end nothing is waited for', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const watched = new Watched()
      for (const [kind, name, key, version] of events) {
        if (kind === 'offer') watched.offer(name, `k${key}`, version)
        else if (kind === 'come') watched.come(`k${key}`, version)
        else if (kind === 'down') watched.down(name)
        else watched.wait(400 * version)
      }
      for (let round = 0; round < 5; round += 1) watched.wait(PATIENCE)
      expect(watched.wants.isEmpty).toBe(true)
    }),
    { seed: 1, numRuns: 500 },
  )
})
