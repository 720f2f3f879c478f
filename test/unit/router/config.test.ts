/** Options of a router: defaults, sources, and errors that name what is wrong. */
import { describe, expect, test } from 'vitest'
import { formatUniverse } from '../../../ipam/universe.ts'
import { formatIpv4 } from '../../../mesh/base/address.ts'
import { WeftError } from '../../../mesh/base/errors.ts'
import { type Config, parseConfig } from '../../../router/config.ts'

describe('the configuration', () => {
  test('needs nothing to be given', () => {
    const config = parseConfig({}, {})
    expect({ ...config, universe: formatUniverse(config.universe), nickname: '' }).toEqual({
      stateDirectory: '/var/lib/weft',
      runDirectory: '/run/weft',
      nickname: '',
      cluster: 'weft',
      zone: undefined,
      secretFile: undefined,
      passphraseFile: undefined,
      open: false,
      port: 6783,
      universe: '10.32.0.0/12,fd8c:a79b:5319::/64',
      ipamInit: '',
      advertise: undefined,
      mtuBytes: undefined,
      tlsAuthorities: undefined,
      logLevel: 'info',
    })
    expect(Object.isFrozen(config)).toBe(true)
  })

  test("reads Weave Net's variables, and prefers what was given", () => {
    const env = { IPALLOC_RANGE: '10.2.0.0/16', WEAVE_MTU: '1376', IPALLOC_INIT: '' }
    const config = parseConfig({ mtuBytes: '9000', advertise: '192.0.2.7' }, env)
    expect(formatUniverse(config.universe)).toBe('10.2.0.0/16,fd8c:a79b:5319::/64')
    expect(config.mtuBytes).toBe(9000)
    expect(config.advertise && formatIpv4(config.advertise)).toBe('192.0.2.7')
  })

  test.each([
    { given: { universe: '10.2.0.0/16,fd00:1::/96' }, range: '10.2.0.0/16,fd00:1::/96' },
    { given: { universe: '10.2.0.0/16,none' }, range: '10.2.0.0/16' },
    { given: { universe: '10.2.0.0/16', cluster: 'other' }, range: '10.2.0.0/16,fda4:' },
  ])('has a range of each family: $given', ({ given, range }) => {
    expect(formatUniverse(parseConfig(given, {}).universe).slice(0, range.length)).toBe(range)
  })

  test('takes the secret of the cluster from one place', () => {
    expect(parseConfig({ secretFile: '/etc/weft/secret' }, {})).toMatchObject({ secretFile: '/etc/weft/secret', open: false })
    expect(parseConfig({ open: '' }, {})).toMatchObject({ open: true })
  })

  test.each<{ given: Partial<Record<keyof Config, string>>; env?: Record<string, string>; error: string }>([
    { given: { universe: '10.32.0.1/12' }, error: '--ipalloc-range: 10.32.0.1/12 has host bits set (did you mean 10.32.0.0/12?)' },
    { given: { universe: '10.0.0.0/7' }, error: '--ipalloc-range: a cluster range is a /8 to a /29, not 10.0.0.0/7' },
    { given: { universe: '10.0.0.0/30' }, error: '--ipalloc-range: a cluster range is a /8 to a /29, not 10.0.0.0/30' },
    {
      given: { universe: '10.0.0.0/8,fd00::/105' },
      error: '--ipalloc-range: fd00::/105 has fewer addresses than 10.0.0.0/8: its length must be 104 at most',
    },
    {
      given: { universe: '10.0.0.0/8,fd00::/64,none' },
      error: '--ipalloc-range: not one range of each family: "10.0.0.0/8,fd00::/64,none"',
    },
    { given: { universe: '10.0.0.0/8,10.0.0.0/8' }, error: '--ipalloc-range: not a prefix like fd00::/64: "10.0.0.0/8"' },
    { given: { universe: 'ten' }, error: '--ipalloc-range: not a prefix like 10.32.0.0/12: "ten"' },
    { given: {}, env: { WEAVE_MTU: '12' }, error: 'WEAVE_MTU: not a whole number from 576 to 65535: "12"' },
    { given: { secretFile: 'a', open: '' }, error: '--secret-file and --open exclude each other' },
    { given: { secretFile: 'a', passphraseFile: 'b' }, error: '--secret-file and --passphrase-file exclude each other' },
    { given: { port: '0' }, error: '--port: not a whole number from 1 to 65535: "0"' },
    { given: { zone: 'x'.repeat(64) }, error: `--zone: not a zone of 1 to 63 printable characters: "${'x'.repeat(64)}"` },
    { given: { zone: '' }, error: '--zone: not a zone of 1 to 63 printable characters: ""' },
    { given: { nickname: 'two words' }, error: '--nickname: not a name of 1 to 63 printable characters: "two words"' },
    { given: { logLevel: 'loud' }, error: '--log-level: not one of debug, info, warn, error: "loud"' },
    { given: { advertise: '1.2.3' }, error: '--advertise: not an IPv4 address: "1.2.3"' },
  ])('refuses $given $env and says which', ({ given, env = {}, error }) => {
    expect(() => parseConfig(given, env)).toThrow(new WeftError('USAGE', error, { hint: 'see `weft run --help`' }))
  })
})
