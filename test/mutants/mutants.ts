/** Faults that somebody might make in the mesh: each is one change of its source, and the simulator has to find every one. */

import type { Mutant } from './plant.ts'

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'of two records of one life the older one wins',
    file: 'mesh/record.ts',
    from: 'a.record.incarnation - b.record.incarnation || a.record.version - b.record.version ||',
    to: 'a.record.incarnation - b.record.incarnation || b.record.version - a.record.version ||',
  },
  {
    name: 'a peer does not outdo the records of its earlier lives',
    file: 'mesh/peers.ts',
    from: 'this.#incarnation = incarnation + 1',
    to: 'this.#incarnation += 0',
  },
  {
    name: 'who is dead stays dead',
    file: 'mesh/liveness.ts',
    from: 'isReachable(name) ? undefined',
    to: "old?.kind === 'dead' ? old : isReachable(name) ? undefined",
  },
  {
    name: 'who has left is only missing',
    file: 'mesh/liveness.ts',
    from: 'if (hasLeft) return',
    to: 'if (hasLeft && version < 0) return',
  },
  {
    name: 'silence is never doubted',
    file: 'mesh/connection.ts',
    from: 'this.#ports.doubted(this, this.#state.peer)',
    to: 'this.vouch()',
  },
  {
    name: 'every neighbour that is silent is given up, whatever its host says',
    file: 'mesh/seeker.ts',
    from: 'if (outcome.ok || open === 0) settle(outcome.ok)',
    to: 'if (outcome.ok || open === 0) settle(false)',
  },
  {
    name: 'nobody looks for those who are lost',
    file: 'mesh/seeker.ts',
    from: "['suspect', 'dead'].includes(livenessOf(name))",
    to: "['nobody'].includes(livenessOf(name))",
  },
  {
    name: 'two connections with one peer are both kept',
    file: 'mesh/links.ts',
    from: 'const old = this.#established.get(peer.name)\n    if (old?.established === undefined)',
    to: 'const old = this.#established.get(peer.name)\n    if (old !== undefined || true)',
  },
  {
    name: 'there is no limit of connections',
    file: 'mesh/links.ts',
    from: 'if (this.#established.size < DEGREE_MAX) return undefined',
    to: 'if (this.#established.size < 1_000) return undefined',
  },
  {
    name: 'news is not passed on',
    file: 'mesh/channels.ts',
    from: 'if (news.length > 0) this.spread(part.channel, news, from)',
    to: 'if (news.length > 1_000) this.spread(part.channel, news, from)',
  },
  {
    name: 'what was lost is never made good',
    file: 'mesh/channels.ts',
    from: 'bytesEqual(part.digest(), digest)) return []',
    to: 'part.digest().length === digest.length) return []',
  },
  {
    name: 'nobody says that it leaves',
    file: 'mesh/mesh.ts',
    from: 'this.#publishNow({ hasLeft: true })',
    to: 'this.#publishNow()',
  },
  {
    name: 'connections are not published',
    file: 'mesh/mesh.ts',
    from: 'neighbours: this.#links.neighbours(),',
    to: 'neighbours: this.#links.neighbours().slice(1),',
  },
  {
    name: 'parcels are carried to any neighbour',
    file: 'mesh/view.ts',
    from: 'return this.#topology.nextHop(name)',
    to: 'return this.#topology.isReachable(name) ? this.reachable()[0] : undefined',
  },
  {
    name: 'the first parcel of a sender is taken for a replay',
    file: 'mesh/replay.ts',
    from: 'if (number + size <= this.#highest) return false',
    to: 'if (number + size <= this.#highest || number === 1) return false',
  },
  {
    name: 'what was offered is asked of one neighbour only',
    file: 'mesh/wants.ts',
    from: 'const request = this.#askNext(id, want, now)\n      if (request',
    to: 'const request = undefined as Request | undefined\n      if (request',
  },
  {
    name: 'what is offered is taken for known',
    file: 'mesh/channels.ts',
    from: "if (verdict !== 'lacking') continue",
    to: "if (verdict !== 'older') continue",
  },
  {
    name: 'what a neighbour asks for is only offered to it again',
    file: 'mesh/channels.ts',
    from: 'news.filter((piece) => piece !== undefined),\n      true,',
    to: 'news.filter((piece) => piece !== undefined),\n      false,',
  },
  {
    name: 'a doubt ends a connection, and nobody asks the host of the other side',
    file: 'mesh/links.ts',
    from: 'if (isThere) connection.vouch()',
    to: 'if (isThere && !connection.isDoubted) connection.vouch()',
  },
  {
    name: 'a beat that was promised is not sent',
    file: 'mesh/beats.ts',
    from: 'connection.beat(interval, wantsAnswer)',
    to: 'if (wantsAnswer) connection.beat(interval, wantsAnswer)',
  },
]
