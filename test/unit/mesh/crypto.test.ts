/** The real cryptography answers as its standards say, and the one for simulations keeps the same promises. */
import { describe, expect, test } from 'vitest'
import { fromHex, toHex } from '../../../mesh/base/bytes.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { withBitFlipped } from '../../support/mesh-records.ts'
import { simCrypto } from '../../support/sim/crypto.ts'

const real = await loadCrypto()

test('Ed25519 as in RFC 8032, test 2', () => {
  const keys = real.signingKeys(fromHex('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb'))
  expect(toHex(keys.publicKey)).toBe('3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c')
  expect(toHex(real.sign(Uint8Array.of(0x72), keys))).toBe(
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  )
})

test('BLAKE2b-256 of nothing', () => {
  expect(toHex(real.hash(new Uint8Array(), 32))).toBe('0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8')
})

describe.each([
  { name: 'libsodium', crypto: real },
  { name: 'the simulation', crypto: simCrypto(seededRandom(1)) },
])('$name', ({ crypto }) => {
  const keys = crypto.signingKeys(new Uint8Array(32).fill(1))
  const other = crypto.signingKeys(new Uint8Array(32).fill(2))
  const message = Uint8Array.of(1, 2, 3)
  const signature = crypto.sign(message, keys)

  test('verifies what the owner of the key has signed, and nothing else', () => {
    expect(crypto.verify(signature, message, keys.publicKey)).toBe(true)
    expect(crypto.verify(signature, message, other.publicKey)).toBe(false)
    expect(crypto.verify(signature, Uint8Array.of(1, 2, 4), keys.publicKey)).toBe(false)
    expect(crypto.verify(signature.with(5, (signature[5] ?? 0) ^ 1), message, keys.publicKey)).toBe(false)
  })

  test('takes keys and signatures of a wrong length for wrong', () => {
    expect(crypto.verify(signature.subarray(1), message, keys.publicKey)).toBe(false)
    expect(crypto.verify(new Uint8Array(), message, keys.publicKey)).toBe(false)
    expect(crypto.verify(signature, message, keys.publicKey.subarray(1))).toBe(false)
  })

  test('draws bytes of which no two are alike', () => {
    expect(crypto.randomBytes(16)).toHaveLength(16)
    expect(toHex(crypto.randomBytes(16))).not.toBe(toHex(crypto.randomBytes(16)))
  })

  const { noise } = crypto
  const [a, b] = [noise.keys(new Uint8Array(32).fill(3)), noise.keys(new Uint8Array(32).fill(4))]

  test('lets two share a secret that a third does not have', () => {
    const secret = noise.dh(a.secretKey, b.publicKey)
    expect(noise.dh(b.secretKey, a.publicKey)).toEqual(secret)
    expect(noise.dh(b.secretKey, b.publicKey)).not.toEqual(secret)
  })

  test('opens what it has sealed, and nothing in which a single bit differs', () => {
    const [key, ad, text] = [new Uint8Array(32).fill(7), Uint8Array.of(0, 0, 0, 70), new Uint8Array(50).fill(8)]
    const sealed = noise.seal(key, 5, ad, text)
    expect(noise.open(key, 5, ad, sealed)).toEqual(text)
    for (let bit = 0; bit < 8 * sealed.length; bit += 1) expect(noise.open(key, 5, ad, withBitFlipped(sealed, bit))).toBeUndefined()
    expect(noise.open(key, 6, ad, sealed)).toBeUndefined()
    expect(noise.open(key, 5, Uint8Array.of(0, 0, 0, 71), sealed)).toBeUndefined()
    expect(noise.open(noise.rekey(key), 5, ad, sealed)).toBeUndefined()
  })
})
