/**
 * Generic netlink (linux/genetlink.h): families of messages that have a name, and a number that the running kernel gives them.
 *
 *   0         1         2        4
 *   | command | version | zeros  | attributes …
 */
import * as attributes from './attributes.ts'

/** The message type of the family that knows all families. */
export const CONTROL_FAMILY = 16

const HEADER_BYTES = 4
const CONTROL_VERSION = 1
const GET_FAMILY = 3
const Control = { familyId: 1, familyName: 2 } as const

export function encodeGeneric(command: number, version: number, children: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat([Uint8Array.of(command, version, 0, 0), ...children])
}

/** Undefined when it is too short for a header. */
export function decodeGeneric(payload: Uint8Array): attributes.Attributes | undefined {
  return payload.length < HEADER_BYTES ? undefined : attributes.readAttributes(payload.subarray(HEADER_BYTES))
}

/** Asks the family `CONTROL_FAMILY` which number the family `name` has. */
export function encodeFamilyQuery(name: string): Uint8Array {
  return encodeGeneric(GET_FAMILY, CONTROL_VERSION, [attributes.text(Control.familyName, name)])
}

/** The message type of the family that was asked for. */
export function decodeFamily(payload: Uint8Array): number | undefined {
  const found = decodeGeneric(payload)
  return found === undefined ? undefined : attributes.getU16(found, Control.familyId)
}
