/** Good encodings with parts changed, cut, repeated and moved: for tests of decoders. */
import fc from 'fast-check'
import { concatBytes } from '../../mesh/base/bytes.ts'
import { decodeWire, encodeWire, type WireValue } from '../../mesh/base/wire.ts'

/** One change of some bytes. Places are taken modulo the length. */
interface Mutation {
  readonly kind: 'set' | 'flip' | 'insert' | 'cut' | 'repeat' | 'move' | 'end'
  readonly at: number
  readonly length: number
  readonly to: number
  readonly bytes: Uint8Array
}

/** Bytes that mean something in MessagePack or as a length, more often than any. */
const byte = fc.oneof(
  fc.constantFrom(0x00, 0x01, 0x7f, 0x80, 0x90, 0x9f, 0xc0, 0xc1, 0xc4, 0xc6, 0xcb, 0xd9, 0xdb, 0xdc, 0xdd, 0xff),
  fc.nat(255),
)
const mutation: fc.Arbitrary<Mutation> = fc.record({
  kind: fc.constantFrom('set', 'flip', 'insert', 'cut', 'repeat', 'move', 'end'),
  at: fc.nat(0xffff),
  length: fc.oneof(fc.nat(8), fc.nat(0xffff)),
  to: fc.nat(0xffff),
  bytes: fc.array(byte, { minLength: 1, maxLength: 8 }).map((bytes) => Uint8Array.from(bytes)),
})

function mutate(good: Uint8Array, { kind, at, length, to, bytes }: Mutation): Uint8Array {
  const from = at % (good.length + 1)
  const end = Math.min(good.length, from + length)
  const [before, slice, after] = [good.subarray(0, from), good.subarray(from, end), good.subarray(end)]
  const rest = concatBytes([before, after])
  const place = to % (rest.length + 1)
  switch (kind) {
    case 'set':
      return concatBytes([before, bytes, good.subarray(from + bytes.length)])
    case 'flip':
      return good.map((value, index) => (index === from ? value ^ (1 << (to % 8)) : value))
    case 'insert':
      return concatBytes([before, bytes, good.subarray(from)])
    case 'cut':
      return rest
    case 'repeat':
      return concatBytes([before, slice, slice, slice, after])
    case 'move':
      return concatBytes([rest.subarray(0, place), slice, rest.subarray(place)])
    case 'end':
      return before
  }
}

/** A value in place of some part of a MessagePack encoding: well formed, but not what was meant. */
const oddValue: fc.Arbitrary<WireValue> = fc.oneof(
  fc.constantFrom(undefined, true, 0, -1, 0.5, 2 ** 53, Number.NaN, Number.NEGATIVE_INFINITY, '', 'a', '\u0000', []),
  fc.uint8Array({ maxLength: 70 }),
  fc.nat(5_000).map((length) => new Uint8Array(length)),
  fc.nat(3_000).map((length) => new Array<WireValue>(length).fill(0)),
  fc.string({ maxLength: 300, unit: 'binary' }),
)
interface Odd {
  readonly path: readonly number[]
  readonly value: WireValue
}
const odd: fc.Arbitrary<Odd> = fc.record({ path: fc.array(fc.nat(20), { minLength: 1, maxLength: 4 }), value: oddValue })

function replaced(whole: WireValue, { path, value }: Odd): WireValue {
  const [first, ...more] = path
  if (first === undefined || !Array.isArray(whole) || whole.length === 0) return value
  const list = whole as readonly WireValue[]
  return list.with(first % list.length, replaced(list[first % list.length], { path: more, value }))
}

/** @param skip bytes in front that are no MessagePack. */
function withOddValue(good: Uint8Array, skip: number, change: Odd): Uint8Array {
  const decoded = decodeWire(good.subarray(skip))
  return decoded.ok ? concatBytes([good.subarray(0, skip), encodeWire(replaced(decoded.value, change))]) : good
}

/** Encodings made of `good` ones. @param wireAt where their MessagePack begins, if they are such. */
export function spoilt(good: readonly Uint8Array[], wireAt?: number): fc.Arbitrary<Uint8Array> {
  const base = fc.constantFrom(...good)
  const spliced = fc
    .tuple(base, base, fc.nat(0xffff))
    .map(([a, b, at]) => concatBytes([a.subarray(0, at % (a.length + 1)), b.subarray(at % (b.length + 1))]))
  const mutated = fc.tuple(base, fc.array(mutation, { maxLength: 4 })).map(([bytes, changes]) => changes.reduce(mutate, bytes))
  const skip = wireAt ?? 0
  const retyped = fc.tuple(base, odd).map(([bytes, change]) => withOddValue(bytes, skip, change))
  const arbitraries = [
    { weight: 4, arbitrary: mutated },
    { weight: 1, arbitrary: spliced },
    ...(wireAt === undefined ? [] : [{ weight: 3, arbitrary: retyped }]),
  ]
  return fc.oneof(...arbitraries)
}
