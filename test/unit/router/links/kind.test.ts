/** What kinds of links there are. */
import { expect, test } from 'vitest'
import { isSealed, isSealedThroughRelay, LINK_KINDS, overheadBytes } from '../../../../router/links/kind.ts'

test.each([
  { kind: 'direct', ipv4: 0, ipv6: 0, seal: 'plain' },
  { kind: 'vxlan', ipv4: 50, ipv6: 70, seal: 'plain' },
  { kind: 'wireguard', ipv4: 60, ipv6: 80, seal: 'sealed' },
  { kind: 'sleeve', ipv4: 60, ipv6: 80, seal: 'sealed through relays' },
  { kind: 'sleeve+stream', ipv4: 104, ipv6: 124, seal: 'sealed through relays' },
] as const)('$kind adds $ipv4 or $ipv6 bytes and is $seal', ({ kind, ipv4, ipv6, seal }) => {
  expect([overheadBytes(kind, 'ipv4'), overheadBytes(kind, 'ipv6')]).toEqual([ipv4, ipv6])
  expect([isSealed(kind), isSealedThroughRelay(kind)]).toEqual([seal !== 'plain', seal === 'sealed through relays'])
})

test('the best comes first', () => {
  expect(LINK_KINDS).toEqual(['direct', 'vxlan', 'wireguard', 'sleeve', 'sleeve+stream'])
})
