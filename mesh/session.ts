/**
 * What two peers say after their handshake: every frame sealed, in order, once.
 *
 *   0               4                  4 + length
 *   | length (BE)   | sealed payload   |
 *
 * The length stays readable, as it says where the frame ends, but is sealed along (as associated data). The counter of
 * each direction is the nonce and is not sent: a frame that is lost, repeated or moved does not open. After
 * `FRAMES_PER_KEY` frames each direction takes the next key (`Rekey` of Noise), which both ends count by themselves: who
 * finds a key in memory cannot open what was said before it. (What is said after it is open to him until the connection
 * ends: only a new handshake makes keys that do not follow from the old ones.)
 *
 * Noise bounds its messages to 64 KiB; the limit of ours is that of a frame. The cipher itself takes 256 GiB at a time.
 */
import { err, ok, type Result } from './base/result.ts'
import type { CipherState } from './noise.ts'
import { NOISE_TAG_BYTES } from './noise-suite.ts'

/** At rest a key lasts two days, in a busy mesh some hours. */
export const FRAMES_PER_KEY: number = 2 ** 16

const LENGTH_BYTES = 4

interface Direction {
  readonly cipher: CipherState
  frames: number
}

/** The keys of one connection. Once a frame does not open it is of no use any more. */
export class Session implements Disposable {
  readonly #send: Direction
  readonly #receive: Direction

  /** Takes the ciphers over. */
  constructor({ send, receive }: { readonly send: CipherState; readonly receive: CipherState }) {
    this.#send = { cipher: send, frames: 0 }
    this.#receive = { cipher: receive, frames: 0 }
  }

  /** The payload of the frame to send. */
  seal(payload: Uint8Array): Uint8Array {
    const sealed = this.#send.cipher.seal(lengthOf(payload.length + NOISE_TAG_BYTES), payload)
    advance(this.#send)
    return sealed
  }

  /** What was said in a frame with this payload; `seal` when it is not the next one of the other side, or was changed. */
  open(sealed: Uint8Array): Result<Uint8Array, 'seal'> {
    const payload = this.#receive.cipher.open(lengthOf(sealed.length), sealed)
    if (payload === undefined) return err('seal')
    advance(this.#receive)
    return ok(payload)
  }

  /** Wipes the keys. */
  [Symbol.dispose](): void {
    this.#send.cipher[Symbol.dispose]()
    this.#receive.cipher[Symbol.dispose]()
  }
}

function advance(direction: Direction): void {
  direction.frames += 1
  if (direction.frames % FRAMES_PER_KEY === 0) direction.cipher.rekey()
}

/** As it stands before the payload in the stream. In memory that the next call writes again. */
function lengthOf(bytes: number): Uint8Array {
  lengthField.setUint32(0, bytes)
  return lengthBytes
}

const lengthBytes = new Uint8Array(LENGTH_BYTES)
const lengthField = new DataView(lengthBytes.buffer)
