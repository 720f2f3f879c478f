/** Serves the relay's unix socket, to root only. Node's own sockets cannot receive descriptors, so these are the kernel's. */
import { chmod, rm } from 'node:fs/promises'
import { type Millis, seconds } from '../../mesh/base/brand.ts'
import type { Clock } from '../../mesh/base/clock.ts'
import { describeError, WeftError } from '../../mesh/base/errors.ts'
import type { Logger } from '../../mesh/base/log.ts'
import { claimSocketPath } from '../api/unix-socket.ts'
import { type Fd, type Native, native } from '../kernel/native.ts'
import { type CniHandler, type ConnectionPorts, RelayConnection } from './connection.ts'

export interface CniServerOptions {
  readonly path: string
  readonly handler: CniHandler
  readonly clock: Clock
  readonly log: Logger
}

/** More pods than a node starts at once. Further ones wait in the kernel's backlog, and then in the relay. */
const CONNECTIONS_MAX = 256
const BACKLOG = 256

/** When accepting fails for want of descriptors or memory: connections that end give some back. */
const ACCEPT_RETRY_DELAY = seconds(1)

/** asm-generic/socket.h, sys/un.h; struct ucred is three 32-bit numbers: pid, uid, gid. */
const AF_UNIX = 1
const SOCK_STREAM = 1
const SOL_SOCKET = 1
const SO_PEERCRED = 17
const UCRED_BYTES = 12
const UCRED_UID_OFFSET = 4

export class CniServer implements AsyncDisposable {
  readonly #path: string
  readonly #fd: Fd
  readonly #ports: ConnectionPorts
  readonly #connections = new Set<RelayConnection>()
  /** Undefined while we take no more. */
  #watch: number | undefined
  #retry: Disposable | undefined
  #stopped = false

  private constructor(path: string, fd: Fd, ports: ConnectionPorts) {
    this.#path = path
    this.#fd = fd
    this.#ports = ports
    this.#resume()
  }

  /** @throws {WeftError} CONFLICT when another router serves this socket; KERNEL when it cannot be made. */
  static async start({ path, handler, clock, log }: CniServerOptions): Promise<CniServer> {
    await claimSocketPath(path)
    const calls = native()
    const fd = await listen(calls, path)
    return new CniServer(path, fd, { native: calls, handler, clock, log })
  }

  /** Takes no more requests and waits for those under way, each of which has its own deadline. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#pause()
    // While it listens no other router takes the path: what goes is ours.
    await rm(this.#path, { force: true })
    this.#ports.native.close(this.#fd)
    for (const connection of this.#connections) connection.stop()
    await Promise.all([...this.#connections].map(({ closed }) => closed))
  }

  #resume(): void {
    if (this.#watch === undefined && !this.#stopped) this.#watch = this.#ports.native.watch(this.#fd, true, () => this.#accept())
  }

  #pause(): void {
    this.#retry?.[Symbol.dispose]()
    if (this.#watch !== undefined) this.#ports.native.unwatch(this.#watch)
    this.#watch = undefined
  }

  #pauseFor(delay: Millis): void {
    this.#pause()
    this.#retry = this.#ports.clock.after(delay, () => this.#resume())
  }

  #accept(): void {
    try {
      while (this.#connections.size < CONNECTIONS_MAX) {
        const fd = this.#ports.native.accept(this.#fd)
        if (fd === undefined) return
        this.#serve(fd)
      }
      this.#pause()
    } catch (error) {
      this.#ports.log.warn({ reason: describeError(error) }, 'cannot accept a CNI connection')
      this.#pauseFor(ACCEPT_RETRY_DELAY)
    }
  }

  #serve(fd: Fd): void {
    const uid = peerUid(this.#ports.native, fd)
    if (uid !== 0) {
      this.#ports.native.close(fd)
      this.#ports.log.warn({ reason: `user ${uid} is not root` }, 'refused a CNI connection')
      return
    }
    const connection = new RelayConnection(fd, this.#ports)
    this.#connections.add(connection)
    void connection.closed.then(() => {
      this.#connections.delete(connection)
      this.#resume()
    })
  }
}

/** Nobody can connect before listen(2): so the mode is right for whoever comes first. */
async function listen(calls: Native, path: string): Promise<Fd> {
  const fd = calls.socket(-1, AF_UNIX, SOCK_STREAM, 0)
  try {
    calls.bind(fd, unixAddress(path))
    await chmod(path, 0o600)
    calls.listen(fd, BACKLOG)
    return fd
  } catch (cause) {
    calls.close(fd)
    throw new WeftError('KERNEL', `cannot serve the CNI socket ${path}`, { cause })
  }
}

/** struct sockaddr_un: the family in host order (every machine we run on is little-endian), the path and a zero. */
function unixAddress(path: string): Uint8Array {
  return Uint8Array.from([AF_UNIX, 0, ...Buffer.from(path), 0])
}

function peerUid(calls: Native, fd: Fd): number {
  const credentials = calls.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, UCRED_BYTES)
  return Buffer.from(credentials).readUInt32LE(UCRED_UID_OFFSET)
}
