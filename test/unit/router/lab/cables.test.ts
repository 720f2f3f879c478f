/** What the kernel is told of the cables: sizes, and where super-frames may not pass. */
import { describe, expect, test } from 'vitest'
import { formatIpv4 } from '../../../../mesh/base/address.ts'
import { parsePeerName } from '../../../../mesh/base/brand.ts'
import { cableCommands } from '../../../../router/lab/cables.ts'
import { hostAddress, hostName, parseLabName, type UnderlayKind } from '../../../../router/lab/names.ts'
import type { LabState } from '../../../../router/lab/state.ts'

function labOf(underlay: UnderlayKind, mtus: readonly (readonly [mtu: number, far: number])[]): LabState {
  const hosts = mtus.map(([mtuBytes, farMtuBytes], index) => ({
    name: hostName(index),
    address: formatIpv4(hostAddress(index, underlay)),
    peer: parsePeerName(`000000000000000${index}`),
    zone: 'lab',
    mtuBytes,
    farMtuBytes,
  }))
  return { version: 2, name: parseLabName('lab'), phase: 'ready', underlay, hosts, cuts: [], impairments: [] }
}

const impairment = { host: hostName(0), lossPpm: 0, duplicatePpm: 0, reorderPpm: 0, delayUs: 0, rateKbit: 0, seed: 0 }

function segments(lab: LabState): readonly (string | undefined)[] {
  return cableCommands(lab).perHost.map(({ words }) => words.at(-1))
}

describe('super-frames', () => {
  test('pass where all cables are alike', () =>
    expect(
      segments(
        labOf('l2', [
          [1_500, 1_500],
          [1_500, 1_500],
        ]),
      ),
    ).toEqual(['65535', '65535']))
  test.each([
    [
      'hosts differ',
      [
        [1_500, 1_500],
        [1_400, 1_400],
      ],
    ],
    [
      'a host does not know',
      [
        [1_500, 1_400],
        [1_500, 1_500],
      ],
    ],
  ] as const)('are cut up on all where %s', (_, mtus) => expect(segments(labOf('l2', mtus))).toEqual(['1', '1']))
  test('are cut up where a cable is impaired, both ways', () => {
    const lab = {
      ...labOf('l2', [
        [1_500, 1_500],
        [1_500, 1_500],
      ]),
      impairments: [impairment],
    }
    expect(segments(lab)).toEqual(['1', '65535'])
    expect(cableCommands(lab).lines).toEqual([
      'link set dev a mtu 1500',
      'link set dev a-mid mtu 1500',
      'link set dev a-box mtu 1500 gso_max_segs 1',
      'link set dev b mtu 1500',
    ])
  })
})

describe('a hidden MTU', () => {
  test('is that of the port of the one switch', () => {
    expect(
      cableCommands(
        labOf('l2', [
          [1_500, 1_300],
          [1_500, 1_500],
        ]),
      ).lines,
    ).toEqual(['link set dev a mtu 1300', 'link set dev b mtu 1500'])
  })
  test('is in the routes of the router, both ways, and takes the narrower of two', () => {
    const { lines } = cableCommands(
      labOf('routed', [
        [1_500, 1_300],
        [1_500, 1_200],
        [1_500, 1_500],
      ]),
    )
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
