/** Asks the router of this node over its unix socket. */
import { text } from 'node:stream/consumers'
import { z } from 'zod'
import { seconds } from '../../mesh/base/brand.ts'
import { deadline } from '../../mesh/base/clock.ts'
import { errnoCode, WeftError } from '../../mesh/base/errors.ts'
import { http } from '../../mesh/base/http.ts'

const ANSWER_AFTER_MAX = seconds(10)
const HTTP_OK = 200

const apiError = z.object({ error: z.string(), hint: z.string().optional() })

export interface Answer {
  readonly status: number
  readonly body: string
}

/** @throws {WeftError} UNREACHABLE when no router answers on `socket`. */
export async function ask(socket: string, method: 'GET' | 'POST', path: string, body?: unknown): Promise<Answer> {
  try {
    return await exchange(socket, method, path, body === undefined ? '' : JSON.stringify(body))
  } catch (cause) {
    throw new WeftError('UNREACHABLE', `no router answers on ${socket}`, { cause, hint: hintFor(errnoCode(cause)) })
  }
}

function exchange(socket: string, method: string, path: string, body: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = http.request({ socketPath: socket, method, path, signal: deadline(ANSWER_AFTER_MAX) }, (response) => {
      text(response).then((answer) => resolve({ status: response.statusCode ?? 0, body: answer }), reject)
    })
    call.once('error', reject)
    call.end(body)
  })
}

/** @throws {WeftError} with the router's own words when it refused. */
export function refuseErrors(answer: Answer): Answer {
  if (answer.status === HTTP_OK) return answer
  const parsed = apiError.safeParse(parseJson(answer.body))
  const { error, hint } = parsed.success
    ? parsed.data
    : { error: `the router answered ${answer.status}: ${answer.body.trim()}`, hint: undefined }
  throw new WeftError('INPUT', error, hint === undefined ? {} : { hint })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function hintFor(code: string | undefined): string {
  if (code === 'EACCES') return 'only root may ask it: use sudo'
  if (code === 'ENOENT' || code === 'ECONNREFUSED') return 'start one with `weft run`, or name its socket with --socket or WEFT_SOCKET'
  return 'look at its log'
}
