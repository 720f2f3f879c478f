/** Cuts as a list, and as the rules that the switch gets. */
import { describe, expect, test } from 'vitest'
import { addCuts, type Cut, describeCut, healPair, renderCuts } from '../../../../router/lab/cuts.ts'
import { hostName } from '../../../../router/lab/names.ts'

const [a, b, c] = [hostName(0), hostName(1), hostName(2)]
const ab: Cut = { from: a, to: b, what: 'all' }
const ba: Cut = { from: b, to: a, what: 'udp' }
const ac: Cut = { from: a, to: c, what: 'all' }

describe('the list', () => {
  test('a later cut of the same direction replaces the earlier one', () => {
    expect(addCuts([ab, ac], [{ ...ab, what: 'udp' }])).toEqual([ac, { ...ab, what: 'udp' }])
  })
  test('the other direction is another cut', () => expect(addCuts([ab], [ba])).toEqual([ab, ba]))
  test.each([
    ['as it was cut', a, b],
    ['the other way round', b, a],
  ])('healing a pair %s heals both directions and nothing else', (_, one, other) => {
    expect(healPair([ab, ba, ac], one, other)).toEqual([ac])
  })
})

test('the rules replace the whole table in one transaction', () => {
  expect(renderCuts([ab, ba])).toBe(`table bridge weft_lab
delete table bridge weft_lab
table bridge weft_lab {
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname "a" oifname "b" drop
    iifname "b" oifname "a" meta l4proto udp drop
  }
}
`)
})

test('no cuts leave no rule', () => expect(renderCuts([])).not.toMatch(/drop/))

test('people read which way and what', () => {
  expect([ab, ba].map(describeCut)).toEqual(['a → b', 'b → a (UDP only)'])
})
