/** Who hears when that we live: every promise is kept, and beats are spread over the interval. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Millis, millis } from '../../../mesh/base/brand.ts'
import { Beats } from '../../../mesh/beats.ts'
import { INTERVAL_MAX } from '../../../mesh/heartbeat.ts'
import { TestClock } from '../../support/test-clock.ts'

interface Beat {
  readonly to: string
  readonly at: Millis
  readonly within: Millis
  readonly wantsAnswer: boolean | undefined
}

interface Neighbour {
  readonly name: string
  beat(within: Millis, wantsAnswer?: boolean): void
}

/** Beats that send into a list. */
class Scene {
  readonly clock: TestClock = new TestClock()
  readonly sent: Beat[] = []
  interval: Millis = millis(3_000)
  readonly beats: Beats = new Beats({ clock: this.clock, interval: () => this.interval })

  /** A new neighbour. */
  up(name: string): Neighbour {
    const neighbour: Neighbour = {
      name,
      beat: (within, wantsAnswer) => void this.sent.push({ to: name, at: this.clock.now(), within, wantsAnswer }),
    }
    this.beats.up(neighbour)
    return neighbour
  }

  /** As `time name`, since the last call. */
  hear(duration: number): readonly string[] {
    this.clock.advance(millis(duration))
    return this.sent.splice(0).map(({ to, at }) => `${at} ${to}`)
  }
}

test('one neighbour hears of us once in an interval, and is told which', () => {
  const scene = new Scene()
  scene.up('a')
  scene.clock.advance(millis(9_500))
  expect(scene.sent).toEqual([3_000, 6_000, 9_000].map((at) => ({ to: 'a', at, within: 3_000, wantsAnswer: false })))
})

test('several hear in turn, spread evenly', () => {
  const scene = new Scene()
  for (const name of ['a', 'b', 'c']) scene.up(name)
  expect(scene.hear(6_000)).toEqual(['1000 a', '2000 b', '3000 c', '4000 a', '5000 b', '6000 c'])
})

test('a new one gets its turn, and takes nobody else’s promise away', () => {
  const scene = new Scene()
  scene.up('a')
  scene.hear(3_000)
  scene.up('b')
  expect(scene.hear(9_000)).toEqual(['4500 a', '6000 b', '7500 a', '9000 b', '10500 a', '12000 b'])
})

test('nobody hears of us who is gone, and the others as before', () => {
  const scene = new Scene()
  const [one] = ['a', 'b'].map((name) => scene.up(name))
  scene.hear(2_000)
  if (one !== undefined) scene.beats.down(one)
  expect(scene.hear(6_000)).toEqual(['3000 b', '6000 b'])
})

test('a promise holds when the interval grows, and the next one is longer', () => {
  const scene = new Scene()
  scene.up('a')
  scene.hear(3_000)
  scene.interval = millis(6_000)
  expect(scene.hear(12_000)).toEqual(['6000 a', '12000 a'])
})

describe('a beat out of turn', () => {
  test('is a promise as any: it counts as this one’s turn', () => {
    const scene = new Scene()
    const [one] = ['a', 'b'].map((name) => scene.up(name))
    scene.clock.advance(millis(1_000))
    if (one !== undefined) scene.beats.beat(one, true)
    expect(scene.sent.splice(0)).toEqual([{ to: 'a', at: 1_000, within: 3_000, wantsAnswer: true }])
    expect(scene.hear(4_500)).toEqual(['2500 b', '4000 a', '5500 b'])
  })

  test('does not make those wait whom the next ones were promised', () => {
    const scene = new Scene()
    const [one] = ['a', 'b'].map((name) => scene.up(name))
    scene.hear(3_000)
    for (let count = 0; count < 20; count += 1) {
      scene.clock.advance(millis(200))
      if (one !== undefined) scene.beats.beat(one, false)
    }
    const heardByB = scene.sent.filter(({ to }) => to === 'b').map(({ at }) => at)
    expect(heardByB).toEqual([6_000])
  })

  test('to one that is gone leaves nothing behind', () => {
    const scene = new Scene()
    const one = scene.up('a')
    scene.beats.down(one)
    scene.beats.beat(one, false)
    scene.sent.length = 0
    expect(scene.hear(20_000)).toEqual([])
  })
})

test('nothing is sent to nobody, nor after the end', () => {
  const scene = new Scene()
  expect(scene.hear(10_000)).toEqual([])
  scene.up('a')
  scene.beats[Symbol.dispose]()
  expect(scene.hear(10_000)).toEqual([])
})

/** A scene in which each beat is checked against the promise before it. */
class Promised {
  readonly scene: Scene = new Scene()
  readonly #neighbours = new Map<number, Neighbour>()
  /** By when each must have heard. */
  readonly #due = new Map<string, number>()
  #made = 0

  wait(time: number): void {
    this.scene.clock.advance(millis(time))
    this.#look()
  }

  up(number: number): void {
    if (this.#neighbours.has(number)) return
    const name = `${number} ${this.#made++}`
    this.#due.set(name, this.scene.clock.now() + INTERVAL_MAX)
    this.#neighbours.set(number, this.scene.up(name))
  }

  down(number: number): void {
    const neighbour = this.#neighbours.get(number)
    if (neighbour === undefined) return
    this.#neighbours.delete(number)
    this.#due.delete(neighbour.name)
    this.scene.beats.down(neighbour)
  }

  ask(number: number): void {
    const neighbour = this.#neighbours.get(number)
    if (neighbour !== undefined) this.scene.beats.beat(neighbour, false)
    this.#look()
  }

  #look(): void {
    for (const { to, at, within } of this.scene.sent.splice(0)) {
      expect(at).toBeLessThanOrEqual(this.#due.get(to) ?? 0)
      this.#due.set(to, at + within)
    }
    for (const at of this.#due.values()) expect(this.scene.clock.now()).toBeLessThanOrEqual(at)
  }
}

const step = fc.tuple(fc.constantFrom('up', 'down', 'ask', 'interval'), fc.nat(5), fc.nat(2_000))

test('whatever neighbours come, go and ask, and however the interval changes, no promise is broken', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const promised = new Promised()
      for (const [kind, number, time] of steps) {
        promised.wait(time)
        if (kind === 'up') promised.up(number)
        else if (kind === 'down') promised.down(number)
        else if (kind === 'ask') promised.ask(number)
        else promised.scene.interval = millis(3_000 + 600 * number)
      }
      promised.wait(INTERVAL_MAX)
    }),
    { seed: 1, numRuns: 300 },
  )
})
