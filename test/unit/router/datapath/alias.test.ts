/** The note on a pod's link comes back as it was written, also from an earlier version; what others wrote is none. */
import { expect, test } from 'vitest'
import { attachmentKey } from '../../../../ipam/attachment.ts'
import { parseIpv4 } from '../../../../mesh/base/address.ts'
import { parseIpv6 } from '../../../../mesh/base/ip.ts'
import { ALIAS_BYTES_MAX, parseNote, renderNote } from '../../../../router/datapath/alias.ts'
import { parseMac } from '../../../../router/kernel/mac.ts'

const note = {
  network: 'weft',
  key: attachmentKey('c1', 'eth0'),
  mac: parseMac('02:77:0a:20:00:05'),
  address: parseIpv4('10.32.0.5'),
  address6: parseIpv6('fd8c:a79b:5319::5'),
}
const bare = { ...note, address: undefined, address6: undefined }

test.each([
  { name: 'a note', text: renderNote(note), parsed: note },
  { name: 'one without an address', text: renderNote(bare), parsed: bare },
  { name: 'one without IPv6', text: renderNote({ ...note, address6: undefined }), parsed: { ...note, address6: undefined } },
  { name: 'one with an address that is none', text: `${renderNote(bare)} address=10.32`, parsed: undefined },
  { name: 'one with an IPv6 address that is none', text: `${renderNote(bare)} address=10.32.0.5,10.32.0.6`, parsed: undefined },
  { name: 'one with more behind it', text: `${renderNote(note)} x=y`, parsed: undefined },
  { name: 'a text of somebody else', text: 'uplink to rack 4', parsed: undefined },
])('$name', ({ text, parsed }) => {
  expect(parseNote(text)).toEqual(parsed)
})

test('the longest container id fits beside a network of twenty letters', () => {
  const long = renderNote({ ...note, network: 'n'.repeat(20), key: attachmentKey('c'.repeat(128), 'eth0') })
  expect(long.length).toBeLessThanOrEqual(ALIAS_BYTES_MAX)
})
