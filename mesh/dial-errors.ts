/** Why a dial failed, or a stream ended, in words that people know these failures by. */
import { describeError, errnoCode } from './base/errors.ts'

const NETWORK: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  EHOSTUNREACH: 'no route to host',
  ENETUNREACH: 'network is unreachable',
  ETIMEDOUT: 'no answer in time',
  ECONNRESET: 'connection reset by peer',
  EPIPE: 'connection reset by peer',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the name server does not answer',
}

/** What the chain of a certificate lacks is always the same: somebody whom we trust (openssl-verify(1), "Diagnostics"). */
const UNTRUSTED = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]

/** One line; where several addresses of a name were tried, it says what became of each. */
export function describeNetworkError(cause: unknown): string {
  const errors = cause instanceof AggregateError ? (cause.errors as readonly unknown[]) : []
  if (errors.length > 0) return errors.map((each) => `${addressOf(each)}${describeNetworkError(each)}`).join('; ')
  return NETWORK[errnoCode(cause) ?? ''] ?? describeError(cause)
}

/** One line, for a dial of a web server at `host`. */
export function describeWebError(cause: unknown, host: string): string {
  const code = errnoCode(cause) ?? ''
  if (UNTRUSTED.includes(code)) {
    return `the certificate of ${host} is not signed by an authority that this node trusts: name its authority with --tls-ca`
  }
  if (code === 'CERT_HAS_EXPIRED') return `the certificate of ${host} has expired`
  if (code === 'CERT_NOT_YET_VALID') return `the certificate of ${host} is not valid yet: is the clock right?`
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return `the certificate of the web server is not for the name ${host}`
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_')) return `${host} speaks no TLS there: should it be ws:// instead of wss://?`
  if (code.startsWith('HPE_')) return `${host} does not answer as a web server does`
  return describeNetworkError(cause)
}

/** For an answer that is no WebSocket. */
export function describeAnswer(host: string, status: number, phrase: string): string {
  return `${host} answered ${`${status} ${phrase}`.trim()}: is a Weft router behind that path?`
}

function addressOf(cause: unknown): string {
  return cause instanceof Error && 'address' in cause ? `${String(cause.address)}: ` : ''
}
