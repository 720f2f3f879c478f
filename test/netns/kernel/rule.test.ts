/** Rules, made by us and looked at with `ip rule`. */
import { expect, test } from 'vitest'
import { parseCidr } from '../../../mesh/base/address.ts'
import { diff } from '../../../mesh/base/diff.ts'
import type { Rule } from '../../../router/kernel/codec/rule.ts'
import { addRule, deleteRule, listRules, ruleKey } from '../../../router/kernel/rule.ts'
import { makeKernelNetns } from '../../support/kernel.ts'
import { must, mustFail } from '../../support/result.ts'

const wanted: readonly Rule[] = [
  { priority: 500, from: parseCidr('10.32.0.0/12'), action: { kind: 'lookup', table: 1_000 } },
  { priority: 501, to: parseCidr('10.32.0.0/12'), mark: 0x10, mask: 0xff, not: true, action: { kind: 'lookup', table: 254 } },
  { priority: 502, input: 'wp0', mark: 1, action: { kind: 'unreachable' }, protocol: 119 },
  { priority: 503, output: 'lo', action: { kind: 'blackhole' } },
]

test('rules are shown by `ip rule` as they were added, and listed in the same shape', async () => {
  await using host = await makeKernelNetns()
  const before = must(await listRules(host.netlink))
  for (const rule of wanted) must(await addRule(host.netlink, rule))
  expect(diff([...before, ...wanted], must(await listRules(host.netlink)), ruleKey)).toEqual({ add: [], remove: [] })
  expect(
    (await host.ns.ip<{ readonly priority: number }>('rule', 'show')).filter(({ priority }) => priority >= 500 && priority < 600),
  ).toMatchObject([
    { src: '10.32.0.0', srclen: 12, table: '1000' },
    { not: null, dst: '10.32.0.0', dstlen: 12, fwmark: '0x10', fwmask: '0xff', table: 'main' },
    { iif: 'wp0', fwmark: '0x1', action: 'unreachable', protocol: '119' },
    { oif: 'lo', action: 'blackhole' },
  ])
})

test('adding twice and deleting twice is no error', async () => {
  await using host = await makeKernelNetns()
  const before = must(await listRules(host.netlink))
  for (const rule of [...wanted, ...wanted]) must(await addRule(host.netlink, rule))
  expect(must(await listRules(host.netlink))).toHaveLength(before.length + wanted.length)
  for (const rule of [...wanted, ...wanted]) must(await deleteRule(host.netlink, rule))
  expect(must(await listRules(host.netlink))).toEqual(before)
})

test('a link name that cannot be is refused with what was attempted', async () => {
  await using host = await makeKernelNetns()
  const error = mustFail(await addRule(host.netlink, { priority: 1, input: 'sixteen-letters-', action: { kind: 'lookup', table: 100 } }))
  expect(error).toMatchObject({ code: 'ERANGE', operation: 'ip rule add from all iif sixteen-letters- lookup 100 priority 1' })
})
