/** Who belongs to the cluster, by a person's word: taking over from peers that are gone, and leaving. */
import type { AttachmentKey } from '../ipam/attachment.ts'
import type { LeaveError } from '../ipam/leaving.ts'
import type { Members, OwnRetirement } from '../ipam/members.ts'
import { retirementText } from '../ipam/takeover.ts'
import type { TakeoverError } from '../ipam/takeover-errors.ts'
import { formatIpv4 } from '../mesh/base/address.ts'
import { isPeerName, type PeerName } from '../mesh/base/brand.ts'
import { WeftError } from '../mesh/base/errors.ts'
import type { Logger } from '../mesh/base/log.ts'
import type { PeerRecord } from '../mesh/record.ts'
import type { RemovalReport, ResetReport } from './api/contract.ts'

export interface MembershipPorts {
  readonly members: Pick<Members, 'takeOver' | 'leave'>
  /** All whom the mesh has heard of. */
  peers(): readonly Pick<PeerRecord, 'name' | 'nickname'>[]
  readonly log: Logger
}

/**
 * Takes over from the peer of this name or nickname.
 * @throws {WeftError} USAGE that says why not.
 */
export async function removePeer(ports: MembershipPorts, text: string, leaveAbsent: boolean): Promise<RemovalReport> {
  const records = ports.peers()
  const peer = namedPeer(text, records)
  const result = await ports.members.takeOver(peer, { known: records.map(({ name }) => name), leaveAbsent })
  if (!result.ok) throw takeoverFailure(result.error, records)
  ports.log.info({ peer, count: result.value }, 'peer removed, its addresses taken over')
  return { removed: peer, addresses: result.value }
}

/**
 * Hands over the addresses of this node. Its router is to be stopped afterwards.
 * @param own the attachment of the node itself.
 * @throws {WeftError} USAGE that says why not.
 */
export async function leaveCluster(ports: MembershipPorts, own: AttachmentKey, force: boolean): Promise<ResetReport> {
  const result = await ports.members.leave({ own, force })
  if (!result.ok) throw leaveFailure(result.error)
  const { heir, given, kept } = result.value
  ports.log.info({ peer: heir, count: given }, 'addresses handed over, this node leaves the cluster')
  return { heir: label(heir, ports.peers()), given, kept }
}

export function logRetirement(log: Logger, self: PeerName, { by, lost }: OwnRetirement): void {
  log.error({ peer: by }, retirementText(self, by))
  for (const [attachment, address] of lost) {
    const [containerId = '', ifname = ''] = attachment.split('/')
    log.error({ containerId, ifname, address: formatIpv4(address) }, 'the address of this pod may be given to another')
  }
}

function namedPeer(text: string, records: readonly Pick<PeerRecord, 'name' | 'nickname'>[]): PeerName {
  const matches = [...new Set(records.filter(({ name, nickname }) => name === text || nickname === text).map(({ name }) => name))]
  const [first, ...others] = matches
  if (others.length > 0) {
    throw new WeftError('USAGE', `${matches.length} peers are called ${text}: ${matches.join(', ')}`, {
      hint: 'give the name of the one that is meant',
    })
  }
  if (first !== undefined) return first
  // One that went long ago may be known from its addresses only.
  if (isPeerName(text)) return text
  throw new WeftError('USAGE', `no peer is called ${text}`, { hint: 'see `weft status ipam` and `weft status peers`' })
}

function takeoverFailure({ text, hint, peers, code }: TakeoverError, records: readonly Pick<PeerRecord, 'name' | 'nickname'>[]): WeftError {
  const names = code === 'absent' || code === 'silent' ? `: ${peers.map((peer) => label(peer, records)).join(', ')}` : ''
  return new WeftError('USAGE', `${text}${names}`, hint === undefined ? {} : { hint })
}

function leaveFailure({ text, hint }: LeaveError): WeftError {
  return new WeftError('USAGE', text, hint === undefined ? {} : { hint })
}

function label(peer: PeerName, records: readonly Pick<PeerRecord, 'name' | 'nickname'>[]): string {
  const nickname = records.find(({ name }) => name === peer)?.nickname
  return nickname === undefined ? peer : `${peer}(${nickname})`
}
