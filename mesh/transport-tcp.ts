/** The mesh's streams over plain TCP, by IPv4 and IPv6. */
import { Socket } from 'node:net'
import type { Clock } from './base/clock.ts'
import { parseIp } from './base/ip.ts'
import { err, ok, type Result } from './base/result.ts'
import { describeNetworkError } from './dial-errors.ts'
import { type Endpoint, formatTarget, type Place } from './endpoint.ts'
import { CLOSE_DEADLINE, NEXT_ADDRESS_AFTER, OUTBOX_BYTES_MAX, OUTBOX_FULL } from './socket-limits.ts'
import type { Stream, StreamHandler } from './transport.ts'

/** As `Transport.dial`. All addresses of a name are tried, of both families. */
export function dialTcp(to: Place, done: (outcome: Result<Stream, string>) => void, clock: Clock): Disposable {
  const socket = new Socket().setNoDelay(true)
  let isOver = false
  const report = (outcome: Result<Stream, string>) => {
    if (isOver) return
    isOver = true
    done(outcome)
  }
  socket.on('error', (cause) => report(err(`dial tcp ${formatTarget(to)}: ${describeNetworkError(cause)}`)))
  socket.once('connect', () => {
    const remote = endpointOf(socket)
    if (remote === undefined) socket.destroy(new Error('the connection was gone at once'))
    else report(ok(tcpStream(socket, remote, clock)))
  })
  socket.connect({ host: to.host, port: to.port, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: NEXT_ADDRESS_AFTER })
  return {
    [Symbol.dispose]: () => {
      if (isOver) return
      isOver = true
      socket.destroy()
    },
  }
}

export interface TcpStream extends Stream {
  /** Lets go of the socket, which belongs to the caller from now on. */
  release(): void
}

/** Owns `socket` from now on. */
export function tcpStream(socket: Socket, remote: Endpoint, clock: Clock): TcpStream {
  let handler: StreamHandler | undefined
  let failure: string | undefined
  const onData = (bytes: Buffer) => handler?.received(bytes)
  const onError = (cause: Error) => {
    failure = describeNetworkError(cause)
  }
  const onClose = () => {
    const told = handler
    handler = undefined
    told?.closed(failure ?? 'closed by the other side')
  }
  socket.on('error', onError)
  socket.once('close', onClose)
  return {
    remote,
    get backlogBytes() {
      return socket.writableLength
    },
    start(given) {
      handler = given
      socket.on('data', onData)
    },
    write(bytes) {
      if (socket.destroyed || socket.writableEnded) return
      socket.write(bytes)
      if (socket.writableLength > OUTBOX_BYTES_MAX) socket.destroy(new Error(OUTBOX_FULL))
    },
    close() {
      handler = undefined
      // Who was told nothing needs no farewell: in a flood of strangers it would cost a timer and a socket each.
      if (socket.bytesWritten === 0) socket.destroy()
      if (socket.destroyed) return
      socket.resume()
      socket.end()
      const timer = clock.after(CLOSE_DEADLINE, () => socket.destroy())
      socket.once('close', () => timer[Symbol.dispose]())
    },
    release() {
      socket.off('data', onData).off('error', onError).off('close', onClose)
    },
  }
}

/** The other side of a socket; undefined when it has ended already, or comes from a link-local address. */
export function endpointOf({ remoteAddress = '', remotePort = 0 }: Socket): Endpoint | undefined {
  try {
    return { address: parseIp(remoteAddress), port: remotePort }
  } catch {
    return undefined
  }
}
