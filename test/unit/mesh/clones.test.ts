/** Which of several processes with one key keeps it: one of them always, whatever their clocks say. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parsePeerName } from '../../../mesh/base/brand.ts'
import { parseIp } from '../../../mesh/base/ip.ts'
import { elsewhere, isElder, type Tenure } from '../../../mesh/clones.ts'
import { bareRecord } from '../../support/mesh-records.ts'

/** Of few values, so that many are equal. */
const anyTenure: fc.Arbitrary<Tenure> = fc.record({
  hadPods: fc.boolean(),
  startedAt: fc.nat(2),
  instance: fc.uint8Array({ minLength: 16, maxLength: 16 }),
})
const anyGroup = fc.uniqueArray(anyTenure, { minLength: 2, maxLength: 6, selector: ({ instance }) => instance.join() })

test('of any two processes exactly one is the elder', () => {
  fc.assert(
    fc.property(anyGroup, ([a, b]) => {
      if (a === undefined || b === undefined) return
      expect(isElder(a, b)).toBe(!isElder(b, a))
    }),
  )
})

test('of any number of processes exactly one is the elder of all others, so all others take new names', () => {
  fc.assert(
    fc.property(anyGroup, (group) => {
      const keeping = group.filter((one) => group.every((other) => other === one || isElder(one, other)))
      expect(keeping).toHaveLength(1)
    }),
  )
})

test('a process is not its own elder', () => {
  fc.assert(
    fc.property(anyTenure, (one) => {
      expect(isElder(one, { ...one })).toBe(false)
    }),
  )
})

const base: Tenure = { hadPods: true, startedAt: 500, instance: new Uint8Array(16).fill(5) }

test.each([
  { name: 'on whom pods depend, though it started later', younger: { ...base, hadPods: false, startedAt: 400 } },
  { name: 'who started first, when pods depend on both', younger: { ...base, startedAt: 501 } },
  { name: 'the lesser instance, when all else is equal', younger: { ...base, instance: new Uint8Array(16).fill(6) } },
])('$name keeps it', ({ younger }) => {
  expect([isElder(base, younger), isElder(younger, base)]).toEqual([true, false])
})

describe('where a record with our name leads', () => {
  const [one, two, six] = [parseIp('198.18.0.1'), parseIp('198.18.0.2'), parseIp('2001:db8::2')]
  const recordAt = (port: number) => bareRecord(parsePeerName('00000000000000aa'), { addresses: [one, two, six], port })

  test.each([
    { name: 'to addresses that are not ours', port: 1, here: [one], places: ['198.18.0.2', '2001:db8::2'] },
    { name: 'nowhere, when all are ours', port: 1, here: [six, two, one], places: [] },
    { name: 'to all, when the port is another one', port: 2, here: [one, two, six], places: ['198.18.0.1', '198.18.0.2', '2001:db8::2'] },
  ])('$name', ({ port, here, places }) => {
    expect(elsewhere(recordAt(port), { addresses: here, port: 1 })).toEqual(places.map((host) => ({ host, port })))
  })
})
