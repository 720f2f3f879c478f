/**
 * The native module: system calls that Node lacks, and nothing else. All decisions, encodings and
 * address structures are made in TypeScript; C only calls. Every failed call throws a `SystemError`
 * with errno. Descriptors are opened close-on-exec and non-blocking.
 */
import { createRequire } from 'node:module'
import type { Brand } from '../../mesh/base/brand.ts'
import { WeftError } from '../../mesh/base/errors.ts'

/** An open file descriptor of this process. Whoever holds it closes it. */
export type Fd = Brand<number, 'Fd'>

/** Thrown by every call below. */
export interface SystemError extends Error {
  /** The name of the error: `EPERM`, `ENODEV`, … */
  readonly code: string
  /** The positive number of the error. */
  readonly errno: number
  /** The system call that failed. */
  readonly syscall: string
}

export interface Received {
  /** How many bytes of the buffer were filled; 0 on a stream means that the other side has closed. */
  readonly bytes: number
  /** The datagram did not fit and its end is lost (MSG_TRUNC). */
  readonly truncated: boolean
  /** Descriptors that came along (SCM_RIGHTS); they are ours to close. */
  readonly descriptors: readonly Fd[]
  /** The sender's address structure, empty when there is none. */
  readonly from: Uint8Array
}

export interface Native {
  /** socket(2), created inside the network namespace `netns` (the thread is back in ours before this returns), or in ours when `netns` is -1. */
  socket(netns: Fd | -1, domain: number, type: number, protocol: number): Fd
  setsockopt(fd: Fd, level: number, option: number, value: Uint8Array): void
  getsockopt(fd: Fd, level: number, option: number, bytesMax: number): Uint8Array
  /** `address` is a whole struct sockaddr_*, as the kernel wants it. */
  bind(fd: Fd, address: Uint8Array): void
  connect(fd: Fd, address: Uint8Array): void
  listen(fd: Fd, backlog: number): void
  /** Undefined when nobody is waiting (EAGAIN). */
  accept(fd: Fd): Fd | undefined
  /** sendmsg(2) with MSG_NOSIGNAL: bytes accepted, or undefined when it would block. `to` may be empty; `descriptors` go as SCM_RIGHTS. */
  send(fd: Fd, bytes: Uint8Array, to: Uint8Array, descriptors: readonly Fd[]): number | undefined
  /** recvmsg(2) into `buffer`: undefined when it would block. At most 8 descriptors are taken; more are closed. */
  receive(fd: Fd, buffer: Uint8Array): Received | undefined
  close(fd: Fd): void
  /**
   * Calls `ready` on the main thread whenever `fd` becomes readable or its other side hangs up (level triggered, one
   * call under way per watch: the next comes only after `ready` returned and the condition still holds).
   * `hangup` tells EPOLLHUP/EPOLLERR. Keeps the process alive while `keepAlive`. The number names the watch.
   * Stop it before closing `fd`.
   */
  watch(fd: Fd, keepAlive: boolean, ready: (hangup: boolean) => void): number
  /** No call to `ready` comes after this returns. */
  unwatch(watch: number): void
  /** malloc_trim(3): gives back to the system the memory that was freed. Takes some milliseconds; does nothing where there is no glibc. */
  trim(): void
}

export const NATIVE_MODULE_PATH: string = new URL('../../build/weft.node', import.meta.url).pathname

let loaded: Native | undefined

/** @throws {WeftError} MISSING when the module has not been built for this machine. */
export function native(): Native {
  if (loaded !== undefined) return loaded
  try {
    loaded = createRequire(import.meta.url)(NATIVE_MODULE_PATH) as Native
  } catch (cause) {
    throw new WeftError('MISSING', 'cannot load the native module', { cause, hint: 'run `npm run build`' })
  }
  return loaded
}
