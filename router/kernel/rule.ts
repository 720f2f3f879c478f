/** Rules that choose a routing table, in the words of `ip rule`. */
import { formatCidr } from '../../mesh/base/address.ts'
import { err, ok, type Result } from '../../mesh/base/result.ts'
import { MessageFlag } from './codec/message.ts'
import { RtmType } from './codec/numbers.ts'
import { decodeRule, encodeRule, encodeRuleDump, type Rule } from './codec/rule.ts'
import type { KernelError } from './kernel-error.ts'
import type { Netlink } from './netlink.ts'
import { words } from './words.ts'

/** Equivalent to: `ip -4 rule show`. */
export function listRules(netlink: Netlink): Promise<Result<readonly Rule[], KernelError>> {
  return netlink.dump({ type: RtmType.getRule, payload: encodeRuleDump(), operation: 'ip rule show' }, decodeRule)
}

/** Equivalent to: `ip rule add RULE`. Already there is success. */
export async function addRule(netlink: Netlink, rule: Rule): Promise<Result<void, KernelError>> {
  const flags = MessageFlag.create | MessageFlag.exclusive
  const operation = `ip rule add ${describeRule(rule)}`
  const result = await netlink.request({ type: RtmType.newRule, flags, payload: encodeRule(rule), operation })
  return !result.ok && result.error.code !== 'EEXIST' ? err(result.error) : ok(undefined)
}

/** Equivalent to: `ip rule delete RULE`: the first that has all that is given. Not there is success. */
export async function deleteRule(netlink: Netlink, rule: Rule): Promise<Result<void, KernelError>> {
  const operation = `ip rule delete ${describeRule(rule)}`
  const result = await netlink.request({ type: RtmType.deleteRule, payload: encodeRule(rule), operation })
  return !result.ok && result.error.code !== 'ENOENT' ? err(result.error) : ok(undefined)
}

/** All that matters of a rule, for `diff`. */
export function ruleKey({ priority, from, to, mark, mask, input, output, not = false, action, protocol = 0 }: Rule): string {
  const prefixes = [from, to].map((prefix) => (prefix === undefined || prefix.length === 0 ? '' : formatCidr(prefix)))
  const marked = mark === undefined ? '' : `${mark}/${mask ?? 0xffff_ffff}`
  const target = action.kind === 'lookup' ? action.table : action.kind
  return [priority, ...prefixes, marked, input, output, not, target, protocol].join()
}

function describeRule({ priority, from, to, mark, mask, input, output, not, action, protocol }: Rule): string {
  return words(
    not ? 'not' : '',
    ['from', from === undefined ? 'all' : formatCidr(from)],
    ['to', to === undefined ? undefined : formatCidr(to)],
    ['fwmark', mark === undefined || mask === undefined ? mark : `${mark}/${mask}`],
    ['iif', input],
    ['oif', output],
    action.kind === 'lookup' ? `lookup ${action.table}` : action.kind,
    ['priority', priority],
    ['protocol', protocol],
  )
}
