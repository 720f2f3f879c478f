/** The FIB as a function: what reaches whom. */
import { describe, expect, test } from 'vitest'
import { formatCidr, parseCidr, parseIpv4 } from '../../../../mesh/base/address.ts'
import { parsePeerName } from '../../../../mesh/base/brand.ts'
import { computeFib, type Destination, podMtuBytes } from '../../../../router/datapath/fib.ts'

const [a, b, c] = ['aa', 'bb', 'cc'].map((digits) => parsePeerName(digits.repeat(8))) as [
  ReturnType<typeof parsePeerName>,
  ReturnType<typeof parsePeerName>,
  ReturnType<typeof parsePeerName>,
]
const universe = parseCidr('10.32.0.0/12')
const at = (text: string) => parseIpv4(text)
const destination = (peer: typeof a, underlay: string, mtuBytes = 1500): Destination => ({ peer, underlay: at(underlay), mtuBytes })

function shape(input: Partial<Parameters<typeof computeFib>[0]>): unknown {
  const fib = computeFib({ self: a, universe, ranges: [], destinations: new Map(), mtuBytes: 1500, ...input })
  return {
    remotes: fib.remotes.map(({ prefix, via, mtuBytes }) => `${formatCidr(prefix)} ${via.peer.slice(0, 2)} ${mtuBytes}`),
    next: fib.next.map(({ peer }) => peer.slice(0, 2)),
    unknown: fib.unknown.map((peer) => peer.slice(0, 2)),
  }
}

describe('the FIB', () => {
  test('is empty before there is a ring', () => {
    expect(shape({})).toEqual({ remotes: [], next: [], unknown: [] })
  })

  test('has one route per aligned block of each other peer, none for our own', () => {
    const ranges = [
      { owner: a, range: { start: at('10.32.0.0'), end: at('10.40.0.0') } },
      { owner: b, range: { start: at('10.40.0.0'), end: at('10.44.0.0') } },
      { owner: c, range: { start: at('10.44.0.0'), end: at('10.47.0.0') } },
      { owner: b, range: { start: at('10.47.0.0'), end: at('10.48.0.0') } },
    ]
    const destinations = new Map([
      [b, destination(b, '192.0.2.2')],
      [c, destination(c, '192.0.2.3')],
    ])
    expect(shape({ ranges, destinations })).toEqual({
      remotes: ['10.40.0.0/14 bb 1450', '10.44.0.0/15 cc 1450', '10.46.0.0/16 cc 1450', '10.47.0.0/16 bb 1450'],
      next: ['bb', 'cc'],
      unknown: [],
    })
  })

  test('names owners without a record and gives them no route', () => {
    const ranges = [{ owner: b, range: { start: at('10.40.0.0'), end: at('10.44.0.0') } }]
    expect(shape({ ranges })).toEqual({ remotes: [], next: [], unknown: ['bb'] })
  })

  test.each([
    { ours: 1500, theirs: 9000, route: 1450 },
    { ours: 9000, theirs: 1500, route: 1450 },
    { ours: 9000, theirs: 9000, route: 8950 },
    { ours: 1400, theirs: 1280, route: 1230 },
  ])('takes the smaller underlay of $ours and $theirs: $route', ({ ours, theirs, route }) => {
    const ranges = [{ owner: b, range: { start: at('10.40.0.0'), end: at('10.44.0.0') } }]
    const destinations = new Map([[b, destination(b, '192.0.2.2', theirs)]])
    expect(shape({ ranges, destinations, mtuBytes: ours })).toEqual({ remotes: [`10.40.0.0/14 bb ${route}`], next: ['bb'], unknown: [] })
  })

  test('leaves pods 50 bytes less than the underlay carries', () => {
    expect(podMtuBytes(1500)).toBe(1450)
  })
})
