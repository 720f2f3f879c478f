/** The probe's UDP messages. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ipv4 } from '../../../../../mesh/base/address.ts'
import { ipv6OnLink } from '../../../../../mesh/base/ip.ts'
import { DATAGRAM_BYTES, decodeProbeMessage, encodeAcknowledgement, encodeProbe } from '../../../../../router/lab/probe/datagram.ts'

const word = fc.nat({ max: 0xffff_ffff })

test('a probe is read again, and fills the largest datagram', () => {
  fc.assert(
    fc.property(word, word, (run, sequence) => {
      const bytes = encodeProbe({ run, sequence })
      expect(bytes.length).toBe(DATAGRAM_BYTES)
      expect(decodeProbeMessage(bytes)).toEqual({ kind: 'probe', run, sequence })
    }),
    { seed: 1, numRuns: 20 },
  )
})

test('an acknowledgement is read again', () => {
  fc.assert(
    fc.property(
      word,
      word,
      fc.oneof(word.map(ipv4), fc.uint8Array({ minLength: 16, maxLength: 16 }).map(ipv6OnLink)),
      (run, sequence, observed) => {
        const bytes = encodeAcknowledgement({ run, sequence }, observed)
        expect(decodeProbeMessage(bytes)).toEqual({ kind: 'acknowledgement', run, sequence, observed })
      },
    ),
    { seed: 1 },
  )
})

test('one wrong byte anywhere in the payload is noticed', () => {
  fc.assert(
    fc.property(fc.integer({ min: 8, max: DATAGRAM_BYTES - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const bytes = encodeProbe({ run: 1, sequence: 2 })
      bytes[at] = (bytes[at] ?? 0) ^ change
      expect(decodeProbeMessage(bytes)).toBeUndefined()
    }),
    { seed: 1, numRuns: 50 },
  )
})

test('two fragments that changed places are noticed, at any usual MTU', () => {
  for (const size of [536, 1_352, 1_400, 1_432, 1_480, 8_952]) {
    const bytes = encodeProbe({ run: 1, sequence: 2 })
    const first = bytes.slice(size, 2 * size)
    bytes.copyWithin(size, 2 * size, 3 * size)
    bytes.set(first, 2 * size)
    expect(decodeProbeMessage(bytes)).toBeUndefined()
  }
})

test('messages of any other length are nobody’s', () => {
  for (const length of [0, 1, 8, 11, 13, DATAGRAM_BYTES - 1]) expect(decodeProbeMessage(new Uint8Array(length))).toBeUndefined()
})
