/** Results in the shape of each version, and back. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseDns, parseResult } from '../../../plugin/previous.ts'
import { appendResult, type CniResult, EMPTY_RESULT, renderResult } from '../../../plugin/result.ts'
import { CNI_VERSIONS, type CniVersion } from '../../../plugin/versions.ts'

const result: CniResult = {
  interfaces: [
    { name: 'weft1', mac: '0a:00:00:00:00:01' },
    { name: 'eth0', mac: '0a:00:00:00:00:02', mtu: 1_410, sandbox: '/run/netns/x' },
  ],
  ips: [
    { interface: 1, address: '10.32.0.2/32', gateway: '169.254.1.1' },
    { interface: 1, address: 'fd00::2/128' },
    { interface: 1, address: '10.32.0.3/32' },
  ],
  routes: [
    { dst: '0.0.0.0/0', gw: '169.254.1.1', mtu: 1_400 },
    { dst: '::/0', gw: 'fe80::1' },
  ],
  dns: {},
}

const interfaces = [
  { name: 'weft1', mac: '0a:00:00:00:00:01' },
  { name: 'eth0', mac: '0a:00:00:00:00:02', sandbox: '/run/netns/x' },
]
const routes = [
  { dst: '0.0.0.0/0', gw: '169.254.1.1' },
  { dst: '::/0', gw: 'fe80::1' },
]
const legacy = {
  ip4: { ip: '10.32.0.2/32', gateway: '169.254.1.1', routes: [{ dst: '0.0.0.0/0', gw: '169.254.1.1' }] },
  ip6: { ip: 'fd00::2/128', routes: [{ dst: '::/0', gw: 'fe80::1' }] },
  dns: {},
}
const withFamily = {
  interfaces,
  ips: [
    { version: '4', interface: 1, address: '10.32.0.2/32', gateway: '169.254.1.1' },
    { version: '6', interface: 1, address: 'fd00::2/128' },
    { version: '4', interface: 1, address: '10.32.0.3/32' },
  ],
  routes,
  dns: {},
}

/** As the runtime reads it. */
function onTheWire(version: CniVersion, of: CniResult): unknown {
  return JSON.parse(JSON.stringify(renderResult(version, of)))
}

describe('each version has its shape', () => {
  test.each<[CniVersion, object]>([
    ['0.1.0', legacy],
    ['0.2.0', legacy],
    ['0.3.0', withFamily],
    ['0.3.1', withFamily],
    ['0.4.0', withFamily],
    ['1.0.0', { interfaces, ips: result.ips, routes }],
    ['1.1.0', { interfaces: result.interfaces, ips: result.ips, routes: result.routes }],
  ])('%s', (version, expected) => {
    expect(onTheWire(version, result)).toEqual({ cniVersion: version, ...expected })
  })

  test('the first versions leave out a family without an address, and its routes', () => {
    const only6 = { ...result, ips: [{ address: 'fd00::2/128' }] }
    expect(onTheWire('0.2.0', only6)).toEqual({ cniVersion: '0.2.0', ip6: legacy.ip6, dns: {} })
  })

  test('resolver settings that are set appear in every version', () => {
    const dns = { nameservers: ['10.96.0.10'], search: ['svc.cluster.local'] }
    for (const version of CNI_VERSIONS) expect(onTheWire(version, { ...result, dns })).toMatchObject({ dns })
  })
})

const address = fc.constantFrom('10.32.0.2/32', '10.32.0.3/24', 'fd00::2/128')
const anyResult: fc.Arbitrary<CniResult> = fc.record({
  interfaces: fc.array(
    fc.record({ name: fc.string({ minLength: 1 }), mac: fc.constant('0a:00:00:00:00:01') }, { requiredKeys: ['name'] }),
    { maxLength: 3 },
  ),
  ips: fc.array(fc.record({ address, interface: fc.nat(2), gateway: fc.constant('10.32.0.1') }, { requiredKeys: ['address'] }), {
    maxLength: 4,
  }),
  routes: fc.array(fc.record({ dst: address, gw: fc.constant('10.32.0.1') }, { requiredKeys: ['dst'] }), { maxLength: 3 }),
  dns: fc.constantFrom({}, { nameservers: ['10.96.0.10'] }),
})

describe('reading what an earlier plugin made', () => {
  test.each(CNI_VERSIONS.filter((version) => version >= '0.3.0'))('%s: what was written is read back, interface 0 included', (version) => {
    fc.assert(
      fc.property(anyResult, (any) => {
        expect(parseResult(version, onTheWire(version, any))).toEqual({ ok: true, value: any })
      }),
      { seed: 1 },
    )
  })

  test('the first versions keep the first address of each family and its routes', () => {
    const value = {
      interfaces: [],
      ips: [{ address: '10.32.0.2/32', gateway: '169.254.1.1' }, { address: 'fd00::2/128' }],
      routes,
      dns: {},
    }
    expect(parseResult('0.2.0', onTheWire('0.2.0', result))).toEqual({ ok: true, value })
  })

  test('what Go writes for nothing means nothing', () => {
    const document = {
      interfaces: null,
      ips: [{ address: '10.32.0.2/32', gateway: '' }],
      routes: null,
      dns: { nameservers: null, domain: '' },
    }
    expect(parseResult('1.0.0', document)).toEqual({ ok: true, value: { ...EMPTY_RESULT, ips: [{ address: '10.32.0.2/32' }] } })
    expect(parseResult('0.2.0', { ip4: null })).toEqual({ ok: true, value: EMPTY_RESULT })
    expect(parseDns(undefined)).toEqual({ ok: true, value: {} })
  })

  test.each([
    ['1.0.0', 'text'],
    ['1.0.0', { ips: [{}] }],
    ['1.0.0', { interfaces: [{ mac: 'x' }] }],
    ['1.0.0', { ips: [{ address: '10.0.0.1/8', interface: -1 }] }],
    ['0.1.0', { ip4: {} }],
  ] as const)('%s refuses %j', (version, document) => {
    expect(parseResult(version, document).ok).toBe(false)
  })
})

describe('being one of several plugins', () => {
  test('what came before stays, and our addresses point to our interfaces', () => {
    const earlier: CniResult = {
      interfaces: [{ name: 'lo', sandbox: '/run/netns/x' }],
      ips: [{ address: '127.0.0.1/8', interface: 0 }],
      routes: [{ dst: '192.0.2.0/24' }],
      dns: { nameservers: ['192.0.2.53'] },
    }
    const ours: CniResult = {
      ...EMPTY_RESULT,
      interfaces: [{ name: 'eth0' }],
      ips: [{ address: '10.32.0.2/32', interface: 0 }, { address: 'fd00::1/128' }],
    }
    expect(appendResult(earlier, ours)).toEqual({
      interfaces: [{ name: 'lo', sandbox: '/run/netns/x' }, { name: 'eth0' }],
      ips: [{ address: '127.0.0.1/8', interface: 0 }, { address: '10.32.0.2/32', interface: 1 }, { address: 'fd00::1/128' }],
      routes: [{ dst: '192.0.2.0/24' }],
      dns: { nameservers: ['192.0.2.53'] },
    })
  })

  test('resolver settings of ours replace earlier ones', () => {
    const [a, b] = ['192.0.2.1', '192.0.2.2'].map((server) => ({ ...EMPTY_RESULT, dns: { nameservers: [server] } }))
    expect(appendResult(a ?? EMPTY_RESULT, b ?? EMPTY_RESULT).dns).toEqual({ nameservers: ['192.0.2.2'] })
  })
})
