/** Relays: found where there is one, and never a loop, whatever each node believes. */
import { describe, expect, test } from 'vitest'
import type { PeerName } from '../../../../mesh/base/brand.ts'
import { pick, type Random, randomBelow, seededRandom } from '../../../../mesh/base/random.ts'
import { type NextHop, nextHop, type RelayView } from '../../../../router/links/relay.ts'
import { nodeName } from '../../../support/links-world.ts'

const OPEN = { how: 'hop by hop', reason: 'one zone' } as const
const [A, B, C, D] = [1, 2, 3, 4].map(nodeName) as [PeerName, PeerName, PeerName, PeerName]

/** Who can reach whom, both ways. */
class Graph {
  readonly names: readonly PeerName[]
  readonly #cut = new Set<string>()

  constructor(size: number) {
    this.names = Array.from({ length: size }, (_, index) => nodeName(index + 1))
  }

  cut(a: PeerName, b: PeerName): this {
    this.#cut.add(`${a} ${b}`).add(`${b} ${a}`)
    return this
  }

  meets(a: PeerName, b: PeerName): boolean {
    return a !== b && !this.#cut.has(`${a} ${b}`)
  }

  exceptionsOf(self: PeerName): ReadonlySet<PeerName> {
    return new Set(this.names.filter((name) => name !== self && !this.meets(self, name)))
  }

  /** @param records whose exceptions are taken from which graph: this one where it is not told. */
  viewOf(self: PeerName, records: ReadonlyMap<PeerName, Graph> = new Map()): RelayView {
    const peers = this.names.filter((name) => name !== self)
    const exceptions = new Map(this.names.map((name) => [name, (records.get(name) ?? this).exceptionsOf(name)]))
    return { self, peers, reached: new Set(peers.filter((name) => this.meets(self, name))), exceptions }
  }
}

function randomGraph(size: number, cutShare: number, random: Random): Graph {
  const graph = new Graph(size)
  for (const a of graph.names) for (const b of graph.names) if (a < b && random() < cutShare) graph.cut(a, b)
  return graph
}

/** The nodes that a packet comes to, as kernels send it: with our rule for what came from a peer. */
function pathOf(views: ReadonlyMap<PeerName, RelayView>, truth: Graph, from: PeerName, to: PeerName): readonly PeerName[] {
  const path = [from]
  for (let at = from; at !== to; ) {
    const view = views.get(at)
    const hop: NextHop = view === undefined ? { kind: 'none', reason: '' } : nextHop(view, to, OPEN)
    if (hop.kind === 'none' || (hop.kind === 'relay' && path.length > 1)) break
    const next = hop.kind === 'relay' ? hop.via : to
    // Lost on its way: the link that was believed in is down.
    if (!truth.meets(at, next)) break
    path.push(next)
    at = next
    if (path.length > 10) throw new Error('a packet goes round')
  }
  return path
}

describe('the next hop', () => {
  test('to a peer that a link leads to is that peer', () => {
    expect(nextHop(new Graph(3).viewOf(A), B, OPEN)).toEqual({ kind: 'direct' })
  })
  test('to another one is the only peer that reaches both', () => {
    const graph = new Graph(4).cut(A, B).cut(A, C)
    expect(nextHop(graph.viewOf(A), B, OPEN)).toEqual({ kind: 'relay', via: D, how: 'hop by hop' })
  })
  test('is never one that the destination says it cannot reach', () => {
    const graph = new Graph(4).cut(A, B).cut(B, D)
    expect(nextHop(graph.viewOf(A), B, OPEN)).toEqual({ kind: 'relay', via: C, how: 'hop by hop' })
  })
  test('is never one that says that it cannot reach us', () => {
    const truth = new Graph(4).cut(A, B)
    const view = truth.viewOf(A, new Map([[D, new Graph(4).cut(A, D)]]))
    expect(nextHop(view, B, OPEN)).toEqual({ kind: 'relay', via: C, how: 'hop by hop' })
  })
  test('is none where nobody reaches both ends, and says so', () => {
    const graph = new Graph(4).cut(A, B).cut(A, C).cut(B, D)
    expect(nextHop(graph.viewOf(A), B, OPEN)).toEqual({ kind: 'none', reason: 'no peer reaches both ends' })
  })
  test('is none where policy refuses relays, and says why', () => {
    const refused = { how: 'refused', reason: 'zones differ: a / b; b cannot do sleeve' } as const
    const reason = 'no relay may be used: zones differ: a / b; b cannot do sleeve'
    expect(nextHop(new Graph(3).cut(A, B).viewOf(A), B, refused)).toEqual({ kind: 'none', reason })
  })
  test('carries what is sealed from end to end, where policy has it so', () => {
    const hop = nextHop(new Graph(3).cut(A, B).viewOf(A), B, { how: 'end to end', reason: '' })
    expect(hop).toEqual({ kind: 'relay', via: C, how: 'end to end' })
  })
  test('spreads the pairs over the peers', () => {
    const graph = new Graph(40)
    for (const name of graph.names.slice(10)) graph.cut(A, name)
    const loads = new Map<PeerName, number>()
    for (const to of graph.names.slice(10)) {
      const hop = nextHop(graph.viewOf(A), to, OPEN)
      if (hop.kind === 'relay') loads.set(hop.via, (loads.get(hop.via) ?? 0) + 1)
    }
    expect([...loads.values()].reduce((sum, load) => sum + load)).toBe(30)
    expect(Math.max(...loads.values())).toBeLessThan(10)
  })
})

function pairsOf({ names }: Graph): readonly (readonly [PeerName, PeerName])[] {
  return names.flatMap((from) => names.filter((to) => to !== from).map((to) => [from, to] as const))
}

test('200 random graphs: all pairs with a common peer reach each other over it, the same one both ways', () => {
  let relayed = 0
  const wrong: string[] = []
  for (let seed = 0; seed < 200; seed += 1) {
    const random = seededRandom(seed)
    const graph = randomGraph(2 + randomBelow(random, 29), random(), random)
    const views = new Map(graph.names.map((name) => [name, graph.viewOf(name)]))
    for (const [from, to] of pairsOf(graph)) {
      const path = pathOf(views, graph, from, to)
      const canMeet = graph.meets(from, to) || graph.names.some((via) => graph.meets(from, via) && graph.meets(via, to))
      const isSameBack = path.length < 3 || pathOf(views, graph, to, from)[1] === path[1]
      if ((path.at(-1) === to) !== canMeet || !isSameBack) wrong.push(`seed ${seed}: ${path.join()} to ${to}`)
      if (path.length === 3) relayed += 1
    }
  }
  expect(wrong).toEqual([])
  expect(relayed).toBeGreaterThan(1_000)
})

test('200 random graphs of which everybody has a view of another time: no packet comes to more than two nodes, nor back', () => {
  let lost = 0
  const wrong: string[] = []
  for (let seed = 0; seed < 200; seed += 1) {
    const random = seededRandom(seed)
    const size = 3 + randomBelow(random, 28)
    const [share, times] = [random(), 1 + randomBelow(random, 4)]
    const ages = Array.from({ length: times }, () => randomGraph(size, share, random))
    const truth = ages[0] ?? new Graph(size)
    const anyAge = (): Graph => pick(random, ages) ?? truth
    const views = new Map(truth.names.map((name) => [name, anyAge().viewOf(name, new Map(truth.names.map((other) => [other, anyAge()])))]))
    for (const [from, to] of pairsOf(truth)) {
      const path = pathOf(views, truth, from, to)
      if (path.length > 3 || new Set(path).size < path.length) wrong.push(`seed ${seed}: ${path.join()}`)
      if (path.at(-1) !== to) lost += 1
    }
  }
  expect(wrong).toEqual([])
  expect(lost).toBeGreaterThan(1_000)
})
