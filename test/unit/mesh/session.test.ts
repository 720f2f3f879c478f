/** Sealed frames: what was said comes out once, in order, unchanged; anything else does not open. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../mesh/base/random.ts'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { CipherState } from '../../../mesh/noise.ts'
import type { NoiseSuite } from '../../../mesh/noise-suite.ts'
import { FRAMES_PER_KEY, Session } from '../../../mesh/session.ts'
import { withBitFlipped } from '../../support/mesh-records.ts'
import { must, mustFail } from '../../support/result.ts'
import { simCrypto } from '../../support/sim/crypto.ts'

const { noise: sodium } = await loadCrypto()
const { noise: simulated } = simCrypto(seededRandom(1))

function sessions(suite: NoiseSuite): readonly [Session, Session] {
  const cipher = (index: number) => new CipherState(suite, new Uint8Array(32).fill(index))
  return [new Session({ send: cipher(1), receive: cipher(2) }), new Session({ send: cipher(2), receive: cipher(1) })]
}

describe.each([
  { name: 'libsodium', suite: sodium },
  { name: 'the simulation', suite: simulated },
])('$name', ({ suite }) => {
  test('what is said arrives, in both directions', () => {
    const [a, b] = sessions(suite)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), fc.boolean(), (text, forth) => {
        const [from, to] = forth ? [a, b] : [b, a]
        expect(must(to.open(from.seal(text)))).toEqual(text)
      }),
      { seed: 1, numRuns: 200 },
    )
  })

  test('a frame in which a bit differs does not open', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(), (text, bit) => {
        const [a, b] = sessions(suite)
        const sealed = a.seal(text)
        expect(mustFail(b.open(withBitFlipped(sealed, bit % (8 * sealed.length))))).toBe('seal')
      }),
      { seed: 1, numRuns: 300 },
    )
  })

  test('a frame that is repeated, moved, left out or sent back does not open', () => {
    const pair = () => {
      const [a, b] = sessions(suite)
      return { a, b, first: a.seal(Uint8Array.of(1)), second: a.seal(Uint8Array.of(2)) }
    }
    const repeated = pair()
    must(repeated.b.open(repeated.first))
    expect(mustFail(repeated.b.open(repeated.first))).toBe('seal')
    const moved = pair()
    expect(mustFail(moved.b.open(moved.second))).toBe('seal')
    const sentBack = pair()
    expect(mustFail(sentBack.a.open(sentBack.first))).toBe('seal')
  })

  test('a frame that was cut or grew does not open', () => {
    for (const change of [(sealed: Uint8Array) => sealed.subarray(1), (sealed: Uint8Array) => new Uint8Array([...sealed, 0])]) {
      const [a, b] = sessions(suite)
      expect(mustFail(b.open(change(a.seal(new Uint8Array(20)))))).toBe('seal')
    }
    const [, b] = sessions(suite)
    expect(mustFail(b.open(new Uint8Array(3)))).toBe('seal')
  })
})

test('both ends take the next key after the same frame, each direction by itself', () => {
  const keys: string[] = []
  const suite: NoiseSuite = {
    ...simulated,
    rekey: (key) => {
      const next = simulated.rekey(key)
      keys.push(`${key[0]} ${next[0]}`)
      return next
    },
  }
  const [a, b] = sessions(suite)
  const text = Uint8Array.of(5)
  for (let frame = 0; frame < FRAMES_PER_KEY - 1; frame += 1) must(b.open(a.seal(text)))
  expect(keys).toEqual([])
  must(b.open(a.seal(text)))
  expect(keys).toHaveLength(2)
  expect(keys[0]).toBe(keys[1])
  for (let frame = 0; frame < 3; frame += 1) must(b.open(a.seal(text)))
  must(a.open(b.seal(text)))
  expect(keys).toHaveLength(2)
})

test('the keys are gone with the session', () => {
  const key = new Uint8Array(32).fill(1)
  new Session({ send: new CipherState(sodium, key), receive: new CipherState(sodium, new Uint8Array(32)) })[Symbol.dispose]()
  expect(key).toEqual(new Uint8Array(32))
})
