/** What the relay and the router say to each other. */
import { expect, test } from 'vitest'
import type { PodNamespace } from '../../../plugin/port.ts'
import { encodeRelayReply, parseRelayRequest } from '../../../plugin/relay.ts'
import type { Fd } from '../../../router/kernel/native.ts'

const netns: PodNamespace = { namespace: 7 as Fd, routeSocket: 8 as Fd }
const line = (more: object) => JSON.stringify({ env: { CNI_COMMAND: 'ADD' }, stdin: '{}', ...more })

test.each([
  ['no descriptors', {}, undefined, { kind: 'absent' }],
  ['descriptors', {}, netns, { kind: 'passed', netns, isOwn: false }],
  ["descriptors of the relay's own namespace", { netnsIsOwn: true }, netns, { kind: 'passed', netns, isOwn: true }],
  ['a reason', { netnsError: 'No such file' }, undefined, { kind: 'failed', reason: 'No such file' }],
])('a request with %s', (_, more, passed, expected) => {
  expect(parseRelayRequest(line(more), passed)).toEqual({ ok: true, value: { env: { CNI_COMMAND: 'ADD' }, stdin: '{}', netns: expected } })
})

test.each(['', '{', '[]', '{"env":{}}', '{"env":{"A":1},"stdin":""}', '{"env":{},"stdin":"","netnsError":7}'])(
  '%j is no request',
  (text) => {
    expect(parseRelayRequest(text, undefined).ok).toBe(false)
  },
)

test('the answer counts bytes, not characters', () => {
  expect(Buffer.from(encodeRelayReply({ exitCode: 1, stdout: 'é\n' })).toString()).toBe('1 3\né\n')
  expect(Buffer.from(encodeRelayReply({ exitCode: 0, stdout: '' })).toString()).toBe('0 0\n')
})

test('an answer that the relay would not take is a bug of ours', () => {
  expect(() => encodeRelayReply({ exitCode: 0, stdout: 'x'.repeat(5 * 1024 * 1024) })).toThrow('assertion failed')
})
