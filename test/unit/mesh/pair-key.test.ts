/** The preshared key of two peers: the same at both ends, no matter when they look, as soon as each has the other's record. */
import { describe, expect, test } from 'vitest'
import { fromHex, toHex } from '../../../mesh/base/bytes.ts'
import { seededRandom } from '../../../mesh/base/random.ts'
import { loadCrypto } from '../../../mesh/crypto.ts'
import { clusterKey, type KeyId, type Keyring, keyIdsOf } from '../../../mesh/keyring.ts'
import { pairKey, pairKeyId } from '../../../mesh/pair-key.ts'
import { applyRotation, laggards, type Rotation, type Stage } from '../../../mesh/rotation.ts'
import { keyOf, keyringOf } from '../../support/keyrings.ts'
import { simCrypto } from '../../support/sim/crypto.ts'

const real = await loadCrypto()
const crypto = simCrypto(seededRandom(1))

const A = new Uint8Array(32).fill(1)
const B = new Uint8Array(32).fill(2)
const DATA_KEYS = [A, B] as const

describe('a pair’s key', () => {
  const keyring: Keyring = { primary: clusterKey(new Uint8Array(32).fill(7), real), other: undefined }
  const keyIds = keyIdsOf(keyring)

  test('is what b2sum makes of domain, secret and both public keys, the lower one first', () => {
    // { printf 'weft pair key 1\0'; printf '\7%.0s' {1..32}; printf '\1%.0s' {1..32}; printf '\2%.0s' {1..32}; } | b2sum -l 256
    const expected = '12bec4a0c5241170b0b2d00c9d52441c40c0db52c57fc21d6ae2b8398ea5a469'
    expect(toHex(pairKey({ keyring, dataKey: A, peer: { dataKey: B, keyIds } }, real))).toBe(expected)
    expect(toHex(pairKey({ keyring, dataKey: B, peer: { dataKey: A, keyIds } }, real))).toBe(expected)
  })

  test('is another one for each pair and each cluster', () => {
    const other: Keyring = { primary: clusterKey(new Uint8Array(32).fill(8), real), other: undefined }
    const C = fromHex('03'.repeat(32))
    const keys = [
      pairKey({ keyring, dataKey: A, peer: { dataKey: B, keyIds } }, real),
      pairKey({ keyring, dataKey: A, peer: { dataKey: C, keyIds } }, real),
      pairKey({ keyring, dataKey: B, peer: { dataKey: C, keyIds } }, real),
      pairKey({ keyring: other, dataKey: A, peer: { dataKey: B, keyIds: keyIdsOf(other) } }, real),
    ]
    expect(new Set(keys.map(toHex)).size).toBe(keys.length)
  })
})

describe('which key of the cluster a pair uses', () => {
  const [x, y, z] = [1, 2, 3].map((index) => keyOf(index, crypto).id) as [KeyId, KeyId, KeyId]

  test.each([
    { name: 'the one that both dial with', a: [x, y], b: [x, z], key: x },
    { name: 'the only one that both take', a: [x], b: [y, x], key: x },
    { name: 'none when they have none in common', a: [x], b: [y, z], key: undefined },
  ])('$name', ({ a, b, key }) => {
    expect(pairKeyId(a, b)).toBe(key)
    expect(pairKeyId(b, a)).toBe(key)
  })

  test('is the same at both ends, and there is one whenever they have one in common', () => {
    const lists = [x, y, z].flatMap((first) => [[first], ...[x, y, z].filter((id) => id !== first).map((id) => [first, id])])
    for (const a of lists) {
      for (const b of lists) {
        const key = pairKeyId(a, b)
        expect(pairKeyId(b, a)).toBe(key)
        expect(key !== undefined).toBe(a.some((id) => b.includes(id)))
        if (key !== undefined) expect(a.includes(key) && b.includes(key)).toBe(true)
      }
    }
  })
})

/** How far a peer is, and how far the other one's record of it is: 0 before the rotation, then a step for each stage. */
interface Situation {
  readonly own: readonly [number, number]
  readonly known: readonly [number, number]
}

const STAGES: readonly Stage[] = ['accept', 'promote', 'drop']
const before = keyringOf(1, crypto)()
const accepted = applyRotation(before, rotation('accept'))
const promoted = applyRotation(accepted, rotation('promote'))
/** By how far a peer is. */
const keyrings: readonly Keyring[] = [before, accepted, promoted, applyRotation(promoted, rotation('drop'))]

function rotation(stage: Stage): Rotation {
  return { startedAt: 5, key: keyOf(2, crypto), stage }
}

function keyringAt(step: number): Keyring {
  const keyring = keyrings[step]
  if (keyring === undefined) throw new Error(`there is no step ${step}`)
  return keyring
}

/** The key that each of the two has told WireGuard. */
function keysIn({ own, known }: Situation): readonly [string, string] {
  const at = (self: 0 | 1, other: 0 | 1): string => {
    const peer = { dataKey: DATA_KEYS[other], keyIds: keyIdsOf(keyringAt(known[other])) }
    return toHex(pairKey({ keyring: keyringAt(own[self]), dataKey: DATA_KEYS[self], peer }, crypto))
  }
  return [at(0, 1), at(1, 0)]
}

/**
 * All that can come next: a peer takes the next stage, which is only told when no record that the leader has says that somebody lags;
 * or a record arrives at the other one of the two, be it the newest or one on the way.
 */
function nextOf({ own, known }: Situation): readonly Situation[] {
  const next: Situation[] = []
  for (const self of [0, 1] as const) {
    const before = STAGES[own[self] - 1]
    const records = own.map((step) => ({ keyIds: keyIdsOf(keyringAt(step)) }))
    const isTold = own[self] < STAGES.length && (before === undefined || laggards(rotation(before), records).length === 0)
    if (isTold) next.push({ own: replaced(own, self, own[self] + 1), known })
    for (let step = known[self] + 1; step <= own[self]; step++) next.push({ own, known: replaced(known, self, step) })
  }
  return next
}

function replaced([first, second]: readonly [number, number], at: 0 | 1, step: number): readonly [number, number] {
  return at === 0 ? [step, second] : [first, step]
}

function situations(): readonly Situation[] {
  const found = new Map<string, Situation>()
  const open: Situation[] = [{ own: [0, 0], known: [0, 0] }]
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    if (found.has(JSON.stringify(at))) continue
    found.set(JSON.stringify(at), at)
    open.push(...nextOf(at))
  }
  return [...found.values()]
}

describe('in every situation that a rotation can bring about', () => {
  const all = situations()
  const [oldKey] = keysIn({ own: [0, 0], known: [0, 0] })
  const [newKey] = keysIn({ own: [3, 3], known: [3, 3] })

  test('there are as many as there should be, the last one among them', () => {
    expect(all.length).toBeGreaterThan(30)
    expect(all).toContainEqual({ own: [3, 3], known: [3, 3] })
    expect(oldKey).not.toBe(newKey)
  })

  test('both have the same key when each has the other’s newest record', () => {
    const settled = all.filter(({ own, known }) => own.join() === known.join())
    expect(settled.length).toBeGreaterThan(6)
    for (const situation of settled) {
      const [a, b] = keysIn(situation)
      expect(a, JSON.stringify(situation)).toBe(b)
    }
  })

  test('each has the old key or the new one, and never goes back', () => {
    for (const situation of all) {
      const now = keysIn(situation)
      for (const key of now) expect([oldKey, newKey]).toContain(key)
      const steps = nextOf(situation).map((next) => ({ situation, next, later: keysIn(next) }))
      const back = steps.filter(({ later }) => later.some((key, self) => now[self] === newKey && key !== newKey))
      expect(back).toEqual([])
    }
  })

  test('what parts them is only records on their way', () => {
    for (const situation of all) {
      const [a, b] = keysIn(situation)
      const isKnown = situation.own.join() === situation.known.join()
      if (a !== b) expect(isKnown).toBe(false)
      const [afterA, afterB] = keysIn({ own: situation.own, known: situation.own })
      expect(afterA).toBe(afterB)
    }
  })
})

describe('when a second rotation begins in the midst of a first', () => {
  test('both have the same key as soon as each has the other’s newest record', () => {
    const third = (stage: Stage): Rotation => ({ startedAt: 6, key: keyOf(3, crypto), stage })
    for (let step = 0; step + 1 < keyrings.length; step++) {
      const before = [keyringAt(step), keyringAt(step + 1)]
      const after = before.map((keyring) => applyRotation(keyring, third('accept')))
      const promoted = after.map((keyring) => applyRotation(keyring, third('promote')))
      for (const [a, b] of [...pairsOf([...before, ...after]), ...pairsOf([...after, ...promoted])]) {
        const ours = pairKey({ keyring: a, dataKey: A, peer: { dataKey: B, keyIds: keyIdsOf(b) } }, crypto)
        const theirs = pairKey({ keyring: b, dataKey: B, peer: { dataKey: A, keyIds: keyIdsOf(a) } }, crypto)
        expect(toHex(ours)).toBe(toHex(theirs))
      }
    }
  })
})

function pairsOf<T>(items: readonly T[]): readonly (readonly [T, T])[] {
  return items.flatMap((a) => items.map((b) => [a, b] as const))
}
