/** The mesh's streams over TCP, by IPv4 and IPv6. */
import { createServer, type Server, Socket } from 'node:net'
import { type Millis, millis, seconds } from './base/brand.ts'
import type { Clock } from './base/clock.ts'
import { describeError, errnoCode, WeftError } from './base/errors.ts'
import { parseIp } from './base/ip.ts'
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
/** A name has more than one address: the next is tried as well after this, beyond the round trip of any link on earth. */
const NEXT_ADDRESS_AFTER: Millis = millis(500)

export interface TcpOptions {
  readonly clock: Clock
  readonly log: Logger
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
      socket.on('error', (cause) => report(err(`dial tcp ${formatTarget(to)}: ${dialError(cause)}`)))
      socket.once('connect', () => {
        const stream = tcpStream(socket, options.clock)
        if (stream === undefined) socket.destroy(new Error('the connection was gone at once'))
        else report(ok(stream))
      })
      socket.connect({ ...to, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: NEXT_ADDRESS_AFTER })
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

/** One line; where several addresses of a name were tried, it says what became of each. */
function dialError(cause: unknown): string {
  const errors = cause instanceof AggregateError ? (cause.errors as readonly unknown[]) : []
  if (errors.length > 0) return errors.map((each) => `${addressOf(each)}: ${dialError(each)}`).join('; ')
  return ERRORS[errnoCode(cause) ?? ''] ?? describeError(cause)
}

function addressOf(cause: unknown): string {
  return cause instanceof Error && 'address' in cause ? String(cause.address) : 'an address'
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

/** Listening on `::` takes both families, and IPv4 alone where the host has no other. */
async function listening(server: Server, at: Target): Promise<number> {
  try {
    return await listeningAt(server, at)
  } catch (cause) {
    const isWithoutIpv6 = at.host === '::' && ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(errnoCode(cause) ?? '')
    if (isWithoutIpv6) return await listening(server, { ...at, host: '0.0.0.0' })
    throw new WeftError('CONFLICT', `cannot listen on ${formatTarget(at)}`, {
      cause,
      hint: 'is another router, or Weave Net, running on this host?',
    })
  }
}

function listeningAt(server: Server, { host, port }: Target): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port, backlog: BACKLOG }, () => {
      server.off('error', reject)
      const address = server.address()
      if (typeof address === 'object' && address !== null) resolve(address.port)
      else reject(new Error('a TCP server has no port'))
    })
  })
}

/** Undefined when the socket has ended already, or comes from a link-local address. */
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

/** Undefined when the socket has ended already, or comes from a link-local address. */
function remoteOf({ remoteAddress = '', remotePort = 0 }: Socket): Endpoint | undefined {
  try {
    return { address: parseIp(remoteAddress), port: remotePort }
  } catch {
    return undefined
  }
}
