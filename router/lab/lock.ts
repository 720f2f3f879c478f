/**
 * One command at a time changes a lab. The lock is a listening abstract unix socket: the kernel lets one process
 * bind the name and frees it when that process ends, however it ends, so that no lock is ever left behind.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'
import { type Millis, seconds } from '../../mesh/base/brand.ts'
import { deadline } from '../../mesh/base/clock.ts'
import { errnoCode, WeftError } from '../../mesh/base/errors.ts'
import type { LabName } from './names.ts'

/** Longer than the longest command, which is `lab up` with all hosts. */
const WAITS_AT_MOST = seconds(300)

/** Whoever holds it is the only one to change the lab. */
export class LabLock implements AsyncDisposable {
  readonly #server: Server
  /** Connections of those who wait: they notice when these end. */
  readonly #waiting: Set<Socket>

  private constructor(server: Server, waiting: Set<Socket>) {
    this.#server = server
    this.#waiting = waiting
  }

  /** Waits until no other command works on the lab. @throws {WeftError} CONFLICT when that takes too long, CANCELLED when `signal` aborts. */
  static async take(lab: LabName, signal: AbortSignal, waitsAtMost: Millis = WAITS_AT_MOST): Promise<LabLock> {
    const path = `\0weft-lab/${lab}`
    const patience = deadline(waitsAtMost, signal)
    for (;;) {
      const lock = await LabLock.#try(path)
      if (lock !== undefined) return lock
      await untilReleased(path, patience)
      if (signal.aborted) throw new WeftError('CANCELLED', `cancelled while waiting for another command on lab ${lab}`)
      if (patience.aborted) throw new WeftError('CONFLICT', `another command still works on lab ${lab} after ${waitsAtMost / 1_000} s`)
    }
  }

  /** Undefined when somebody else has it. */
  static #try(path: string): Promise<LabLock | undefined> {
    return new Promise((resolve, reject) => {
      const waiting = new Set<Socket>()
      const server = createServer((socket) => {
        waiting.add(socket)
        socket.on('error', () => socket.destroy()).once('close', () => waiting.delete(socket))
      })
      server.once('error', (cause) => {
        if (errnoCode(cause) === 'EADDRINUSE') resolve(undefined)
        else reject(new WeftError('KERNEL', 'cannot lock the lab', { cause }))
      })
      server.listen(path, () => resolve(new LabLock(server, waiting)))
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#waiting) socket.destroy()
    await closed
  }
}

/** Resolves when the holder lets go or is gone, or when `patience` aborts. */
function untilReleased(path: string, patience: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ path, signal: patience })
    // Refused: it was released before we came. Aborted: the caller looks at the signal. Both end in `close`.
    socket.on('error', () => undefined)
    socket.once('close', () => resolve())
    socket.resume()
  })
}
