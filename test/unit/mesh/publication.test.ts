/** Our own record: soon after one change, ever more rarely under many. */
import { expect, test } from 'vitest'
import { type Millis, millis } from '../../../mesh/base/brand.ts'
import { firstPublication, publishAt, published } from '../../../mesh/publication.ts'

/** When a record is published if something changes at once after every publication, until `end`. */
function underFlap(end: number): readonly number[] {
  let publication = firstPublication(millis(0))
  const moments: Millis[] = []
  for (let at = publishAt(publication, millis(0), true); at < end; at = publishAt(publication, at, true)) {
    moments.push(at)
    publication = published(publication, at)
  }
  return moments
}

test('a flapping record is published at 200 ms, then after twice the time, at last every five seconds', () => {
  expect(underFlap(25_000)).toEqual([200, 600, 1_400, 3_000, 6_200, 11_200, 16_200, 21_200])
})

test('after a quiet time a change is published within 200 ms again', () => {
  let publication = firstPublication(millis(0))
  for (const at of underFlap(25_000)) publication = published(publication, millis(at))
  publication = published(publication, publishAt(publication, millis(60_000), true))
  expect(publishAt(publication, millis(61_000), true)).toBe(61_200)
})
