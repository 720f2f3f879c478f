/** What the lab's container runtime makes of a network configuration. */
import { describe, expect, test } from 'vitest'
import { renderConflist } from '../../../../plugin/conflist.ts'
import { addressesIn, parseConflist, parseFault, pluginRequest, resultForDel } from '../../../../router/lab/network-config.ts'

function list(changes: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({ cniVersion: '1.0.0', name: 'net', plugins: [{ type: 'weft-cni' }], ...changes })
}

describe('the version to speak is the highest that the list offers and we know', () => {
  test.each([
    { name: 'one version', changes: {}, version: '1.0.0' },
    { name: 'several', changes: { cniVersions: ['0.4.0', '1.1.0', '1.0.0'] }, version: '1.1.0' },
    { name: 'one that nobody knows yet', changes: { cniVersions: ['9.0.0'] }, version: '1.0.0' },
    { name: 'only in the list', changes: { cniVersion: undefined, cniVersions: ['0.3.1'] }, version: '0.3.1' },
  ])('$name', ({ changes, version }) => {
    expect(parseConflist(list(changes))).toMatchObject({ ok: true, value: { version } })
  })

  test('the list that Weft installs is spoken in 1.1.0', () => {
    expect(parseConflist(renderConflist())).toMatchObject({ ok: true, value: { version: '1.1.0', plugins: [{ type: 'weft-cni' }] } })
  })
})

describe('a list that is not right is refused with the reason', () => {
  test.each([
    { name: 'not JSON', text: '{', error: /not JSON/ },
    { name: 'no plugins', text: list({ plugins: [] }), error: /plugins/ },
    { name: 'a plugin elsewhere', text: list({ plugins: [{ type: '../sh' }] }), error: /not the name of a plugin/ },
    { name: 'no name', text: list({ name: '' }), error: /not the name of a network/ },
    { name: 'no version that we know', text: list({ cniVersion: '9.0.0' }), error: /versions 9\.0\.0, of which we know none/ },
    { name: 'no version', text: list({ cniVersion: undefined }), error: /\(none\)/ },
  ])('$name', ({ text, error }) => {
    expect(parseConflist(text)).toEqual({ ok: false, error: expect.stringMatching(error) })
  })
})

describe('requests', () => {
  const parsed = parseConflist(
    list({ cniVersions: ['1.1.0'], disableCheck: true, plugins: [{ type: 'one', mtu: 9, capabilities: { ips: true } }, { type: 'two' }] }),
  )
  if (!parsed.ok) throw new Error(parsed.error)
  const { value: network } = parsed
  const [one, two] = network.plugins
  if (one === undefined || two === undefined) throw new Error('two plugins')
  const result = { cniVersion: '1.1.0', ips: [] }

  test('the first ADD has the own keys of the plugin, the version and the name, and nothing of the list', () => {
    expect(pluginRequest(network, one, undefined)).toEqual({ type: 'one', mtu: 9, cniVersion: '1.1.0', name: 'net' })
  })
  test('the next has the answer of the one before', () => {
    expect(pluginRequest(network, two, result)).toEqual({ type: 'two', cniVersion: '1.1.0', name: 'net', prevResult: result })
  })
  test('DEL has the answer to ADD, when there was one', () => {
    expect([resultForDel(network, result), resultForDel(network, undefined)]).toEqual([result, undefined])
  })
  test('before 0.4.0 DEL has none', () => {
    expect(resultForDel({ ...network, version: '0.3.1' }, result)).toBeUndefined()
  })
})

test.each([
  [{ ips: [{ address: '10.32.0.1/32' }] }, ['10.32.0.1', undefined]],
  [{ ips: [{ address: 'fd00::1/128' }, { address: '10.32.0.2/12' }] }, ['10.32.0.2', 'fd00::1']],
  [{ ips: [{ address: 'fd00::1/128' }] }, [undefined, 'fd00::1']],
  [{ ips: 'none' }, [undefined, undefined]],
  [{}, [undefined, undefined]],
])('the addresses in %j are %j', (result, addresses) => expect(Object.values(addressesIn(result))).toEqual(addresses))

test.each([
  ['{"code": 11, "msg": "later", "details": "why"}', { code: 11, msg: 'later', details: 'why' }],
  ['{"code": 7, "msg": "no"}', { code: 7, msg: 'no' }],
  ['{"msg": "no code"}', undefined],
  ['Segmentation fault', undefined],
  ['', undefined],
])('the fault in %j', (stdout, fault) => expect(parseFault(stdout)).toEqual(fault))
