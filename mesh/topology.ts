/**
 * The graph that records draw: who is connected with whom, who can be reached from here, and over which neighbour.
 *
 * An edge between two others counts only when both say so in records that each has signed itself: nobody can claim a
 * connection with somebody who does not know of it, and a peer that is gone is on no path as soon as its neighbours
 * have noticed, whatever its own last record says. Our own edges are the connections that we have.
 *
 * The graph is kept from one look to the next: a record that has changed costs its own edges, and a search no more than
 * a step for each edge that counts.
 */
import type { PeerName } from './base/brand.ts'
import type { PeerRecord } from './record.ts'

interface Node {
  readonly name: PeerName
  /** Unknown of a neighbour that has not told us yet who it is. */
  record: PeerRecord | undefined
  /** Those with whom an edge counts, in order of name. */
  readonly joined: Node[]
  /** The last search that came by. */
  search: number
  /** Where the shortest path begins that this search found. */
  nextHop: PeerName
}

export class Topology {
  readonly #self: PeerName
  readonly #nodes = new Map<PeerName, Node>()
  #searches = 0
  #reached: readonly Node[] = []

  constructor(self: PeerName) {
    this.#self = self
  }

  /** Takes over what is new in these records of others. None is ever taken back. */
  update(records: readonly PeerRecord[]): void {
    for (const record of records) {
      const node = this.#node(record.name)
      if (node.record !== record) this.#replace(node, record)
    }
  }

  /**
   * Breadth first, neighbours in order of name: all peers that know the same records walk alike.
   * @param neighbours those we have a connection with, in order of name.
   */
  search(neighbours: readonly PeerName[]): void {
    this.#searches += 1
    const reached: Node[] = []
    const reach = (node: Node, nextHop: PeerName): void => {
      if (node.search === this.#searches || node.name === this.#self) return
      node.search = this.#searches
      node.nextHop = nextHop
      reached.push(node)
    }
    for (const name of neighbours) reach(this.#node(name), name)
    // What is entered while walking is walked as well: the list is the queue of the search.
    for (const { joined, nextHop } of reached) for (const other of joined) reach(other, nextHop)
    this.#reached = reached
  }

  /** The neighbour that the shortest path to a peer begins with; undefined when the last search found none. */
  nextHop(name: PeerName): PeerName | undefined {
    const node = this.#nodes.get(name)
    return node !== undefined && node.search === this.#searches ? node.nextHop : undefined
  }

  isReachable(name: PeerName): boolean {
    return this.nextHop(name) !== undefined
  }

  /** It has said that it is connected with others as well, and of all these nobody says so any more. */
  isForsaken(name: PeerName): boolean {
    const node = this.#nodes.get(name)
    return node?.joined.length === 0 && node.record?.neighbours.some((other) => other.name !== this.#self) === true
  }

  /** Every peer that some path leads to, this one not included, nearest first. */
  reachable(): readonly PeerName[] {
    return this.#reached.map(({ name }) => name)
  }

  #node(name: PeerName): Node {
    const known = this.#nodes.get(name)
    if (known !== undefined) return known
    const node: Node = { name, record: undefined, joined: [], search: 0, nextHop: name }
    this.#nodes.set(name, node)
    return node
  }

  #replace(node: Node, record: PeerRecord): void {
    node.record = record
    const named = record.neighbours.map(({ name }) => this.#nodes.get(name))
    for (const old of node.joined.filter((other) => !named.includes(other))) {
      part(node, old)
      part(old, node)
    }
    for (const other of named) {
      // An edge that counted before still does: the other end's record is the same.
      if (other === undefined || other === node || node.joined.includes(other) || !isListed(other.record, record.name)) continue
      join(node, other)
      join(other, node)
    }
  }
}

function part(node: Node, other: Node): void {
  node.joined.splice(node.joined.indexOf(other), 1)
}

function join(node: Node, other: Node): void {
  const after = node.joined.findIndex(({ name }) => name > other.name)
  node.joined.splice(after < 0 ? node.joined.length : after, 0, other)
}

function isListed(record: PeerRecord | undefined, name: PeerName): boolean {
  return record?.neighbours.some((neighbour) => neighbour.name === name) ?? false
}
