/**
 * What peers send each other, as MessagePack. Only the few types below are spoken, and bytes from outside are walked
 * once before the library sees them, so that five bytes cannot claim an array of four billion, nor a page of brackets
 * exhaust the stack.
 */
import { Packr } from 'msgpackr/pack'
import { err, ok, type Result } from './result.ts'

/** Undefined travels as nil. Numbers are exact up to 2^53. */
export type WireValue = undefined | boolean | number | string | Uint8Array | readonly WireValue[]

/** Deeper than any of our messages. */
const DEPTH_MAX = 8
/** More than fit in the biggest message that makes sense: bounds the memory that a small message can claim. */
const VALUES_MAX = 65_536

const packr = new Packr({ useRecords: false, mapsAsObjects: false, encodeUndefinedAsNil: true })

/** In memory of its own, and no Buffer: a Buffer's `slice` is a view. */
export function encodeWire(value: WireValue): Uint8Array {
  return new Uint8Array(packr.pack(value))
}

/** Byte strings in the value are views of `bytes`: copy those that stay. The error is a sentence for people. */
export function decodeWire(bytes: Uint8Array): Result<WireValue, string> {
  const wrong = checkWire(bytes)
  if (wrong !== undefined) return err(wrong)
  const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return ok(withoutNull(packr.unpack(view) as Unpacked))
}

/** A number as it is, anything else by its type: never the content, which may be long and is not for logs. */
export function describeWire(value: WireValue): string {
  return typeof value === 'number' ? String(value) : typeof value
}

type Unpacked = WireValue | null | readonly Unpacked[]

function withoutNull(value: Unpacked): WireValue {
  if (value === null) return undefined
  return isArray(value) ? value.map(withoutNull) : value
}

function isArray(value: Unpacked): value is readonly Unpacked[] {
  return Array.isArray(value)
}

/** What is wrong with `bytes` as one whole value of our types, or undefined. */
function checkWire(bytes: Uint8Array): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  /** How many values each open array still lacks, the innermost last; the first stands for `bytes` as a whole. */
  const lacking = [1]
  let at = 0
  for (let values = 1; lacking.length > 0; values += 1) {
    const head = readHead(view, at)
    if (typeof head === 'string') return head
    at += head.bytes
    const wrong = checkLimits({ values, items: head.items, left: bytes.length - at, depth: lacking.length })
    if (wrong !== undefined) return wrong
    lacking.push((lacking.pop() ?? 0) - 1, ...(head.items > 0 ? [head.items] : []))
    while (lacking.at(-1) === 0) lacking.pop()
  }
  return at === bytes.length ? undefined : `${bytes.length - at} bytes too many`
}

interface Progress {
  readonly values: number
  readonly items: number
  /** Bytes after the value; negative when it is cut short. */
  readonly left: number
  readonly depth: number
}

function checkLimits({ values, items, left, depth }: Progress): string | undefined {
  if (left < 0) return CUT_SHORT
  if (values > VALUES_MAX) return `more than ${VALUES_MAX} values`
  if (items > left) return 'an array longer than the message'
  return depth > DEPTH_MAX ? `nested deeper than ${DEPTH_MAX}` : undefined
}

interface Head {
  /** Bytes of the value, its items not counted. */
  readonly bytes: number
  /** How many values follow as its items. */
  readonly items: number
}

const CUT_SHORT = 'cut short'
/** Sizes of the types that have no length of their own: nil, booleans, floats of 64 bits, integers up to 32. */
const FIXED: ReadonlyMap<number, number> = new Map([
  [0xc0, 1],
  [0xc2, 1],
  [0xc3, 1],
  [0xcb, 9],
  [0xcc, 2],
  [0xcd, 3],
  [0xce, 5],
  [0xd0, 2],
  [0xd1, 3],
  [0xd2, 5],
])
/** Types followed by a length of 1, 2 or 4 bytes: byte strings, texts, arrays. */
const LENGTHS: ReadonlyMap<number, 1 | 2 | 4> = new Map([
  [0xc4, 1],
  [0xc5, 2],
  [0xc6, 4],
  [0xd9, 1],
  [0xda, 2],
  [0xdb, 4],
  [0xdc, 2],
  [0xdd, 4],
])

function readHead(view: DataView, at: number): Head | string {
  if (at >= view.byteLength) return CUT_SHORT
  const type = view.getUint8(at)
  if (type <= 0x7f || type >= 0xe0) return { bytes: 1, items: 0 }
  if (type >= 0xa0 && type <= 0xbf) return { bytes: 1 + (type & 31), items: 0 }
  if (type >= 0x90 && type <= 0x9f) return { bytes: 1, items: type & 15 }
  const fixed = FIXED.get(type)
  if (fixed !== undefined) return { bytes: fixed, items: 0 }
  const lengthBytes = LENGTHS.get(type)
  if (lengthBytes === undefined) return `type 0x${type.toString(16)}, which is not spoken here`
  if (at + 1 + lengthBytes > view.byteLength) return CUT_SHORT
  const length = readLength(view, at + 1, lengthBytes)
  const isArrayType = type === 0xdc || type === 0xdd
  return { bytes: 1 + lengthBytes + (isArrayType ? 0 : length), items: isArrayType ? length : 0 }
}

function readLength(view: DataView, at: number, bytes: 1 | 2 | 4): number {
  if (bytes === 1) return view.getUint8(at)
  return bytes === 2 ? view.getUint16(at) : view.getUint32(at)
}
