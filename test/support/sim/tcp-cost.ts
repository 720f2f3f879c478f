/**
 * What one side of a TCP connection sends besides the bytes of its stream: a header per segment, and acknowledgements,
 * which travel for nothing on what is written soon after. With timestamps, without Ethernet; as Linux does it.
 */

/** IPv4, TCP, and the timestamps option. */
const HEADER_BYTES = 52
const SEGMENT_BYTES = 1_448
/** How long an acknowledgement waits for something to travel on (TCP_DELACK_MIN). */
const DELAYED_ACK_MS = 40

export class TcpCost {
  /** Something was received and not acknowledged yet. */
  #owedSince: number | undefined

  /** Bytes that leave when so many are written. */
  write(bytes: number, now: number): number {
    const late = this.#owedSince !== undefined && now > this.#owedSince + DELAYED_ACK_MS ? HEADER_BYTES : 0
    this.#owedSince = undefined
    return late + bytes + HEADER_BYTES * Math.ceil(bytes / SEGMENT_BYTES)
  }

  /** Bytes of acknowledgements that have left, or leave now, when something is received. */
  receive(now: number): number {
    const isOwed = this.#owedSince !== undefined
    // The second segment is acknowledged at once; so is what came before it, if it was not on time.
    this.#owedSince = isOwed && now <= (this.#owedSince ?? 0) + DELAYED_ACK_MS ? undefined : now
    return isOwed ? HEADER_BYTES : 0
  }
}
