/**
 * A small disk of its own for the state of one router: a tmpfs in a mount namespace that nobody else sees, and that is
 * gone with the process that holds it.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'

export interface SmallDisk extends AsyncDisposable {
  /** What a command has to go through to see it: `nsenter` and its words. */
  readonly enter: readonly string[]
  /** Runs a shell script with the disk as its directory. */
  run(script: string): Promise<string>
}

const run = promisify(execFile)

/** Mounts it on `path`, with what is there now. */
export async function makeSmallDisk(path: string, bytes: number): Promise<SmallDisk> {
  const mount = `mount -t tmpfs -o size=${bytes},mode=700 tmpfs "$1"`
  const script = `set -e; kept=$(mktemp -d); mount -t tmpfs tmpfs "$kept"; cp -a "$1/." "$kept"; ${mount}; cp -a "$kept/." "$1"; umount "$kept"; rmdir "$kept"; echo ready; exec sleep infinity`
  const words = ['setpriv', '--pdeathsig', 'KILL', '--', 'unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', path]
  const [command = '', ...rest] = words
  const holder = spawn(command, rest, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(holder, 'close')
  await Promise.race([
    once(holder.stdout, 'data'),
    ended.then(() => {
      throw new Error(`cannot mount a disk on ${path}`)
    }),
  ])
  const enter = ['nsenter', `--mount=/proc/${holder.pid}/ns/mnt`]
  return {
    enter,
    async run(words) {
      const [command = '', ...rest] = [...enter, '--', 'sh', '-c', `cd "$1"; ${words}`, 'sh', path]
      const { stdout } = await run(command, rest)
      return stdout
    },
    async [Symbol.asyncDispose]() {
      holder.kill('SIGKILL')
      await ended
    },
  }
}
