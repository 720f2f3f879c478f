/** The choice of the address that peers use. */
import { describe, expect, test } from 'vitest'
import { formatIpv4, parseCidr, parseIpv4 } from '../../../../mesh/base/address.ts'
import { chooseUnderlay, type UnderlayInput } from '../../../../router/datapath/underlay.ts'
import type { Link } from '../../../../router/kernel/codec/link.ts'

const link = (index: number, name: string, up = true, mtuBytes = 1500): Link => ({
  index,
  name,
  mac: undefined,
  mtuBytes,
  up,
  operational: up,
  master: undefined,
  lower: undefined,
  alias: undefined,
  details: { kind: 'other', name: '' },
})
const on = (index: number, text: string, scope: 'global' | 'link' = 'global') => ({
  link: index,
  address: parseIpv4(text),
  prefixLength: 24,
  scope,
})

const input: UnderlayInput = {
  links: [
    link(1, 'lo', true, 65_536),
    link(2, 'eth0'),
    link(3, 'eth1', true, 9_000),
    link(4, 'eth2', false),
    link(5, 'weft-vx', true, 1_450),
  ],
  addresses: [
    on(1, '127.0.0.1'),
    on(2, '169.254.9.9', 'link'),
    on(2, '192.0.2.1'),
    on(3, '198.51.100.1'),
    on(4, '203.0.113.1'),
    on(5, '10.32.0.1'),
  ],
  towardsDefault: undefined,
  advertise: undefined,
  mtuBytes: undefined,
  universe: parseCidr('10.32.0.0/12'),
}

function choose(changes: Partial<UnderlayInput>): string {
  const chosen = chooseUnderlay({ ...input, ...changes })
  return chosen.ok ? `${formatIpv4(chosen.value.address)} on ${chosen.value.link} mtu ${chosen.value.mtuBytes}` : chosen.error
}

describe('the underlay address', () => {
  test.each<{ name: string; changes: Partial<UnderlayInput>; result: string }>([
    { name: 'the first global one of a link that is up', changes: {}, result: '192.0.2.1 on 2 mtu 1500' },
    {
      name: 'rather the one towards the default route',
      changes: { towardsDefault: parseIpv4('198.51.100.1') },
      result: '198.51.100.1 on 3 mtu 9000',
    },
    {
      name: 'the one that was given, above all',
      changes: { advertise: parseIpv4('192.0.2.1'), towardsDefault: parseIpv4('198.51.100.1') },
      result: '192.0.2.1 on 2 mtu 1500',
    },
    { name: 'with the MTU that was given', changes: { mtuBytes: 1_400 }, result: '192.0.2.1 on 2 mtu 1400' },
    {
      name: 'none, where the one given is not there, however many others are',
      changes: { advertise: parseIpv4('203.0.113.1') },
      result: 'no interface that is up has the address 203.0.113.1 (there is 192.0.2.1, 198.51.100.1)',
    },
    {
      name: 'never one of the cluster',
      changes: { addresses: [on(2, '10.40.0.1')] },
      result: 'no interface that is up has an IPv4 address for peers to use',
    },
  ])('is $name', ({ changes, result }) => expect(choose(changes)).toBe(result))
})
