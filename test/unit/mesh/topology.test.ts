/** Paths through the graph that records draw. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ipv4 } from '../../../mesh/base/address.ts'
import { type PeerName, parsePeerName } from '../../../mesh/base/brand.ts'
import type { PeerRecord } from '../../../mesh/record.ts'
import { Topology } from '../../../mesh/topology.ts'
import { bareRecord } from '../../support/mesh-records.ts'

/** `a` is aaaaaaaaaaaaaaaa. */
function nameOf(letter: string): PeerName {
  return parsePeerName(letter.repeat(16))
}

function recordOf(name: PeerName, neighbours: readonly PeerName[]): PeerRecord {
  const links = neighbours.map((neighbour) => ({ name: neighbour, address: ipv4(1), port: 1, outbound: true }))
  return bareRecord(name, { neighbours: links })
}

/** Records by name, of lines such as `a:bc`: a says that it is connected with b and c. */
function recordsOf(text: string): ReadonlyMap<PeerName, PeerRecord> {
  const lines = text.split(' ').map((line) => line.split(':'))
  return new Map(lines.map(([name = '', others = '']) => [nameOf(name), recordOf(nameOf(name), [...others].map(nameOf))]))
}

/** As `b>b c>b`: to c over b. */
function hopsOf(self: string, neighbours: string, text: string): string {
  const hops = hopsThrough(new Topology(nameOf(self)), [...recordsOf(text).values()], [...neighbours].map(nameOf))
  return [...hops].map(([to, over]) => `${to.slice(0, 1)}>${over?.slice(0, 1)}`).join(' ')
}

function hopsThrough(
  topology: Topology,
  records: readonly PeerRecord[],
  neighbours: readonly PeerName[],
): ReadonlyMap<PeerName, PeerName | undefined> {
  topology.update(records)
  topology.search(neighbours)
  return new Map(topology.reachable().map((name) => [name, topology.nextHop(name)]))
}

describe('a path', () => {
  test.each([
    { name: 'to a neighbour is direct', neighbours: 'b', records: 'a:b b:a', hops: 'b>b' },
    { name: 'to a neighbour needs no record of it', neighbours: 'b', records: 'a:', hops: 'b>b' },
    { name: 'leads over a neighbour when both ends of the edge say so', neighbours: 'b', records: 'b:ac c:b', hops: 'b>b c>b' },
    { name: 'does not use an edge of which only the near end tells', neighbours: 'b', records: 'b:ac c:', hops: 'b>b' },
    { name: 'does not use an edge of which only the far end tells', neighbours: 'b', records: 'b:a c:b', hops: 'b>b' },
    { name: 'does not lead to one whose record we do not have', neighbours: 'b', records: 'b:ac', hops: 'b>b' },
    { name: 'begins with an edge of ours that we have, not one that others tell of', neighbours: 'b', records: 'a:c c:a b:a', hops: 'b>b' },
    { name: 'does not come back to us', neighbours: 'b', records: 'a:bc b:ac c:ab', hops: 'b>b c>b' },
    { name: 'is the shortest', neighbours: 'bd', records: 'b:ac c:bd d:ace e:d', hops: 'b>b d>d c>b e>d' },
    { name: 'of two equally short ones begins with the first name', neighbours: 'bc', records: 'b:ad c:ad d:bc', hops: 'b>b c>c d>b' },
    { name: 'is none where the graph is cut', neighbours: 'b', records: 'b:a d:e e:d', hops: 'b>b' },
    { name: 'is none without neighbours', neighbours: '', records: 'a:b b:ac c:b', hops: '' },
  ])('$name', ({ neighbours, records, hops }) => {
    expect(hopsOf('a', neighbours, records)).toBe(hops)
  })

  test('is the same again when the same records are asked a second time', () => {
    const topology = new Topology(nameOf('a'))
    const once = () => hopsThrough(topology, [...recordsOf('b:ac c:bd d:c').values()], [nameOf('b')])
    expect(once()).toEqual(once())
  })

  test('counts a neighbour that a record names twice once', () => {
    const topology = new Topology(nameOf('a'))
    hopsThrough(topology, [...recordsOf('b:ac c:bb').values()], [nameOf('b')])
    expect(hopsThrough(topology, [...recordsOf('c:').values()], [nameOf('b')])).toEqual(new Map([[nameOf('b'), nameOf('b')]]))
  })

  test('is gone when the records that drew it are', () => {
    const topology = new Topology(nameOf('a'))
    hopsThrough(topology, [...recordsOf('b:ac c:b').values()], [nameOf('b')])
    expect(topology.isReachable(nameOf('c'))).toBe(true)
    hopsThrough(topology, [...recordsOf('b:a').values()], [nameOf('b')])
    expect(topology.isReachable(nameOf('c'))).toBe(false)
    expect(topology.nextHop(nameOf('c'))).toBeUndefined()
  })
})

interface Graph {
  readonly names: readonly PeerName[]
  readonly neighbours: ReadonlyMap<PeerName, readonly PeerName[]>
  readonly records: ReadonlyMap<PeerName, PeerRecord>
}

/** Any graph of 2 to 20 peers. */
const graphs: fc.Arbitrary<Graph> = fc
  .record({ size: fc.integer({ min: 2, max: 20 }), edges: fc.array(fc.tuple(fc.nat(19), fc.nat(19)), { maxLength: 60 }) })
  .map(({ size, edges }) => {
    const names = Array.from({ length: size }, (_, index) => parsePeerName((index * 0x1f3d).toString(16).padStart(16, '0')))
    const sets = new Map(names.map((name) => [name, new Set<PeerName>()]))
    for (const [left, right] of edges) {
      const [a, b] = [names[left % size], names[right % size]]
      if (a === undefined || b === undefined || a === b) continue
      sets.get(a)?.add(b)
      sets.get(b)?.add(a)
    }
    const neighbours = new Map([...sets].map(([name, others]) => [name, [...others].sort()]))
    return { names, neighbours, records: new Map([...neighbours].map(([name, others]) => [name, recordOf(name, others)])) }
  })

function hopsIn({ neighbours, records }: Graph, self: PeerName): ReadonlyMap<PeerName, PeerName> {
  const others = [...records.values()].filter(({ name }) => name !== self)
  const hops = hopsThrough(new Topology(self), others, neighbours.get(self) ?? [])
  return new Map([...hops].flatMap(([to, over]) => (over === undefined ? [] : [[to, over] as const])))
}

function shuffledBy<T>(items: readonly T[], order: Iterator<number>): readonly T[] {
  const keyed = items.map((item) => ({ item, key: Number(order.next().value) }))
  return keyed.sort((a, b) => a.key - b.key).map(({ item }) => item)
}

/** How many connections lie between, by a search that knows nothing of records. */
function distances({ neighbours }: Graph, from: PeerName): ReadonlyMap<PeerName, number> {
  const found = new Map([[from, 0]])
  for (const [name, distance] of found) {
    for (const other of neighbours.get(name) ?? []) if (!found.has(other)) found.set(other, distance + 1)
  }
  return found
}

describe('in any graph', () => {
  test('every next hop is a neighbour, and exactly those are reached that some path leads to', () => {
    fc.assert(
      fc.property(graphs, (graph) => {
        for (const self of graph.names) {
          const hops = hopsIn(graph, self)
          for (const hop of hops.values()) expect(graph.neighbours.get(self)).toContain(hop)
          expect([self, ...hops.keys()].sort()).toEqual([...distances(graph, self).keys()].sort())
        }
      }),
      { seed: 1 },
    )
  })

  test('who follows the next hops of each peer on the way arrives, by a shortest path', () => {
    fc.assert(
      fc.property(graphs, (graph) => {
        const hops = new Map(graph.names.map((name) => [name, hopsIn(graph, name)]))
        for (const from of graph.names) {
          for (const [to, distance] of distances(graph, from)) {
            let [at, steps]: [PeerName, number] = [from, 0]
            while (at !== to && steps <= distance) [at, steps] = [hops.get(at)?.get(to) ?? at, steps + 1]
            expect([at, steps]).toEqual([to, distance])
          }
        }
      }),
      { seed: 1 },
    )
  })

  test('what is left after any changes is as if only the last records had been', () => {
    fc.assert(
      fc.property(fc.array(graphs, { minLength: 2, maxLength: 4 }), fc.infiniteStream(fc.nat()), (history, order) => {
        const self = parsePeerName('ffffffffffffffff')
        const topology = new Topology(self)
        const last = new Map<PeerName, PeerRecord>()
        for (const { records } of history) {
          for (const record of shuffledBy([...records.values()], order)) {
            topology.update([record])
            last.set(record.name, record)
          }
        }
        const neighbours = [...last.keys()].slice(0, 2)
        expect(hopsThrough(topology, [], neighbours)).toEqual(hopsThrough(new Topology(self), [...last.values()], neighbours))
      }),
      { seed: 1 },
    )
  })

  test('the order in which records list neighbours changes neither who is reached nor how far it is', () => {
    fc.assert(
      fc.property(graphs, (graph) => {
        const records = new Map(
          [...graph.records].map(([name, record]) => [name, { ...record, neighbours: record.neighbours.toReversed() }]),
        )
        for (const self of graph.names) {
          const [one, other] = [hopsIn(graph, self), hopsIn({ ...graph, records }, self)]
          expect([...other.keys()].sort()).toEqual([...one.keys()].sort())
          for (const [to, hop] of other) {
            expect(distances(graph, hop).get(to)).toBe((distances(graph, self).get(to) ?? 0) - 1)
          }
        }
      }),
      { seed: 1 },
    )
  })
})
