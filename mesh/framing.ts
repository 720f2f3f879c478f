/**
 * Frames on a byte stream.
 *
 *   0               4               4 + length
 *   | length (BE)   | payload       |
 *
 * An empty frame is not one of ours: nothing we send is empty.
 */
import { err, ok, type Result } from './base/result.ts'

/** Before the other side has proved who it is: the longest message of the handshake, with room. */
export const FRAME_BYTES_MAX_BEFORE_AUTH = 1_024
/** Afterwards: the longest gossip message with what the mesh puts around it, with room. */
export const FRAME_BYTES_MAX: number = 256 * 1024

const HEADER_BYTES = 4

/** @param payload 1 to `FRAME_BYTES_MAX` bytes. */
export function encodeFrame(payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + payload.length)
  new DataView(frame.buffer).setUint32(0, payload.length)
  frame.set(payload, HEADER_BYTES)
  return frame
}

/**
 * Finds the frames in a stream that arrives in pieces of any size. It keeps less than one frame and one piece, and
 * copies each byte a bounded number of times however small the pieces are; a frame that arrives whole is not copied.
 */
export class FrameDecoder {
  #buffer: Uint8Array = new Uint8Array(0)
  /** What has arrived and was not taken is in [start, end) of the buffer. Nothing before `end` is ever written again. */
  #start = 0
  #end = 0

  /** Adds a piece of the stream, whose memory becomes ours. Take all whole frames before the next one. */
  push(piece: Uint8Array): void {
    if (this.#start === this.#end) {
      this.#buffer = new Uint8Array(piece.buffer, piece.byteOffset, piece.length)
      this.#start = 0
      this.#end = piece.length
      return
    }
    if (this.#end + piece.length > this.#buffer.length) this.#makeRoom(piece.length)
    this.#buffer.set(piece, this.#end)
    this.#end += piece.length
  }

  /**
   * The payload of the next whole frame, in memory that is not written again, or undefined until more has arrived. The error
   * is a sentence for people; the stream is then of no use any more.
   * @param bytesMax the limit now: it grows when the other side proves itself.
   */
  next(bytesMax: number): Result<Uint8Array | undefined, string> {
    const held = this.#end - this.#start
    if (held < HEADER_BYTES) return ok(undefined)
    const length = new DataView(this.#buffer.buffer, this.#buffer.byteOffset + this.#start, HEADER_BYTES).getUint32(0)
    if (length === 0) return err('an empty frame')
    if (length > bytesMax) return err(`a frame of ${length} bytes, more than ${bytesMax}`)
    if (held < HEADER_BYTES + length) return ok(undefined)
    const from = this.#start + HEADER_BYTES
    this.#start = from + length
    return ok(this.#buffer.subarray(from, this.#start))
  }

  /** Moves what is held to the front of the buffer, or of one of twice the size. */
  #makeRoom(bytes: number): void {
    const held = this.#buffer.subarray(this.#start, this.#end)
    const needed = held.length + bytes
    const next = new Uint8Array(needed <= this.#buffer.length / 2 ? this.#buffer.length : Math.max(needed, 2 * held.length))
    next.set(held)
    this.#buffer = next
    this.#end = held.length
    this.#start = 0
  }
}
