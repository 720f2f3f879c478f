/** Channels with one part and some neighbours, and what they report. */
import type { PeerName } from '../../mesh/base/brand.ts'
import { Channels } from '../../mesh/channels.ts'
import type { GossipPart } from '../../mesh/gossip.ts'

export function channelsOf(part: GossipPart, neighbours: readonly PeerName[]): { readonly channels: Channels; readonly faults: string[] } {
  const faults: string[] = []
  const channels = new Channels((from, code, detail) => faults.push(`${from.slice(0, 1)} ${code}: ${detail}`))
  channels.register(part)
  for (const name of neighbours) channels.up(name)
  return { channels, faults }
}
