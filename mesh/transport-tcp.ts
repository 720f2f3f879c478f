/** The mesh's streams over TCP and IPv4. */
import { createServer, type Server, Socket } from 'node:net'
import { parseIpv4 } from './base/address.ts'
import { type Millis, seconds } from './base/brand.ts'
import type { Clock } from './base/clock.ts'
import { describeError, errnoCode, WeftError } from './base/errors.ts'
import type { Logger } from './base/log.ts'
import { err, ok, type Result } from './base/result.ts'
import { type Endpoint, formatTarget, type Target } from './endpoint.ts'
import type { Listener, Stream, StreamHandler, Transport } from './transport.ts'

/** A peer that leaves this much unread is stuck: ending the connection costs less than the memory. */
const OUTBOX_BYTES_MAX = 8 * 1024 * 1024
/** For the last words on a connection that is being closed. */
const CLOSE_DEADLINE: Millis = seconds(1)
/** Connections that the kernel completes before we look at them: a whole cluster may come at once. */
const BACKLOG = 511

export interface TcpOptions {
  readonly clock: Clock
  readonly log: Logger
  /** The address to dial from; the kernel chooses when absent. */
  readonly localAddress?: string
}

export function tcpTransport(options: TcpOptions): Transport {
  return {
    listen: (at, accept) => listen(at, accept, options),
    dial(to, done) {
      const socket = new Socket().setNoDelay(true)
      let isOver = false
      const report = (outcome: Result<Stream, string>) => {
        if (isOver) return
        isOver = true
        done(outcome)
      }
      socket.on('error', (cause) => report(err(`dial tcp4 ${formatTarget(to)}: ${dialError(cause)}`)))
      socket.once('connect', () => {
        const stream = tcpStream(socket, options.clock)
        if (stream === undefined) socket.destroy(new Error('the connection was gone at once'))
        else report(ok(stream))
      })
      const localAddress = options.localAddress === undefined ? {} : { localAddress: options.localAddress }
      socket.connect({ host: to.host, port: to.port, family: 4, ...localAddress })
      return {
        [Symbol.dispose]: () => {
          if (isOver) return
          isOver = true
          socket.destroy()
        },
      }
    },
  }
}

/** What people know these failures by. */
const ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  EHOSTUNREACH: 'no route to host',
  ENETUNREACH: 'network is unreachable',
  ETIMEDOUT: 'no answer in time',
  ECONNRESET: 'connection reset by peer',
  EPIPE: 'connection reset by peer',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the name server does not answer',
}

function dialError(cause: unknown): string {
  return ERRORS[errnoCode(cause) ?? ''] ?? describeError(cause)
}

async function listen(at: Target, accept: (stream: Stream) => void, { clock, log }: TcpOptions): Promise<Listener> {
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    // Whatever happens to it is told by its close; without a listener, an error would end the process.
    socket.on('error', () => undefined)
    const stream = tcpStream(socket, clock)
    if (stream === undefined) socket.destroy()
    else accept(stream)
  })
  const port = await listening(server, at)
  server.on('error', (cause) => log.warn({ reason: describeError(cause) }, 'cannot accept a connection'))
  return {
    port,
    async [Symbol.asyncDispose]() {
      // The server is closed when its last connection is: those that nobody closes must not hold us up.
      const timer = clock.after(CLOSE_DEADLINE, () => {
        for (const socket of sockets) socket.destroy()
      })
      await new Promise<void>((resolve) => server.close(() => resolve()))
      timer[Symbol.dispose]()
    },
  }
}

function listening(server: Server, { host, port }: Target): Promise<number> {
  return new Promise((resolve, reject) => {
    const failed = (cause: Error): void => {
      reject(
        new WeftError('CONFLICT', `cannot listen on ${host}:${port}`, {
          cause,
          hint: 'is another router, or Weave Net, running on this host?',
        }),
      )
    }
    server.once('error', failed)
    server.listen({ host, port, backlog: BACKLOG }, () => {
      server.off('error', failed)
      const address = server.address()
      if (typeof address === 'object' && address !== null) resolve(address.port)
      else reject(new Error('a TCP server has no port'))
    })
  })
}

/** Undefined when the socket has ended already, or is not IPv4. */
function tcpStream(socket: Socket, clock: Clock): Stream | undefined {
  const remote = remoteOf(socket)
  if (remote === undefined) return undefined
  let handler: StreamHandler | undefined
  let failure: string | undefined
  socket.on('error', (cause) => {
    failure = dialError(cause)
  })
  socket.once('close', () => {
    const told = handler
    handler = undefined
    told?.closed(failure ?? 'closed by the other side')
  })
  return {
    remote,
    get backlogBytes() {
      return socket.writableLength
    },
    start(given) {
      handler = given
      socket.on('data', (bytes: Buffer) => handler?.received(bytes))
    },
    write(bytes) {
      if (socket.destroyed || socket.writableEnded) return
      socket.write(bytes)
      if (socket.writableLength > OUTBOX_BYTES_MAX)
        socket.destroy(new Error(`more than ${OUTBOX_BYTES_MAX} bytes wait for the peer to read`))
    },
    close() {
      handler = undefined
      socket.resume()
      socket.end()
      const timer = clock.after(CLOSE_DEADLINE, () => socket.destroy())
      socket.once('close', () => timer[Symbol.dispose]())
    },
  }
}

/** An IPv4 peer of a socket that listens on :: comes as ::ffff:a.b.c.d. */
function remoteOf({ remoteAddress, remotePort }: Socket): Endpoint | undefined {
  const text = remoteAddress?.replace(/^::ffff:/, '')
  if (text === undefined || remotePort === undefined || text.includes(':')) return undefined
  return { address: parseIpv4(text), port: remotePort }
}
