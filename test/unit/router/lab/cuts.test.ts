/** Cuts as a list, and as the rules that the switch or the router gets. */
import { describe, expect, test } from 'vitest'
import { addCuts, type Cut, describeCut, healCuts, isCutKind, parseCutKind, renderCuts } from '../../../../router/lab/cuts.ts'
import { hostName } from '../../../../router/lab/names.ts'

const [a, b, c] = [hostName(0), hostName(1), hostName(2)]
const ab: Cut = { from: a, to: b, what: 'all' }
const ba: Cut = { from: b, to: a, what: 'udp' }
const ac: Cut = { from: a, to: c, what: 'all' }
const abMesh: Cut = { from: a, to: b, what: 'mesh' }

describe('the list', () => {
  test('cuts of different kinds add up; the same one is there once', () => {
    expect(addCuts([ab, ac], [abMesh])).toEqual([ab, ac, abMesh])
    expect(addCuts([abMesh, ac], [abMesh])).toEqual([ac, abMesh])
  })
  test('the other direction is another cut', () => expect(addCuts([ab], [ba])).toEqual([ab, ba]))
  test.each([
    ['a pair as it was cut', { from: a, to: b, oneWay: false, what: undefined }, [ac]],
    ['a pair the other way round', { from: b, to: a, oneWay: false, what: undefined }, [ac]],
    ['one way only', { from: a, to: b, oneWay: true, what: undefined }, [ba, ac]],
    ['one kind only', { from: a, to: b, oneWay: false, what: 'mesh' }, [ab, ba, ac]],
    ['one kind of one way', { from: a, to: b, oneWay: true, what: 'udp' }, [ab, abMesh, ba, ac]],
  ] as const)('healing %s', (_, healing, left) => expect(healCuts([ab, abMesh, ba, ac], healing)).toEqual(left))
})

describe('what can be cut', () => {
  test.each([
    ['all', 'all'],
    ['wireguard', 'wireguard'],
    ['53', 'port 53'],
    ['65535', 'port 65535'],
  ])('%s', (text, kind) => {
    expect(parseCutKind(text)).toBe(kind)
    expect(isCutKind(kind)).toBe(true)
  })
  test.each(['', '0', '65536', '053', '-1', 'sctp', 'ALL', 'toString'])('not %j', (text) => expect(parseCutKind(text)).toBeUndefined())
  test.each(['port 0', 'port x', 'port 053', '53', 'port all'])('not %j in a file', (text) => expect(isCutKind(text)).toBe(false))
})

test('the rules of the switch replace the whole table in one transaction', () => {
  expect(renderCuts([ab, ba], 'l2')).toBe(`table bridge weft_lab
delete table bridge weft_lab
table bridge weft_lab {
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname { "a", "a-box" } oifname { "b", "b-box" } drop
    iifname { "b", "b-box" } oifname { "a", "a-box" } meta l4proto udp drop
  }
}
`)
})

test('the router drops between its subnets; a port is one at either end, of both protocols when it is given by number', () => {
  const rules = renderCuts([abMesh, { ...ab, what: 'port 53' }], 'routed')
    .split('\n')
    .filter((line) => line.endsWith(' drop'))
  expect(rules).toEqual([
    '    iifname { "switch-a" } oifname { "switch-b" } meta l4proto tcp th dport 6783 drop',
    '    iifname { "switch-a" } oifname { "switch-b" } meta l4proto tcp th sport 6783 drop',
    '    iifname { "switch-a" } oifname { "switch-b" } meta l4proto tcp th dport 53 drop',
    '    iifname { "switch-a" } oifname { "switch-b" } meta l4proto tcp th sport 53 drop',
    '    iifname { "switch-a" } oifname { "switch-b" } meta l4proto udp th dport 53 drop',
    '    iifname { "switch-a" } oifname { "switch-b" } meta l4proto udp th sport 53 drop',
  ])
})

test('of ICMP the pings and errors are cut; neighbour discovery of IPv6, its ARP, is not', () => {
  const rules = renderCuts([{ ...ab, what: 'icmp' }], 'l2')
  expect(rules).toContain('oifname { "b", "b-box" } meta l4proto icmp drop')
  expect(rules).toContain('oifname { "b", "b-box" } icmpv6 type { 1, 2, 3, 4, 128, 129 } drop')
})

test('no cuts leave no rule', () => expect(renderCuts([], 'l2')).not.toMatch(/drop/))

test('people read which way and what', () => {
  expect([ab, ba, { ...ab, what: 'port 53' } as const].map(describeCut)).toEqual(['a → b', 'b → a (udp only)', 'a → b (port 53 only)'])
})
