/**
 * A part of the gossip whose messages are lost, repeated and late, beyond what streams that break do to them: what every
 * part has to bear, as the mesh promises no more.
 */
import { decodeSpaceMessage } from '../../../ipam/messages.ts'
import { millis, type PeerName, seconds } from '../../../mesh/base/brand.ts'
import type { Clock } from '../../../mesh/base/clock.ts'
import type { Random } from '../../../mesh/base/random.ts'
import { ok } from '../../../mesh/base/result.ts'
import type { GossipPart } from '../../../mesh/gossip.ts'

/** Shares of messages. */
export interface Seam {
  lost: number
  repeated: number
  late: number
}

interface SeamPorts {
  readonly seam: Seam
  readonly random: Random
  readonly clock: Clock
  note(what: string): void
  violate(text: string): void
  peer(): PeerName
}

const LATE_MAX = seconds(20)

export function hostile(part: GossipPart, ports: SeamPorts): GossipPart {
  const { seam, random, clock, note } = ports
  const later = (act: () => void): void => void clock.after(millis(LATE_MAX * random()), act)
  return {
    channel: part.channel,
    digest: () => part.digest(),
    summary: () => part.summary(),
    missing: (summary) => part.missing(summary),
    merge: (delta, from) => {
      const copy = delta.slice()
      if (random() < seam.lost) {
        note('news was lost')
        return ok({ news: [], held: [], faults: [] })
      }
      if (random() < seam.repeated) later(() => void part.merge(copy, from))
      const merged = part.merge(delta, from)
      const faults = merged.ok ? merged.value.faults : [merged.error]
      for (const { code, detail } of faults) if (code !== 'foreign') ports.violate(`I7: ${ports.peer()} refuses news of ${from}: ${detail}`)
      return merged
    },
    receive: (message, from) => {
      const copy = message.slice()
      const chance = random()
      if (chance < seam.lost) {
        note('a message was lost')
        const space = decodeSpaceMessage(copy)
        if (space.ok && space.value.kind === 'grant') note('a range was lost between who gave it and who asked for it')
        return
      }
      if (chance < seam.lost + seam.late) {
        note('a message came late')
        later(() => part.receive(copy, from))
        return
      }
      if (random() < seam.repeated) {
        note('a message came twice')
        later(() => part.receive(copy, from))
      }
      part.receive(message, from)
    },
  }
}
