/** Of two connections with one peer, both ends keep the same. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { millis, seconds } from '../../../mesh/base/brand.ts'
import { CROSSING_WINDOW, chooseConnection, type Rival } from '../../../mesh/duplicates.ts'

const old: Rival = { outbound: true, connectionId: '5', instance: 'a', incarnation: 10 }
const next: Rival = { outbound: false, connectionId: '6', instance: 'a', incarnation: 10 }

describe('one end', () => {
  test.each([
    {
      name: 'a restarted peer replaces its former life',
      old,
      next: { ...next, instance: 'b', incarnation: 11 },
      age: 1,
      keep: 'new',
      code: 'duplicate',
    },
    {
      name: 'also when we have dialled it',
      old,
      next: { ...next, outbound: true, instance: 'b', incarnation: 11 },
      age: 1,
      keep: 'new',
      code: 'duplicate',
    },
    {
      name: 'a clone that started earlier is turned away',
      old,
      next: { ...next, instance: 'b', incarnation: 9 },
      age: 1,
      keep: 'old',
      code: 'collision',
    },
    {
      name: 'who dials a peer that it has withdraws',
      old: { ...old, outbound: false },
      next: { ...next, outbound: true },
      age: 1,
      keep: 'old',
      code: 'duplicate',
    },
    { name: 'of two that cross, the lower id stays', old, next, age: 1, keep: 'old', code: 'duplicate' },
    { name: 'whichever came first', old, next: { ...next, connectionId: '4' }, age: 1, keep: 'new', code: 'duplicate' },
    {
      name: 'a peer that dials again has lost the old one',
      old: { ...old, outbound: false },
      next,
      age: 1,
      keep: 'new',
      code: 'duplicate',
    },
    { name: 'later than dials can cross, too', old, next, age: CROSSING_WINDOW + 1, keep: 'new', code: 'duplicate' },
  ])('$name', ({ old: before, next: after, age, keep, code }) => {
    expect(chooseConnection(before, after, millis(age))).toMatchObject({ keep, code })
  })
})

/** Two peers that have dialled each other, each hello exchanged: what is left is the acceptor's proof and the dialler's. */
class Crossing {
  readonly #ids: Readonly<Record<Dialler, string>>
  /** Per end, the connection that it has established. */
  readonly kept: Record<Dialler, Dialler | undefined> = { a: undefined, b: undefined }
  /** On their way, in order, per connection and receiver. A connection is named by who dialled it. */
  readonly #queues = new Map<string, ('proof' | 'close')[]>([
    ['a to a', ['proof']],
    ['b to b', ['proof']],
  ])
  readonly #closed = new Set<string>()

  constructor(ids: Readonly<Record<Dialler, string>>) {
    this.#ids = ids
  }

  /** Delivers one message, of the many that may come next; false when none is left. */
  deliver(choice: number): boolean {
    const ready = [...this.#queues].filter(([, queue]) => queue.length > 0)
    const [key, queue] = ready[choice % Math.max(1, ready.length)] ?? []
    if (key === undefined) return false
    const [connection, , end] = key.split(' ') as [Dialler, string, Dialler]
    if (this.#closed.has(`${connection} at ${end}`)) queue?.shift()
    else if (queue?.shift() === 'close') this.#close(connection, end)
    else this.#proved(connection, end)
    return true
  }

  #proved(connection: Dialler, end: Dialler): void {
    const outbound = connection === end
    const before = this.kept[end]
    if (before !== undefined) {
      const rival = (which: Dialler): Rival => ({ ...old, outbound: which === end, connectionId: this.#ids[which] })
      const { keep } = chooseConnection(rival(before), rival(connection), seconds(1))
      const loser = keep === 'old' ? connection : before
      this.#close(loser, end)
      this.#send(loser, end, 'close')
      if (keep === 'old') return
    }
    this.kept[end] = connection
    if (outbound) this.#send(connection, end, 'proof')
  }

  #close(connection: Dialler, end: Dialler): void {
    this.#closed.add(`${connection} at ${end}`)
    if (this.kept[end] === connection) this.kept[end] = undefined
  }

  #send(connection: Dialler, from: Dialler, message: 'proof' | 'close'): void {
    const key = `${connection} to ${from === 'a' ? 'b' : 'a'}`
    this.#queues.set(key, [...(this.#queues.get(key) ?? []), message])
  }
}

type Dialler = 'a' | 'b'

test('when two dials cross, both ends keep the same one connection, in whatever order things arrive', () => {
  fc.assert(
    fc.property(fc.boolean(), fc.array(fc.nat(3), { minLength: 20, maxLength: 20 }), (isALower, schedule) => {
      const crossing = new Crossing(isALower ? { a: '1', b: '2' } : { a: '2', b: '1' })
      for (const choice of schedule) crossing.deliver(choice)
      expect(crossing.deliver(0)).toBe(false)
      expect(crossing.kept.a).toBeDefined()
      expect(crossing.kept.b).toBe(crossing.kept.a)
    }),
    { seed: 1, numRuns: 1_000 },
  )
})
