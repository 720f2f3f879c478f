/** The handshake, between two ends in memory: friends meet, and everybody else is turned away for the right reason. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../mesh/base/random.ts'
import { FRAME_BYTES_MAX_BEFORE_AUTH } from '../../../mesh/framing.ts'
import {
  type Authenticated,
  type HandshakeEffect,
  type HandshakeOptions,
  type HandshakeState,
  startHandshake,
  stepHandshake,
} from '../../../mesh/handshake.ts'
import { identityOf, withBitFlipped } from '../../support/mesh-records.ts'
import { simCrypto } from '../../support/sim/crypto.ts'

const crypto = simCrypto(seededRandom(1))

function optionsOf(index: number, more: Partial<HandshakeOptions> = {}): HandshakeOptions {
  return {
    identity: identityOf(index, crypto),
    crypto,
    cluster: 'c',
    instance: new Uint8Array(16).fill(index),
    incarnation: 100 + index,
    ...more,
  }
}

type Outcome = Authenticated | { readonly code: string; readonly reason: string } | undefined

interface End {
  readonly options: HandshakeOptions
  state: HandshakeState
  outbox: Uint8Array[]
  outcome: Outcome
}

function endOf(options: HandshakeOptions, outbound: boolean): End {
  const [state, effects] = startHandshake(options, outbound)
  const end: End = { options, state, outbox: [], outcome: undefined }
  perform(end, effects)
  return end
}

function perform(end: End, effects: readonly HandshakeEffect[]): void {
  for (const effect of effects) {
    if (effect.kind === 'send') end.outbox.push(effect.payload)
    else if (effect.kind === 'reject') end.outcome = { code: effect.code, reason: effect.reason }
    else {
      end.outcome = effect.peer
      if (effect.last !== undefined) end.outbox.push(effect.last)
    }
  }
}

/** Moves frames between the two until none is left; `change` may alter each on its way. */
function run(
  dialler: HandshakeOptions,
  acceptor: HandshakeOptions,
  change: (payload: Uint8Array, count: number) => Uint8Array = (payload) => payload,
): [Outcome, Outcome] {
  const ends = [endOf(dialler, true), endOf(acceptor, false)] as const
  let count = 0
  while (ends.some(({ outbox }) => outbox.length > 0)) {
    for (const [at, end] of ends.entries()) {
      const other = ends[at === 0 ? 1 : 0]
      const payload = end.outbox.shift()
      if (payload === undefined || other.outcome !== undefined) continue
      expect(payload.length).toBeLessThanOrEqual(FRAME_BYTES_MAX_BEFORE_AUTH)
      const [state, effects] = stepHandshake(other.state, change(payload, count), other.options)
      count += 1
      other.state = state
      perform(other, effects)
    }
  }
  return [ends[0].outcome, ends[1].outcome]
}

test('two peers of one cluster learn who the other is, and name their connection alike', () => {
  const [a, b] = [optionsOf(1), optionsOf(2)]
  const [seenByA, seenByB] = run(a, b)
  expect(seenByA).toMatchObject({ name: b.identity.name, instance: '02'.repeat(16), incarnation: 102, version: 1 })
  expect(seenByB).toMatchObject({ name: a.identity.name, instance: '01'.repeat(16), incarnation: 101, version: 1 })
  expect((seenByA as Authenticated).connectionId).toBe((seenByB as Authenticated).connectionId)
})

describe('turned away, at both ends alike', () => {
  const versions = (min: number, max: number) => (payload: Uint8Array, count: number) => {
    // The first two frames are the hellos; bytes 4 to 8 are the versions.
    return count < 2 ? new Uint8Array([...payload.subarray(0, 4), 0, min, 0, max, ...payload.subarray(8)]) : payload
  }
  test.each([
    { name: 'a peer of another cluster', other: optionsOf(2, { cluster: 'd' }), code: 'foreign', reason: 'belongs to another cluster' },
    { name: 'ourselves', other: optionsOf(1), code: 'self', reason: 'cannot connect to ourself' },
    {
      name: 'another process with our key',
      other: optionsOf(1, { instance: new Uint8Array(16).fill(9) }),
      code: 'collision',
      reason: 'peer name collision: another process runs with our identity key',
    },
    {
      name: 'a peer that speaks only later versions',
      other: optionsOf(2),
      change: versions(2, 7),
      code: 'foreign',
      reason: 'speaks versions 2 to 7 of the protocol, we 1 to 1',
    },
    {
      name: 'something that speaks HTTP',
      other: optionsOf(2),
      change: () => new TextEncoder().encode(`GET / HTTP/1.1\r\nHost: ${'a'.repeat(200)}\r\n`),
      code: 'foreign',
      reason: 'does not speak the protocol of Weft',
    },
  ])('$name', ({ other, change, code, reason }) => {
    expect(run(optionsOf(1), other, change)).toEqual([
      { code, reason },
      { code, reason },
    ])
  })
})

test('a hello longer than ours, of a later version, is taken', () => {
  const longer = (payload: Uint8Array, count: number) => (count < 2 ? new Uint8Array([...payload, 1, 2, 3]) : payload)
  // Both must sign what the other has really received: a man in the middle who appends is found out by the proof.
  expect(run(optionsOf(1), optionsOf(2), longer)[0]).toMatchObject({ code: 'proof' })
})

test('any bit changed on the way keeps the receiver from believing', () => {
  fc.assert(
    fc.property(fc.nat(3), fc.nat(8 * 112 - 1), (frame, bit) => {
      const outcomes = run(optionsOf(1), optionsOf(2), (payload, count) =>
        count === frame ? withBitFlipped(payload, bit % (8 * payload.length)) : payload,
      )
      const believers = outcomes.filter((outcome) => outcome !== undefined && 'name' in outcome)
      // Only the dialler is done before the last frame, its own proof.
      expect(believers.length).toBeLessThanOrEqual(frame === 3 ? 1 : 0)
    }),
    { seed: 1, numRuns: 500 },
  )
})

test('a proof is no use in another handshake, nor as the answer to itself', () => {
  const [a, b] = [optionsOf(1), optionsOf(2)]
  const recorded: Uint8Array[] = []
  run(a, b, (payload) => {
    recorded.push(payload)
    return payload
  })
  const [helloOfA, , , proofOfA] = recorded
  const acceptor = endOf(b, false)
  for (const payload of [helloOfA, proofOfA]) {
    const [state, effects] = stepHandshake(acceptor.state, payload ?? new Uint8Array(), b)
    acceptor.state = state
    perform(acceptor, effects)
  }
  expect(acceptor.outcome).toMatchObject({ code: 'proof' })

  const dialler = endOf(a, true)
  const mirror = dialler.outbox[0] ?? new Uint8Array()
  expect(stepHandshake(dialler.state, mirror, a)[1]).toMatchObject([{ kind: 'reject', code: 'self' }])
})

test('no frame makes a step throw, in any state', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), fc.boolean(), (noise, outbound, afterHello) => {
      const end = endOf(optionsOf(1), outbound)
      const [hello] = endOf(optionsOf(2), !outbound).outbox
      if (afterHello && hello !== undefined) end.state = stepHandshake(end.state, hello, end.options)[0]
      expect(stepHandshake(end.state, noise, end.options)[1]).toMatchObject([{ kind: 'reject' }])
    }),
    { seed: 1 },
  )
})
