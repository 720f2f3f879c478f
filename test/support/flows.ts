/** UDP datagrams and TCP streams between two network namespaces, sent and received by this process. */
import { createHash } from 'node:crypto'
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Server, Socket } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { formatIpv4, type Ipv4, parseIpv4 } from '../../mesh/base/address.ts'
import { type Fd, native } from '../../router/kernel/native.ts'
import { AF_INET, int32, SO_RCVBUFFORCE, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET, sockaddr } from '../../router/lab/probe/sockaddr.ts'

const RECEIVE_BUFFER_BYTES = 32 * 1024 * 1024
const ANY = parseIpv4('0.0.0.0')
const CHUNK_BYTES = 64 * 1024

/** A UDP socket in a namespace, on `port`, or any. */
export async function udpIn(netns: Fd, port = 0): Promise<UdpSocket> {
  const fd = native().socket(netns, AF_INET, SOCK_DGRAM, 0)
  native().setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, int32(RECEIVE_BUFFER_BYTES))
  native().bind(fd, sockaddr(ANY, port))
  const socket = createSocket('udp4')
  const listening = once(socket, 'listening')
  socket.bind({ fd })
  await listening
  return socket
}

/** Whether one UDP datagram comes from one namespace to a port of another. @param withinMs how long it may take. */
export async function datagramArrives(
  from: Fd,
  to: { readonly netns: Fd; readonly address: Ipv4; readonly port?: number },
  withinMs: number,
): Promise<boolean> {
  const [sender, receiver] = [await udpIn(from), await udpIn(to.netns, to.port)]
  const arrived = once(receiver, 'message', { signal: AbortSignal.timeout(withinMs) })
  sender.send('hello', receiver.address().port, formatIpv4(to.address))
  try {
    await arrived
    return true
  } catch {
    return false
  } finally {
    sender.close()
    receiver.close()
  }
}

async function listenIn(netns: Fd, port: number): Promise<Server> {
  const fd = native().socket(netns, AF_INET, SOCK_STREAM, 0)
  native().bind(fd, sockaddr(ANY, port))
  const server = createServer()
  server.listen({ fd })
  await once(server, 'listening')
  return server
}

function clientIn(netns: Fd): Socket {
  return new Socket({ fd: native().socket(netns, AF_INET, SOCK_STREAM, 0), readable: true, writable: true })
}

function portOf(server: Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('it listens on a port')
  return address.port
}

/** Whether a TCP connection from one namespace to a port of another is made. */
export async function connects(
  from: Fd,
  to: { readonly netns: Fd; readonly address: Ipv4; readonly port?: number },
  withinMs: number,
): Promise<boolean> {
  const server = await listenIn(to.netns, to.port ?? 0)
  server.on('connection', (socket) => socket.on('error', () => socket.destroy()).resume())
  // What becomes of it after we have given up is nobody's.
  const client = clientIn(from).on('error', () => undefined)
  try {
    client.connect({ host: formatIpv4(to.address), port: portOf(server) })
    await once(client, 'connect', { signal: AbortSignal.timeout(withinMs) })
    return true
  } catch {
    return false
  } finally {
    client.destroy()
    server.close()
  }
}

/** Sends so many bytes over one connection; both ends' SHA-256 of them. */
export async function transfer(
  from: Fd,
  to: { readonly netns: Fd; readonly address: Ipv4 },
  bytes: number,
): Promise<{ sent: string; received: string }> {
  const server = await listenIn(to.netns, 0)
  const client = clientIn(from)
  const [sent, received] = [createHash('sha256'), createHash('sha256')]
  const accepted = once(server, 'connection') as Promise<[Socket]>
  try {
    client.connect({ host: formatIpv4(to.address), port: portOf(server) })
    const [socket] = await accepted
    const arrived = (async () => {
      for await (const chunk of socket) received.update(chunk as Buffer)
    })()
    await Promise.all([arrived, pipeline(Readable.from(chunksOf(bytes, (chunk) => sent.update(chunk))), client)])
    return { sent: sent.digest('hex'), received: received.digest('hex') }
  } finally {
    client.destroy()
    server.close()
  }
}

/** Each byte depends on its place, so that pieces that changed places show. */
function* chunksOf(bytes: number, seen: (chunk: Buffer) => void): Iterable<Buffer> {
  for (let at = 0; at < bytes; at += CHUNK_BYTES) {
    const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, bytes - at))
    for (let place = 0; place + 4 <= chunk.length; place += 4) chunk.writeUInt32LE(((at + place) * 2_654_435_761) % 0x1_0000_0000, place)
    seen(chunk)
    yield chunk
  }
}
