/** The handshake, between two ends in memory: friends meet, and everybody else is turned away for the right reason. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { concatBytes, fromHex, toHex } from '../../../mesh/base/bytes.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { encodeWire, type WireValue } from '../../../mesh/base/wire.ts'
import { type CryptoSuite, loadCrypto } from '../../../mesh/crypto.ts'
import { FRAME_BYTES_MAX_BEFORE_AUTH } from '../../../mesh/framing.ts'
import {
  type Authenticated,
  type HandshakeEffect,
  type HandshakeOptions,
  type HandshakeState,
  startHandshake,
  stepHandshake,
} from '../../../mesh/handshake.ts'
import { NoiseHandshake, XX_PSK0 } from '../../../mesh/noise.ts'
import type { Session } from '../../../mesh/session.ts'
import { keyOf, keyringOf } from '../../support/keyrings.ts'
import { identityOf, withBitFlipped } from '../../support/mesh-records.ts'
import { must } from '../../support/result.ts'
import { simCrypto } from '../../support/sim/crypto.ts'

const simulated = simCrypto(seededRandom(1))
const real = await loadCrypto()

const HEADER_BYTES = 29

function optionsOf(index: number, more: Partial<HandshakeOptions> = {}, crypto: CryptoSuite = simulated): HandshakeOptions {
  return {
    identity: identityOf(index, crypto),
    crypto,
    cluster: 'c',
    keyring: keyringOf(1, crypto),
    instance: new Uint8Array(16).fill(index),
    hadPods: true,
    startedAt: 1,
    incarnation: () => 100 + index,
    ...more,
  }
}

type Outcome = Authenticated | { readonly code: string; readonly reason: string } | undefined

interface End {
  readonly options: HandshakeOptions
  state: HandshakeState
  outbox: Uint8Array[]
  outcome: Outcome
  session: Session | undefined
}

function endOf(options: HandshakeOptions, outbound: boolean): End {
  const [state, effects] = startHandshake(options, outbound)
  const end: End = { options, state, outbox: [], outcome: undefined, session: undefined }
  perform(end, effects)
  return end
}

function perform(end: End, effects: readonly HandshakeEffect[]): void {
  for (const effect of effects) {
    if (effect.kind === 'send') end.outbox.push(effect.payload)
    else if (effect.kind === 'reject') end.outcome = { code: effect.code, reason: effect.reason }
    else {
      end.outcome = effect.peer
      end.session = effect.session
      if (effect.last !== undefined) end.outbox.push(effect.last)
    }
  }
}

function deliver(end: End, payload: Uint8Array): void {
  const [state, effects] = stepHandshake(end.state, payload, end.options)
  end.state = state
  perform(end, effects)
}

/** Moves frames between the two until none is left; `change` may alter each on its way. */
function meet(
  dialler: HandshakeOptions,
  acceptor: HandshakeOptions,
  change: (payload: Uint8Array, count: number) => Uint8Array = (payload) => payload,
): readonly [End, End] {
  const ends = [endOf(dialler, true), endOf(acceptor, false)] as const
  let count = 0
  while (ends.some(({ outbox }) => outbox.length > 0)) {
    for (const [at, end] of ends.entries()) {
      const other = ends[at === 0 ? 1 : 0]
      const payload = end.outbox.shift()
      if (payload === undefined || other.outcome !== undefined) continue
      expect(payload.length).toBeLessThanOrEqual(FRAME_BYTES_MAX_BEFORE_AUTH)
      deliver(other, change(payload, count))
      count += 1
    }
  }
  return ends
}

function outcomes(...words: Parameters<typeof meet>): readonly [Outcome, Outcome] {
  const [a, b] = meet(...words)
  return [a.outcome, b.outcome]
}

describe.each([
  { name: 'with libsodium', crypto: real },
  { name: 'with the cryptography of simulations', crypto: simulated },
])('$name', ({ crypto }) => {
  test('two peers of one cluster learn who the other is, name their connection alike, and talk', () => {
    const [a, b] = [optionsOf(1, {}, crypto), optionsOf(2, {}, crypto)]
    const [dialler, acceptor] = meet(a, b)
    expect(dialler.outcome).toMatchObject({ name: b.identity.name, instance: '02'.repeat(16), incarnation: 102, version: 2 })
    expect(acceptor.outcome).toMatchObject({ name: a.identity.name, instance: '01'.repeat(16), incarnation: 101, version: 2 })
    expect((dialler.outcome as Authenticated).connectionId).toBe((acceptor.outcome as Authenticated).connectionId)
    for (const [from, to] of [
      [dialler, acceptor],
      [acceptor, dialler],
    ]) {
      expect(to?.session?.open(from?.session?.seal(Uint8Array.of(1, 2)) ?? new Uint8Array())).toEqual({
        ok: true,
        value: Uint8Array.of(1, 2),
      })
    }
  })

  test('no two connections have one name', () => {
    const names = [1, 2].map(() => (meet(optionsOf(1, {}, crypto), optionsOf(2, {}, crypto))[0].outcome as Authenticated).connectionId)
    expect(names[0]).not.toBe(names[1])
  })
})

test('on the wire nobody can read who they are, nor anything of the secret', () => {
  const [a, b] = [optionsOf(1, {}, real), optionsOf(2, {}, real)]
  let wire = ''
  meet(a, b, (payload) => {
    wire += toHex(payload)
    return payload
  })
  const { secret, psk } = keyOf(1, real)
  const hidden = [a, b].flatMap(({ identity, instance }) => [identity.keys.publicKey, identity.dataKeys.publicKey, instance])
  for (const bytes of [...hidden, secret, psk]) expect(wire).not.toContain(toHex(bytes))
})

describe('turned away, at both ends alike', () => {
  test.each([
    {
      name: 'a peer of another cluster',
      other: optionsOf(2, { cluster: 'd' }),
      code: 'foreign',
      reason: 'belongs to another cluster: give both the same --cluster',
    },
    { name: 'ourselves', other: optionsOf(1), code: 'self', reason: 'cannot connect to ourself' },
  ])('$name', ({ other, code, reason }) => {
    expect(outcomes(optionsOf(1), other)).toEqual([
      { code, reason },
      { code, reason },
    ])
  })

  test.each([
    { name: 'as no pods depend on it', hadPods: false, startedAt: 0, instance: 0 },
    { name: 'by the start of its process', hadPods: true, startedAt: 2, instance: 0 },
    { name: 'by the number of its process, when all else is equal', hadPods: true, startedAt: 1, instance: 9 },
  ])('another process with our key, younger $name: it is told to take a new name, and we that it does', ({ instance, ...since }) => {
    const younger = optionsOf(1, { ...since, instance: new Uint8Array(16).fill(instance) })
    const words = 'peer name collision: another process runs with our identity key'
    const ours = { code: 'collision', reason: `${words}, as a copy of this node: that one takes a new name` }
    const its = { code: 'copy', reason: `${words}, and it is the original: this node takes a new name` }
    expect(outcomes(optionsOf(1), younger)).toEqual([ours, its])
    expect(outcomes(younger, optionsOf(1))).toEqual([its, ours])
  })

  test('a peer with another secret, each told which it has and which it needs', () => {
    const [ours, theirs] = [keyOf(1, simulated).id, keyOf(2, simulated).id]
    const words = (its: string, own: string) => ({
      code: 'key',
      reason: `has another cluster secret (its key id is ${its}, ours ${own}): give both the same secret, see \`weft keys show-id\``,
    })
    expect(outcomes(optionsOf(1), optionsOf(2, { keyring: keyringOf(2, simulated) }))).toEqual([words(theirs, ours), words(ours, theirs)])
  })

  test('a peer that speaks only later versions', () => {
    const later = (payload: Uint8Array, count: number) => {
      const versions = [0, 3, 0, 7]
      if (count === 0) return new Uint8Array([...payload.subarray(0, 4), ...versions, ...payload.subarray(8)])
      return new Uint8Array([...payload.subarray(0, 2), ...versions, ...payload.subarray(6)])
    }
    const words = { code: 'foreign', reason: 'speaks versions 3 to 7 of the protocol, we version 2: upgrade the older one' }
    expect(outcomes(optionsOf(1), optionsOf(2), later)).toEqual([words, words])
  })
})

describe('two keys at once', () => {
  test.each([
    { name: 'the acceptor takes its other key', dialler: { keyring: keyringOf(2, simulated) }, acceptor: keyringOf(1, simulated, 2) },
    {
      name: 'the dialler offers its other key when told to',
      dialler: { keyring: keyringOf(1, simulated, 2), offer: 'other' as const },
      acceptor: keyringOf(2, simulated),
    },
    {
      name: 'who is told to offer the other key and has none offers the only one',
      dialler: { keyring: keyringOf(1, simulated), offer: 'other' as const },
      acceptor: keyringOf(1, simulated),
    },
  ])('$name', ({ dialler, acceptor }) => {
    expect(outcomes(optionsOf(1, dialler), optionsOf(2, { keyring: acceptor }))).toMatchObject([{ version: 2 }, { version: 2 }])
  })

  test('the primary one is offered, though the other would do', () => {
    const [dialler] = outcomes(optionsOf(1, { keyring: keyringOf(1, simulated, 2) }), optionsOf(2, { keyring: keyringOf(2, simulated) }))
    expect(dialler).toMatchObject({ code: 'key' })
  })
})

test('who does not speak our protocol gets no answer', () => {
  const acceptor = endOf(optionsOf(1), false)
  deliver(acceptor, new TextEncoder().encode(`GET / HTTP/1.1\r\nHost: ${'a'.repeat(200)}\r\n`))
  expect(acceptor).toMatchObject({ outbox: [], outcome: { code: 'foreign', reason: 'does not speak the protocol of Weft' } })
})

test('who names our key and does not have it gets no answer', () => {
  const acceptor = endOf(optionsOf(1), false)
  const stranger = keyOf(2, simulated)
  const keyring = () => ({ primary: { ...stranger, id: keyOf(1, simulated).id }, other: undefined })
  const [offer] = endOf(optionsOf(2, { keyring }), true).outbox
  deliver(acceptor, offer ?? new Uint8Array())
  expect(acceptor).toMatchObject({ outbox: [], outcome: { code: 'proof' } })
})

test('any bit changed on the way keeps the receiver from believing', () => {
  fc.assert(
    fc.property(fc.nat(2), fc.nat(), (frame, bit) => {
      const ends = outcomes(optionsOf(1), optionsOf(2), (payload, count) =>
        count === frame ? withBitFlipped(payload, bit % (8 * payload.length)) : payload,
      )
      const believers = ends.filter((outcome) => outcome !== undefined && 'name' in outcome)
      // Only the dialler is done before the last frame, its own.
      expect(believers.length).toBeLessThanOrEqual(frame === 2 ? 1 : 0)
    }),
    { seed: 1, numRuns: 500 },
  )
})

test('no bit of the readable header can be changed without being found out', () => {
  for (let bit = 0; bit < 8 * HEADER_BYTES; bit += 1) {
    const [, acceptor] = outcomes(optionsOf(1, {}, real), optionsOf(2, {}, real), (payload, count) =>
      count === 0 ? withBitFlipped(payload, bit) : payload,
    )
    expect(acceptor).toHaveProperty('code')
  }
})

test('what was recorded is no use in another handshake, nor as the answer to itself', () => {
  const [a, b] = [optionsOf(1), optionsOf(2)]
  const recorded: Uint8Array[] = []
  meet(a, b, (payload) => {
    recorded.push(payload)
    return payload
  })
  const [offer, answer, proof] = recorded
  const acceptor = endOf(b, false)
  for (const payload of [offer, proof]) deliver(acceptor, payload ?? new Uint8Array())
  expect(acceptor.outcome).toMatchObject({ code: 'proof' })

  for (const payload of [offer, answer]) {
    const dialler = endOf(a, true)
    deliver(dialler, payload ?? new Uint8Array())
    expect(dialler.outcome).toHaveProperty('code')
  }
})

test('no frame makes a step throw, in any state', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), fc.constantFrom(0, 4, HEADER_BYTES), (noise, outbound, kept) => {
      const end = endOf(optionsOf(1), outbound)
      const [offer] = endOf(optionsOf(2), true).outbox
      const start = outbound ? Uint8Array.of(kept === 0 ? 0 : 1) : (offer ?? noise).subarray(0, kept)
      deliver(end, concatBytes([start, noise]))
      expect(end.outcome).toHaveProperty('code')
      deliver(end, noise)
      expect(end.outcome).toMatchObject({ code: 'proof', reason: 'goes on after the handshake is over' })
    }),
    { seed: 1, numRuns: 300 },
  )
})

/** A member of the cluster that introduces itself to `acceptor` as it likes. */
function introduceTo(acceptor: End, index: number, introduction: WireValue): void {
  const options = optionsOf(index)
  const offer = endOf(options, true).outbox[0] ?? new Uint8Array()
  const header = offer.subarray(0, HEADER_BYTES)
  const noise = new NoiseHandshake({
    suite: simulated.noise,
    pattern: XX_PSK0,
    initiator: true,
    prologue: header,
    staticKeys: options.identity.dataKeys,
    ephemeralSecret: simulated.randomBytes(32),
    psks: [keyOf(1, simulated).psk],
  })
  deliver(acceptor, concatBytes([header, must(noise.write(new Uint8Array()))]))
  must(noise.read(acceptor.outbox.shift()?.subarray(1) ?? new Uint8Array()))
  deliver(acceptor, must(noise.write(encodeWire(introduction))))
}

function introductionOf(index: number): readonly WireValue[] {
  const { keys, dataKeys } = identityOf(index, simulated)
  const proof = simulated.sign(concatBytes([new TextEncoder().encode('weft static key 1\0'), dataKeys.publicKey]), keys)
  return [keys.publicKey, proof, new Uint8Array(16).fill(index), 100 + index, 2, 9, true, 1]
}

describe('a member of the cluster', () => {
  test('of a later version may say more, and offer more versions', () => {
    const acceptor = endOf(optionsOf(1), false)
    introduceTo(acceptor, 2, [...introductionOf(2), 'more', [1, 2]])
    expect(acceptor.outcome).toMatchObject({ name: identityOf(2, simulated).name, version: 2 })
  })

  test('cannot pass for another one, whose key and proof it has seen', () => {
    const acceptor = endOf(optionsOf(1), false)
    introduceTo(acceptor, 2, introductionOf(3))
    expect(acceptor.outcome).toEqual({ code: 'proof', reason: `has not proved to be ${identityOf(3, simulated).name}` })
  })

  test.each([
    { name: 'versions that we do not speak', introduction: introductionOf(2).with(4, 8) },
    { name: 'no list', introduction: 7 },
    { name: 'nothing', introduction: [] },
    { name: 'a short key', introduction: introductionOf(2).with(0, fromHex('00')) },
    { name: 'a negative incarnation', introduction: introductionOf(2).with(3, -1) },
    { name: 'no word of its pods and its start', introduction: introductionOf(2).slice(0, 6) },
  ])('that introduces itself with $name is turned away', ({ introduction }) => {
    const acceptor = endOf(optionsOf(1), false)
    introduceTo(acceptor, 2, introduction)
    expect(acceptor.outcome).toMatchObject({ code: 'foreign' })
  })
})
