/** Keys of a cluster: told apart by their ids, found by them, and not to be found from them. */
import { expect, test } from 'vitest'
import { toHex } from '../../../mesh/base/bytes.ts'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { clusterKey, decodeKeyId, encodeKeyId, findKey, openKey } from '../../../mesh/keyring.ts'
import { keyOf, keyringOf } from '../../support/keyrings.ts'

const crypto = await loadCrypto()
const one = keyOf(1, crypto)

test('one secret makes one key, and another one another', () => {
  expect(keyOf(1, crypto)).toEqual(one)
  expect(keyOf(2, crypto).id).not.toBe(one.id)
  expect(keyOf(2, crypto).psk).not.toEqual(one.psk)
})

test('neither the id nor what handshakes use is the secret', () => {
  expect(one.id).toMatch(/^[0-9a-f]{8}$/)
  expect(toHex(one.secret)).not.toContain(one.id)
  expect(toHex(one.psk)).not.toContain(one.id)
  expect(one.psk).not.toEqual(one.secret)
})

test('an id travels as four bytes', () => {
  expect(decodeKeyId(encodeKeyId(one.id))).toBe(one.id)
})

test('a keyring finds its keys by id', () => {
  const ring = keyringOf(1, crypto, 2)()
  expect(findKey(ring, one.id)).toEqual(one)
  expect(findKey(ring, keyOf(2, crypto).id)).toEqual(keyOf(2, crypto))
  expect(findKey(ring, keyOf(3, crypto).id)).toBeUndefined()
  expect(findKey(keyringOf(1, crypto)(), keyOf(2, crypto).id)).toBeUndefined()
})

test('every open cluster has a key of its own, equal wherever it is made', () => {
  expect(openKey('weft', crypto)).toEqual(openKey('weft', crypto))
  expect(openKey('weft', crypto).id).not.toBe(openKey('other', crypto).id)
  expect(clusterKey(openKey('weft', crypto).secret, crypto).id).toBe(openKey('weft', crypto).id)
})
