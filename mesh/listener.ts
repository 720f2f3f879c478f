/** The port on which a mesh takes streams: plain TCP and WebSockets, by IPv4 and IPv6. */
import { createServer, type Server, type Socket } from 'node:net'
import type { Clock } from './base/clock.ts'
import { describeError, errnoCode, WeftError } from './base/errors.ts'
import type { Logger } from './base/log.ts'
import { formatTarget, type Place } from './endpoint.ts'
import { portStream } from './port-stream.ts'
import { CLOSE_DEADLINE } from './socket-limits.ts'
import type { Listener, Stream } from './transport.ts'
import { endpointOf } from './transport-tcp.ts'
import type { Upgrades } from './upgrades.ts'

/** Connections that the kernel completes before we look at them: a whole cluster may come at once. */
const BACKLOG = 511

export interface ListenPorts {
  readonly clock: Clock
  readonly log: Logger
}

/** As `Transport.listen`. `::` stands for all addresses of both families. */
export async function listen(at: Place, accept: (stream: Stream) => void, { clock, log }: ListenPorts): Promise<Listener> {
  const sockets = new Set<Socket>()
  const ports = { clock, upgrades: upgradesOnDemand(clock) }
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    const remote = endpointOf(socket)
    if (remote === undefined) socket.destroy()
    else accept(portStream(socket, remote, ports))
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

function upgradesOnDemand(clock: Clock): () => Promise<Upgrades> {
  let loading: Promise<Upgrades> | undefined
  return () => {
    loading ??= import('./upgrades.ts').then(({ Upgrades }) => new Upgrades(clock))
    return loading
  }
}

/** On a host without IPv6 `::` is IPv4 alone. */
async function listening(server: Server, at: Place): Promise<number> {
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

function listeningAt(server: Server, { host, port }: Place): Promise<number> {
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
