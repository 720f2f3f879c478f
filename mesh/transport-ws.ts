/** The mesh's streams over WebSockets, so that they pass web servers and what else lets only the web through. */
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls'
import { WebSocket } from 'ws'
import type { Clock } from './base/clock.ts'
import { err, ok, type Result } from './base/result.ts'
import { describeAnswer, describeNetworkError, describeWebError } from './dial-errors.ts'
import { type Endpoint, formatTarget, type WebScheme, type WebTarget } from './endpoint.ts'
import { CLOSE_DEADLINE, NEXT_ADDRESS_AFTER, OUTBOX_BYTES_MAX, OUTBOX_FULL } from './socket-limits.ts'
import type { Stream, StreamHandler } from './transport.ts'
import { endpointOf } from './transport-tcp.ts'

/** A stranger can make us hold one such message for each handshake; longer writes are cut into several. */
const MESSAGE_BYTES_MAX: number = 16 * 1024
/** The status of a WebSocket that has done what it was for (RFC 6455, section 7.4.1). */
const NORMAL_CLOSURE = 1000

/** Of every WebSocket, on both sides. What we carry is compressed or random, and short messages gain nothing. */
export const WEB_SOCKET_LIMITS: { readonly maxPayload: number; readonly perMessageDeflate: false } = {
  maxPayload: MESSAGE_BYTES_MAX,
  perMessageDeflate: false,
}

export interface WebDialer {
  /** As `Transport.dial`. */
  dial(to: WebTarget, done: (outcome: Result<Stream, string>) => void): Disposable
}

/** @param authorities certificates (PEM) to trust besides those of the system and of Node. */
export function webDialer(clock: Clock, authorities: string | undefined): WebDialer {
  let context: SecureContext | undefined
  const trust = () => {
    // Reading some hundred certificates takes a moment, and most routers never need them.
    context ??= createSecureContext({
      ca: [...getCACertificates('bundled'), ...getCACertificates('system'), ...(authorities === undefined ? [] : [authorities])],
    })
    return context
  }
  return {
    dial: (to, done) => dialWeb(to, done, { clock, ...(to.scheme === 'wss' && { secureContext: trust() }) }),
  }
}

interface DialOptions {
  readonly clock: Clock
  readonly secureContext?: SecureContext
}

function dialWeb(to: WebTarget, done: (outcome: Result<Stream, string>) => void, { clock, ...tls }: DialOptions): Disposable {
  const url = formatTarget(to)
  const family = { autoSelectFamily: true, autoSelectFamilyAttemptTimeout: NEXT_ADDRESS_AFTER }
  const socket = new WebSocket(url, { ...WEB_SOCKET_LIMITS, ...family, ...tls })
  let remote: Endpoint | undefined
  let isOver = false
  const report = (outcome: Result<Stream, string>) => {
    if (isOver) return
    isOver = true
    done(outcome)
  }
  socket.on('error', (cause) => report(err(`dial ${url}: ${describeWebError(cause, to.host)}`)))
  socket.once('unexpected-response', (request, { statusCode = 0, statusMessage = '' }) => {
    report(err(`dial ${url}: ${describeAnswer(to.host, statusCode, statusMessage)}`))
    request.destroy()
  })
  socket.once('upgrade', (response) => {
    remote = endpointOf(response.socket)
  })
  socket.once('open', () => {
    if (remote === undefined) socket.terminate()
    else report(ok(webStream(socket, { remote, via: to.scheme, clock })))
  })
  return {
    [Symbol.dispose]: () => {
      if (isOver) return
      isOver = true
      socket.terminate()
    },
  }
}

export interface WebStreamOptions {
  readonly remote: Endpoint
  readonly via: WebScheme
  readonly clock: Clock
}

/** Owns `socket`, which is open, from now on. */
export function webStream(socket: WebSocket, { remote, via, clock }: WebStreamOptions): Stream {
  let handler: StreamHandler | undefined
  let failure: string | undefined
  const fail = (reason: string) => {
    failure ??= reason
    socket.terminate()
  }
  socket.pause()
  socket.on('error', (cause) => {
    failure ??= describeNetworkError(cause)
  })
  socket.once('close', () => {
    const told = handler
    handler = undefined
    told?.closed(failure ?? 'closed by the other side')
  })
  return {
    remote,
    via,
    get backlogBytes() {
      return socket.bufferedAmount
    },
    start(given) {
      handler = given
      socket.on('message', (bytes: Buffer, isBinary: boolean) => {
        if (isBinary) handler?.received(bytes)
        else fail('it sent text, and the mesh speaks none')
      })
      socket.resume()
    },
    write(bytes) {
      if (socket.readyState !== WebSocket.OPEN) return
      for (let at = 0; at < bytes.length; at += MESSAGE_BYTES_MAX) socket.send(bytes.subarray(at, at + MESSAGE_BYTES_MAX))
      if (socket.bufferedAmount > OUTBOX_BYTES_MAX) fail(OUTBOX_FULL)
    },
    close() {
      handler = undefined
      socket.resume()
      socket.close(NORMAL_CLOSURE)
      const timer = clock.after(CLOSE_DEADLINE, () => socket.terminate())
      socket.once('close', () => timer[Symbol.dispose]())
    },
  }
}
