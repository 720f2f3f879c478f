/** Frames come out as they went in, however the stream cuts them. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { concatBytes } from '../../../mesh/base/bytes.ts'
import { encodeFrame, FrameDecoder } from '../../../mesh/framing.ts'

/** All whole frames of the pieces, and the error that ended them. */
function decodeAll(pieces: readonly Uint8Array[], bytesMax: number): { readonly frames: readonly Uint8Array[]; readonly error?: string } {
  const decoder = new FrameDecoder()
  const frames: Uint8Array[] = []
  for (const piece of pieces) {
    decoder.push(piece)
    for (;;) {
      const frame = decoder.next(bytesMax)
      if (!frame.ok) return { frames, error: frame.error }
      if (frame.value === undefined) break
      frames.push(frame.value)
    }
  }
  return { frames }
}

test('frames survive any cutting of the stream', () => {
  const payloads = fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 }), { maxLength: 20 })
  fc.assert(
    fc.property(payloads, fc.array(fc.nat(40), { maxLength: 60 }), (wanted, cuts) => {
      let rest = concatBytes(wanted.map(encodeFrame))
      const pieces: Uint8Array[] = []
      for (const cut of cuts) {
        pieces.push(rest.slice(0, cut))
        rest = rest.subarray(cut)
      }
      expect(decodeAll([...pieces, rest], 50)).toEqual({ frames: wanted })
    }),
    { seed: 1 },
  )
})

test('the header alone is enough to refuse a frame that is too long', () => {
  expect(decodeAll([Uint8Array.of(0, 0, 4, 1)], 1_024)).toEqual({ frames: [], error: 'a frame of 1025 bytes, more than 1024' })
})

test('a frame as long as the limit passes, and an empty one does not', () => {
  const longest = new Uint8Array(1_024).fill(7)
  expect(decodeAll([encodeFrame(longest)], 1_024)).toEqual({ frames: [longest] })
  expect(decodeAll([new Uint8Array(4)], 1_024)).toEqual({ frames: [], error: 'an empty frame' })
})

test('a long frame that drips in byte by byte costs no more than its length', () => {
  const payload = new Uint8Array(256 * 1024).fill(9)
  const pieces = Array.from(encodeFrame(payload), (byte) => Uint8Array.of(byte))
  const began = process.cpuUsage()
  expect(decodeAll(pieces, 256 * 1024).frames).toHaveLength(1)
  // Copying what is held at every byte would take 32 GB of copies: many seconds.
  expect(process.cpuUsage(began).user).toBeLessThan(2_000_000)
})

test('any bytes are a frame, an error or an unfinished frame', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 10 }), (pieces) => {
      for (const frame of decodeAll(pieces, 64).frames) expect(frame.length).toBeLessThanOrEqual(64)
    }),
    { seed: 1 },
  )
})
