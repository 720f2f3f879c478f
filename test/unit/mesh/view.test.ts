/** The view: reviews fall together, and a part of the mesh that is back is met. */
import { describe, expect, test } from 'vitest'
import { ipv4 } from '../../../mesh/base/address.ts'
import { type Millis, millis, type PeerName, seconds } from '../../../mesh/base/brand.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { suspicionTime } from '../../../mesh/liveness.ts'
import { Peers } from '../../../mesh/peers.ts'
import { View } from '../../../mesh/view.ts'
import { deltaOf, identityOf, recordOf } from '../../support/mesh-records.ts'
import { simCrypto } from '../../support/sim/crypto.ts'
import { TestClock } from '../../support/test-clock.ts'

const crypto = simCrypto(seededRandom(1))

function nameOf(index: number): PeerName {
  return identityOf(index, crypto).name
}

/** The view of peer 0, of a mesh whose peers tell with whom they are connected. */
class Stage {
  readonly clock = new TestClock()
  readonly peers: Peers = new Peers({ identity: identityOf(0, crypto), crypto, incarnation: 1 })
  readonly view: View
  readonly changedAt: Millis[] = []
  readonly revived: (readonly PeerName[])[] = []
  readonly reunited: (readonly PeerName[])[] = []
  readonly forsaken: PeerName[] = []
  neighbours: readonly PeerName[] = []
  /** What chance says from now on. */
  chance = 0
  #version = 0

  constructor() {
    this.view = new View({
      clock: this.clock,
      random: () => this.chance,
      self: nameOf(0),
      peers: this.peers,
      neighbours: () => this.neighbours,
      revived: (records) => void this.revived.push(records.map(({ name }) => name)),
      reunited: (records) => void this.reunited.push(records.map(({ name }) => name)),
      forsaken: (name) => void this.forsaken.push(name),
      changed: () => void this.changedAt.push(this.clock.now()),
    })
  }

  /** Peer `index` tells that it is connected with these. */
  tell(index: number, others: readonly number[]): void {
    this.#version += 1
    const neighbours = others.map((other) => ({ name: nameOf(other), address: ipv4(1), port: 1, outbound: true }))
    const merged = this.peers.merge(deltaOf(recordOf(identityOf(index, crypto), crypto, { version: this.#version, neighbours })), nameOf(0))
    if (!merged.ok) throw new Error(merged.error.detail)
  }

  /** Connected with these, and looked at at once. */
  connect(...others: readonly number[]): void {
    this.neighbours = others.map(nameOf).sort()
    this.view.reviewNow()
    this.clock.advance(millis(0))
  }

  livenessOf(...peers: readonly number[]): string {
    return peers.map((index) => this.view.livenessOf(nameOf(index))).join()
  }
}

/** We are connected with 1 alone; 1 with all from 2 to `size`, all of them with 1 alone. */
function star(size: number): Stage {
  const stage = new Stage()
  const leaves = Array.from({ length: size - 1 }, (_, index) => index + 2)
  stage.tell(1, [0, ...leaves])
  for (const leaf of leaves) stage.tell(leaf, [1])
  stage.connect(1)
  return stage
}

describe('a view', () => {
  test('tells who is reached, over whom, and all others in order of name', () => {
    const stage = star(3)
    expect(stage.view.reachable()).toEqual([1, 2, 3].map(nameOf).sort())
    expect([1, 2, 3, 9].map((index) => stage.view.nextHop(nameOf(index)))).toEqual([nameOf(1), nameOf(1), nameOf(1), undefined])
    expect(stage.view.others.map(({ name }) => name)).toEqual([1, 2, 3].map(nameOf).sort())
    expect(stage.livenessOf(0, 1, 2, 9)).toBe('alive,alive,alive,suspect')
  })

  test('of one that is off every path goes from alive to suspected to dead without anybody’s doing, and back', () => {
    const stage = star(3)
    stage.connect()
    expect(stage.livenessOf(1, 2)).toBe('suspect,suspect')
    stage.clock.advance(millis(suspicionTime(4) - 1))
    expect(stage.livenessOf(1, 2)).toBe('suspect,suspect')
    stage.clock.advance(millis(1))
    expect(stage.livenessOf(1, 2)).toBe('dead,dead')
    stage.connect(1)
    expect(stage.livenessOf(1, 2)).toBe('alive,alive')
    expect(stage.revived).toEqual([[1, 2, 3].map(nameOf).sort()])
  })

  test('of a neighbour that all others have given up is one to be asked whether it lives; one that never had others is not', () => {
    const stage = new Stage()
    stage.tell(1, [0, 2, 3])
    stage.tell(2, [1, 3])
    stage.tell(3, [1, 2])
    stage.tell(4, [0])
    stage.connect(1, 4)
    stage.tell(2, [3])
    stage.connect(1, 4)
    expect(stage.forsaken).toEqual([])
    stage.tell(3, [2])
    stage.connect(1, 4)
    expect(stage.forsaken).toEqual([nameOf(1)])
    stage.connect(4)
    expect(stage.forsaken).toHaveLength(1)
  })

  test('does nothing any more once it is over', () => {
    const stage = star(3)
    stage.connect()
    stage.view[Symbol.dispose]()
    const count = stage.changedAt.length
    stage.clock.advance(seconds(100))
    expect(stage.changedAt).toHaveLength(count)
  })
})

describe('reviews', () => {
  test('of records that come in a burst are one, soon', () => {
    const stage = star(5)
    const before = stage.changedAt.length
    const start = stage.clock.now()
    for (let count = 0; count < 100; count += 1) {
      stage.tell(2, count % 2 === 0 ? [1] : [1, 3])
      stage.view.reviewSoon()
      stage.clock.advance(millis(0.2))
    }
    stage.clock.advance(seconds(1))
    expect(stage.changedAt.slice(before)).toEqual([start + 33])
  })

  test('of records that never stop coming come at a bounded rate', () => {
    const stage = star(5)
    const before = stage.changedAt.length
    for (let count = 0; count < 1_000; count += 1) {
      stage.view.reviewSoon()
      stage.clock.advance(millis(1))
    }
    expect(stage.changedAt.length - before).toBeLessThanOrEqual(1_000 / 30)
    expect(stage.changedAt.length - before).toBeGreaterThan(20)
  })

  test('are rarer in a bigger mesh', () => {
    const stage = star(5)
    for (let index = 6; index <= 200; index += 1) stage.tell(index, [])
    stage.connect(1)
    const start = stage.clock.now()
    stage.view.reviewSoon()
    stage.clock.advance(seconds(1))
    expect(stage.changedAt.at(-1)).toBe(start + 30 + 100)
  })

  test('of our own connections are at once, and spare the one that was planned', () => {
    const stage = star(5)
    const [before, start] = [stage.changedAt.length, stage.clock.now()]
    stage.view.reviewSoon()
    stage.view.reviewNow()
    stage.view.reviewSoon()
    stage.clock.advance(millis(20))
    expect(stage.changedAt.slice(before)).toEqual([start])
  })
})

describe('a part of the mesh that is back', () => {
  /** A mesh of 20 of which peers 11 to 20, or so many, were lost for long and are back. */
  function parted(lost: number, { chance = 0, size = 20, away = seconds(10) } = {}): Stage {
    const stage = star(size)
    const isBack = Array.from({ length: size - 1 }, (_, index) => index + 2)
    stage.tell(1, [0, ...isBack.slice(0, size - 1 - lost)])
    stage.view.reviewNow()
    stage.clock.advance(away)
    stage.chance = chance
    stage.tell(1, [0, ...isBack])
    stage.view.reviewNow()
    stage.clock.advance(millis(0))
    return stage
  }

  test('is met: a link into it is asked for', () => {
    const stage = parted(10)
    expect(stage.reunited).toEqual([Array.from({ length: 10 }, (_, index) => nameOf(index + 11)).sort()])
    expect(stage.revived).toEqual(stage.reunited)
  })

  test('is met also when its records come before the way to it does', () => {
    const stage = star(20)
    const leaves = Array.from({ length: 19 }, (_, index) => index + 2)
    stage.tell(1, [0, ...leaves.slice(0, 9)])
    stage.view.reviewNow()
    stage.clock.advance(seconds(10))
    const lost = leaves.slice(9)
    for (const leaf of lost) stage.tell(leaf, [1])
    stage.view.reviewSoon()
    stage.clock.advance(seconds(0.1))
    expect(stage.livenessOf(...lost.slice(0, 2))).toBe('suspect,suspect')
    stage.tell(1, [0, ...leaves])
    stage.view.reviewSoon()
    stage.clock.advance(seconds(0.1))
    expect(stage.reunited).toEqual([lost.map(nameOf).sort()])
  })

  test.each([
    { name: 'by about half of all peers: chance decides', lost: 10, more: { chance: 0.5 } },
    { name: 'only when it is big: for a few, no new links are made', lost: 2, more: {} },
    { name: 'only when it was lost for long enough to count as dead', lost: 10, more: { away: seconds(1) } },
    { name: 'only in a mesh in which not all are connected anyway', lost: 4, more: { size: 8 } },
  ])('$name', ({ lost, more }) => {
    const stage = parted(lost, more)
    expect(stage.reunited).toEqual([])
    expect(stage.revived.flat()).toHaveLength(lost)
  })
})
