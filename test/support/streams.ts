/** Streams under test, and raw servers for them to dial. */
import { createServer, type Server, type Socket } from 'node:net'
import { systemClock } from '../../mesh/base/clock.ts'
import { silentLog } from '../../mesh/base/log.ts'
import type { Result } from '../../mesh/base/result.ts'
import type { Target } from '../../mesh/endpoint.ts'
import type { Stream, Transport } from '../../mesh/transport.ts'
import { netTransport } from '../../mesh/transport-net.ts'

export const transport: Transport = netTransport({ clock: systemClock, log: silentLog })

export interface Heard {
  text: string
  closed: string | undefined
}

/** Starts `stream`; what comes of it. */
export function listenTo(stream: Stream): Heard {
  const heard: Heard = { text: '', closed: undefined }
  stream.start({
    received: (bytes) => {
      heard.text += new TextDecoder().decode(bytes)
    },
    closed: (reason) => {
      heard.closed = reason
    },
  })
  return heard
}

export function dial(to: Target): Promise<Result<Stream, string>> {
  return new Promise((resolve) => {
    transport.dial(to, resolve)
  })
}

/** A server that accepts on loopback and does as told. */
export async function rawServer(
  stack: AsyncDisposableStack,
  onSocket: (socket: Socket) => void,
): Promise<{ readonly port: number; readonly sockets: readonly Socket[] }> {
  const sockets: Socket[] = []
  const server: Server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    onSocket(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  stack.defer(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const address = server.address()
  return { port: typeof address === 'object' && address !== null ? address.port : 0, sockets }
}

export interface Accepted {
  readonly stream: Stream
  readonly heard: Heard
}

/** A listener on loopback, and what it has accepted: started at once, as the mesh does it. */
export async function listener(
  stack: AsyncDisposableStack,
  host = '127.0.0.1',
): Promise<{ readonly port: number; readonly accepted: readonly Accepted[] }> {
  const accepted: Accepted[] = []
  const accept = (stream: Stream) => void accepted.push({ stream, heard: listenTo(stream) })
  const { port } = stack.use(await transport.listen({ host, port: 0 }, accept))
  return { port, accepted }
}
