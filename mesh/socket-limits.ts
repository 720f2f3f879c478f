/** Limits that all streams of the network share. */
import { type Millis, millis, seconds } from './base/brand.ts'

/** A peer that leaves this much unread is stuck: ending the connection costs less than the memory. */
export const OUTBOX_BYTES_MAX: number = 8 * 1024 * 1024
/** What is told when that happens. */
export const OUTBOX_FULL: string = `more than ${OUTBOX_BYTES_MAX} bytes wait for the peer to read`
/** For the last words on a connection that is being closed. */
export const CLOSE_DEADLINE: Millis = seconds(1)
/** A name has more than one address: the next is tried as well after this, beyond the round trip of any link on earth. */
export const NEXT_ADDRESS_AFTER: Millis = millis(500)
