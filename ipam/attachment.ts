/** What an address is allocated to: one interface of one container. */
import type { Brand } from '../mesh/base/brand.ts'

/** `containerId/ifname`, or `containerId/ifname/address` where somebody else makes the interface: see `bareKey`. */
export type AttachmentKey = Brand<string, 'AttachmentKey'>

/** As CNI wants container ids; runtimes use up to 64 characters, network namespaces' paths are not ids. */
const CONTAINER_ID = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/
/** As the kernel wants interface names (IFNAMSIZ less the final zero). */
const IFNAME = /^[^\s/:\p{Cc}]{1,15}$/u

const BARE_ENDING = '/address'

/** @throws {RangeError} when either is not what CNI allows. */
export function attachmentKey(containerId: string, ifname: string): AttachmentKey {
  if (!CONTAINER_ID.test(containerId)) throw new RangeError(`not a container id: ${JSON.stringify(containerId)}`)
  if (!IFNAME.test(ifname) || ifname === '.' || ifname === '..') throw new RangeError(`not an interface name: ${JSON.stringify(ifname)}`)
  return `${containerId}/${ifname}` as AttachmentKey
}

/** What an address is allocated to that somebody else puts on the interface. No link tells of it: it lasts until it is freed. */
export function bareKey(containerId: string, ifname: string): AttachmentKey {
  return `${attachmentKey(containerId, ifname)}${BARE_ENDING}` as AttachmentKey
}

export function isBare(key: AttachmentKey): boolean {
  return key.endsWith(BARE_ENDING) && key.split('/').length === 3
}

/** @throws {RangeError} when `text` is not what `attachmentKey` or `bareKey` makes. */
export function parseAttachmentKey(text: string): AttachmentKey {
  const [containerId = '', ifname = '', ...more] = text.split('/')
  if (more.length === 0) return attachmentKey(containerId, ifname)
  const key = bareKey(containerId, ifname)
  if (key !== text) throw new RangeError(`not an attachment: ${JSON.stringify(text)}`)
  return key
}
