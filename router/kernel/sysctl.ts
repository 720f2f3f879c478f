/** Settings of the kernel under /proc/sys, of the network namespace that this process is in. */
import { readFile, writeFile } from 'node:fs/promises'
import { errnoCode, WeftError } from '../../mesh/base/errors.ts'

const ROOT = '/proc/sys'
/** A link may be called whatever has no blanks and slashes (`dev_valid_name` in the kernel). */
const PART = /^[^\s/.\0][^\s/\0]*$/

/**
 * Equivalent to: `sysctl -n KEY`. In a key, as with sysctl(8), a dot that belongs to a link's name is written
 * as a slash: `net.ipv4.conf.eth0/100.rp_filter`.
 * @throws {WeftError} MISSING when this kernel does not have it, KERNEL when it cannot be read.
 */
export async function readSysctl(key: string): Promise<string> {
  const path = pathOf(key)
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (cause) {
    throw failure(cause, `cannot read the kernel setting ${key}`, `sysctl ${key} has to work here`)
  }
}

/**
 * Equivalent to: `sysctl -w KEY=VALUE`, but only when it differs: what is right already needs no permission.
 * True when it was written.
 * @throws {WeftError} MISSING when this kernel does not have it, KERNEL when it may not be written.
 */
export async function writeSysctl(key: string, value: string): Promise<boolean> {
  const before = await readSysctl(key)
  if (before === value) return false
  try {
    await writeFile(pathOf(key), value)
    return true
  } catch (cause) {
    const message = `cannot set the kernel setting ${key} to ${value} (it is ${before})`
    throw failure(cause, message, `as root on the host: sysctl -w ${key}=${value}`)
  }
}

function pathOf(key: string): string {
  const parts = key.split('.').map((part) => part.replaceAll('/', '.'))
  if (!parts.every((part) => PART.test(part))) {
    throw new RangeError(`not a kernel setting like net.ipv4.ip_forward: ${JSON.stringify(key)}`)
  }
  return [ROOT, ...parts].join('/')
}

function failure(cause: unknown, message: string, hint: string): WeftError {
  const missing = errnoCode(cause) === 'ENOENT'
  return new WeftError(missing ? 'MISSING' : 'KERNEL', message, {
    cause,
    hint: missing ? 'this kernel, or the link it belongs to, does not have it' : hint,
  })
}
