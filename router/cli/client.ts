/** Asks the router of this node over its unix socket. */
import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import { seconds } from '../../mesh/base/brand.ts'
import { deadline } from '../../mesh/base/clock.ts'
import { errnoCode, WeftError } from '../../mesh/base/errors.ts'

const ANSWER_AFTER_MAX = seconds(10)

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
    const call = request({ socketPath: socket, method, path, signal: deadline(ANSWER_AFTER_MAX) }, (response) => {
      text(response).then((answer) => resolve({ status: response.statusCode ?? 0, body: answer }), reject)
    })
    call.once('error', reject)
    call.end(body)
  })
}

function hintFor(code: string | undefined): string {
  if (code === 'EACCES') return 'only root may ask it: use sudo'
  if (code === 'ENOENT' || code === 'ECONNREFUSED') return 'start one with `weft run`, or name its socket with --socket or WEFT_SOCKET'
  return 'look at its log'
}
