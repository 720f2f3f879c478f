/** Attachment keys. */
import { expect, test } from 'vitest'
import { attachmentKey, bareKey, isBare, parseAttachmentKey } from '../../../ipam/attachment.ts'

test.each([
  ['a', 'eth0'],
  ['0f_3-x.y', 'net1'],
  ['a'.repeat(128), 'a23456789012345'],
])('%s with %s is an attachment', (containerId, ifname) => {
  expect(parseAttachmentKey(attachmentKey(containerId, ifname))).toBe(`${containerId}/${ifname}`)
})

test.each([
  ['', 'eth0'],
  ['-a', 'eth0'],
  ['a/b', 'eth0'],
  ['a b', 'eth0'],
  ['a'.repeat(129), 'eth0'],
  ['a', ''],
  ['a', 'eth/0'],
  ['a', 'eth 0'],
  ['a', 'eth\n0'],
  ['a', '..'],
  ['a', 'a234567890123456'],
])('%j with %j is none', (containerId, ifname) => expect(() => attachmentKey(containerId, ifname)).toThrow(RangeError))

test('an address without an interface of ours has a key of its own', () => {
  const [key, bare] = [attachmentKey('a', 'address'), bareKey('a', 'address')]
  expect(bare).not.toBe(key)
  expect(parseAttachmentKey(bare)).toBe(bare)
  expect([isBare(bare), isBare(key)]).toEqual([true, false])
})

test.each(['', 'a', 'a/eth0/b', 'a/eth0/address/', 'a/eth0/address/address', '/eth0/address', '/eth0'])(
  '%j is not the text of one',
  (text) => expect(() => parseAttachmentKey(text)).toThrow(RangeError),
)
