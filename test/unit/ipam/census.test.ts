/** Asking other peers how they see things, and every way in which no good answer comes. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Census, type CensusAnswer, isCensusMessage, type NodeProof } from '../../../ipam/census.ts'
import type { SeedId } from '../../../ipam/ring.ts'
import { seedIdOf } from '../../../ipam/seed.ts'
import { parseCidr } from '../../../mesh/base/address.ts'
import { seconds } from '../../../mesh/base/brand.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { peer } from '../../support/ipam.ts'
import { TestClock } from '../../support/test-clock.ts'

const PROOF: NodeProof = { allocated: 3, living: 2, findings: ['something does not fit'] }
const DIGEST = Uint8Array.from({ length: 16 }, (_, index) => index)

/** Two peers, and what is said between them. */
function pair(prove: () => Promise<NodeProof | undefined> = () => Promise.resolve(PROOF)) {
  const clock = new TestClock()
  const sent: Uint8Array[] = []
  const state: { isCut: boolean; isDeaf: boolean; ring: SeedId | undefined } = { isCut: false, isDeaf: false, ring: undefined }
  const make = (deliver: (bytes: Uint8Array) => void): Census =>
    new Census({
      clock,
      random: seededRandom(1),
      digest: () => DIGEST,
      seedId: () => state.ring,
      inDoubt: () => true,
      prove,
      send: (_, bytes) => {
        if (state.isCut) return false
        sent.push(bytes)
        if (!state.isDeaf) deliver(bytes)
        return true
      },
    })
  const a: Census = make((bytes) => expect(b.receive(bytes, peer('a')).ok).toBe(true))
  const b: Census = make((bytes) => expect(a.receive(bytes, peer('b')).ok).toBe(true))
  const ask = (proof = true): Promise<CensusAnswer | undefined> => a.ask(peer('b'), { proof, within: seconds(2) })
  return { a, b, clock, sent, state, ask }
}

test('an answer has the digest, the ring if there is one, the doubt and, if wanted, the proof', async () => {
  const { ask, sent, state } = pair()
  expect(await ask()).toEqual({ digest: DIGEST, seedId: undefined, inDoubt: true, proof: { ...PROOF, findingsCount: 1 } })
  state.ring = seedIdOf(parseCidr('10.32.0.0/24'), [peer('a')])
  expect(await ask(false)).toEqual({ digest: DIGEST, seedId: state.ring, inDoubt: true, proof: undefined })
  expect(sent.every(isCensusMessage)).toBe(true)
})

test('findings are bounded, and their number is told', async () => {
  const findings = Array.from({ length: 500 }, (_, index) => `${index} ${'x'.repeat(1_000)}`)
  const { ask, sent } = pair(() => Promise.resolve({ ...PROOF, findings }))
  const answer = await ask()
  expect([answer?.proof?.findingsCount, answer?.proof?.findings.length]).toEqual([500, 16])
  expect(Math.max(...sent.map(({ length }) => length))).toBeLessThan(5_000)
})

test('many who ask at once cost one look', async () => {
  let looks = 0
  const { ask } = pair(async () => {
    looks += 1
    await Promise.resolve()
    return PROOF
  })
  const answers = await Promise.all(Array.from({ length: 20 }, () => ask()))
  expect([answers.every((answer) => answer?.proof?.allocated === 3), looks]).toEqual([true, 1])
})

describe('no answer', () => {
  test('comes at once where there is no way, and after the deadline from who is silent', async () => {
    const { ask, state, clock } = pair()
    state.isCut = true
    expect(await ask()).toBeUndefined()
    state.isCut = false
    state.isDeaf = true
    const silent = ask()
    await clock.advanceAsync(seconds(2))
    expect(await silent).toBeUndefined()
  })

  test('is taken from somebody else than who was asked', async () => {
    const { a, ask, sent, state, clock } = pair()
    await ask()
    const [, answer = new Uint8Array()] = sent
    state.isDeaf = true
    const silent = ask()
    const id = sent.at(-1)?.slice(1, 5) ?? new Uint8Array()
    const forged = answer.slice()
    forged.set(id, 1)
    expect(a.receive(forged, peer('c')).ok).toBe(true)
    await clock.advanceAsync(seconds(2))
    expect(await silent).toBeUndefined()
  })
})

test('no bytes break it', () => {
  const { a } = pair()
  fc.assert(
    fc.property(fc.constantFrom(32, 33), fc.uint8Array({ maxLength: 60 }), (kind, rest) => {
      a.receive(Uint8Array.of(kind, ...rest), peer('b'))
    }),
    { seed: 1, numRuns: 2_000 },
  )
})
