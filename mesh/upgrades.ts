/**
 * The part of a web server that a mesh's port needs: it answers whoever asks for a WebSocket at `WEB_PATH`, and tells
 * all others that there is nothing for them. It never listens; sockets that turn out to speak HTTP are given to it.
 */
import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Clock } from './base/clock.ts'
import { http } from './base/http.ts'
import { type Endpoint, WEB_PATH } from './endpoint.ts'
import type { Stream } from './transport.ts'
import { WEB_SOCKET_LIMITS, webStream } from './transport-ws.ts'

/** A request with the headers that proxies add takes one or two KB. */
const HEADER_BYTES_MAX: number = 8 * 1024
const NOT_FOUND = 404
const UPGRADE_REQUIRED = 426

export interface Visitor {
  /** What was read from it already. */
  readonly head: Uint8Array
  readonly remote: Endpoint
  done(stream: Stream): void
}

export class Upgrades {
  readonly #http: Server
  readonly #webSockets = new WebSocketServer({ ...WEB_SOCKET_LIMITS, noServer: true, clientTracking: false })
  readonly #waiting = new WeakMap<object, (socket: WebSocket) => void>()

  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
    this.#http = http.createServer({ maxHeaderSize: HEADER_BYTES_MAX }, (request, response) => {
      const status = isOurPath(request) ? UPGRADE_REQUIRED : NOT_FOUND
      const headers = { connection: 'close', 'content-type': 'text/plain', ...(status === UPGRADE_REQUIRED && { upgrade: 'websocket' }) }
      response.writeHead(status, headers).end(`${http.STATUS_CODES[status]}: this is the port of a Weft mesh\n`)
    })
    this.#http.on('upgrade', (request, socket, head) => {
      const done = this.#waiting.get(socket)
      if (done === undefined || !isOurPath(request)) refuse(socket as Socket)
      else this.#webSockets.handleUpgrade(request, socket, head, done)
    })
  }

  /**
   * Owns `socket` from now on, unless it becomes a WebSocket: then a stream on that is handed over. Otherwise it is
   * answered and ended. Has no deadline of its own: whoever destroys the socket gives up.
   */
  take(socket: Socket, { head, remote, done }: Visitor): void {
    this.#waiting.set(socket, (webSocket) => done(webStream(webSocket, { remote, via: 'ws', clock: this.#clock })))
    socket.pause()
    socket.unshift(head)
    this.#http.emit('connection', socket)
    socket.resume()
  }
}

/** What stands after a question mark is no part of it: proxies may add it. */
function isOurPath({ url = '' }: IncomingMessage): boolean {
  return url.replace(/\?.*/, '') === WEB_PATH
}

/** After `upgrade` the socket is no longer in the hands of node:http. */
function refuse(socket: Socket): void {
  const text = `${http.STATUS_CODES[NOT_FOUND]}: this is the port of a Weft mesh\n`
  const head = `HTTP/1.1 ${NOT_FOUND} ${http.STATUS_CODES[NOT_FOUND]}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${text.length}\r\n\r\n`
  socket.once('finish', () => socket.destroy())
  socket.end(`${head}${text}`)
}
