/** Hardware (Ethernet) addresses. */
import type { Brand } from '../../mesh/base/brand.ts'
import { fromHex, toHex } from '../../mesh/base/bytes.ts'

/** Six lower-case hex bytes with colons, as Linux prints them. */
export type Mac = Brand<string, 'Mac'>

const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/
const MAC_BYTES = 6

/** @throws {RangeError} when `text` is not six lower-case hex bytes with colons. */
export function parseMac(text: string): Mac {
  if (!MAC.test(text)) throw new RangeError(`not a hardware address: ${JSON.stringify(text)}`)
  return text as Mac
}

export function macBytes(mac: Mac): Uint8Array {
  return fromHex(mac.replaceAll(':', ''))
}

/** Undefined when `bytes` is not 6 long: the link is of another kind than Ethernet. */
export function macFromBytes(bytes: Uint8Array): Mac | undefined {
  if (bytes.length !== MAC_BYTES) return undefined
  return (toHex(bytes).match(/../g)?.join(':') ?? '') as Mac
}
