/** What the kernel is told of the cables: sizes, and where super-frames may not pass. */
import { describe, expect, test } from 'vitest'
import { formatIpv4 } from '../../../../mesh/base/address.ts'
import { parsePeerName } from '../../../../mesh/base/brand.ts'
import { cableCommands } from '../../../../router/lab/cables.ts'
import { hostAddress, hostName, parseLabName, type UnderlayKind } from '../../../../router/lab/names.ts'
import type { LabState } from '../../../../router/lab/state.ts'

/** @param mtus of each host: `1500`, or `1500/1300` where it does not know that only 1,300 bytes pass. */
function labOf(underlay: UnderlayKind, ...mtus: readonly string[]): LabState {
  const hosts = mtus.map((text, index) => {
    const [mtuBytes = 0, farMtuBytes = mtuBytes] = text.split('/').map(Number)
    const address = formatIpv4(hostAddress(index, underlay))
    return { name: hostName(index), address, peer: parsePeerName(`000000000000000${index}`), zone: 'lab', mtuBytes, farMtuBytes }
  })
  return { version: 2, name: parseLabName('lab'), phase: 'ready', underlay, hosts, cuts: [], impairments: [] }
}

const impaired = {
  ...labOf('l2', '1500', '1500'),
  impairments: [{ host: hostName(0), lossPpm: 0, duplicatePpm: 0, reorderPpm: 0, delayUs: 0, rateKbit: 0, seed: 0 }],
}

function segments(lab: LabState): readonly (string | undefined)[] {
  return cableCommands(lab, new Set()).perHost.map(({ words }) => words.at(-1))
}

function linesOf(lab: LabState, ...present: readonly string[]): readonly string[] {
  return cableCommands(lab, new Set(present)).lines
}

describe('super-frames', () => {
  test.each([
    ['pass where all cables are alike', labOf('l2', '1500', '1500'), ['65535', '65535']],
    ['are cut up on all where hosts differ', labOf('l2', '1500', '1400'), ['1', '1']],
    ['are cut up on all where a host does not know', labOf('l2', '1500/1400', '1500'), ['1', '1']],
    ['are cut up by a host with a bad cable', impaired, ['1', '65535']],
  ])('%s', (_, lab, expected) => expect(segments(lab)).toEqual(expected))

  test('are cut up before they come to a middlebox from the switch', () => {
    expect(linesOf(impaired, 'a', 'a-mid', 'a-box', 'b')).toEqual([
      'link set dev a mtu 1500',
      'link set dev a-mid mtu 1500',
      'link set dev a-box mtu 1500 gso_max_segs 1',
      'link set dev b mtu 1500',
    ])
  })
})

test('a middlebox that nobody has plugged in yet is left out', () => {
  expect(linesOf(impaired, 'a', 'b')).toEqual(['link set dev a mtu 1500', 'link set dev b mtu 1500'])
})

describe('a hidden MTU', () => {
  test('is that of the port of the one switch', () => {
    expect(linesOf(labOf('l2', '1500/1300', '1500'))).toEqual(['link set dev a mtu 1300', 'link set dev b mtu 1500'])
  })
  test('is in the routes of the router, both ways, and takes the narrower of two', () => {
    const lines = linesOf(labOf('routed', '1500/1300', '1500/1200', '1500'))
    expect(lines.filter((line) => line.startsWith('route '))).toEqual([
      'route replace 198.18.1.0/24 dev switch-a proto kernel scope link mtu 1300',
      'route flush table 1000',
      'route add 198.18.2.0/24 dev switch-b scope link table 1000 mtu 1200',
      'route add 198.18.3.0/24 dev switch-c scope link table 1000 mtu 1300',
      'route replace 198.18.2.0/24 dev switch-b proto kernel scope link mtu 1200',
      'route flush table 1001',
      'route add 198.18.1.0/24 dev switch-a scope link table 1001 mtu 1200',
      'route add 198.18.3.0/24 dev switch-c scope link table 1001 mtu 1200',
      'route replace 198.18.3.0/24 dev switch-c proto kernel scope link',
      'route flush table 1002',
    ])
  })
})
