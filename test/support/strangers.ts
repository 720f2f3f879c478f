/** Strangers on the port of a router: connections out of a namespace, from any of its addresses. */
import { connect, type Socket } from 'node:net'
import { formatIpv4, type Ipv4 } from '../../mesh/base/address.ts'
import { native } from '../../router/kernel/native.ts'
import { AF_INET, SOCK_STREAM, sockaddr } from '../../router/lab/probe/sockaddr.ts'
import type { Netns } from './netns.ts'

export interface Approach {
  readonly from: Netns
  /** One of the addresses of `from`. */
  readonly source: Ipv4
  readonly to: Ipv4
  readonly port: number
}

/** Connects, and reads and forgets whatever it hears. */
function approach({ from, source, to, port }: Approach): Socket {
  const fd = native().socket(from.fd, AF_INET, SOCK_STREAM, 0)
  native().bind(fd, sockaddr(source))
  // Node's types do not know that a socket that exists already can be connected.
  const socket = connect({ fd, host: formatIpv4(to), port } as never)
  socket.on('error', () => undefined)
  return socket.resume()
}

/** Connects, says `bytes`, and waits until the other side has hung up. */
export function intrude(way: Approach, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const socket = approach(way)
    socket.once('close', () => resolve())
    socket.once('connect', () => socket.write(bytes))
  })
}

/** How often each says one byte more, and comes back when it was thrown out. */
const DRIP_MS = 500

/**
 * As many connections as `ways` has, each of which says one byte of `words` now and then, from the beginning again
 * when they are over, and comes back when it was thrown out. Until disposed.
 */
export function drip(ways: readonly Approach[], words: (index: number) => string): Disposable {
  const open = (way: Approach): { readonly socket: Socket; said: number } => ({ socket: approach(way), said: 0 })
  const slots = ways.map((way, index) => ({ way, text: words(index), ...open(way) }))
  const timer = setInterval(() => {
    for (const slot of slots) {
      if (slot.socket.destroyed) {
        Object.assign(slot, open(slot.way))
      } else {
        slot.socket.write(slot.text[slot.said % slot.text.length] ?? '')
        slot.said += 1
      }
    }
  }, DRIP_MS)
  return {
    [Symbol.dispose]() {
      clearInterval(timer)
      for (const { socket } of slots) socket.destroy()
    },
  }
}
