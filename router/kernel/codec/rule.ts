/**
 * Rules that choose a routing table (linux/fib_rules.h): `struct fib_rule_hdr`, then attributes.
 *
 *   0        1           2             3     4       5          7        8       12
 *   | family | to length | from length | tos | table | reserved | action | flags | attributes …
 */
import { type Cidr, ipv4 } from '../../../mesh/base/address.ts'
import * as attributes from './attributes.ts'
import { Family } from './numbers.ts'

/** Lists have every field; `add` fills in what is absent, `delete` takes it for "any". */
export interface Rule {
  /** The lowest is asked first: 0 to 2^32 - 1. */
  readonly priority: number
  readonly from?: Cidr | undefined
  readonly to?: Cidr | undefined
  /** The packet's mark, compared under `mask` (all bits when absent). */
  readonly mark?: number | undefined
  readonly mask?: number | undefined
  /** The name of the link that it came by, or is about to leave by. */
  readonly input?: string | undefined
  readonly output?: string | undefined
  /** Applies to what does not match. False when absent. */
  readonly not?: boolean | undefined
  readonly action: RuleAction
  /** Who made it; `unspecified` (0) when absent. */
  readonly protocol?: number | undefined
}

type RuleAction =
  | { readonly kind: 'lookup'; readonly table: number }
  | { readonly kind: 'blackhole' }
  | { readonly kind: 'unreachable' }
  | { readonly kind: 'prohibit' }

const ACTIONS = { lookup: 1, blackhole: 6, unreachable: 7, prohibit: 8 } as const
const HEADER_BYTES = 12
const FLAG_INVERT = 2
const ALL_BITS = 0xffff_ffff
const ANY_IPV4 = ipv4(0)

const Attribute = {
  to: 1,
  from: 2,
  input: 3,
  priority: 6,
  mark: 10,
  table: 15,
  mask: 16,
  output: 17,
  protocol: 21,
} as const

export function encodeRule(rule: Rule): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, Family.inet)
  view.setUint8(1, rule.to?.length ?? 0)
  view.setUint8(2, rule.from?.length ?? 0)
  view.setUint8(7, ACTIONS[rule.action.kind])
  view.setUint32(8, rule.not ? FLAG_INVERT : 0, true)
  return Buffer.concat([
    bytes,
    attributes.u32(Attribute.priority, rule.priority),
    ...attributes.given(rule.from?.base, attributes.ipv4, Attribute.from),
    ...attributes.given(rule.to?.base, attributes.ipv4, Attribute.to),
    ...attributes.given(rule.mark, attributes.u32, Attribute.mark),
    ...(rule.mark === undefined ? [] : [attributes.u32(Attribute.mask, rule.mask ?? ALL_BITS)]),
    ...attributes.given(rule.input, attributes.text, Attribute.input),
    ...attributes.given(rule.output, attributes.text, Attribute.output),
    ...(rule.action.kind === 'lookup' ? [attributes.u32(Attribute.table, rule.action.table)] : []),
    ...attributes.given(rule.protocol, attributes.u8, Attribute.protocol),
  ])
}

export function encodeRuleDump(): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES)
  bytes[0] = Family.inet
  return bytes
}

/** Undefined when it is malformed, not IPv4, or does something that we do not know (goto). */
export function decodeRule(payload: Uint8Array): Rule | undefined {
  if (payload.length < HEADER_BYTES) return undefined
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  const found = attributes.readAttributes(payload.subarray(HEADER_BYTES))
  const action = decodeAction(view.getUint8(7), attributes.getU32(found, Attribute.table) ?? view.getUint8(4))
  const [toLength, fromLength] = [view.getUint8(1), view.getUint8(2)]
  if (view.getUint8(0) !== Family.inet || action === undefined || toLength > 32 || fromLength > 32) return undefined
  return {
    priority: attributes.getU32(found, Attribute.priority) ?? 0,
    from: decodePrefix(found, Attribute.from, fromLength),
    to: decodePrefix(found, Attribute.to, toLength),
    mark: attributes.getU32(found, Attribute.mark),
    mask: attributes.getU32(found, Attribute.mask),
    input: attributes.getText(found, Attribute.input),
    output: attributes.getText(found, Attribute.output),
    not: (view.getUint32(8, true) & FLAG_INVERT) !== 0,
    action,
    protocol: attributes.getU8(found, Attribute.protocol) ?? 0,
  }
}

/** The kernel leaves the attribute of a prefix of length 0 out. */
function decodePrefix(found: attributes.Attributes, type: number, length: number): Cidr | undefined {
  return length === 0 ? undefined : { base: attributes.getIpv4(found, type) ?? ANY_IPV4, length }
}

function decodeAction(number: number, table: number): RuleAction | undefined {
  switch (number) {
    case ACTIONS.lookup:
      return { kind: 'lookup', table }
    case ACTIONS.blackhole:
      return { kind: 'blackhole' }
    case ACTIONS.unreachable:
      return { kind: 'unreachable' }
    case ACTIONS.prohibit:
      return { kind: 'prohibit' }
    default:
      return undefined
  }
}
