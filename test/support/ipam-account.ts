/** What must hold of several IPAMs at every moment: no address has two pods or two owners, and no pod's address is forgotten. */
import type { AttachmentKey } from '../../ipam/attachment.ts'
import type { Ipam } from '../../ipam/ipam.ts'
import { formatIpv4, type Ipv4 } from '../../mesh/base/address.ts'
import type { PeerName } from '../../mesh/base/brand.ts'

interface Accountable {
  readonly name: PeerName
  readonly ipam: Ipam
  /** What pods of this node have, as their runtime knows it. */
  readonly held: ReadonlyMap<AttachmentKey, Ipv4>
}

/** @throws {Error} saying what is wrong. */
export function checkAccount(members: readonly Accountable[]): void {
  checkPods(members)
  const owners = new Map<number, PeerName>()
  for (const { name, ipam } of members) {
    // Who has forgotten what it gave away takes it for its own, and gives nothing to anybody.
    if (ipam.status().doubt !== undefined) continue
    for (const { owner, range } of ipam.ranges()) {
      for (let address = range.start; owner === name && address < range.end; address++) {
        const other = owners.get(address)
        if (other !== undefined) throw new Error(`${name} and ${other} both take ${formatIpv4(address as Ipv4)} for their own`)
        owners.set(address, name)
      }
    }
  }
}

function checkPods(members: readonly Accountable[]): void {
  const pods = new Map<Ipv4, string>()
  for (const { name, ipam, held } of members) {
    for (const [pod, address] of held) {
      const other = pods.get(address)
      if (other !== undefined) throw new Error(`${formatIpv4(address)} is of ${pod} of ${name} and of ${other}`)
      pods.set(address, `${pod} of ${name}`)
      if (ipam.lookup(pod) !== address) throw new Error(`${name} forgot that ${pod} has ${formatIpv4(address)}`)
    }
  }
}
