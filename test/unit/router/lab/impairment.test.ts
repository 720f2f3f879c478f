/** Bad cables as people say them, and what the middlebox has counted. */
import { describe, expect, test } from 'vitest'
import {
  decodeCounters,
  describeImpairment,
  type Impairment,
  middleboxWords,
  parseDelay,
  parseRate,
  parseSeed,
  parseShare,
} from '../../../../router/lab/impairment.ts'
import { hostName } from '../../../../router/lab/names.ts'

const bad: Impairment = {
  host: hostName(0),
  lossPpm: 10_000,
  duplicatePpm: 0,
  reorderPpm: 2_500,
  delayUs: 20_500,
  rateKbit: 100_000,
  seed: 7,
}

describe('words of a person', () => {
  test.each([
    [parseShare, '1%', 10_000],
    [parseShare, '0.25%', 2_500],
    [parseShare, '100%', 1_000_000],
    [parseShare, '0%', 0],
    [parseDelay, '20ms', 20_000],
    [parseDelay, '1.5s', 1_500_000],
    [parseDelay, '200us', 200],
    [parseDelay, '10s', 10_000_000],
    [parseRate, '100mbit', 100_000],
    [parseRate, '2.5gbit', 2_500_000],
    [parseRate, '56kbit', 56],
    [parseSeed, '0', 0],
    [parseSeed, '4294967295', 4_294_967_295],
  ])('%o of %s is %d', (parse, text, value) => expect(parse(text)).toEqual({ ok: true, value }))

  test.each([
    [parseShare, ['', '1', '101%', '-1%', '1.00001%', '1 %', 'NaN%', '1e1%']],
    [parseDelay, ['', '20', '20m', '11s', '-1ms', '1,5s', '20 ms', 'toStringms']],
    [parseRate, ['', '100', '0mbit', '0.1kbit', '101gbit', '100mb', '1mbits']],
    [parseSeed, ['', '-1', '4294967296', '1.5', 'x']],
  ])('%o refuses what is none', (parse, texts) => {
    for (const text of texts) expect([text, parse(text).ok]).toEqual([text, false])
  })
})

test('the middlebox is called with whole numbers', () => {
  expect(middleboxWords(bad)).toEqual(['7', '10000', '0', '2500', '20500', '100000'])
})

test('people read what is bad, and the seed to have it again', () => {
  expect(describeImpairment(bad)).toBe('a: loss 1%, reorder 0.25%, delay 20.5ms, rate 100mbit (seed 7)')
})

describe('the file of counters', () => {
  function file(first: number, words = 13): Uint8Array {
    const view = new DataView(new ArrayBuffer(words * 8))
    for (let word = 0; word < words; word++) view.setBigUint64(word * 8, BigInt(word === 0 ? first : word), true)
    return new Uint8Array(view.buffer)
  }
  test('is read by direction', () => {
    expect(decodeCounters(file(1))).toEqual({
      fromHost: { received: 1, sent: 2, lost: 3, duplicated: 4, reordered: 5, overflowed: 6 },
      toHost: { received: 7, sent: 8, lost: 9, duplicated: 10, reordered: 11, overflowed: 12 },
    })
  })
  test.each([
    ['not ready', file(0)],
    ['not there in whole', file(1, 12)],
    ['empty', new Uint8Array(0)],
  ])('%s is none', (_, bytes) => expect(decodeCounters(bytes)).toBeUndefined())
})
