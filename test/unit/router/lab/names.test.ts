/** What labs, hosts and pods may be called. */
import { describe, expect, test } from 'vitest'
import { formatCidr, formatIpv4 } from '../../../../mesh/base/address.ts'
import {
  freePodName,
  gatewayOf,
  HOSTS_MAX,
  hostAddress,
  hostName,
  hostPrefixLength,
  isHostName,
  isPodName,
  namespaceOf,
  parseLabName,
  parsePodName,
  podName,
  subnetAround,
  switchNamespace,
  UNDERLAYS,
} from '../../../../router/lab/names.ts'

describe('names of hosts', () => {
  test.each([
    [0, 'a'],
    [1, 'b'],
    [25, 'z'],
    [26, 'aa'],
    [27, 'ab'],
    [51, 'az'],
    [52, 'ba'],
    [63, 'bl'],
  ])('host %i is %s', (index, name) => expect(hostName(index)).toBe(name))

  test('all that a lab can have are valid, different, and have different addresses', () => {
    const all = Array.from({ length: HOSTS_MAX }, (_, index) => index)
    expect(all.map(hostName).every(isHostName)).toBe(true)
    expect(new Set(all.map(hostName)).size).toBe(HOSTS_MAX)
    for (const underlay of UNDERLAYS) expect(new Set(all.map((index) => hostAddress(index, underlay))).size).toBe(HOSTS_MAX)
  })

  test('the first host has the first address', () => expect(formatIpv4(hostAddress(0))).toBe('198.18.0.1'))

  test('on a routed underlay each has a subnet, and in it the router', () => {
    const all = [0, 1, HOSTS_MAX - 1].map((index) => hostAddress(index, 'routed'))
    expect(all.map(formatIpv4)).toEqual(['198.18.1.1', '198.18.2.1', '198.18.64.1'])
    expect(all.map((address) => formatIpv4(gatewayOf(address)))).toEqual(['198.18.1.254', '198.18.2.254', '198.18.64.254'])
    expect(all.map((address) => formatCidr(subnetAround(address)))).toEqual(['198.18.1.0/24', '198.18.2.0/24', '198.18.64.0/24'])
    expect(UNDERLAYS.map(hostPrefixLength)).toEqual([16, 24])
  })
})

describe('names of labs', () => {
  test.each(['lab', 'a', '0', 'x2', 'twelvedigits'])('%s is one', (text) => expect(parseLabName(text)).toBe(text))
  test.each(['', 'Lab', 'my-lab', 'a/b', '..', 'thirteendigit', 'ä', 'a b', 'a\n'])('%j is none', (text) =>
    expect(() => parseLabName(text)).toThrow(
      expect.objectContaining({ code: 'USAGE', message: expect.stringContaining(JSON.stringify(text)) }),
    ),
  )
})

describe('names of pods', () => {
  test.each(['a1', 'web', 'w', 'twelvedigits'])('%s is one', (text) => expect(parsePodName(text)).toBe(text))
  test.each(['', '1a', 'A1', 'my-pod', 'net', '../x', 'thirteendigit'])('%j is none', (text) =>
    expect(() => parsePodName(text)).toThrow(expect.objectContaining({ code: 'USAGE' })),
  )

  test('those that are made up are valid on every host', () => {
    expect(Array.from({ length: HOSTS_MAX }, (_, index) => podName(hostName(index), 250)).every(isPodName)).toBe(true)
  })

  test('a free one fills the first gap', () => {
    expect(freePodName(hostName(1), new Set(['b1', 'b3', 'a2']))).toBe('b2')
  })
})

test('namespaces of one lab never look like those of another', () => {
  const [one, other] = [parseLabName('a'), parseLabName('ab')]
  expect(namespaceOf(other, hostName(2)).startsWith('weft-a-')).toBe(false)
  expect([namespaceOf(one, hostName(2)), switchNamespace(one)]).toEqual(['weft-a-c', 'weft-a-net'])
})
