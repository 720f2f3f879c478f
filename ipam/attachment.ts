/** What an address is allocated to: one interface of one container. */
import type { Brand } from '../mesh/base/brand.ts'

/** `containerId/ifname`. */
export type AttachmentKey = Brand<string, 'AttachmentKey'>

/** As CNI wants container ids; runtimes use up to 64 characters, network namespaces' paths are not ids. */
const CONTAINER_ID = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/
/** As the kernel wants interface names (IFNAMSIZ less the final zero). */
const IFNAME = /^[^\s/:\p{Cc}]{1,15}$/u

/** @throws {RangeError} when either is not what CNI allows. */
export function attachmentKey(containerId: string, ifname: string): AttachmentKey {
  if (!CONTAINER_ID.test(containerId)) throw new RangeError(`not a container id: ${JSON.stringify(containerId)}`)
  if (!IFNAME.test(ifname) || ifname === '.' || ifname === '..') throw new RangeError(`not an interface name: ${JSON.stringify(ifname)}`)
  return `${containerId}/${ifname}` as AttachmentKey
}

/** @throws {RangeError} when `text` is not what `attachmentKey` makes. */
export function parseAttachmentKey(text: string): AttachmentKey {
  const [containerId = '', ifname = '', more] = text.split('/')
  if (more !== undefined) throw new RangeError(`not an attachment: ${JSON.stringify(text)}`)
  return attachmentKey(containerId, ifname)
}
