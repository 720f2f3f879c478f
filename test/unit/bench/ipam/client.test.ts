/** What a bench makes of the router's answers. */
import { expect, test } from 'vitest'
import { containerId, parseAnswer } from '../../../../bench/ipam/client.ts'
import { WeftError } from '../../../../mesh/base/errors.ts'
import { ok } from '../../../../mesh/base/result.ts'
import { parseAttachmentKey } from '../../../../plugin/environment.ts'
import { encodeRelayReply } from '../../../../plugin/relay.ts'

test.each([
  [0, ''],
  [1, '{\n  "msg": "é"\n}\n'],
] as const)('an answer of %i with %j is what the router has sent', (exitCode, stdout) => {
  expect(parseAnswer(Buffer.from(encodeRelayReply({ exitCode, stdout })).toString())).toEqual({ exitCode, stdout })
})

test.each(['', '0', '0 2\n', '0 2\nabc', 'x 0\n', '1 1\né'])('%j is none', (text) => {
  expect(() => parseAnswer(text)).toThrow(WeftError)
})

test('containers have ids of their own, as long as containerd’s', () => {
  const ids = [0, 1, 15, 16, 10_000].map(containerId)
  expect(new Set(ids).size).toBe(ids.length)
  for (const id of ids) {
    expect(id).toHaveLength(64)
    expect(parseAttachmentKey(id, 'eth0')).toEqual(ok({ containerId: id, ifname: 'eth0' }))
  }
})
