/** The filter by `nft` in a fresh namespace: whole rulesets or nothing, lists, refusals in its own words. */
import { expect, test } from 'vitest'
import { applyRuleset, listRuleset } from '../../../router/kernel/nft.ts'
import { makeNetns } from '../../support/netns.ts'
import { must, mustFail } from '../../support/result.ts'

const RULESET = `
table inet weft-t {
  set peers { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 }; }
  chain forward { type filter hook forward priority filter; policy accept; ip saddr @peers counter accept; }
}
`

test('a ruleset is applied, and listed as objects', async () => {
  await using ns = await makeNetns()
  must(await applyRuleset(RULESET, { netns: ns.path }))
  const objects = must(await listRuleset(['table', 'inet', 'weft-t'], { netns: ns.path }))
  expect(objects).toContainEqual({ set: expect.objectContaining({ name: 'peers', elem: ['192.0.2.1', '192.0.2.2'] }) })
  expect(objects).toContainEqual({ chain: expect.objectContaining({ name: 'forward', hook: 'forward', policy: 'accept' }) })
})

test('a ruleset with one wrong line is refused as a whole, in nft’s words', async () => {
  await using ns = await makeNetns()
  must(await applyRuleset(RULESET, { netns: ns.path }))
  const wrong = `flush table inet weft-t\nadd element inet weft-t peers { 192.0.2.300 }\n`
  const error = mustFail(await applyRuleset(wrong, { netns: ns.path }))
  expect(error.code).toBe('refused')
  expect(error.message).toContain('192.0.2.300')
  expect(must(await listRuleset(['ruleset'], { netns: ns.path }))).toContainEqual({
    rule: expect.objectContaining({ table: 'weft-t', chain: 'forward' }),
  })
})

test('what does not exist is absent, which is another thing than refused', async () => {
  await using ns = await makeNetns()
  expect(mustFail(await listRuleset(['table', 'inet', 'weft-t'], { netns: ns.path })).code).toBe('absent')
})

test('a ruleset of 20,000 elements goes through the pipe', async () => {
  await using ns = await makeNetns()
  const elements = Array.from({ length: 20_000 }, (_, number) => `10.32.${number >> 8}.${number & 255}`)
  must(await applyRuleset(`table ip weft-t { set pods { type ipv4_addr; elements = { ${elements.join(', ')} }; }\n}`, { netns: ns.path }))
  const objects = must(await listRuleset(['set', 'ip', 'weft-t', 'pods'], { netns: ns.path }))
  expect(objects).toContainEqual({ set: expect.objectContaining({ elem: expect.objectContaining({ length: 20_000 }) }) })
})

test('a caller that goes away stops it', async () => {
  await using ns = await makeNetns()
  await expect(applyRuleset(RULESET, { netns: ns.path, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELLED' })
})
