/** Faults are all counted, and told once in a while. */
import { expect, test } from 'vitest'
import { seconds } from '../../../mesh/base/brand.ts'
import { type LogFields, silentLog } from '../../../mesh/base/log.ts'
import { countFaults } from '../../../mesh/faults.ts'
import { TestClock } from '../../support/test-clock.ts'

test('every fault counts, and each kind makes one log line a minute that says how many there were', () => {
  const clock = new TestClock()
  const lines: LogFields[] = []
  const faults = countFaults(clock, { ...silentLog, warn: (fields) => lines.push(fields) })
  for (let count = 0; count < 1_000; count += 1) faults.report('frame', { address: '198.18.0.9:1' }, 'an empty frame')
  faults.report('signature', { peer: 'aaaaaaaaaaaaaaaa' }, 'forged')
  clock.advance(seconds(60))
  faults.report('frame', { address: '198.18.0.9:2' }, 'an empty frame')
  expect(faults.counts()).toEqual({ frame: 1_001, signature: 1 })
  expect(lines).toEqual([
    { address: '198.18.0.9:1', operation: 'frame', reason: 'an empty frame', count: 1 },
    { peer: 'aaaaaaaaaaaaaaaa', operation: 'signature', reason: 'forged', count: 1 },
    { address: '198.18.0.9:2', operation: 'frame', reason: 'an empty frame', count: 1_000 },
  ])
})
