/** Network namespaces as descriptors: opened by path, and compared by what the kernel says they are. */
import { closeSync, constants, fstatSync, openSync, statfsSync, statSync } from 'node:fs'
import type { Brand } from '../../mesh/base/brand.ts'
import { errnoCode, WeftError } from '../../mesh/base/errors.ts'
import type { Fd } from './native.ts'

/** Which namespace a descriptor means: device and inode. Equal strings are the same namespace while either is held open. */
export type NetnsIdentity = Brand<string, 'NetnsIdentity'>

/** The file system that namespaces live in (linux/magic.h). */
const NSFS_MAGIC = 0x6e736673

/**
 * Opens the namespace at `path` (`/run/netns/NAME`, `/proc/PID/ns/net`); the caller closes it.
 * @throws {WeftError} MISSING when there is nothing at `path`, INPUT when it is not a namespace, KERNEL when it may not be opened.
 */
export function openNetns(path: string): Fd {
  const fd = openReadOnly(path)
  try {
    assertNamespace(fd, path)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function openReadOnly(path: string): Fd {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK) as Fd
  } catch (cause) {
    const missing = errnoCode(cause) === 'ENOENT'
    throw new WeftError(missing ? 'MISSING' : 'KERNEL', `cannot open the network namespace ${path}`, { cause })
  }
}

/**
 * For descriptors that somebody else opened and passed to us.
 * @param what names it in the error.
 * @throws {WeftError} INPUT when `fd` is not a namespace. Of which kind it is, setns(2) and the kernel's netlink check.
 */
export function assertNamespace(fd: Fd, what: string): void {
  if (statfsSync(`/proc/self/fd/${fd}`).type !== NSFS_MAGIC) throw new WeftError('INPUT', `${what} is not a network namespace`)
}

export function netnsIdentity(fd: Fd): NetnsIdentity {
  const { dev, ino } = fstatSync(fd, { bigint: true })
  return `${dev}:${ino}` as NetnsIdentity
}

/** The namespace that this process is in: to tell a pod on the host's network from one with its own. */
export function ownNetnsIdentity(): NetnsIdentity {
  const { dev, ino } = statSync('/proc/self/ns/net', { bigint: true })
  return `${dev}:${ino}` as NetnsIdentity
}
