/** Places to dial: what people write, and the one text that each place has. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatIp } from '../../../mesh/base/ip.ts'
import { formatEndpoint, formatTarget, isWeb, parseTarget, type Target } from '../../../mesh/endpoint.ts'
import { anyIp } from '../../support/mesh-records.ts'

describe('accepted', () => {
  test.each<{ text: string; target: Target }>([
    { text: '10.0.0.1', target: { host: '10.0.0.1', port: 6783 } },
    { text: '10.0.0.1:80', target: { host: '10.0.0.1', port: 80 } },
    { text: 'Node-A.example.COM:65535', target: { host: 'node-a.example.com', port: 65_535 } },
    { text: 'weft_seed', target: { host: 'weft_seed', port: 6783 } },
    { text: '::1', target: { host: '::1', port: 6783 } },
    { text: '2001:DB8:0::1', target: { host: '2001:db8::1', port: 6783 } },
    { text: '[2001:db8::1]', target: { host: '2001:db8::1', port: 6783 } },
    { text: '[2001:db8::1]:99', target: { host: '2001:db8::1', port: 99 } },
    { text: '[::ffff:10.0.0.1]:99', target: { host: '10.0.0.1', port: 99 } },
    { text: 'wss://mesh.example', target: { scheme: 'wss', host: 'mesh.example', port: 443, path: '/weft' } },
    { text: 'WS://Mesh.Example/Some/Path', target: { scheme: 'ws', host: 'mesh.example', port: 80, path: '/Some/Path' } },
    { text: 'ws://10.0.0.1:8080/', target: { scheme: 'ws', host: '10.0.0.1', port: 8080, path: '/' } },
    { text: 'wss://[2001:DB8::1]/a?b=/c', target: { scheme: 'wss', host: '2001:db8::1', port: 443, path: '/a?b=/c' } },
    { text: 'wss://[::1]:6783/weft', target: { scheme: 'wss', host: '::1', port: 6783, path: '/weft' } },
  ])('$text', ({ text, target }) => {
    expect(parseTarget(text)).toEqual({ ok: true, value: target })
    expect(parseTarget(formatTarget(target))).toEqual({ ok: true, value: target })
  })
})

describe('refused', () => {
  test.each([
    '',
    ':80',
    'a:',
    'a:0',
    'a:65536',
    'a:-1',
    'a:1e3',
    'a:80:90',
    'a b',
    '-a',
    `${'a'.repeat(64)}.de`,
    'a/b',
    'a..b',
    `${'a.'.repeat(130)}a`,
    '10.1',
    '256.0.0.1',
    '0x7f000001',
    '[10.0.0.1]:80',
    '[a]:80',
    '[::1]80',
    '[::1]:',
    '[::1',
    '::1]:80',
    '[::1]:80:90',
    'fe80::1',
    '[fe80::1%eth0]:80',
    'http://a/',
    'wss://',
    'wss:///weft',
    'wss://a:/weft',
    'wss://a:0/weft',
    'wss://::1/weft',
    'wss://user:word@a/weft',
    'wss://a?b',
    'wss://a#b',
    'wss://a/b#c',
    'wss://a/b c',
    'wss://a/../b',
    'wss://a/b/%2E%2e',
    'wss://a/\u00e4',
    `wss://a/${'b'.repeat(1_024)}`,
  ])('%j', (text) => {
    expect(parseTarget(text).ok).toBe(false)
  })
})

test('every target has a text that leads back to it', () => {
  const label = fc.stringMatching(/^[a-z_]([a-z0-9_-]{0,10}[a-z0-9_])?$/)
  const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'))
  const place = { host: fc.oneof(name, anyIp.map(formatIp)), port: fc.integer({ min: 1, max: 65_535 }) }
  const path = fc.stringMatching(/^(\/[A-Za-z0-9_~-]{1,9}){0,4}\/(\?[a-z=&/]{0,9})?$/)
  const target: fc.Arbitrary<Target> = fc.oneof(
    fc.record(place),
    fc.record({ scheme: fc.constantFrom('ws' as const, 'wss' as const), ...place, path }),
  )
  fc.assert(
    fc.property(target, (wanted) => {
      const text = formatTarget(wanted)
      expect(parseTarget(text)).toEqual({ ok: true, value: wanted })
      // The web client asks for exactly this.
      if (isWeb(wanted)) expect(new URL(text)).toMatchObject({ pathname: wanted.path.replace(/\?.*/, ''), hash: '' })
    }),
    { seed: 1 },
  )
})

test('an endpoint and the target of the same place are written alike', () => {
  fc.assert(
    fc.property(anyIp, fc.integer({ min: 1, max: 65_535 }), (address, port) => {
      expect(formatEndpoint({ address, port })).toBe(formatTarget({ host: formatIp(address), port }))
    }),
    { seed: 1 },
  )
})
