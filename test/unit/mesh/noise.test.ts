/** Noise: as the published vectors and another implementation have it, and closed to whoever changes a bit or lacks the secret. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import ReferenceNoise from 'noise-handshake'
import { expect, test } from 'vitest'
import { fromHex, toHex } from '../../../mesh/base/bytes.ts'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { CipherState, NoiseHandshake, type NoisePattern, XX_PSK0 } from '../../../mesh/noise.ts'
import type { NoiseSuite } from '../../../mesh/noise-suite.ts'
import { withBitFlipped } from '../../support/mesh-records.ts'
import { must, mustFail } from '../../support/result.ts'

const { noise: sodium } = await loadCrypto()

interface Vector {
  readonly protocol_name: string
  readonly init_prologue: string
  readonly init_psks: readonly string[]
  readonly init_static: string
  readonly init_ephemeral: string
  readonly resp_prologue: string
  readonly resp_psks: readonly string[]
  readonly resp_static: string
  readonly resp_ephemeral: string
  readonly handshake_hash?: string
  readonly messages: readonly { readonly payload: string; readonly ciphertext: string }[]
}

const vectors = ['cacophony', 'snow'].flatMap((source) => {
  const text = readFileSync(new URL(`../../vectors/noise/${source}.json`, import.meta.url), 'utf8')
  const { vectors: list } = JSON.parse(text) as { readonly vectors: readonly Vector[] }
  return list.map((vector) => ({ name: `${vector.protocol_name} of ${source}`, vector }))
})

const XX: NoisePattern = { name: 'XX', messages: [['e'], ['e', 'ee', 's', 'es'], ['s', 'se']] }
const XX_PSK0_PSK2: NoisePattern = {
  name: 'XXpsk0+psk2',
  messages: [
    ['psk', 'e'],
    ['e', 'ee', 's', 'es', 'psk'],
    ['s', 'se'],
  ],
}

/** The product's suite with one of Node's hashes instead of BLAKE2b. */
function withHash(name: 'SHA256' | 'SHA512'): NoiseSuite {
  const [hashBytes, blockBytes] = name === 'SHA256' ? [32, 64] : [64, 128]
  const hash = (message: Uint8Array) => new Uint8Array(createHash(name).update(message).digest())
  return { ...sodium, name: `25519_ChaChaPoly_${name}`, hashBytes, blockBytes, hash }
}

const suites = [sodium, withHash('SHA256'), withHash('SHA512')]

function endsOf(vector: Vector): readonly [NoiseHandshake, NoiseHandshake] {
  const [, patternName = '', ...rest] = vector.protocol_name.split('_')
  const suite = suites.find(({ name }) => name === rest.join('_'))
  const pattern = [XX, XX_PSK0_PSK2].find(({ name }) => name === patternName)
  if (suite === undefined || pattern === undefined) throw new Error(`no ${vector.protocol_name} here`)
  const end = (role: 'init' | 'resp') =>
    new NoiseHandshake({
      suite,
      pattern,
      initiator: role === 'init',
      prologue: fromHex(vector[`${role}_prologue`]),
      psks: vector[`${role}_psks`].map(fromHex),
      staticKeys: suite.keys(fromHex(vector[`${role}_static`])),
      ephemeralSecret: fromHex(vector[`${role}_ephemeral`]),
    })
  return [end('init'), end('resp')]
}

test.each(vectors)('$name', ({ vector }) => {
  const ends = endsOf(vector)
  const [handshakeMessages, transportMessages] = [vector.messages.slice(0, 3), vector.messages.slice(3)]
  for (const [index, { payload, ciphertext }] of handshakeMessages.entries()) {
    // Where the vectors have a hash, it is the one before the last message.
    if (index === 2) for (const { hash } of ends) expect(toHex(hash)).toBe(vector.handshake_hash ?? toHex(ends[0].hash))
    const [writer, reader] = index % 2 === 0 ? ends : [ends[1], ends[0]]
    const message = must(writer.write(fromHex(payload)))
    expect(toHex(message)).toBe(ciphertext)
    expect(toHex(must(reader.read(message)))).toBe(payload)
  }
  expect(toHex(ends[0].hash)).toBe(toHex(ends[1].hash))
  const ciphers = ends.map((end) => end.split())
  for (const [index, { payload, ciphertext }] of transportMessages.entries()) {
    const [sender, receiver] = index % 2 === 0 ? [ciphers[1], ciphers[0]] : ciphers
    expect(toHex(sender?.send.seal(new Uint8Array(), fromHex(payload)) ?? new Uint8Array())).toBe(ciphertext)
    expect(toHex(receiver?.receive.open(new Uint8Array(), fromHex(ciphertext)) ?? new Uint8Array())).toBe(payload)
  }
})

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
const payloads = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 3, maxLength: 3 })

interface Inputs {
  readonly statics: readonly [Uint8Array, Uint8Array]
  readonly ephemerals: readonly [Uint8Array, Uint8Array]
  readonly psk: Uint8Array
}

function endOf(initiator: boolean, { statics, ephemerals, psk }: Inputs, suite: NoiseSuite = sodium): NoiseHandshake {
  const at = initiator ? 0 : 1
  return new NoiseHandshake({
    suite,
    pattern: XX_PSK0,
    initiator,
    prologue: Uint8Array.of(1, 2, 3),
    staticKeys: suite.keys(statics[at]),
    ephemeralSecret: ephemerals[at].slice(),
    psks: [psk],
  })
}

const inputs: fc.Arbitrary<Inputs> = fc.record({
  statics: fc.tuple(bytes32, bytes32),
  ephemerals: fc.tuple(bytes32, bytes32),
  psk: bytes32,
})

function referenceOf(initiator: boolean, { statics, psk }: Inputs): ReferenceNoise {
  const { publicKey, secretKey } = sodium.keys(statics[initiator ? 0 : 1])
  const pair = { publicKey: Buffer.from(publicKey), secretKey: Buffer.from(secretKey) }
  const reference = new ReferenceNoise('XXpsk0', initiator, pair, { psk: Buffer.from(psk) })
  reference.initialise(Buffer.of(1, 2, 3))
  return reference
}

test.each([{ weBegin: true }, { weBegin: false }])('speaks with noise-handshake, we begin: $weBegin', ({ weBegin }) => {
  fc.assert(
    fc.property(inputs, payloads, bytes32, (given, texts, frame) => {
      const ours = endOf(weBegin, given)
      const theirs = referenceOf(!weBegin, given)
      for (const [index, text] of texts.entries()) {
        const weWrite = (index % 2 === 0) === weBegin
        const heard = weWrite
          ? theirs.recv(Buffer.from(must(ours.write(text))))
          : must(ours.read(new Uint8Array(theirs.send(Buffer.from(text)))))
        expect(toHex(heard)).toBe(toHex(text))
      }
      expect(toHex(ours.hash)).toBe(toHex(theirs.hash))
      const { send, receive } = ours.split()
      const [theirSend, theirReceive] = [theirs.tx, theirs.rx].map((key) => new CipherState(sodium, new Uint8Array(key)))
      const ad = Uint8Array.of(9)
      expect(theirReceive?.open(ad, send.seal(ad, frame))).toEqual(frame)
      expect(receive.open(ad, theirSend?.seal(ad, frame) ?? new Uint8Array())).toEqual(frame)
    }),
    { seed: 1, numRuns: 40 },
  )
})

test('any bit changed in any message is refused, and nothing is read afterwards', () => {
  fc.assert(
    fc.property(inputs, payloads, fc.nat(2), fc.nat(), (given, texts, at, bit) => {
      const ends = [endOf(true, given), endOf(false, given)] as const
      for (const [index, text] of texts.entries()) {
        const [writer, reader] = index % 2 === 0 ? ends : [ends[1], ends[0]]
        const message = must(writer.write(text))
        if (index !== at) {
          must(reader.read(message))
          continue
        }
        expect(['seal', 'key']).toContain(mustFail(reader.read(withBitFlipped(message, bit % (8 * message.length)))))
        expect(mustFail(reader.read(message))).toBe('turn')
        return
      }
    }),
    { seed: 1, numRuns: 150 },
  )
})

test('bytes of any kind are refused without a throw', () => {
  fc.assert(
    fc.property(inputs, fc.uint8Array({ maxLength: 200 }), (given, noise) => {
      expect(['length', 'seal', 'key']).toContain(mustFail(endOf(false, given).read(noise)))
      const dialler = endOf(true, given)
      must(dialler.write(new Uint8Array()))
      expect(['length', 'seal', 'key']).toContain(mustFail(dialler.read(noise)))
    }),
    { seed: 1, numRuns: 50 },
  )
})

const fixed: Inputs = {
  statics: [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)],
  ephemerals: [new Uint8Array(32).fill(3), new Uint8Array(32).fill(4)],
  psk: new Uint8Array(32).fill(5),
}

/** The product's suite, counting what it costs. */
function counting(): { readonly suite: NoiseSuite; readonly calls: { dh: number; keys: number; open: number; seal: number } } {
  const calls = { dh: 0, keys: 0, open: 0, seal: 0 }
  const suite: NoiseSuite = {
    ...sodium,
    keys: (secret) => {
      calls.keys += 1
      return sodium.keys(secret)
    },
    dh: (secret, key) => {
      calls.dh += 1
      return sodium.dh(secret, key)
    },
    open: (...words) => {
      calls.open += 1
      return sodium.open(...words)
    },
    seal: (...words) => {
      calls.seal += 1
      return sodium.seal(...words)
    },
  }
  return { suite, calls }
}

test('a stranger costs who accepts one opening and no Diffie-Hellman', () => {
  const { suite, calls } = counting()
  const acceptor = endOf(false, fixed, suite)
  calls.keys = 0
  const stranger = endOf(true, { ...fixed, psk: new Uint8Array(32).fill(6) })
  expect(mustFail(acceptor.read(must(stranger.write(new Uint8Array()))))).toBe('seal')
  expect(calls).toEqual({ dh: 0, keys: 0, open: 1, seal: 0 })
})

test('a public key that makes every secret zero is refused, though its sender knows the psk', () => {
  const acceptor = endOf(false, fixed)
  const dialler = endOf(true, fixed, { ...sodium, keys: (secretKey) => ({ publicKey: new Uint8Array(32), secretKey }) })
  must(acceptor.read(must(dialler.write(new Uint8Array()))))
  expect(mustFail(acceptor.write(new Uint8Array()))).toBe('key')
})

test('what is longer than a message of Noise can be is refused before it is looked at', () => {
  expect(mustFail(endOf(false, fixed).read(new Uint8Array(65_536)))).toBe('length')
})

test('the secret of a handshake is gone when it is over, well or badly', () => {
  const [good, bad] = [new Uint8Array(32).fill(9), new Uint8Array(32).fill(8)]
  const end = (initiator: boolean, ephemeralSecret: Uint8Array) =>
    new NoiseHandshake({
      suite: sodium,
      pattern: XX_PSK0,
      initiator,
      prologue: new Uint8Array(),
      staticKeys: sodium.keys(fixed.statics[0]),
      ephemeralSecret,
      psks: [fixed.psk],
    })
  const [dialler, acceptor, third] = [end(true, good), end(false, fixed.ephemerals[1].slice()), end(false, bad)]
  must(acceptor.read(must(dialler.write(new Uint8Array()))))
  must(dialler.read(must(acceptor.write(new Uint8Array()))))
  must(acceptor.read(must(dialler.write(new Uint8Array()))))
  dialler.split()
  mustFail(third.read(new Uint8Array(48)))
  expect([good, bad]).toEqual([new Uint8Array(32), new Uint8Array(32)])
})

test('both directions change their keys alike, and what was sealed before stays closed', () => {
  const [sender, receiver] = [new CipherState(sodium, fixed.psk.slice()), new CipherState(sodium, fixed.psk.slice())]
  const ad = new Uint8Array()
  const old = sender.seal(ad, Uint8Array.of(1))
  sender.rekey()
  receiver.rekey()
  expect(receiver.open(ad, old)).toBeUndefined()
  const later = new CipherState(sodium, sodium.rekey(fixed.psk))
  later.seal(ad, Uint8Array.of(0))
  expect(toHex(later.seal(ad, Uint8Array.of(2)))).toBe(toHex(sender.seal(ad, Uint8Array.of(2))))
})
