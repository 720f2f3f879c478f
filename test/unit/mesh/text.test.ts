/** Text from others, as it may be shown. */
import { expect, test } from 'vitest'
import { isPrintable, printable } from '../../../mesh/text.ts'

test.each([
  { text: 'node-1', is: true },
  { text: 'Würfel 3', is: true },
  { text: '雲の上', is: true },
  { text: '', is: false },
  { text: 'a'.repeat(64), is: false },
  { text: 'two\nlines', is: false },
  { text: '\u001b[31mred', is: false },
  { text: 'right\u202eleft', is: false },
  { text: 'zero\u200bwidth', is: false },
  { text: 'c1\u009bcontrol', is: false },
])('$text is printable in 63 characters: $is', ({ text, is }) => {
  expect(isPrintable(text, 63)).toBe(is)
})

test('what is not printable is made so, and cut', () => {
  expect(printable('a\nb\u202ec', 4)).toBe('a?b?')
})
