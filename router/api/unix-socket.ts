/** A path for a unix socket: ours to take unless somebody still serves it. */
import { mkdir, rm, stat } from 'node:fs/promises'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { errnoCode, WeftError } from '../../mesh/base/errors.ts'

/** The longest path that fits into `sockaddr_un` with its closing zero (unix(7)). */
const SOCKET_PATH_BYTES_MAX = 107

/**
 * Makes the directory (0700) and removes the socket of a router that is gone.
 * @throws {WeftError} CONFLICT when the socket is being served, or the path is something else; USAGE when it is too long.
 */
export async function claimSocketPath(path: string): Promise<void> {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    throw new WeftError('USAGE', `the socket path ${path} is longer than ${SOCKET_PATH_BYTES_MAX} bytes`, {
      hint: 'choose a shorter --run-dir',
    })
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const existing = await stat(path).catch((error: unknown) => {
    if (errnoCode(error) === 'ENOENT') return undefined
    throw error
  })
  if (existing === undefined) return
  if (!existing.isSocket()) throw new WeftError('CONFLICT', `${path} exists and is not a socket`, { hint: 'move it away' })
  if (await isServed(path)) {
    throw new WeftError('CONFLICT', `another router serves ${path}`, { hint: 'stop it first, or choose another --run-dir' })
  }
  await rm(path, { force: true })
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.once('error', () => resolve(false))
  })
}
