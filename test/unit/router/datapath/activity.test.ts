/** Who looks at attachments knows which of them were worked on meanwhile. */
import { expect, test } from 'vitest'
import { Activity } from '../../../../router/datapath/activity.ts'
import { key } from '../../../support/ipam.ts'

test('an observer sees what was under way, what began, and what ended; others begin anew', () => {
  const activity = new Activity()
  const first = activity.begin(key(1))
  const again = activity.begin(key(1))
  activity.begin(key(9))[Symbol.dispose]()
  using observed = activity.observe()
  activity.begin(key(2))[Symbol.dispose]()
  first[Symbol.dispose]()
  expect([...observed.keys]).toEqual([key(1), key(2)])
  again[Symbol.dispose]()
  using later = activity.observe()
  expect([...later.keys]).toEqual([])
  observed[Symbol.dispose]()
  activity.begin(key(3))
  expect([[...observed.keys], [...later.keys]]).toEqual([[key(1), key(2)], [key(3)]])
})
