/** Which pairs must seal what they say, and which links are left to them. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseIp } from '../../../../mesh/base/ip.ts'
import { isSealed, LINK_KINDS, type LinkKind } from '../../../../router/links/kind.ts'
import {
  candidates,
  ENCRYPT_DEFAULT,
  ENCRYPT_MODES,
  type PolicyFacts,
  parseTrustedSubnets,
  relayVerdict,
  requirement,
  TRUSTED_SUBNETS_MAX,
} from '../../../../router/links/policy.ts'
import { factsOf } from '../../../support/links.ts'

type Facts = Partial<Omit<PolicyFacts, 'trusted' | 'underlay'>> & { readonly trusted?: string; readonly underlay?: string }

/** @param facts subnets as text: `10.0.0.1/24`, without a length when that is not known. */
function node(index: number, { trusted, underlay, ...facts }: Facts): PolicyFacts {
  const places = underlay?.split(',').map((text) => {
    const [address = '', length] = text.split('/')
    return { address: parseIp(address), length: length === undefined ? undefined : Number(length) }
  })
  return factsOf(index, {
    zone: undefined,
    ...facts,
    ...(trusted && { trusted: parseTrustedSubnets(trusted) }),
    ...(places && { underlay: places }),
  })
}

describe('a pair', () => {
  test.each<{ name: string; a: Facts; b: Facts; says: string }>([
    { name: 'in one zone', a: { zone: 'x' }, b: { zone: 'x' }, says: 'plain: one zone: x' },
    { name: 'in two zones', a: { zone: 'x' }, b: { zone: 'y' }, says: 'sealed: zones differ: x / y' },
    { name: 'in one subnet', a: {}, b: {}, says: 'plain: one subnet: 10.0.0.1/24 / 10.0.0.2/24' },
    {
      name: 'in two subnets',
      a: { underlay: '10.0.0.1/24' },
      b: { underlay: '10.0.1.2/24' },
      says: 'sealed: zones differ: 10.0.0.1/24 / 10.0.1.2/24',
    },
    {
      name: 'of one subnet by the length of one end only',
      a: { underlay: '10.0.0.1/16' },
      b: { underlay: '10.0.1.2/24' },
      says: 'sealed: zones differ: 10.0.0.1/16 / 10.0.1.2/24',
    },
    {
      name: 'of one IPv6 subnet',
      a: { underlay: 'fd00::1/64' },
      b: { underlay: 'fd00::2/64' },
      says: 'plain: one subnet: fd00::1/64 / fd00::2/64',
    },
    {
      name: 'that differs in the last bit of the prefix',
      a: { underlay: '10.0.0.127/25' },
      b: { underlay: '10.0.0.128/25' },
      says: 'sealed: zones differ: 10.0.0.127/25 / 10.0.0.128/25',
    },
    {
      name: 'with a zone and a subnet of the same name',
      a: { zone: '10.0.0.2/24' },
      b: {},
      says: 'sealed: zones differ: 10.0.0.2/24 / 10.0.0.2/24',
    },
    {
      name: 'whose subnets nobody knows',
      a: { underlay: '10.0.0.1' },
      b: { underlay: '10.0.0.2' },
      says: 'sealed: zones differ: unknown / unknown',
    },
    { name: 'of which one asks for always', a: { mode: 'always' }, b: { mode: 'never' }, says: 'sealed: n1 asks to encrypt always' },
    { name: 'of which both ask for always', a: { mode: 'always' }, b: { mode: 'always' }, says: 'sealed: n1 and n2 ask to encrypt always' },
    {
      name: 'that never encrypts',
      a: { mode: 'never', zone: 'x' },
      b: { mode: 'never', zone: 'y' },
      says: 'plain: both ask to encrypt never',
    },
    { name: 'of which one never encrypts, in one zone', a: { mode: 'never', zone: 'x' }, b: { zone: 'x' }, says: 'plain: one zone: x' },
    {
      name: 'of which one never encrypts, in two zones',
      a: { mode: 'never', zone: 'x' },
      b: { zone: 'y' },
      says: 'sealed: zones differ: x / y',
    },
    {
      name: 'in two zones that trust each other',
      a: { zone: 'x', trusted: '10.0.0.0/8' },
      b: { zone: 'y', trusted: '10.0.0.0/16,fd00::/8' },
      says: 'plain: each trusts the subnet of the other, or asks to encrypt never',
    },
    {
      name: 'of which one trusts',
      a: { zone: 'x', trusted: '10.0.0.0/8' },
      b: { zone: 'y' },
      says: 'sealed: zones differ: x / y, and n2 does not trust 10.0.0.1',
    },
    {
      name: 'of which one trusts and the other never encrypts',
      a: { zone: 'x', trusted: '10.0.0.0/8' },
      b: { zone: 'y', mode: 'never' },
      says: 'plain: each trusts the subnet of the other, or asks to encrypt never',
    },
    {
      name: 'that trusts, of which one asks for always',
      a: { trusted: '10.0.0.0/8' },
      b: { trusted: '10.0.0.0/8', mode: 'always' },
      says: 'sealed: n2 asks to encrypt always',
    },
    {
      name: 'that trusts addresses which it does not use',
      a: { zone: 'x', trusted: 'fd00::/8' },
      b: { zone: 'y', trusted: 'fd00::/8' },
      says: 'sealed: zones differ: x / y, and n1 does not trust 10.0.0.2',
    },
    {
      name: 'of two families',
      a: { zone: 'x', underlay: '10.0.0.1/24' },
      b: { zone: 'x', underlay: 'fd00::1/64' },
      says: 'sealed: they have no addresses of one family',
    },
    {
      name: 'with a second family in common',
      a: { underlay: 'fd00::1/64,10.0.0.1/24' },
      b: { underlay: 'fd00::2/64' },
      says: 'plain: one subnet: fd00::1/64 / fd00::2/64',
    },
  ])('$name is $says', ({ a, b, says }) => {
    const { sealed, reason } = requirement(node(1, a), node(2, b))
    expect(`${sealed ? 'sealed' : 'plain'}: ${reason}`).toBe(says)
  })
})

describe('candidates', () => {
  test.each<{ name: string; a: Facts; b: Facts; allowed: readonly LinkKind[]; excluded: readonly string[] }>([
    { name: 'on one segment are all', a: {}, b: {}, allowed: LINK_KINDS, excluded: [] },
    {
      name: 'of one zone with a router between',
      a: { zone: 'x', underlay: '10.0.0.1/24' },
      b: { zone: 'x', underlay: '10.0.1.1/24' },
      allowed: ['vxlan', 'wireguard', 'sleeve', 'sleeve+stream'],
      excluded: ['direct: not on one segment'],
    },
    {
      name: 'of two zones are sealed',
      a: { zone: 'x' },
      b: { zone: 'y' },
      allowed: ['wireguard', 'sleeve', 'sleeve+stream'],
      excluded: ['direct: must be encrypted: zones differ: x / y', 'vxlan: must be encrypted: zones differ: x / y'],
    },
    {
      name: 'are what both can do',
      a: { zone: 'x', can: ['direct', 'vxlan', 'sleeve'] },
      b: { zone: 'y', can: ['direct', 'vxlan', 'wireguard'] },
      allowed: [],
      excluded: [
        'direct: must be encrypted: zones differ: x / y',
        'vxlan: must be encrypted: zones differ: x / y',
        'wireguard: n1 cannot do wireguard',
        'sleeve: n2 cannot do sleeve',
        'sleeve+stream: n1 and n2 cannot do sleeve+stream',
      ],
    },
    {
      name: 'of two families are streams',
      a: { mode: 'never', underlay: '10.0.0.1/24' },
      b: { mode: 'never', underlay: 'fd00::1/64' },
      allowed: ['sleeve+stream'],
      excluded: ['direct', 'vxlan', 'wireguard', 'sleeve'].map((kind) => `${kind}: they have no addresses of one family`),
    },
  ])('$name', ({ a, b, allowed, excluded }) => {
    const found = candidates(node(1, a), node(2, b))
    expect(found.allowed).toEqual(allowed)
    expect(found.excluded.map(({ kind, reason }) => `${kind}: ${reason}`)).toEqual(excluded)
  })
})

describe('a relay', () => {
  const sleeveless: Facts = { zone: 'y', can: ['direct', 'vxlan', 'wireguard'] }
  test.each<{ name: string; a: Facts; b: Facts; how: string }>([
    { name: 'carries plain packets of a pair that may be plain', a: {}, b: {}, how: 'hop by hop' },
    { name: 'carries sealed ones unopened', a: { zone: 'x' }, b: { zone: 'y' }, how: 'end to end' },
    { name: 'never opens what must be sealed', a: { zone: 'x' }, b: sleeveless, how: 'refused' },
  ])('$name', ({ a, b, how }) => {
    expect(relayVerdict(node(1, a), node(2, b)).how).toBe(how)
  })
  test('that is refused says why', () => {
    const { reason } = relayVerdict(node(1, { zone: 'x' }), node(2, sleeveless))
    expect(reason).toBe('zones differ: x / y; n2 cannot do sleeve, and a relay would open what WireGuard carries')
  })
})

const anyAddress = fc.constantFrom('10.0.0.1/24', '10.0.0.2/24', '10.0.1.1/24', '10.0.1.1', 'fd00::1/64', 'fd00:1::1/64', 'fd00::2')
const anyNode = (index: number): fc.Arbitrary<PolicyFacts> =>
  fc
    .record({
      mode: fc.constantFrom(...ENCRYPT_MODES),
      zone: fc.constantFrom(undefined, 'x', 'y'),
      trusted: fc.constantFrom('10.0.0.0/8', '10.0.1.0/24', 'fd00::/16', ''),
      underlay: fc
        .subarray(['10.0.0.1/24', '10.0.0.2/24', '10.0.1.1/24', '10.0.1.1', 'fd00::1/64', 'fd00:1::1/64', 'fd00::2'])
        .chain((list) => (list.length > 0 ? fc.constant(list.join()) : anyAddress)),
      can: fc.subarray([...LINK_KINDS]),
    })
    .map((facts) => node(index, facts))

test('whichever end asks, the answers are the same', () => {
  fc.assert(
    fc.property(anyNode(1), anyNode(2), (a, b) => {
      expect(requirement(a, b)).toEqual(requirement(b, a))
      expect(candidates(a, b)).toEqual(candidates(b, a))
      expect(relayVerdict(a, b)).toEqual(relayVerdict(b, a))
    }),
    { seed: 1, numRuns: 1_000 },
  )
})

test('every kind is allowed or excluded, and none that is plain where it must be sealed', () => {
  fc.assert(
    fc.property(anyNode(1), anyNode(2), (a, b) => {
      const { allowed, excluded, requirement: required } = candidates(a, b)
      expect([...allowed, ...excluded.map(({ kind }) => kind)].toSorted()).toEqual(LINK_KINDS.toSorted())
      if (required.sealed) expect(allowed.filter((kind) => !isSealed(kind))).toEqual([])
      if (a.mode === 'always' || b.mode === 'always') expect(required.sealed).toBe(true)
    }),
    { seed: 1, numRuns: 1_000 },
  )
})

describe('trusted subnets', () => {
  test('are prefixes of both families', () => {
    expect(parseTrustedSubnets('10.0.0.0/16,fd00::/48,0.0.0.0/0')).toEqual([
      { address: parseIp('10.0.0.0'), length: 16 },
      { address: parseIp('fd00::'), length: 48 },
      { address: parseIp('0.0.0.0'), length: 0 },
    ])
    expect(parseTrustedSubnets('')).toEqual([])
  })
  test.each([
    { text: '10.0.0.0', says: 'not a prefix' },
    { text: '10.0.0.1/24', says: 'host bits' },
    { text: 'fd00::1/64', says: 'host bits' },
    { text: '10.0.0.0/33', says: 'not a prefix length' },
    { text: '::/129', says: 'not a prefix length' },
    { text: 'here/8', says: 'not an IPv4 address' },
    {
      text: Array(TRUSTED_SUBNETS_MAX + 1)
        .fill('10.0.0.0/8')
        .join(),
      says: 'more than 8',
    },
  ])('$text is refused: $says', ({ text, says }) => {
    expect(() => parseTrustedSubnets(text)).toThrow(says)
  })
})

test('unless told otherwise a node seals what leaves its zone', () => {
  expect(ENCRYPT_DEFAULT).toBe('between-zones')
})
