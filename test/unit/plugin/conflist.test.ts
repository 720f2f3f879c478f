/** The configuration that the installer writes. */
import { expect, test } from 'vitest'
import { CONFLIST_NAME, PLUGIN_TYPE, renderConflist } from '../../../plugin/conflist.ts'
import { parseNetConf } from '../../../plugin/netconf.ts'
import { CNI_VERSIONS } from '../../../plugin/versions.ts'

const conflist = JSON.parse(renderConflist())

test('old runtimes take 1.0.0 and newer ones the newest', () => {
  expect(conflist.cniVersion).toBe('1.0.0')
  expect(conflist.cniVersions).toContain('1.1.0')
  expect(CNI_VERSIONS).toEqual(expect.arrayContaining(conflist.cniVersions))
})

test('what a runtime derives from it is a configuration that we take', () => {
  const [{ type, capabilities }] = conflist.plugins
  expect({ type, capabilities }).toEqual({ type: PLUGIN_TYPE, capabilities: { ips: true, mac: true } })
  expect(parseNetConf(JSON.stringify({ name: conflist.name, cniVersion: conflist.cniVersion, type })).ok).toBe(true)
})

test('its name is found by the pattern of the runtimes and comes early', () => {
  expect(CONFLIST_NAME).toMatch(/^10-.*\.conflist$/)
})
