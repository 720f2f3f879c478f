/**
 * Netlink messages (linux/netlink.h): requests to the kernel, its answers and notifications.
 *
 *   0        4        6        8          12        16
 *   | length | type   | flags  | sequence | port    | payload, padded to a multiple of 4
 *
 * One datagram may hold several. Reading never throws, whatever the bytes are.
 */
import { align, getText, readAttributes } from './attributes.ts'

export interface Message {
  readonly type: number
  readonly flags: number
  /** The request's; 0 in notifications. */
  readonly sequence: number
  /** A view into the datagram: valid until the next receive. */
  readonly payload: Uint8Array
}

const MessageType = { error: 2, done: 3 } as const

export const MessageFlag = {
  request: 0x1,
  /** Wants an answer, also to success. */
  ack: 0x4,
  /** In an answer: the table changed while it was dumped. */
  dumpInterrupted: 0x10,
  /** Replace what is there. */
  replace: 0x100,
  /** Refuse when it is there. */
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
  /** All objects, not one. */
  dump: 0x300,
  /** In an error: only the header of the refused request follows, not all of it. */
  capped: 0x100,
  /** In an error: attributes follow. */
  ackAttributes: 0x200,
} as const

/** What ended a request or a dump. */
export interface Ending {
  /** Positive; 0 is success. */
  readonly errno: number
  /** What the kernel says about it in words (its extended acknowledgement). */
  readonly detail: string | undefined
}

const HEADER_BYTES = 16
const ERROR_CODE_BYTES = 4
const ATTRIBUTE_MESSAGE = 1

export function encodeMessage({ type, flags, sequence, payload }: Message): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, bytes.length, true)
  view.setUint16(4, type, true)
  view.setUint16(6, flags, true)
  view.setUint32(8, sequence, true)
  bytes.set(payload, HEADER_BYTES)
  return bytes
}

/** Every message up to the first malformed one. */
export function readMessages(datagram: Uint8Array): readonly Message[] {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength)
  const messages: Message[] = []
  let at = 0
  while (at + HEADER_BYTES <= datagram.length) {
    const length = view.getUint32(at, true)
    if (length < HEADER_BYTES || at + length > datagram.length) break
    messages.push({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      payload: datagram.subarray(at + HEADER_BYTES, at + length),
    })
    at += align(length)
  }
  return messages
}

/**
 * What a message of type `error` or `done` says; undefined for every other type.
 *
 *   error:  0       4                                                                 attributes
 *           | -errno | header of the request | (all of it unless capped, padded) | … when ackAttributes |
 *   done:   | -errno | … when ackAttributes |
 */
export function readEnding(message: Message): Ending | undefined {
  const { type, flags, payload } = message
  if (type !== MessageType.error && type !== MessageType.done) return undefined
  if (payload.length < ERROR_CODE_BYTES) return { errno: 0, detail: undefined }
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  const errno = Math.max(0, -view.getInt32(0, true))
  const hasDetail = (flags & MessageFlag.ackAttributes) !== 0
  const detail = hasDetail ? getText(readAttributes(payload.subarray(attributesAt(message))), ATTRIBUTE_MESSAGE) : undefined
  return { errno, detail }
}

function attributesAt({ type, flags, payload }: Message): number {
  if (type === MessageType.done) return ERROR_CODE_BYTES
  const capped = (flags & MessageFlag.capped) !== 0
  if (capped || payload.length < ERROR_CODE_BYTES + HEADER_BYTES) return ERROR_CODE_BYTES + HEADER_BYTES
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  return ERROR_CODE_BYTES + align(Math.max(view.getUint32(ERROR_CODE_BYTES, true), HEADER_BYTES))
}
