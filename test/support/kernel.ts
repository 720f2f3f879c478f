/** For tests of the kernel's objects: a fresh namespace with a netlink socket in it, and links to work with. */
import { systemClock } from '../../mesh/base/clock.ts'
import type { Link } from '../../router/kernel/codec/link.ts'
import { addVeth, getLink, setLink } from '../../router/kernel/link.ts'
import { Netlink } from '../../router/kernel/netlink.ts'
import { makeNetns, type Netns } from './netns.ts'
import { must } from './result.ts'

export interface KernelNetns extends AsyncDisposable {
  readonly ns: Netns
  readonly netlink: Netlink
}

const LOOPBACK = 1

/** With `lo` up: without any address of its own a namespace has no table of local addresses, and refuses gateways. */
export async function makeKernelNetns(): Promise<KernelNetns> {
  const ns = await makeNetns()
  const netlink = Netlink.open({ clock: systemClock, netns: ns.fd })
  must(await setLink(netlink, LOOPBACK, { up: true }))
  return {
    ns,
    netlink,
    async [Symbol.asyncDispose]() {
      netlink[Symbol.dispose]()
      await ns[Symbol.asyncDispose]()
    },
  }
}

/** A pair of links, `name` and `name` with `-far` behind it, both in the namespace and up. Gives the near one. */
export async function makeLinks(netlink: Netlink, name: string): Promise<Link> {
  const far = `${name}-far`
  must(await addVeth(netlink, { name, up: true, peer: { name: far } }))
  must(await setLink(netlink, (await linkNamed(netlink, far)).index, { up: true }))
  return linkNamed(netlink, name)
}

export async function linkNamed(netlink: Netlink, name: string): Promise<Link> {
  const link = must(await getLink(netlink, name))
  if (link === undefined) throw new Error(`there is no link ${name}`)
  return link
}
