/** The first byte on the port tells HTTP from the mesh. */

import { METHODS } from 'node:http'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeFrame, FRAME_BYTES_MAX } from '../../../mesh/framing.ts'
import { isHttp } from '../../../mesh/port-stream.ts'

test.each(METHODS)('%s begins HTTP', (method) => expect(isHttp(new TextEncoder().encode(method))).toBe(true))

test('no frame of ours begins HTTP', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: FRAME_BYTES_MAX }), (length) => {
      expect(isHttp(encodeFrame(new Uint8Array(length)))).toBe(false)
    }),
    { seed: 1 },
  )
})
