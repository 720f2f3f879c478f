/**
 * The Noise Protocol Framework (revision 34, noiseprotocol.org): handshakes of two parties in which every message mixes
 * keys into one transcript, so that whoever reads the next message has proved all that went before. Bytes in, bytes and
 * keys out: no socket, no clock, no chance. The primitives come in as a `NoiseSuite`.
 *
 * The names (`ck`, `h`, tokens, `MixKey`, …) are the specification's.
 */
import { concatBytes } from './base/bytes.ts'
import { assert, err, ok, type Result } from './base/result.ts'
import { NOISE_KEY_BYTES, NOISE_TAG_BYTES, type NoiseKeys, type NoiseSuite } from './noise-suite.ts'

type Token = 'e' | 's' | 'ee' | 'es' | 'se' | 'psk'

export interface NoisePattern {
  /** With its modifiers, as in a protocol's name. */
  readonly name: string
  /** The tokens of each message; the first is the initiator's, then they take turns. */
  readonly messages: readonly (readonly Token[])[]
}

/** Both show their static keys, under a secret that both have: whoever lacks that fails at the first message. */
export const XX_PSK0: NoisePattern = {
  name: 'XXpsk0',
  messages: [
    ['psk', 'e'],
    ['e', 'ee', 's', 'es'],
    ['s', 'se'],
  ],
}

export interface NoiseOptions {
  readonly suite: NoiseSuite
  readonly pattern: NoisePattern
  readonly initiator: boolean
  /** What both must agree on beforehand; it is not sent. */
  readonly prologue: Uint8Array
  readonly staticKeys: NoiseKeys
  /** `NOISE_KEY_BYTES` random bytes for this one handshake, which wipes them in the end. */
  readonly ephemeralSecret: Uint8Array
  /** One for each `psk` of the pattern, `NOISE_KEY_BYTES` long. */
  readonly psks: readonly Uint8Array[]
}

/**
 * Why a message was refused:
 * - `length`: it is shorter or longer than such a message can be
 * - `key`: a public key in it, or in the one before ours, is degenerate
 * - `seal`: it is not from one who has the keys, or was changed
 * - `turn`: it is not the other side's turn, or a message was refused before
 */
export type NoiseError = 'length' | 'key' | 'seal' | 'turn'

const NOISE_MESSAGE_BYTES_MAX = 65_535

/** Counters are exact up to here; nobody ever gets there. */
const COUNTER_MAX = Number.MAX_SAFE_INTEGER

const EMPTY = new Uint8Array(0)

/** One direction of a connection: a key, and a counter that never repeats under it. */
export class CipherState implements Disposable {
  readonly #suite: NoiseSuite
  #key: Uint8Array
  #counter = 0

  /** Takes `key` over. */
  constructor(suite: NoiseSuite, key: Uint8Array) {
    this.#suite = suite
    this.#key = key
  }

  seal(ad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    assert(this.#counter < COUNTER_MAX, 'a counter is left for the message')
    const sealed = this.#suite.seal(this.#key, this.#counter, ad, plaintext)
    this.#counter += 1
    return sealed
  }

  /** Undefined when anything is not as it was sealed; then nothing has happened. */
  open(ad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    assert(this.#counter < COUNTER_MAX, 'a counter is left for the message')
    const plaintext = sealed.length < NOISE_TAG_BYTES ? undefined : this.#suite.open(this.#key, this.#counter, ad, sealed)
    if (plaintext !== undefined) this.#counter += 1
    return plaintext
  }

  /** What was sealed before stays closed to one who finds the key from now on. The counter goes on. */
  rekey(): void {
    const next = this.#suite.rekey(this.#key)
    this.#key.fill(0)
    this.#key = next
  }

  [Symbol.dispose](): void {
    this.#key.fill(0)
  }
}

/** The chaining key and the hash of all that was said, and the key that follows from them. */
class SymmetricState implements Disposable {
  readonly #suite: NoiseSuite
  #ck: Uint8Array
  #h: Uint8Array
  #cipher: CipherState | undefined

  constructor(suite: NoiseSuite, protocolName: string) {
    const name = new TextEncoder().encode(protocolName)
    this.#suite = suite
    this.#h = name.length <= suite.hashBytes ? concatBytes([name, new Uint8Array(suite.hashBytes - name.length)]) : suite.hash(name)
    this.#ck = concatBytes([this.#h])
  }

  get h(): Uint8Array {
    return this.#h
  }

  /** By how much a key or payload grows in a message. */
  get tagBytes(): number {
    return this.#cipher === undefined ? 0 : NOISE_TAG_BYTES
  }

  mixKey(material: Uint8Array): void {
    const [ck, key] = hkdf(this.#suite, this.#ck, material, 2)
    this.#follow(ck)
    this.#useKey(key)
  }

  mixHash(data: Uint8Array): void {
    this.#h = this.#suite.hash(concatBytes([this.#h, data]))
  }

  mixKeyAndHash(material: Uint8Array): void {
    const [ck, hash, key] = hkdf(this.#suite, this.#ck, material, 3)
    this.#follow(ck)
    this.mixHash(hash)
    this.#useKey(key)
  }

  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const sealed = this.#cipher === undefined ? plaintext : this.#cipher.seal(this.#h, plaintext)
    this.mixHash(sealed)
    return sealed
  }

  decryptAndHash(sealed: Uint8Array): Uint8Array | undefined {
    const plaintext = this.#cipher === undefined ? sealed : this.#cipher.open(this.#h, sealed)
    this.mixHash(sealed)
    return plaintext
  }

  /** The initiator's direction, then the responder's. */
  split(): readonly [CipherState, CipherState] {
    const [first, second] = hkdf(this.#suite, this.#ck, EMPTY, 2)
    const ciphers = [new CipherState(this.#suite, cipherKey(first)), new CipherState(this.#suite, cipherKey(second))] as const
    this[Symbol.dispose]()
    return ciphers
  }

  #follow(ck: Uint8Array): void {
    this.#ck.fill(0)
    this.#ck = ck
  }

  #useKey(material: Uint8Array): void {
    this.#cipher?.[Symbol.dispose]()
    this.#cipher = new CipherState(this.#suite, cipherKey(material))
  }

  [Symbol.dispose](): void {
    this.#ck.fill(0)
    this.#cipher?.[Symbol.dispose]()
  }
}

/** One party's side of one handshake. Once a message is refused it is of no use any more. */
export class NoiseHandshake implements Disposable {
  readonly #options: NoiseOptions
  readonly #symmetric: SymmetricState
  readonly #hasPsk: boolean
  readonly #psks: Uint8Array[]
  #ephemeral: NoiseKeys | undefined
  #remoteEphemeral: Uint8Array = EMPTY
  #remoteStatic: Uint8Array = EMPTY
  /** How many messages were written and read. */
  #done = 0
  #isBroken = false

  constructor(options: NoiseOptions) {
    const { suite, pattern, prologue, psks } = options
    const tokens = pattern.messages.flat()
    this.#options = options
    this.#psks = [...psks]
    this.#hasPsk = tokens.includes('psk')
    assert(tokens.filter((token) => token === 'psk').length === psks.length, 'each psk of the pattern is given')
    assert(
      psks.every((psk) => psk.length === NOISE_KEY_BYTES),
      'a psk has the length of a key',
    )
    this.#symmetric = new SymmetricState(suite, `Noise_${pattern.name}_${suite.name}`)
    this.#symmetric.mixHash(prologue)
  }

  /** Of all that was said so far: equal at both ends when no message was changed. */
  get hash(): Uint8Array {
    return this.#symmetric.h
  }

  /** The other side's static key; it has proved to have it once a message after the one with the key was read. */
  get remoteStatic(): Uint8Array {
    return this.#remoteStatic
  }

  get isOver(): boolean {
    return this.#done === this.#options.pattern.messages.length
  }

  /** The next message, when it is our turn. It is an error only where the other side has sent a key that is of no use. */
  write(payload: Uint8Array): Result<Uint8Array, NoiseError> {
    assert(!this.#isBroken && !this.isOver && this.#isOurTurn(), 'it is our turn to write')
    const parts: Uint8Array[] = []
    for (const token of this.#nextTokens()) {
      const part = this.#writeToken(token)
      if (part === undefined) return this.#refuse('key')
      parts.push(part)
    }
    parts.push(this.#symmetric.encryptAndHash(payload))
    const message = concatBytes(parts)
    assert(message.length <= NOISE_MESSAGE_BYTES_MAX, 'a message of Noise has its limit')
    return ok(message)
  }

  /** The payload of the other side's next message. Never throws, whatever that holds. */
  read(message: Uint8Array): Result<Uint8Array, NoiseError> {
    if (this.#isBroken || this.isOver || this.#isOurTurn()) return this.#refuse('turn')
    if (message.length > NOISE_MESSAGE_BYTES_MAX) return this.#refuse('length')
    let rest = message
    for (const token of this.#nextTokens()) {
      const taken = this.#readToken(token, rest)
      if (!taken.ok) return this.#refuse(taken.error)
      rest = rest.subarray(taken.value)
    }
    if (rest.length < this.#symmetric.tagBytes) return this.#refuse('length')
    const payload = this.#symmetric.decryptAndHash(rest)
    return payload === undefined ? this.#refuse('seal') : ok(payload)
  }

  /** The ciphers of both directions, once the handshake is over; ends it. */
  split(): { readonly send: CipherState; readonly receive: CipherState } {
    assert(this.isOver && !this.#isBroken, 'the handshake is over')
    const [ofInitiator, ofResponder] = this.#symmetric.split()
    this[Symbol.dispose]()
    return this.#options.initiator ? { send: ofInitiator, receive: ofResponder } : { send: ofResponder, receive: ofInitiator }
  }

  /** Wipes all keys that are of this handshake alone. */
  [Symbol.dispose](): void {
    this.#isBroken = true
    this.#symmetric[Symbol.dispose]()
    this.#options.ephemeralSecret.fill(0)
    this.#ephemeral?.secretKey.fill(0)
  }

  #isOurTurn(): boolean {
    return (this.#done % 2 === 0) === this.#options.initiator
  }

  #nextTokens(): readonly Token[] {
    const tokens = this.#options.pattern.messages[this.#done]
    assert(tokens !== undefined, 'the handshake is not over')
    this.#done += 1
    return tokens
  }

  #refuse(error: NoiseError): Result<never, NoiseError> {
    this[Symbol.dispose]()
    return err(error)
  }

  /** What is to be sent for it; undefined when the other side's key is degenerate. */
  #writeToken(token: Token): Uint8Array | undefined {
    const { suite, ephemeralSecret, staticKeys } = this.#options
    switch (token) {
      case 'e':
        this.#ephemeral = suite.keys(ephemeralSecret)
        this.#mixEphemeral(this.#ephemeral.publicKey)
        return this.#ephemeral.publicKey
      case 's':
        return this.#symmetric.encryptAndHash(staticKeys.publicKey)
      case 'psk':
        this.#mixPsk()
        return EMPTY
      default:
        return this.#mixDh(token) ? EMPTY : undefined
    }
  }

  /** How many bytes of `rest` it takes. */
  #readToken(token: Token, rest: Uint8Array): Result<number, NoiseError> {
    const { publicKeyBytes } = this.#options.suite
    switch (token) {
      case 'e': {
        if (rest.length < publicKeyBytes) return err('length')
        this.#remoteEphemeral = rest.slice(0, publicKeyBytes)
        this.#mixEphemeral(this.#remoteEphemeral)
        return ok(publicKeyBytes)
      }
      case 's': {
        const bytes = publicKeyBytes + this.#symmetric.tagBytes
        if (rest.length < bytes) return err('length')
        const key = this.#symmetric.decryptAndHash(rest.subarray(0, bytes))
        if (key === undefined) return err('seal')
        this.#remoteStatic = key.slice()
        return ok(bytes)
      }
      case 'psk':
        this.#mixPsk()
        return ok(0)
      default:
        return this.#mixDh(token) ? ok(0) : err('key')
    }
  }

  #mixEphemeral(publicKey: Uint8Array): void {
    this.#symmetric.mixHash(publicKey)
    // So that no two handshakes with one psk encrypt under one key.
    if (this.#hasPsk) this.#symmetric.mixKey(publicKey)
  }

  #mixPsk(): void {
    const psk = this.#psks.shift()
    assert(psk !== undefined, 'each psk of the pattern is given')
    this.#symmetric.mixKeyAndHash(psk)
  }

  /** False when the other side's key is degenerate. */
  #mixDh(token: 'ee' | 'es' | 'se'): boolean {
    const { suite, initiator, staticKeys } = this.#options
    const usesOurStatic = token === (initiator ? 'se' : 'es')
    const usesTheirStatic = token === (initiator ? 'es' : 'se')
    const ours = usesOurStatic ? staticKeys : this.#ephemeral
    assert(ours !== undefined, 'the pattern sends a key before it uses it')
    const secret = suite.dh(ours.secretKey, usesTheirStatic ? this.#remoteStatic : this.#remoteEphemeral)
    if (secret === undefined) return false
    this.#symmetric.mixKey(secret)
    secret.fill(0)
    return true
  }
}

function cipherKey(material: Uint8Array): Uint8Array {
  const key = material.slice(0, NOISE_KEY_BYTES)
  material.fill(0)
  return key
}

function hkdf(suite: NoiseSuite, ck: Uint8Array, material: Uint8Array, outputs: 2 | 3): readonly [Uint8Array, Uint8Array, Uint8Array] {
  const key = hmac(suite, ck, material)
  const first = hmac(suite, key, Uint8Array.of(1))
  const second = hmac(suite, key, concatBytes([first, Uint8Array.of(2)]))
  const third = outputs === 3 ? hmac(suite, key, concatBytes([second, Uint8Array.of(3)])) : EMPTY
  key.fill(0)
  return [first, second, third]
}

/** RFC 2104; keys are never longer than a block here. */
function hmac({ hash, blockBytes }: NoiseSuite, key: Uint8Array, message: Uint8Array): Uint8Array {
  const inner = new Uint8Array(blockBytes).fill(0x36)
  const outer = new Uint8Array(blockBytes).fill(0x5c)
  key.forEach((byte, index) => {
    inner[index] = byte ^ 0x36
    outer[index] = byte ^ 0x5c
  })
  return hash(concatBytes([outer, hash(concatBytes([inner, message]))]))
}
