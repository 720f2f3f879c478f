/** Targets as people type them. */
import { describe, expect, test } from 'vitest'
import { parseIpv4 } from '../../../mesh/base/address.ts'
import { formatEndpoint, formatTarget, parseTarget } from '../../../mesh/endpoint.ts'

describe('accepted', () => {
  test.each([
    { text: '10.0.0.1', target: { host: '10.0.0.1', port: 6783 } },
    { text: '10.0.0.1:80', target: { host: '10.0.0.1', port: 80 } },
    { text: 'Node-A.example.COM:65535', target: { host: 'node-a.example.com', port: 65_535 } },
    { text: 'weft_seed', target: { host: 'weft_seed', port: 6783 } },
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
    '::1',
    'a b',
    '-a',
    `${'a'.repeat(64)}.de`,
    'a/b',
    'a..b',
    `${'a.'.repeat(130)}a`,
  ])('%j', (text) => {
    expect(parseTarget(text).ok).toBe(false)
  })
})

test('an endpoint and the target of the same place are written alike', () => {
  expect(formatEndpoint({ address: parseIpv4('10.1.2.3'), port: 99 })).toBe(formatTarget({ host: '10.1.2.3', port: 99 }))
})
