/**
 * A stream on a socket that somebody has opened to our port: bytes of the mesh as they are, or a WebSocket. The first
 * byte tells: HTTP begins with the upper-case letters of a method, and a frame of the mesh with the highest byte of its
 * length, which is far below any letter.
 */
import type { Socket } from 'node:net'
import type { Clock } from './base/clock.ts'
import type { Endpoint } from './endpoint.ts'
import type { Stream, StreamHandler } from './transport.ts'
import { tcpStream } from './transport-tcp.ts'
import type { Upgrades } from './upgrades.ts'

export interface PortPorts {
  readonly clock: Clock
  /** Loaded by the first who speaks HTTP: most routers meet none, and it holds 4 MB. */
  upgrades(): Promise<Upgrades>
}

export function isHttp(first: Uint8Array): boolean {
  const [byte = 0] = first
  return byte >= 0x41 && byte <= 0x5a
}

/** Owns `socket` from now on. What is written before the other side has said anything waits until it has. */
export function portStream(socket: Socket, remote: Endpoint, { clock, upgrades }: PortPorts): Stream {
  const raw = tcpStream(socket, remote, clock)
  /** What it has turned out to be. */
  let known: Stream | undefined
  let handler: StreamHandler | undefined
  const early: Uint8Array[] = []
  const become = (stream: Stream) => {
    known = stream
    for (const bytes of early.splice(0)) stream.write(bytes)
  }
  const upgrade = (head: Uint8Array) => {
    raw.release()
    socket.on('error', () => undefined)
    const gone = () => handler?.closed('it spoke HTTP, and asked for no WebSocket of the mesh')
    socket.once('close', gone)
    const done = (stream: Stream) => {
      socket.off('close', gone)
      become(stream)
      if (handler !== undefined) stream.start(handler)
    }
    // What comes meanwhile waits in the socket.
    socket.pause()
    upgrades().then(
      (web) => {
        if (!socket.destroyed) web.take(socket, { head, remote, done })
      },
      (cause: Error) => socket.destroy(cause),
    )
  }
  return {
    remote,
    get via() {
      return known?.via
    },
    get backlogBytes() {
      return known?.backlogBytes ?? early.reduce((sum, { length }) => sum + length, 0)
    },
    start(given) {
      handler = given
      raw.start({
        received(bytes) {
          if (known === undefined && isHttp(bytes)) {
            upgrade(bytes)
            return
          }
          if (known === undefined) become(raw)
          given.received(bytes)
        },
        closed: (reason) => given.closed(reason),
      })
    },
    write(bytes) {
      if (known === undefined) early.push(bytes)
      else known.write(bytes)
    },
    close() {
      handler = undefined
      if (known === undefined) socket.destroy()
      else known.close()
    },
  }
}
