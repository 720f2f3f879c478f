/** Lists with an entry for each host, and zones. */
import { describe, expect, test } from 'vitest'
import { parseZone, perHost } from '../../../../router/lab/up.ts'

describe('lists', () => {
  test('one entry is for all', () => expect(perHost('--mtu', [1_500], 3)).toEqual([1_500, 1_500, 1_500]))
  test('or there is one for each', () => expect(perHost('--zones', ['a', 'a', 'b'], 3)).toEqual(['a', 'a', 'b']))
  test('anything else says how many of what', () => {
    expect(() => perHost('--zones', ['a', 'b'], 3)).toThrow(
      expect.objectContaining({ code: 'USAGE', message: '--zones has 2 entries, and the lab 3 hosts' }),
    )
  })
})

test.each(['a', 'eu-west-1', 'rack/7', 'x'.repeat(63)])('%s is a zone', (text) =>
  expect(parseZone(text)).toEqual({ ok: true, value: text }),
)
test.each(['', 'a b', 'a,b', 'ä', 'x'.repeat(64), 'a\n'])('%j is none', (text) => expect(parseZone(text).ok).toBe(false))
