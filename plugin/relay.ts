/**
 * What the relay (`plugin/shim/`) and the router say to each other over the unix socket, once per connection:
 *
 *   request   {"env": {"CNI_COMMAND": …}, "stdin": "…", "netnsError": "…"?, "netnsIsOwn": true?} LF
 *             with the descriptors of the pod's namespace and of a netlink socket inside it, or with none
 *   answer    EXIT-CODE SP LENGTH LF, then LENGTH bytes for stdout
 *
 * The answer needs no JSON parser in C. Hanging up before the answer cancels the request.
 */
import { z } from 'zod'
import { assert, err, ok, type Result } from '../mesh/base/result.ts'
import type { CniEnvironment } from './environment.ts'
import type { CniReply } from './errors.ts'
import type { PodNamespace } from './port.ts'

/** The relay reads at most 1 MiB of configuration; escaping makes it longer. The relay's C says the same. */
export const REQUEST_BYTES_MAX: number = 2 * 1024 * 1024

/** Of the answer's second part. The relay's C says the same. */
const REPLY_BYTES_MAX = 4 * 1024 * 1024

/** The pod's namespace: as passed, or why the relay could not open it, or not asked for by the operation. */
export type PassedNetns =
  | { readonly kind: 'passed'; readonly netns: PodNamespace; readonly isOwn: boolean }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'absent' }

/** One call of the plugin. */
export interface CniRequest {
  readonly env: CniEnvironment
  readonly stdin: string
  readonly netns: PassedNetns
}

const requestSchema = z.object({
  env: z.record(z.string(), z.string()),
  stdin: z.string(),
  netnsError: z.string().optional(),
  netnsIsOwn: z.boolean().optional(),
})

/** @param line without its line feed. The error is for people. */
export function parseRelayRequest(line: string, passed: PodNamespace | undefined): Result<CniRequest, string> {
  let document: unknown
  try {
    document = JSON.parse(line)
  } catch (error) {
    return err(`not JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
  const parsed = requestSchema.safeParse(document)
  if (!parsed.success) return err(z.prettifyError(parsed.error))
  const { env, stdin, netnsError, netnsIsOwn } = parsed.data
  return ok({ env, stdin, netns: netnsOf(passed, netnsIsOwn === true, netnsError) })
}

function netnsOf(passed: PodNamespace | undefined, isOwn: boolean, reason: string | undefined): PassedNetns {
  if (passed !== undefined) return { kind: 'passed', netns: passed, isOwn }
  return reason === undefined ? { kind: 'absent' } : { kind: 'failed', reason }
}

export function encodeRelayReply({ exitCode, stdout }: CniReply): Uint8Array {
  const bytes = Buffer.byteLength(stdout)
  assert(bytes <= REPLY_BYTES_MAX, 'a result is not longer than twice the previous one in its request')
  return Buffer.from(`${exitCode} ${bytes}\n${stdout}`)
}
