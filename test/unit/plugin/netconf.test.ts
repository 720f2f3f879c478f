/** The network configuration: what is taken, what is refused, and what is asked for. */
import { describe, expect, test } from 'vitest'
import { parseCidr } from '../../../mesh/base/address.ts'
import { parseIp } from '../../../mesh/base/ip.ts'
import { parseConfDns, parseNetConf, parsePrevResult, parseValidAttachments, parseVersion, parseWishes } from '../../../plugin/netconf.ts'

const conf = (keys: Readonly<Record<string, unknown>>) => ({ name: 'weft', keys })

describe('the document', () => {
  test('unknown keys are kept', () => {
    const keys = { name: 'weft', type: 'weft-cni', 'x.org/new': { a: [1] } }
    expect(parseNetConf(JSON.stringify(keys))).toEqual({ ok: true, value: { name: 'weft', keys } })
  })

  test.each([
    ['', 6, 'cannot decode the network configuration'],
    ['{"name": "weft"', 6, 'cannot decode the network configuration'],
    ['{"name": "weft\ufffd\u0000"}', 6, 'cannot decode the network configuration'],
    ['[]', 6, 'the network configuration is not a JSON object'],
    ['null', 6, 'the network configuration is not a JSON object'],
    ['{}', 7, 'missing network name'],
    ['{"name": ""}', 7, 'missing network name'],
    ['{"name": null}', 7, 'missing network name'],
    ['{"name": 7}', 7, 'invalid characters found in network name'],
    ['{"name": "a/b"}', 7, 'invalid characters found in network name'],
    ['{"name": ".a"}', 7, 'invalid characters found in network name'],
  ])('%j is refused with code %i', (stdin, code, msg) => {
    expect(parseNetConf(stdin)).toMatchObject({ ok: false, error: { code, msg } })
  })
})

describe('the version', () => {
  test.each([
    [undefined, '0.1.0'],
    ['', '0.1.0'],
    ['0.3.1', '0.3.1'],
    ['1.1.0', '1.1.0'],
  ])('%j means %s', (cniVersion, value) => {
    expect(parseVersion(conf({ cniVersion }))).toEqual({ ok: true, value })
  })

  test.each(['0.4', '1.1', '1.2.0', '1.0.0 ', 'v1.0.0', 'latest'])('%j is refused: the match is exact', (cniVersion) => {
    const details = `config is "${cniVersion}", plugin supports ["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]`
    expect(parseVersion(conf({ cniVersion }))).toEqual({ ok: false, error: { code: 1, msg: 'incompatible CNI versions', details } })
  })

  test('one that is no text cannot be decoded', () => {
    expect(parseVersion(conf({ cniVersion: 1 }))).toMatchObject({ ok: false, error: { code: 6 } })
  })
})

describe('what earlier plugins left', () => {
  test('nothing is no result', () => {
    expect(parsePrevResult(conf({}), '1.0.0')).toEqual({ ok: true, value: undefined })
    expect(parsePrevResult(conf({ prevResult: null }), '1.0.0')).toEqual({ ok: true, value: undefined })
  })

  test("a result is read in the configuration's version, and a bad one cannot be decoded", () => {
    const prevResult = { ips: [{ address: '10.32.0.2/32' }] }
    expect(parsePrevResult(conf({ prevResult }), '1.0.0')).toMatchObject({ ok: true, value: { ips: prevResult.ips } })
    expect(parsePrevResult(conf({ prevResult: { ips: 7 } }), '1.0.0')).toMatchObject({ ok: false, error: { code: 6 } })
  })

  test('bad resolver settings are a bad configuration', () => {
    expect(parseConfDns(conf({ dns: { nameservers: 'x' } }))).toMatchObject({ ok: false, error: { code: 7, msg: 'invalid dns' } })
  })
})

describe('the attachments that GC keeps', () => {
  const list = [{ containerID: 'c', ifname: 'eth0' }]
  const keys = [{ containerId: 'c', ifname: 'eth0' }]

  test.each([
    ['the right name', { 'cni.dev/valid-attachments': list }, keys],
    ['the older name', { 'cni.dev/attachments': list }, keys],
    ['both names', { 'cni.dev/valid-attachments': list, 'cni.dev/attachments': [] }, keys],
    ['an empty list', { 'cni.dev/valid-attachments': [] }, []],
    ['no list', {}, undefined],
    ['null', { 'cni.dev/valid-attachments': null }, undefined],
  ])('%s', (_, document, value) => {
    expect(parseValidAttachments(conf(document))).toEqual({ ok: true, value })
  })

  test.each([[7], [[{}]], [[{ containerID: 'a/b', ifname: 'eth0' }]], [[...list, { containerID: 'c', ifname: '..' }]]])(
    '%j is refused whole',
    (document) => {
      expect(parseValidAttachments(conf({ 'cni.dev/valid-attachments': document }))).toMatchObject({ ok: false, error: { code: 7 } })
    },
  )
})

describe('addresses that are asked for', () => {
  const args = new Map([
    ['IP', '10.32.0.9'],
    ['MAC', '0A:00:00:00:00:09'],
  ])

  test.each([
    ['nothing', {}, new Map(), [], undefined],
    ['CNI_ARGS', {}, args, ['10.32.0.9'], '0a:00:00:00:00:09'],
    ['args.cni beats CNI_ARGS', { args: { cni: { ips: ['10.32.0.8/12'] } } }, args, ['10.32.0.8'], '0a:00:00:00:00:09'],
    [
      'runtimeConfig beats both',
      { args: { cni: { ips: ['10.32.0.8'] } }, runtimeConfig: { ips: ['10.32.0.7', '10.32.0.6/32'], mac: '0a:00:00:00:00:07' } },
      args,
      ['10.32.0.7', '10.32.0.6'],
      '0a:00:00:00:00:07',
    ],
    [
      'keys in any case',
      { runtimeConfig: { IPs: ['10.32.0.7'], MAC: '0a:00:00:00:00:07' } },
      new Map(),
      ['10.32.0.7'],
      '0a:00:00:00:00:07',
    ],
    ['a pair of both families', { runtimeConfig: { ips: ['10.32.0.7/32', 'fd00::7/64'] } }, new Map(), ['10.32.0.7', 'fd00::7'], undefined],
    ['other capabilities', { runtimeConfig: { portMappings: [{ HostPort: 1 }], ips: null } }, new Map(), [], undefined],
  ])('%s', (_, keys, given, addresses, mac) => {
    expect(parseWishes(conf(keys), given)).toEqual({ ok: true, value: { addresses: addresses.map(parseIp), subnet: undefined, mac } })
  })

  test.each([
    ['a subnet', { ipam: { type: 'weft-ipam', subnet: '10.40.0.0/24' } }, '10.40.0.0/24'],
    ['no subnet', { ipam: { type: 'weft-ipam' } }, undefined],
    ['an empty one', { ipam: { subnet: '' } }, undefined],
    ['null', { ipam: { subnet: null } }, undefined],
    ['nothing', { ipam: null }, undefined],
  ])('ipam has %s', (_, keys, subnet) => {
    const value = { addresses: [], subnet: subnet === undefined ? undefined : parseCidr(subnet), mac: undefined }
    expect(parseWishes(conf(keys), new Map())).toEqual({ ok: true, value })
  })

  test.each([['10.40.0.1/24'], ['10.40.0.0'], ['10.40.0.0/33'], ['fd00::/64'], [7], [[]]])(
    'the subnet %j is a bad configuration',
    (subnet) => {
      expect(parseWishes(conf({ ipam: { subnet } }), new Map())).toMatchObject({ ok: false, error: { code: 7 } })
    },
  )

  test.each([
    [{ ips: ['fd00::1/129'] }],
    [{ ips: ['fd00::1/64/1'] }],
    [{ ips: ['10.32.0.7/33'] }],
    [{ ips: ['10.32.0'] }],
    [{ ips: [''] }],
    [{ ips: '10.32.0.7' }],
    [{ mac: '0a:00:00:00:00' }],
    [{ mac: '01:00:00:00:00:01' }],
    ['text'],
  ])('%j is a bad configuration', (runtimeConfig) => {
    expect(parseWishes(conf({ runtimeConfig }), new Map())).toMatchObject({ ok: false, error: { code: 7 } })
  })
})
