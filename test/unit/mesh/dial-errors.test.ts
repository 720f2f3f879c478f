/** Failures of the network in words. */
import { expect, test } from 'vitest'
import { describeAnswer, describeNetworkError, describeWebError } from '../../../mesh/dial-errors.ts'

const failure = (code: string, more: object = {}): Error => Object.assign(new Error(`the words of ${code}`), { code, ...more })

test.each([
  { code: 'ECONNREFUSED', words: 'connection refused' },
  { code: 'EAI_AGAIN', words: 'the name server does not answer' },
  { code: 'EWHATEVER', words: 'the words of EWHATEVER' },
])('$code', ({ code, words }) => expect(describeNetworkError(failure(code))).toBe(words))

test('every address that was tried is named', () => {
  const errors = [failure('ECONNREFUSED', { address: '198.18.0.2' }), failure('ENETUNREACH', { address: '2001:db8::2' }), failure('EPIPE')]
  expect(describeNetworkError(new AggregateError(errors))).toBe(
    '198.18.0.2: connection refused; 2001:db8::2: network is unreachable; connection reset by peer',
  )
})

test.each([
  {
    code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
    words: 'the certificate of h is not signed by an authority that this node trusts: name its authority with --tls-ca',
  },
  {
    code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    words: 'the certificate of h is not signed by an authority that this node trusts: name its authority with --tls-ca',
  },
  { code: 'CERT_HAS_EXPIRED', words: 'the certificate of h has expired' },
  { code: 'ERR_TLS_CERT_ALTNAME_INVALID', words: 'the certificate of the web server is not for the name h' },
  { code: 'ERR_SSL_WRONG_VERSION_NUMBER', words: 'h speaks no TLS there: should it be ws:// instead of wss://?' },
  { code: 'HPE_INVALID_CONSTANT', words: 'h does not answer as a web server does' },
  { code: 'ECONNREFUSED', words: 'connection refused' },
])('$code of a web server', ({ code, words }) => expect(describeWebError(failure(code), 'h')).toBe(words))

test.each([
  { phrase: 'Bad Gateway', words: 'h answered 502 Bad Gateway: is a Weft router behind that path?' },
  { phrase: '', words: 'h answered 502: is a Weft router behind that path?' },
])('an answer that is no WebSocket: $words', ({ phrase, words }) => expect(describeAnswer('h', 502, phrase)).toBe(words))
