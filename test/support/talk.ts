/** A stranger's connection on loopback: says what it is told, and keeps what it hears. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface Talk extends Disposable {
  readonly socket: Socket
  heard(): Buffer
  isClosed(): boolean
}

export async function connectTo(port: number, localAddress = '127.0.0.1'): Promise<Talk> {
  const socket = connect({ host: '127.0.0.1', port, localAddress, noDelay: true })
  const parts: Buffer[] = []
  let isClosed = false
  socket.on('error', () => undefined).on('data', (bytes: Buffer) => parts.push(bytes))
  socket.once('close', () => {
    isClosed = true
  })
  await once(socket, 'connect')
  return { socket, heard: () => Buffer.concat(parts), isClosed: () => isClosed, [Symbol.dispose]: () => void socket.destroy() }
}
